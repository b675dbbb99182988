"""Runs a command line in the tests' own process."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from export.cli import run


class Done(NamedTuple):
    """What a command left; captured as text."""

    returncode: int
    stdout: str
    stderr: str


def in_process(main: Callable[[], int], capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """What calls ``main`` with arguments, as `export.cli.run` does."""

    def command(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run(main)
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capfd.readouterr())

    return command
