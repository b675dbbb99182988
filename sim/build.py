"""Verilog to a runnable simulator: built once per design, cached by content."""

import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cocotb
import cocotb_tools.config
from cocotb_tools import runner as cocotb_runner
from filelock import FileLock

from export import files
from export.errors import UserError
from sim import objcache, toolchain
from sim.wrapper import TOP, Design

FLAGS = (
    "--no-public-flat-rw",  # the runner asks for all signals to be visible, which blocks most optimisation; the last word counts
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
    """The environment variable with which Verilator's makefiles compile once what is the same in every simulator."""
    return {"OBJCACHE": " ".join([sys.executable, objcache.__file__, str(cache_folder() / "objects")])}


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
    identity += [cocotb.__version__, str(cocotb_tools.config.libs_dir)]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    folder = cache_folder() / key
    if not (folder / top).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not (folder / top).exists():
                began = time.monotonic()
                _build_in_place(sources, top, flags, folder, traced, tools, jobs)
                seconds = time.monotonic() - began
                return Build(folder, top, seconds, False, traced, tools.verilator, tools.compiler)
    return Build(folder, top, 0.0, True, traced, tools.verilator, tools.compiler)


def without_comments(text: str) -> str:
    """Verilog without comments, and what they leave of their lines: the circuit, but not where it comes from."""
    bare = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', r"\1", text, flags=re.DOTALL)
    return "\n".join(re.sub(r"[ \t]+", " ", line.rstrip()) for line in bare.splitlines() if line.strip())


def _build_in_place(
    sources: Mapping[str, str], top: str, flags: Sequence[str], folder: Path, traced: bool, tools: toolchain.Toolchain, jobs: int
) -> None:
    """Build into a folder of its own, and move what counts into place when it is whole."""
    for path in (cocotb_tools.config.libs_dir, sys.executable, objcache.__file__, tools.include):
        if _has_spaces(Path(path)):
            raise UserError(f"the paths of project and Python environment must not have spaces (make cannot handle them), but {path} has")
    # make cannot work in a folder whose name has spaces; the system's temporary folder is the way out.
    parent = None if _has_spaces(folder) else folder.parent
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=parent) as name:
        work = Path(name)
        for source, text in sources.items():
            (work / source).write_text(text, encoding="utf-8")
        objects, log = work / "objects", work / "build.log"
        runner = cocotb_runner.get_runner("verilator")
        if not _has_spaces(folder):
            runner.env |= object_cache()
        with tools.environment(), _parallel(jobs):
            try:
                runner.build(
                    sources=[work / source for source in sources],
                    hdl_toplevel=top,
                    build_dir=objects,
                    build_args=flags,
                    waves=traced,
                    log_file=log,
                )
            except RuntimeError:
                failed = folder.with_suffix(".log")
                shutil.copy(log, failed)
                raise BuildError(f"the simulator could not be built ({failed}): {_complaints(log)}") from None
        kept = work / "kept"
        kept.mkdir()
        for path in (objects / top, log, *(path for pattern in KEPT for path in objects.glob(pattern))):
            shutil.copy(path, kept)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(kept, folder)


class _parallel:
    """Let the runner start this many compilers, while the block runs."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def __enter__(self) -> None:
        self.before = cocotb_runner.MAX_PARALLEL_BUILD_JOBS
        cocotb_runner.MAX_PARALLEL_BUILD_JOBS = self.jobs

    def __exit__(self, *exception: object) -> None:
        cocotb_runner.MAX_PARALLEL_BUILD_JOBS = self.before


def _complaints(log: Path) -> str:
    """The lines of a build log that name an error, or its last ones."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if re.search(r"%Error|\berror\b", line)]
    return " | ".join((errors or lines)[:5])


def _has_spaces(path: Path) -> bool:
    return re.search(r"\s", str(path)) is not None
