"""What the wrapper wrote down of a simulation, and what a comparison needs of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sim import frames
from sim.frames import Spikes
from sim.ports import Ports


@dataclass(frozen=True, eq=False)
class Recording:
    """What came out of a circuit for some frames in one mode.

    Attributes:
        layers: the spikes that each layer emitted.
        results: the fields of the results, int64 (results,) each, by name.
        starts: int64 (frames,), the cycle in which each frame's first word was taken; -1 where none was.
        ends: int64 (results,), the cycle in which each result was given.
        stuck: whether the run was given up because nothing moved any more.
        seconds: what it took.
    """

    layers: tuple[Spikes, ...]
    results: dict[str, np.ndarray]
    starts: np.ndarray
    ends: np.ndarray
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


@dataclass(frozen=True, eq=False)
class Log:
    """What passed a port, in order.

    Attributes:
        starts: int64 (runs + 1,), where the records of each run begin.
        cycle: int64 (records,), since the reset.
        payload: uint32 (records, units).
    """

    starts: np.ndarray
    cycle: np.ndarray
    payload: np.ndarray

    @property
    def run(self) -> np.ndarray:
        """The run of each record, int64 (records,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@dataclass(frozen=True, eq=False)
class Transcript:
    """Everything that passed the ports of a circuit in one mode. Frames are numbered in the order of their results, run after run.

    Attributes:
        ports: of the circuit.
        frames: int64 (runs + 1,), the number of the first frame of each run that was played.
        inputs: per stream, the words that were taken, or the first ones of frames: two units with the frame's number on that stream in
            its run, and the word's place in its frame (31 bits) below the cancel.
        results: results that were taken.
        monitors: words per layer.
        held: int64 (runs,), how often a result changed before it was taken.
        stuck: whether the last run was given up.
        seconds: what the simulation took.
    """

    ports: Ports
    frames: np.ndarray
    inputs: tuple[Log, ...]
    results: Log
    monitors: tuple[Log, ...]
    held: np.ndarray
    stuck: bool
    seconds: float

    @classmethod
    def read(cls, folder: Path, mode: str, ports: Ports, sent: Sequence[int]) -> "Transcript":
        """What a simulation wrote into a folder.

        Parameters:
            folder: where it is.
            mode: of the simulation.
            ports: of the circuit.
            sent: number of frames of each run.
        """
        status = json.loads((folder / f"{mode}.json").read_text(encoding="utf-8"))
        names = ("results", *ports.streams, *(f"monitor_{layer}" for layer in range(len(ports.monitors))))
        runs = np.fromfile(folder / f"{mode}.runs.bin", "<i8").reshape(-1, 1 + len(names))
        units = (ports.result.units, *(2 for _ in ports.streams), *(payload.units for payload in ports.monitors))

        def log(name: str, units: int, ends: np.ndarray) -> Log:
            records = np.fromfile(folder / f"{mode}.{name}.bin", "<u4").reshape(-1, 2 + units)
            cycle = np.ascontiguousarray(records[:, :2]).view("<i8")[:, 0]
            return Log(np.concatenate([[0], ends]), cycle, records[:, 2:])

        results, *others = (log(name, count, ends) for name, count, ends in zip(names, units, runs.T[1:], strict=True))
        return cls(
            ports=ports,
            frames=np.concatenate([[0], np.cumsum(sent[: len(runs)], dtype=np.int64)]),
            inputs=tuple(others[: len(ports.streams)]),
            results=results,
            monitors=tuple(others[len(ports.streams) :]),
            held=np.diff(runs[:, 0], prepend=0),
            stuck=status["stuck"],
            seconds=status["seconds"],
        )

    def frame_of_words(self, layer: int) -> np.ndarray:
        """The number of the frame of each word on a layer's monitor, int64 (words,); that of the frame behind the last one, or more, for
        words of frames that were not sent."""
        log = self.monitors[layer]
        number = frames.frame_numbers(log.payload, self.ports.monitors[layer], self.ports.contexts, log.starts[:-1])
        return np.where(number < np.diff(self.frames)[log.run], self.frames[log.run] + number, self.frames[-1] + number)

    def taken(self, stream: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each word that was taken from a stream: its frame's number, its place there, and whether ``cancel`` was high."""
        log = self.inputs[stream]
        number, place = log.payload.astype(np.int64).T
        return self.frames[log.run] + number * len(self.inputs) + stream, place & (1 << 31) - 1, place >> 31 == 1

    @property
    def fields(self) -> dict[str, np.ndarray]:
        """The fields of the results, int64 (results,) each, by name."""
        return {name: self.ports.result.get(self.results.payload, name) for name in self.ports.result.fields}

    @cached_property
    def recording(self) -> Recording:
        """What came out of it; frames of which there is not the first word, or no word, show as such."""
        layers = [
            frames.spikes(log.payload, payload, self.frame_of_words(layer))
            for layer, (log, payload) in enumerate(zip(self.monitors, self.ports.monitors, strict=True))
        ]
        starts = np.full(self.frames[-1], -1, np.int64)
        for stream, log in enumerate(self.inputs):
            frame, place, _ = self.taken(stream)
            starts[frame[place == 0]] = log.cycle[place == 0]
        return Recording(tuple(layers), self.fields, starts, self.results.cycle, self.stuck, self.seconds)
