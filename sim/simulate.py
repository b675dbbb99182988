"""Runs a built simulator over frames, and reads back what it wrote down."""

import errno
import glob
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import cocotb_tools.config
from cocotb_tools.check_results import get_results
from find_libpython import find_libpython

from export.errors import UserError
from sim import plain, stimuli
from sim.build import Build
from sim.frames import Words
from sim.ports import Ports
from sim.recording import Recording, Transcript
from sim.stimuli import Pace

MODES = ("full", "early")
PROJECT = Path(__file__).resolve().parent.parent


FULL = 1 << 20
"""Bytes that are free on a disk which is as good as full."""
POLL = 1.0
"""Seconds between two looks at what it has written."""
PATIENCE_FULL, PATIENCE = 10.0, 3600.0
"""Seconds after which a simulator that has written nothing is given up: one whose disk is full, for it may try for ever; or any."""


class SimulationError(RuntimeError):
    """The simulator ended before the run did; the message ends in the last lines of what it said."""


def simulate(
    build: Build,
    ports: Ports,
    words: Words,
    *,
    modes: Sequence[str] = MODES,
    waves: tuple[Path, int] | None = None,
    log: Path | None = None,
) -> dict[str, Recording]:
    """Run frames back to back, in each of the modes, in one simulator process.

    Parameters:
        build: the simulator.
        ports: of the circuit in it.
        words: the frames.
        modes: out of "full" and "early".
        waves: for a traced build, what waveforms are called (without "_full.vcd"), and the frame that is wanted.
        log: where to write what the simulator says; by default it is forgotten.

    Raises:
        SimulationError: the simulator fails.
    """
    transcripts = play(build, ports, [(words, Pace())], modes=modes, waves=waves, log=log)
    return {mode: transcript.recording for mode, transcript in transcripts.items()}


def play(
    build: Build,
    ports: Ports,
    runs: Sequence[tuple[Words, Pace]],
    *,
    modes: Sequence[str] = MODES,
    waves: tuple[Path, int] | None = None,
    plusargs: Sequence[str] = (),
    log: Path | None = None,
) -> dict[str, Transcript]:
    """Play runs one after the other, in each of the modes, in one simulator process.

    Parameters:
        build: the simulator.
        ports: of the circuit in it.
        runs: frames, and how they are sent.
        modes: out of those of `sim.testbench`.
        waves: for a traced build, what waveforms are called (without "_full.vcd"), and the frame that is wanted, -1 for all.
        plusargs: further ones.
        log: where to write what the simulator says; by default it is forgotten.

    Raises:
        SimulationError: the simulator fails.
    """
    with plain.plain_folder() as folder:
        stimuli.write(folder, runs, ports)
        plusargs = [*plusargs, f"+in={folder}", f"+out={folder}"]
        if waves is not None:
            plusargs += [f"+waves={waves[0].absolute()}", f"+dump={waves[1]}"]
        try:
            run_module(build, "sim.testbench", folder, plusargs, {"FIRSTSPIKE_MODES": ",".join(modes)}, log or folder / "simulation.log")
        except BaseException:
            for mode in modes if waves else ():
                assert waves
                waves[0].with_name(f"{waves[0].name}_{mode}.vcd").unlink(missing_ok=True)
            raise
        return {mode: Transcript.read(folder, mode, ports, [len(words.counts) for words, _ in runs]) for mode in modes}


def run_module(build: Build, module: str, folder: Path, plusargs: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
    """Run the cocotb tests of a Python module in a simulator, as cocotb's own runner does, but in an environment of our own.

    Parameters:
        build: the simulator.
        module: of the project.
        folder: in which it runs.
        plusargs: for the simulator.
        variables: of the environment, for the module.
        log: where to write what the simulator says.

    Raises:
        SimulationError: one fails, or the simulator does, or it does not get on, such as one whose disk is full.
    """
    results = folder / "results.xml"
    with plain.plain_folder() as links, log.open("wb") as said:
        libraries = plain.link(links, "libraries", cocotb_tools.config.libs_dir)
        library, _, function = cocotb_tools.config.pygpi_entry_point().rpartition(",")
        gpi_users = plain.link(links, "libpython.so", _libpython()), f"{plain.link(links, 'cocotb.so', library)},{function}"
        environment = plain.variables(links) | dict(variables)
        path = [
            plain.link(links, "project", PROJECT),
            *(entry for entry in sys.path if Path(entry).is_absolute() and os.pathsep not in entry),
        ]
        environment |= {
            "COCOTB_LOG_LEVEL": "WARNING",
            "COCOTB_RESULTS_FILE": str(results),
            "COCOTB_TEST_MODULES": module,
            "COCOTB_TOPLEVEL": build.top,
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "GPI_USERS": ";".join(map(str, gpi_users)),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH")])),
            "PYGPI_PYTHON_BIN": sys.executable,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "TOPLEVEL_LANG": "verilog",
        }
        command = [str(build.folder / build.top), *plusargs]
        with subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as process:
            try:
                why = _wait(process, folder, [argument.partition("=")[2] for argument in plusargs if argument.startswith("+waves=")])
            finally:
                process.kill()
    if process.returncode or not _passed(results):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        raise SimulationError("the simulation failed: " + " | ".join([*([why] if why else []), *lines[-12:]]))


def _wait(process: subprocess.Popen[bytes], folder: Path, waveforms: Iterable[str]) -> str:
    """Wait for a simulator; why it had to be given up, or nothing if it ended by itself.

    Parameters:
        process: runs in ``folder``.
        waveforms: what the names of its waveforms begin with.
    """
    names = [Path(name) for name in waveforms]
    size, since = -1, time.monotonic()
    while True:
        try:
            process.wait(timeout=POLL)
            return ""
        except subprocess.TimeoutExpired:
            pass
        files = [*folder.iterdir(), *(path for name in names for path in name.parent.glob(f"{glob.escape(name.name)}_*.vcd"))]
        if (now := sum(path.stat().st_size for path in files)) != size:
            size, since = now, time.monotonic()
            continue
        seconds = time.monotonic() - since
        full = [place for place in (*(name.parent for name in names), folder) if shutil.disk_usage(place).free < FULL]
        if full and seconds > PATIENCE_FULL:
            return f"{full[0]}: {os.strerror(errno.ENOSPC)}"
        if seconds > PATIENCE:
            return f"nothing was written for {seconds:.0f} s"


def _passed(results: Path) -> bool:
    """Whether all tests did, and there was one."""
    try:
        tests, failed = get_results(results)
    except (RuntimeError, ElementTree.ParseError):  # there is no such file, or not all of it
        return False
    return tests > 0 and failed == 0


@cache
def _libpython() -> str:
    """The library of this Python.

    Raises:
        UserError: it has none that is shared.
    """
    found = find_libpython()
    if found is None:
        raise UserError("Python must have a shared library, libpython, which the simulator loads ('apt install libpython3-dev' brings one)")
    return found
