"""Verilog to a runnable simulator: built once per design, cached by content.

Verilator and make are called as cocotb's own runner calls them, but in surroundings of our own (`sim.plain`).
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cocotb
import cocotb_tools.config
from filelock import FileLock

from export import files
from sim import objcache, plain, toolchain
from sim.wrapper import TOP, Design

FLAGS = (
    "--timing",  # the wrapper makes its own clock
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-assert",
    "-CFLAGS",
    "-std=c++20",
    "-Wno-fatal",
    "-Wno-WIDTHEXPAND",  # in Verilog that Amaranth writes
    "-Wno-CASEINCOMPLETE",
)
SPLIT = 200_000
"""Characters of Verilog from which on the C++ is split into files that compile two at a time (each costs a second to begin)."""
SPLIT_FLAGS = ("--output-split", "4000")
TRACED_FLAGS = ("--trace-underscore",)
PROGRAM = "program.sha256"
"""A file beside the program, with what its content must be: a full disk or a killed copy leaves something else."""
KEPT = ("*.a", "*.h", "verilated*.o")
"""What stays of a build beside the program: enough to link another main function with the model."""


class BuildError(RuntimeError):
    """Verilator or the C++ compiler refused the circuit; the message ends in the last lines of what they said."""


@dataclass(frozen=True)
class Build:
    """A runnable simulator.

    Attributes:
        folder: where it is.
        top: name of its top module, and of the program.
        seconds: what building it took; 0 if it was there already.
        cached: whether it was.
        traced: whether it can dump waveforms.
        verilator: version of Verilator.
        compiler: the compiler's first line about itself.
    """

    folder: Path
    top: str
    seconds: float
    cached: bool
    traced: bool
    verilator: str
    compiler: str


def cache_folder() -> Path:
    """Where builds are kept. It can be deleted at any time."""
    return files.cache_folder("builds")


def object_cache() -> dict[str, str]:
    """The variable with which Verilator's makefiles compile once what is the same in every simulator."""
    command = (sys.executable, "-IS", objcache.__file__, str(cache_folder() / "objects"))  # no search for packages
    return {"OBJCACHE": " ".join(map(toolchain.for_make, command))}


def build(design: Design, *, traced: bool = False, extra_flags: Sequence[str] = (), jobs: int = 2) -> Build:
    """The simulator of a design, from the cache or newly built. Processes that want the same one wait for the first.

    Parameters:
        design: what to build.
        traced: with waveforms.
        extra_flags: further arguments for Verilator.
        jobs: compilers at a time.

    Raises:
        UserError: a program is missing or too old.
        BuildError: the circuit does not compile.
    """
    sources = {"public.vlt": design.control(), "circuit.v": design.verilog, "bench.sv": design.wrapper(traced=traced)}
    split = SPLIT_FLAGS if len(design.verilog) > SPLIT else ()
    return compile_model(sources, TOP, (*FLAGS, *split, *extra_flags), traced=traced, jobs=jobs)


def compile_model(sources: Mapping[str, str], top: str, flags: Sequence[str], *, traced: bool = False, jobs: int = 2) -> Build:
    """The simulator of any sources, from the cache or newly built; `build` without the wrapper.

    Parameters:
        sources: texts by file name, in order.
        top: name of the top module.
        flags: arguments for Verilator.
        traced: with waveforms.
        jobs: compilers at a time.

    Raises:
        UserError: a program is missing or too old.
        BuildError: the sources do not compile.
    """
    tools = toolchain.find()
    flags = (*flags, *(TRACED_FLAGS if traced else ()))
    identity = [[(name, without_comments(text)) for name, text in sources.items()], top, flags, traced, tools.verilator, tools.compiler]
    key = hashlib.sha256(json.dumps([*identity, cocotb.__version__]).encode()).hexdigest()[:24]
    folder = cache_folder() / key
    if not _is_whole(folder, top):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not _is_whole(folder, top):
                began = time.monotonic()
                _build_in_place(sources, top, flags, folder, traced, tools, jobs)
                seconds = time.monotonic() - began
                return Build(folder, top, seconds, False, traced, tools.verilator, tools.compiler)
    return Build(folder, top, 0.0, True, traced, tools.verilator, tools.compiler)


def _is_whole(folder: Path, top: str) -> bool:
    """Whether a program is there, as it was built."""
    try:
        return (folder / PROGRAM).read_text(encoding="utf-8") == objcache.digest(folder / top)
    except (OSError, ValueError):
        return False


def without_comments(text: str) -> str:
    """Verilog without comments, and what they leave of their lines: the circuit, but not where it comes from."""
    bare = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', r"\1", text, flags=re.DOTALL)
    return "\n".join(re.sub(r"[ \t]+", " ", line.rstrip()) for line in bare.splitlines() if line.strip())


def _build_in_place(
    sources: Mapping[str, str], top: str, flags: Sequence[str], folder: Path, traced: bool, tools: toolchain.Toolchain, jobs: int
) -> None:
    """Build into a folder of its own, and move what counts into place when it is whole."""
    with plain.plain_folder(folder.parent) as work:
        for source, text in sources.items():
            (work / source).write_text(text, encoding="utf-8")
        objects, log = work / "objects", work / "build.log"
        libraries = plain.link(work, "libraries", cocotb_tools.config.libs_dir)
        main = plain.link(work, "cocotb", cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
        environment = plain.variables(work)
        if tools.root is not None:
            environment["VERILATOR_ROOT"] = str(plain.link(work, "verilator", tools.root))
        verilator = [
            str(tools.executable),
            "-cc",
            "--exe",
            "--vpi",
            "-Mdir",
            str(objects),
            "--top-module",
            top,
            "--prefix",
            "Vtop",
            "-o",
            top,
        ]
        verilator += ["-LDFLAGS", f"-Wl,-rpath-link,{libraries} -L{libraries} -lcocotbvpi_verilator", *(["--trace"] if traced else [])]
        settings = {**tools.settings, **object_cache(), "VM_TRACE": str(int(traced))}
        make = ["make", "-j", str(jobs), "-C", str(objects), "-f", "Vtop.mk", *(f"{name}={value}" for name, value in settings.items())]
        with log.open("wb") as said:
            for command in ([*verilator, *flags, str(main), *(str(work / source) for source in sources)], make):
                if subprocess.run(
                    command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False
                ).returncode:
                    failed = folder.with_suffix(".log")
                    shutil.copy(log, failed)
                    raise BuildError(f"the simulator could not be built ({failed}): {_complaints(log)}")
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as name:
            kept = Path(name) / "kept"
            kept.mkdir()
            for path in (objects / top, log, *(path for pattern in KEPT for path in objects.glob(pattern))):
                shutil.copy(path, kept)
            (kept / PROGRAM).write_text(objcache.digest(kept / top), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            kept.rename(folder)


def _complaints(log: Path) -> str:
    """The lines of a build log that name an error, or its last ones."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if re.search(r"%Error|\berror\b", line)]
    return " | ".join((errors or lines)[:5])
