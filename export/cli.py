"""What the four command lines share: one line for a mistake, and an exit status that means something.

Exit status: 0 done, 1 something differs, 2 the user's mistake, 3 a circuit that does not compile or run (``sim`` only), 130 interrupted.
"""

import argparse
import io
import sys
from collections.abc import Callable
from typing import NoReturn

from export.errors import UserError

EXIT_DIFFERENCE = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that answers a mistake with one line on standard error and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_MISTAKE, f"error: {message} (see {self.prog} --help)\n")


def run(main: Callable[[], int]) -> NoReturn:
    """Run ``main`` and exit with its status; a user's mistake becomes one line and status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without θ or → is no reason to stop
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        status = _complain(str(error))
    except BrokenPipeError:
        sys.stderr.close()
        status = EXIT_MISTAKE
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        status = _complain(named)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    sys.exit(status)


def _complain(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return EXIT_MISTAKE
