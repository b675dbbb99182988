"""Shared by the command lines: argument types, one line for a mistake, the exit status.

Exit status: 0 done, 1 something differs, 2 the user's mistake, 3 a circuit that does not compile or run, or a tool that fails
(``hw`` and ``sim``), 4 a fault of this program, with a traceback, 130 interrupted, 141 nobody reads what is printed.
"""

import argparse
import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from export.errors import UserError

EXIT_DIFFERENCE = 1
EXIT_MISTAKE = 2
EXIT_BROKEN = 3
EXIT_FAULT = 4
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
RANDOM_NUMBERS = 1 << 28  # of all random frames, which are made at once

front = False
"""Whether the command is called as ``firstspike …``, not as ``python -m …``."""


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` whose errors are UserErrors."""

    def format_help(self) -> str:
        return as_called(super().format_help())

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def check_random(option: str, frames: int, numbers: int) -> None:
    """Refuse more random frames than are made at once.

    Parameters:
        numbers: of each frame.

    Raises:
        UserError: there are more.
    """
    if frames > (most := max(1, RANDOM_NUMBERS // numbers)):
        raise UserError(f"{option} must be at most {most} random frames of {numbers} inputs, not {frames}")


def run(main: Callable[[], int], *, quiet: bool = False) -> NoReturn:
    """Run ``main`` and exit with its status; a user's mistake becomes one line and status 2.

    Parameters:
        quiet: print no message: another process does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal without θ or → is no reason to stop
    try:
        status = main()
        _flush()
    except UserError as error:
        status = _complain(one_line(error), quiet)
    except BrokenPipeError:
        status = EXIT_PIPE_CLOSED
    except OSError as error:
        status = _complain(one_line(_named(error)), quiet)
    except MemoryError as error:
        status = _complain(f"there must be enough memory, but there is not: {one_line(error)}", quiet)
    except KeyboardInterrupt:
        if not quiet:
            print("interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except Exception as error:
        status = _fault(error, quiet)
    try:
        _flush()
    except OSError:  # told already; Python would try again, and end with a status of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _flush() -> None:
    """Print what is buffered.

    Raises:
        OSError: it cannot be; it names the standard output.
    """
    if sys.stdout is None:  # closed before the program began
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


def _named(error: OSError) -> OSError:
    """The error with its place: where no file is named, and the standard output cannot be written, that is what failed."""
    if error.filename or error.errno != errno.ENOSPC:
        return error
    try:
        print()  # the next that is printed fails, too
        _flush()
    except OSError:
        return OSError(error.errno, error.strerror, "standard output")
    return error


def _fault(error: Exception, quiet: bool) -> int:
    """The status of an exception that nobody expected."""
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] not in ("export", "hw", "model", "sim"):
        return _complain(f"{error.name} must be installed ('pip install -c constraints.txt -e .' brings all that is needed)", quiet)
    traceback.print_exception(error)
    return EXIT_FAULT


def as_called(text: str) -> str:
    """A text in which commands are named as they are called: ``python -m hw`` is ``firstspike hw`` where `front` is."""
    if not front:
        return text
    text = re.sub(r"python -m sim\.proofs\b", "firstspike proofs", text)
    return re.sub(r"python -m (model\b ?)?", "firstspike ", text)


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
    named = isinstance(error, OSError) and error.filename and f"{error.filename2 or error.filename}: {error.strerror}"
    return " ".join((named or str(error)).split())


def _complain(message: str, quiet: bool) -> int:
    if not quiet:
        print(f"error: {as_called(message)}", file=sys.stderr)
    return EXIT_MISTAKE
