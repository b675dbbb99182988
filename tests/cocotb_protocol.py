"""Runs inside the simulator, around the bare circuit: gaps and stalls at random, resets, frames that break rules.

`tests/test_sim_protocol.py` builds and starts it. Python looks at every cycle here; co-simulation of whole data sets does not.
"""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from export import load, reference
from export.reference import Decisions, Result
from hw.words import WordFormat
from sim import frames
from sim.compare import compare
from sim.ports import Payload, Ports
from sim.simulate import Recording

FOLDER = Path(os.environ["PROTOCOL_FOLDER"])
NETWORK = load(FOLDER / "network.safetensors")
PORT_MAP = json.loads((FOLDER / "accelerator.json").read_text())
PORTS = Ports.from_map(PORT_MAP)
FORMAT = WordFormat(NETWORK.inputs, NETWORK.steps, PORT_MAP["folding"]["simd"][0])
TIMES = np.load(FOLDER / "times.npy")
GOLDEN = reference.run(NETWORK, TIMES)
PATIENCE = 5_000  # cycles in which something must move

Frame = list[int]  # its words, packed


def words_of(times: np.ndarray) -> list[Frame]:
    """The words of each frame."""
    words = frames.pack(times, FORMAT)
    values = [integer(record) for record in words.records]
    ends = np.cumsum(words.counts)
    return [values[end - count : end] for end, count in zip(ends, words.counts, strict=True)]


def integer(record: np.ndarray) -> int:
    return sum(int(unit) << 32 * place for place, unit in enumerate(record))


def records(values: list[int], payload: Payload) -> np.ndarray:
    units = [[value >> 32 * place & 0xFFFFFFFF for place in range(payload.units)] for value in values]
    return np.array(units, np.uint32).reshape(-1, payload.units)


class StableMonitor:
    """A payload that waits holds until it is taken."""

    def __init__(self, name: str):
        self.name = name
        self.waiting: int | None = None

    def look(self, valid: bool, ready: bool, payload: int | None) -> None:
        if self.waiting is not None:
            assert valid, f"{self.name} must stay valid until it is taken"
            assert payload == self.waiting, f"{self.name} must hold {self.waiting:x} until it is taken, not {payload:x}"
        self.waiting = payload if valid and not ready else None


@dataclass
class Seen:
    """What came out of a run."""

    results: list[int]
    monitors: list[list[int]]
    taken: int  # frames

    def recording(self) -> Recording:
        layers = [frames.spikes(records(seen, payload), payload) for seen, payload in zip(self.monitors, PORTS.monitors, strict=True)]
        results = records(self.results, PORTS.result)
        fields = {name: PORTS.result.get(results, name) for name in PORTS.result.fields}
        return Recording(tuple(layers), fields, np.zeros(self.taken), np.zeros(len(self.results)), self.taken, False, 0.0)


class Bench:
    """The circuit with a source, a sink, and monitors on all its streams."""

    def __init__(self, dut, *, early: bool, gaps: float = 0.0, stalls: float = 0.0, follow_cancel: bool = True, seed: int = 0):
        self.dut, self.gaps, self.stalls, self.follow_cancel = dut, gaps, stalls, follow_cancel
        self.random = random.Random(seed)
        self.input, self.output = StableMonitor("i"), StableMonitor("o")
        Clock(dut.clk, 2, unit="ns").start()
        dut.early.value = early
        self.idle()

    def idle(self) -> None:
        self.dut.i__valid.value = 0
        self.dut.i__payload.value = 0
        self.dut.o__ready.value = 0
        self.offered = False

    async def reset(self, cycles: int = 2) -> None:
        self.idle()
        self.dut.rst.value = 1
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        self.input.waiting = self.output.waiting = None

    async def run(self, sent: list[Frame], *, cycles: int | None = None) -> Seen:
        """Send frames and collect what comes, until nothing more does, or for a number of cycles."""
        dut = self.dut
        seen = Seen([], [[] for _ in PORTS.monitors], 0)
        frame = position = quiet = cycle = 0
        while cycles is None or cycle < cycles:
            if not self.offered and frame < len(sent) and self.random.random() >= self.gaps:
                dut.i__valid.value = 1
                dut.i__payload.value = sent[frame][position]
                self.offered = True
            dut.o__ready.value = self.random.random() >= self.stalls
            await RisingEdge(dut.clk)
            cycle += 1
            quiet += 1
            # Registers still show what they were before the edge: a handshake is read off as it happened.
            taken = self.offered and int(dut.i__ready.value) == 1
            self.input.look(self.offered, taken, sent[frame][position] if self.offered else None)
            if taken:
                quiet = 0
                self.offered = False
                dut.i__valid.value = 0
                if position + 1 == len(sent[frame]):
                    frame, position = frame + 1, 0
                    seen.taken += 1
                elif int(dut.i_cancel.value) and self.follow_cancel:
                    position = len(sent[frame]) - 1
                else:
                    position += 1
            valid, ready = int(dut.o__valid.value) == 1, int(dut.o__ready.value) == 1
            payload = int(dut.o__payload.value) if valid else None
            self.output.look(valid, ready, payload)
            if valid and ready:
                quiet = 0
                seen.results.append(payload)
            for index, values in enumerate(seen.monitors):
                if int(getattr(dut, f"monitor_{index}__valid").value):
                    quiet = 0
                    values.append(int(getattr(dut, f"monitor_{index}__payload").value))
            if quiet == (100 if seen.taken == len(sent) and len(seen.results) >= len(sent) else PATIENCE):
                break
        return seen


