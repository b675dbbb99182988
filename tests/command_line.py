"""Runs a command line in the tests' own process."""

import contextlib
import gc
import io
import os
import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

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


def call(main: Callable[[], int], *arguments: object, **variables: str) -> Done:
    """What ``main`` does with arguments and further environment variables, as `export.cli.run` calls it; its children print elsewhere."""
    out, error = io.StringIO(), io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* created but never used")  # circuits that are refused
        with (
            mock.patch.object(sys, "argv", ["program", *map(str, arguments)]),
            mock.patch.dict(os.environ, variables),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
            pytest.raises(SystemExit) as caught,
        ):
            run(main)
        if caught.value.code:
            gc.collect()
    assert isinstance(caught.value.code, int)
    return Done(caught.value.code, out.getvalue(), error.getvalue())
