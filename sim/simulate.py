"""Runs a built simulator over frames and reads back what it wrote down."""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from sim import frames
from sim.build import Build
from sim.frames import Spikes, Words
from sim.ports import Ports

MODES = ("full", "early")
PROJECT = Path(__file__).resolve().parent.parent


class SimulationError(RuntimeError):
    """The simulator ended before the run did; the message ends in the last lines of what it said."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What came out of one run of some frames in one mode.

    Attributes:
        layers: the spikes that each layer emitted.
        results: the fields of the results, int64 (results,) each, by name.
        starts: int64 (frames,), the cycle in which each frame's first word was taken; -1 where none was.
        ends: int64 (results,), the cycle in which each result was given.
        sent: frames that were taken to their end.
        stuck: whether the run was given up because nothing moved any more.
        seconds: what it took.
    """

    layers: tuple[Spikes, ...]
    results: dict[str, np.ndarray]
    starts: np.ndarray
    ends: np.ndarray
    sent: int
    stuck: bool
    seconds: float

    @property
    def received(self) -> int:
        return len(self.ends)

    @property
    def cycles(self) -> int:
        """From the first word taken to the last result given."""
        taken = self.starts[self.starts >= 0]
        return int(self.ends[-1] - taken.min()) if len(self.ends) and len(taken) else 0


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
        waves: for a traced build, where to write the waveform, without "_full.vcd", and the index of its frame.
        log: where to write what the simulator says; by default nowhere.

    Raises:
        SimulationError: the simulator fails.
    """
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        write_frames(folder, words, ports)
        plusargs = [f"+frames={folder}", f"+out={folder}"]
        if waves is not None:
            plusargs += [f"+waves={waves[0].absolute()}", f"+dump={waves[1]}"]
        status = folder / "status.json"
        variables = {"FIRSTSPIKE_MODES": ",".join(modes), "FIRSTSPIKE_STATUS": str(status)}
        run_module(build, "sim.testbench", folder, plusargs, variables, log or folder / "simulation.log")
        counts = json.loads(status.read_text())
        return {mode: read(folder, mode, ports, len(words.counts), counts[mode]) for mode in modes}


def write_frames(folder: Path, words: Words, ports: Ports) -> None:
    """Write the files that the wrapper reads: one per input stream."""
    for place, name in enumerate(ports.streams):
        (folder / f"{name}.bin").write_bytes(words.stream(place, len(ports.streams)).file())


def run_module(build: Build, module: str, folder: Path, plusargs: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
    """Run the cocotb tests of a Python module in a simulator.

    Raises:
        SimulationError: one fails, or the simulator does.
    """
    results = folder / "results.xml"
    try:
        sys.path.append(str(PROJECT))  # the simulator's Python gets this path; entries that are relative lead elsewhere there
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
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        raise SimulationError("the simulation failed: " + " | ".join(lines[-12:]))


def read(folder: Path, mode: str, ports: Ports, frames_sent: int, status: dict) -> Recording:
    """What a run in one mode wrote into a folder; ``status`` as `sim.testbench` has it."""
    layers = []
    for index, payload in enumerate(ports.monitors):
        records = frames.read(f"{folder}/{mode}.monitor_{index}.bin", payload)
        layers.append(frames.spikes(records, payload, ports.contexts))
    # A record of the results: the cycle in two units, then the result.
    units = np.fromfile(folder / f"{mode}.results.bin", "<u4").reshape(-1, 2 + ports.result.units)
    results = {name: ports.result.get(units[:, 2:], name) for name in ports.result.fields}
    starts = np.full(frames_sent, -1, np.int64)
    begun = np.fromfile(folder / f"{mode}.starts.bin", "<u4").reshape(-1, 3)  # frame, cycle
    starts[begun[:, 0]] = np.ascontiguousarray(begun[:, 1:]).view("<i8")[:, 0]
    return Recording(
        layers=tuple(layers),
        results=results,
        starts=starts,
        ends=np.ascontiguousarray(units[:, :2]).view("<i8")[:, 0],
        sent=status["sent"],
        stuck=status["stuck"],
        seconds=status["seconds"],
    )