def check(seen: Seen, early: bool, golden: Result = GOLDEN) -> None:
    """Every spike and every decision, and nothing left over."""
    outcome = compare("early" if early else "full", seen.recording(), golden, NETWORK.steps)
    assert outcome.passed, f"{outcome.differences} differences, first {outcome.first}"


def part(chosen: np.ndarray) -> Result:
    """The golden result of some frames."""
    names = ("class_index", "step", "margin", "silent")
    decisions = Decisions(*(getattr(GOLDEN.decisions, name)[chosen] for name in names))
    return Result(tuple(times[chosen] for times in GOLDEN.spike_times), decisions)


@cocotb.test
@cocotb.parametrize(early=[False, True], follow_cancel=[False, True], gaps=[0.0, 0.6], stalls=[0.0, 0.9])
async def gaps_and_stalls(dut, early, follow_cancel, gaps, stalls):
    """Frames back to back; whatever the pace of sender and receiver, the same comes out."""
    bench = Bench(dut, early=early, gaps=gaps, stalls=stalls, follow_cancel=follow_cancel, seed=1)
    await bench.reset()
    check(await bench.run(words_of(TIMES)), early)


@cocotb.test
@cocotb.parametrize(early=[False, True])
async def reset_in_the_middle(dut, early):
    """After a reset at any moment, all is as if nothing had been."""
    bench = Bench(dut, early=early, gaps=0.2, stalls=0.5, seed=2)
    sent = words_of(TIMES)
    await bench.reset()
    for attempt in range(12):
        await bench.run(sent, cycles=7 * attempt + bench.random.randrange(60))
        await bench.reset(cycles=1 + attempt % 2)
        chosen = np.arange(attempt, attempt + 3)
        check(await bench.run([sent[frame] for frame in chosen]), early, part(chosen))


@cocotb.test
async def mode_between_frames(dut):
    """The mode can change whenever no frame is under way."""
    bench = Bench(dut, early=False, seed=3)
    await bench.reset()
    sent = words_of(TIMES)
    for frame in range(12):
        early = frame % 3 != 0
        dut.early.value = early
        check(await bench.run([sent[frame]]), early, part(np.array([frame])))


def broken(frame: Frame) -> dict[str, Frame]:
    """Ways to spoil a frame that has words at two steps at least, the first closed by its first word."""
    time, end = PORTS.word["time"], PORTS.word["last_of_step"]
    index = PORTS.word["index"]
    ways = {
        "step 0 is left out": frame[1:],
        "time goes back": [frame[0], *(word for word in frame[1:-1]), frame[0] & ~(1 << end.offset), frame[-1]],
        "step left open": [frame[0] & ~(1 << end.offset), *frame[1:]],
    }
    if FORMAT.words < 1 << index.width:
        mask = (1 << index.width) - 1 << index.offset
        ways["index out of range"] = [*frame[:-1], frame[-1] & ~mask | FORMAT.words << index.offset]
    if NETWORK.steps < 1 << time.width:
        mask = (1 << time.width) - 1 << time.offset
        ways["time out of range"] = [*frame[:-1], frame[-1] & ~mask | NETWORK.steps << time.offset]
    return ways


@cocotb.test
@cocotb.parametrize(gaps=[0.0, 0.5])
async def frames_that_break_rules(dut, gaps):
    """The result of such a frame is flagged, and no other one is."""
    bench = Bench(dut, early=False, gaps=gaps, seed=4)
    sent = words_of(TIMES)
    last_of_step = 1 << PORTS.word["last_of_step"].offset
    frame = next(f for f in sent if len(f) > 3 and f[0] & last_of_step and f[-1] >> PORTS.word["time"].offset & 7)
    ways = broken(frame)
    assert len(ways) >= 4
    await bench.reset()
    for spoilt in ways.values():
        seen = await bench.run([sent[0], spoilt, sent[1], sent[2]])
        results = seen.recording().results
        assert results["error"].tolist() == [0, 1, 0, 0]
        for name in ("class_index", "step", "margin", "silent"):
            golden = getattr(GOLDEN.decisions, name)[:3].astype(int)
            assert results[name][[0, 2, 3]].tolist() == golden.tolist()
