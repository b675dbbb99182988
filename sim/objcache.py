"""A compiler wrapper that compiles once what is the same in every simulator.

make calls it as ``python objcache.py FOLDER COMPILER ARGUMENTS…``. Verilator's run-time library and the simulator's main
function are 15 seconds of compiling, and come out the same for every circuit. Their objects are kept in FOLDER, by the
command, the compiler, the source, and, where the source uses it, the model's interface; any other command is passed on as it is.
"""

import contextlib
import hashlib
import itertools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

UNUSED = ("-DVM_TIMING=0", "-DVM_TIMING=1")
"""Macros that no source of Verilator's run-time library and of cocotb's main function uses."""


def object_of(command: list[str]) -> tuple[Path, Path] | None:
    """Source and object of a command that compiles a file from outside of the current folder; None for any other."""
    if "-c" not in command or "-o" not in command:
        return None
    sources = [Path(argument) for argument in command if argument.endswith(".cpp")]
    if len(sources) != 1 or not sources[0].is_absolute():
        return None
    return sources[0], Path(command[command.index("-o") + 1])


def key(command: list[str], source: Path) -> str:
    """What the object depends on. The folder that is built in, beside which all that is compiled lies, has another name each time."""
    compiler = itertools.takewhile(lambda word: not word.startswith("-"), command)  # more than one word in `ccache g++`
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=False).stdout
    text, interface = source.read_bytes(), Path("Vtop.h")
    here = str(Path.cwd().parent)
    parts = ["\0".join(word.replace(here, "") for word in command if word not in UNUSED).encode(), version, text]
    if interface.name.encode() in text and interface.exists():
        parts.append(interface.read_bytes())
    parts += [path.read_bytes() for path in sorted(source.parent.glob("*.h"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept_object(folder: Path, name: str) -> Path | None:
    """The kept object of that name, if it is whole: what its content must be is in its name, too."""
    found = (path for path in folder.glob(f"{name}.*.o") if path.suffixes[0] == f".{digest(path)}")
    return next(found, None)


def main(folder: Path, command: list[str]) -> int:
    """Compile, or copy what was compiled before; the exit status."""
    found = object_of(command)
    if found is None:
        return subprocess.call(command)
    source, target = found
    name = key(command, source)
    if (kept := kept_object(folder, name)) is not None:
        shutil.copy(kept, target)
        return 0
    if status := subprocess.call(command):
        return status
    with contextlib.suppress(OSError):  # a full disk is no reason to stop
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            copy = shutil.copy(target, temporary)
            Path(copy).rename(folder / f"{name}.{digest(target)}.o")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
