"""Plays sequences to a circuit inside the simulator: Python is woken once per mode, and everything that passes is written down."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from sim.build import Build
from sim.ports import UNIT, Payload, Ports
from sim.protocol.rules import Word
from sim.protocol.sequences import Run
from sim.simulate import run_module
from sim.templates import render
from sim.wrapper import Design

MODES = ("full", "early", "changing")
"""In ``changing``, the mode changes at any moment."""
FLAGS = ("--x-initial", "unique")
"""For the build: registers that no reset reaches begin at random, and what comes out must not depend on them."""
PATIENCE = 5_000
"""Cycles in which something must move. Far more than a small circuit needs for a step."""
CAPACITY = 1 << 12
"""Greatest number of words on a stream in one run."""


@dataclass(frozen=True)
class Stage(Design):
    """A circuit with a player around it."""

    def wrapper(self, *, traced: bool = False) -> str:
        end = _packed(Word(0, 0, 0, True, True), self.ports.word)
        return render("player.sv.j2", end=end, traced=traced, **self.values())


def stage(verilog: str, ports: Ports) -> Stage:
    """What to build in order to play to a circuit."""
    return Stage(verilog, ports, CAPACITY, PATIENCE)


@dataclass(frozen=True, eq=False)
class Log:
    """Something that passed a port, in order: the run (int64) and the payload (uint32 units) of each.

    Attributes:
        starts: int64 (runs + 1,), where the records of each run begin.
        payload: uint32 (records, units).
    """

    starts: np.ndarray
    payload: np.ndarray

    def of(self, run: int) -> slice:
        """Where the records of a run are."""
        return slice(int(self.starts[run]), int(self.starts[run + 1]))


@dataclass(frozen=True, eq=False)
class Recording:
    """What was seen in one mode.

    Attributes:
        runs: that were played to their end or cut.
        stuck: whether the last of them was given up.
        inputs: words that were taken: one unit with the place of the word in its stream's run (24 bits), the stream (7) and the cancel.
        results: results that were taken.
        monitors: words per layer.
        held: runs in which a result changed before it was taken.
    """

    runs: int
    stuck: bool
    inputs: Log
    results: Log
    monitors: tuple[Log, ...]
    held: np.ndarray


def play(
    build: Build,
    ports: Ports,
    runs: Sequence[Run],
    *,
    modes: Sequence[str] = MODES,
    seed: int = 0,
    waves: Path | None = None,
    plusargs: Sequence[str] = (),
) -> dict[str, Recording]:
    """Play runs to a built `Stage`, in each of the modes.

    Parameters:
        build: of the stage.
        ports: of the circuit.
        runs: one after the other.
        modes: out of `MODES`.
        seed: of the values that registers begin with.
        waves: for a traced build and one mode, where to write the waveform, without "_full.vcd".
        plusargs: further ones.

    Raises:
        SimulationError: the simulator fails.
    """
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "frames.bin").write_bytes(pack(runs, ports))
        arguments = [
            *plusargs,
            f"+frames={folder / 'frames.bin'}",
            f"+out={folder}",
            "+verilator+rand+reset+2",
            f"+verilator+seed+{seed + 1}",
        ]
        if waves is not None:
            arguments.append(f"+waves={waves.absolute()}")
        status = folder / "status.json"
        variables = {"FIRSTSPIKE_MODES": ",".join(modes), "FIRSTSPIKE_STATUS": str(status)}
        run_module(build, "sim.testbench", folder, arguments, variables, folder / "simulation.log")
        counts = json.loads(status.read_text())
        return {mode: read(folder, mode, ports, len(runs), counts[mode]) for mode in modes}


def pack(runs: Sequence[Run], ports: Ports) -> bytes:
    """The file that the player reads: 32-bit units, big-endian; of a word, the place of its frame's last word, then its payload."""
    units = [len(runs)]
    for run in runs:
        units += [run.cut, len(run.frames), run.gaps, run.stalls, run.habit, run.seed]
        for stream in range(len(ports.streams)):
            begin = 0
            words = []
            for frame in run.frames[stream :: len(ports.streams)]:
                end = begin + len(frame.words)
                for word in frame.words:
                    packed = _packed(word, ports.word)
                    words += [end - 1, *(packed >> UNIT * unit & (1 << UNIT) - 1 for unit in reversed(range(ports.word.units)))]
                begin = end
            assert begin <= CAPACITY
            units += [begin, *words]
    return np.array(units, ">u4").tobytes()


def _packed(word: Word, payload: Payload) -> int:
    return sum(int(getattr(word, field.name)) << payload[field.name].offset for field in fields(Word))


def read(folder: Path, mode: str, ports: Ports, runs: int, status: dict) -> Recording:
    """What runs in one mode wrote into a folder; ``status`` as `sim.testbench` has it."""

    def log(name: str, units: int) -> Log:
        records = np.fromfile(folder / f"{mode}.{name}.bin", "<u4")
        records = records[: len(records) // (1 + units) * (1 + units)].reshape(-1, 1 + units)
        return Log(np.searchsorted(records[:, 0], np.arange(runs + 1)), records[:, 1:])

    return Recording(
        runs=status["sent"],
        stuck=status["stuck"],
        inputs=log("inputs", 1),
        results=log("results", ports.result.units),
        monitors=tuple(log(f"monitor_{layer}", payload.units) for layer, payload in enumerate(ports.monitors)),
        held=np.fromfile(folder / f"{mode}.held.bin", "<u4"),
    )
