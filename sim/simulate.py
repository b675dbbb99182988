"""Runs a built simulator over frames, and reads back what it wrote down."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from sim import stimuli
from sim.build import Build
from sim.frames import Words
from sim.ports import Ports
from sim.recording import Recording, Transcript
from sim.stimuli import Pace

MODES = ("full", "early")
PROJECT = Path(__file__).resolve().parent.parent


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
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        stimuli.write(folder, runs, ports)
        plusargs = [*plusargs, f"+in={folder}", f"+out={folder}"]
        if waves is not None:
            plusargs += [f"+waves={waves[0].absolute()}", f"+dump={waves[1]}"]
        run_module(build, "sim.testbench", folder, plusargs, {"FIRSTSPIKE_MODES": ",".join(modes)}, log or folder / "simulation.log")
        return {mode: Transcript.read(folder, mode, ports, [len(words.counts) for words, _ in runs]) for mode in modes}


def run_module(build: Build, module: str, folder: Path, plusargs: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
    """Run the cocotb tests of a Python module in a simulator.

    Raises:
        SimulationError: one fails, or the simulator does.
    """
    results = folder / "results.xml"
    try:
        sys.path.insert(0, str(PROJECT))  # the simulator's Python gets this path; entries that are relative lead elsewhere there
        get_runner("verilator").test(
            test_module=module,
            hdl_toplevel=build.top,
            hdl_toplevel_lang="verilog",
            build_dir=build.folder,
            test_dir=folder,
            results_xml=str(results),
            plusargs=plusargs,
            extra_env={"COCOTB_LOG_LEVEL": "WARNING", **variables},
            log_file=log,
        )
        tests, failed = get_results(results)
        passed = tests > 0 and failed == 0
    except (SystemExit, RuntimeError):
        passed = False
    finally:
        sys.path.remove(str(PROJECT))
    if not passed:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        raise SimulationError("the simulation failed: " + " | ".join(lines[-12:]))
