"""Shared by the command lines: argument types, one line for a mistake, the exit status.

Exit status: 0 done, 1 something differs, 2 the user's mistake, 3 a circuit that does not compile or run, or a tool that fails
(``hw`` and ``sim``), 130 interrupted.
"""

import argparse
import io
import sys
from collections.abc import Callable
from typing import NoReturn

from export.errors import UserError

EXIT_DIFFERENCE = 1
EXIT_MISTAKE = 2
EXIT_BROKEN = 3
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are UserErrors."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def run(main: Callable[[], int], *, quiet: bool = False) -> NoReturn:
    """Run ``main`` and exit with its status; a user's mistake becomes one line and status 2.

    Parameters:
        quiet: print no message: another process does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without θ or → is no reason to stop
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        status = _complain(error, quiet)
    except BrokenPipeError:
        sys.stderr.close()
        status = EXIT_MISTAKE
    except OSError as error:
        status = _complain(error, quiet)
    except KeyboardInterrupt:
        if not quiet:
            print("interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    sys.exit(status)


def positive(text: str) -> int:
    """An argument that must be an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, not {text!r}")
    return value


def above_zero(text: str) -> float:
    """An argument that must be a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


above_zero.__name__ = "number above 0"  # argparse names it in its message


def integers(text: str) -> tuple[int, ...]:
    """An argument of comma-separated integers: ``600,128`` as (600, 128)."""
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be integers such as 8 or 8,128, not {text!r}") from None


def different_integers(text: str) -> tuple[int, ...]:
    """An argument of comma-separated integers, all different."""
    seeds = integers(text)
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"must be different integers such as 0,1,2, not {text!r}")
    return seeds


def one_line(error: Exception) -> str:
    """An error's message on one line."""
    named = isinstance(error, OSError) and error.filename and f"{error.filename}: {error.strerror}"
    return " ".join((named or str(error)).split())


def _complain(error: Exception, quiet: bool) -> int:
    if not quiet:
        print(f"error: {one_line(error)}", file=sys.stderr)
    return EXIT_MISTAKE
