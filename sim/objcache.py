"""A compiler wrapper that compiles once what is the same in every simulator.

make calls it as ``python objcache.py FOLDER COMPILER ARGUMENTS…``. Verilator's run-time library and the simulator's main
function are 15 seconds of compiling, and come out the same for every circuit. Their objects are kept in FOLDER, by the
command, the compiler, the source, and, where the source uses it, the model's interface; any other command is passed on as it is.
"""

import hashlib
import itertools
import os
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
    """What the object depends on."""
    compiler = itertools.takewhile(lambda word: not word.startswith("-"), command)  # more than one word in `ccache g++`
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=False).stdout
    text, interface = source.read_bytes(), Path("Vtop.h")
    parts = ["\0".join(word for word in command if word not in UNUSED).encode(), version, text]
    if interface.name.encode() in text and interface.exists():
        parts.append(interface.read_bytes())
    parts += [path.read_bytes() for path in sorted(source.parent.glob("*.h"))]
    return hashlib.sha256(b"\0\0".join(parts)).hexdigest()


def main(folder: Path, command: list[str]) -> int:
    """Run the command, or take its object from the folder; the compiler's exit status."""
    found = object_of(command)
    if found is None:
        return subprocess.call(command)
    source, target = found
    kept = folder / f"{key(command, source)}.o"
    if not kept.exists():
        if status := subprocess.call(command):
            return status
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        os.close(handle)
        shutil.copy(target, name)
        Path(name).replace(kept)
    else:
        shutil.copy(kept, target)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
