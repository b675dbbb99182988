"""Runs circuits in Amaranth's own simulator: parts that drive and watch ports cycle by cycle, and whole frames through an accelerator."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from amaranth.hdl import Assert, ClockDomain, Fragment, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

import hw.accelerator
from hw import Accelerator, Folding
from hw.folding import LayerPlan
from hw.words import Words
from tests.hostile import HostilePlatform

IDLE_CYCLES = 12  # watched after the last expected event: nothing more may come
Payload = dict[str, int]


class Part:
    """Something at a port. Every cycle, all parts `drive`, in order; then the cycle's signals are settled, and all parts `look`."""

    done = True  # nothing more is expected

    def drive(self, ctx) -> None:
        pass

    def look(self, ctx, cycle: int) -> None:
        pass


class Source(Part):
    """Sends frames over a stream, back to back; where it is cancelled, it goes to the frame's last word.

    Parameters:
        stream: the receiver's port.
        frames: payloads, one list per frame.
        gaps: share of cycles without a word.
        cancel: the receiver's cancel, if it has one.
        after: a part that must be done before.
    """

    def __init__(self, stream, frames: list[list[Payload]], *, gaps: float = 0.0, cancel=None, after: Part | None = None, seed: int = 0):
        self._stream, self._frames, self._gaps, self._cancel, self._after = stream, frames, gaps, cancel, after
        self._random = random.Random(seed)
        self._frame = self._at = 0
        self._offered = self._closing = False
        self.first_cycles: list[int] = []  # per frame, when its first word was taken
        self.last_cycles: list[int] = []

    @property
    def done(self) -> bool:
        return self._frame == len(self._frames)

    def drive(self, ctx) -> None:
        may = self._after is None or self._after.done
        if may and not self._offered and not self.done and self._random.random() >= self._gaps:
            self._offered = True
            payload = self._frames[self._frame][self._at]
            if self._closing:
                payload = payload | {"bits": 0, "last_of_step": 1, "last_of_frame": 1}
            ctx.set(self._stream.payload, payload)
        ctx.set(self._stream.valid, self._offered)

    def look(self, ctx, cycle: int) -> None:
        if not (self._offered and ctx.get(self._stream.ready)):
            return
        self._offered = False
        if self._at == 0:
            self.first_cycles.append(cycle)
        if self._closing or self._at == len(self._frames[self._frame]) - 1:
            self.last_cycles.append(cycle)
            self._frame, self._at, self._closing = self._frame + 1, 0, False
        else:
            self._at += 1
            self._closing = self._cancel is not None and bool(ctx.get(self._cancel))


class Sink(Part):
    """Takes payloads from a stream.

    Parameters:
        stream: the sender's port.
        expected: how many payloads, or with ``ends``, how many with that flag.
        stalls: share of cycles in which it takes none.
        ends: a flag that ends a frame; payloads are then kept per frame.
        cancel: the sender's cancel, used in a share ``cancels`` of the cycles inside frames, to the frame's end.
    """

    def __init__(self, stream, expected: int, *, stalls: float = 0.0, ends: str = "", cancel=None, cancels: float = 0.0, seed: int = 0):
        self._stream, self._expected, self._stalls, self._ends = stream, expected, stalls, ends
        self._cancel, self._cancels = cancel, cancels
        self._random = random.Random(seed + 1)
        self._seen = self._cancelling = self._inside = False
        self.received: list[Any] = [[]] if ends else []
        self.cycles: list[int] = []  # per payload, when it was there first
        self.cancelled: set[int] = set()  # frames
        self.ended = 0

    @property
    def done(self) -> bool:
        return self.ended == self._expected

    def drive(self, ctx) -> None:
        if self._inside and not self._cancelling and self._random.random() < self._cancels:
            self._cancelling = True
            self.cancelled.add(self.ended)
        if self._cancel is not None:
            ctx.set(self._cancel, self._cancelling)
        ctx.set(self._stream.ready, self._cancelling or self._random.random() >= self._stalls)

    def look(self, ctx, cycle: int) -> None:
        if not ctx.get(self._stream.valid):
            return
        if not self._seen:
            self.cycles.append(cycle)
        self._seen = self._inside = True
        if not ctx.get(self._stream.ready):
            return
        self._seen = False
        payload = fields(ctx, self._stream.payload)
        assert self.ended < self._expected, f"more than expected: {payload}"
        if not self._ends:
            self.received.append(payload)
            self.ended += 1
            return
        self.received[-1].append(payload | {"dropped": self._cancelling})
        if payload[self._ends]:
            self.ended += 1
            self._inside = self._cancelling = False
            if self.ended < self._expected:
                self.received.append([])


class Monitor(Part):
    """Watches words pass; keeps them per frame, as many frames as ``expected``. Those of several contexts are told apart by their tags."""

    def __init__(self, port, expected: int, *, contexts: int = 1):
        self._port, self._expected, self._contexts = port, expected, contexts
        self.frames: list[list[Payload]] = [[] for _ in range(expected)]
        self._current = [context - contexts for context in range(contexts)]

    @property
    def done(self) -> bool:
        return all(self.frames)

    def look(self, ctx, cycle: int) -> None:
        if ctx.get(self._port.valid):
            word = fields(ctx, self._port.payload)
            context = word["frame"] % self._contexts
            if word["first"]:
                self._current[context] += self._contexts
            frame = self._current[context]
            assert 0 <= frame < self._expected, f"more frames than expected: {word}"
            assert bool(word["first"]) == (not self.frames[frame]), f"first word of its frame: {word}"
            assert word["frame"] == frame % (1 << len(self._port.payload.frame)), f"tag of frame {frame}: {word}"
            self.frames[frame].append(word)


class HoldsUntilTaken(wiring.Component):
    """Fails the simulation where a stream takes back, or changes, what it offered and nobody took.

    Parameters:
        streams: called when this component is elaborated, which is after the circuit that has the streams.
    """

    def __init__(self, streams: Callable[[], Iterable]):
        self._streams = streams
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        for stream in self._streams():
            waiting = Signal()
            before = Signal(len(stream.payload.as_value()))
            m.d.sync += [waiting.eq(stream.valid & ~stream.ready), before.eq(stream.payload)]
            with m.If(waiting):
                m.d.sync += Assert(stream.valid & (stream.payload.as_value() == before))
        return m


def fields(ctx, payload) -> Payload:
    """A payload's fields by name."""
    value = ctx.get(payload)
    return {name: getattr(value, name) for name, _ in payload.shape()}


def run(dut, start: Callable[[], list], *, watch: Callable[[], Iterable] = list, reset_at: int | None = None, limit: int = 20_000) -> list:
    """Simulate until all parts are done, and `IDLE_CYCLES` more.

    Parameters:
        dut: the circuit.
        start: makes the parts. It is called again after a reset: what was seen before is forgotten.
        watch: streams that must hold their payload (see `HoldsUntilTaken`).
        reset_at: a cycle in which the circuit is reset.

    Returns:
        the parts.
    """
    reset = Signal()
    m = Module()
    m.domains.sync = ClockDomain()
    m.submodules.dut = ResetInserter(reset)(dut)
    m.submodules.holds = ResetInserter(reset)(HoldsUntilTaken(watch))
    parts = start()

    async def bench(ctx):
        nonlocal parts
        idle = 0
        for cycle in range(limit):
            ctx.set(reset, cycle == reset_at)
            if cycle == reset_at:
                parts = start()
            else:
                for part in parts:
                    part.drive(ctx)
                for part in parts:
                    part.look(ctx, cycle)
                idle = idle + 1 if all(part.done for part in parts) else 0
                if idle > IDLE_CYCLES and (reset_at is None or cycle > reset_at):
                    return
            await ctx.tick()
        raise AssertionError(f"no end in sight after {limit} cycles")

    simulator = Simulator(Fragment.get(m, HostilePlatform()))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return parts


def settle(m: Module, bench: Callable) -> None:
    """Run ``bench(set, get)`` on a combinational circuit."""
    simulator = Simulator(m)

    async def testbench(ctx):
        bench(ctx.set, ctx.get)

    simulator.add_testbench(testbench)
    simulator.run()


@dataclass
class Record:
    """What an accelerator showed.

    Attributes:
        words: per layer and frame, the words on its monitor.
        results: per frame, the result's fields.
        result_cycles: per frame, when its result was there first.
        first_word_cycles: per frame, when its first word was taken.
        last_word_cycles: per frame, when its last word was taken.
    """

    words: list[list[list[Payload]]] = field(default_factory=list)
    results: list[Payload] = field(default_factory=list)
    result_cycles: list[int] = field(default_factory=list)
    first_word_cycles: list[int] = field(default_factory=list)
    last_word_cycles: list[int] = field(default_factory=list)

    def spikes(self, layer: int, simd: int) -> list[tuple[int, int, int]]:
        """(frame, neuron, time) of each spike of a layer, in order of appearance; ``simd`` as on its monitor."""
        return [
            (frame, word["index"] * simd + bit, word["time"])
            for frame, words in enumerate(self.words[layer])
            for word in words
            for bit in range(simd)
            if word["bits"] >> bit & 1
        ]


def simulate(
    accelerator: Accelerator,
    frames: list[list[Payload]],
    *,
    early: bool | Callable[[], Iterator[bool]],
    gaps: float = 0.0,
    stalls: float = 0.0,
    seed: int = 0,
    reset_at: int | None = None,
    load: bytes = b"",
) -> Record:
    """Send frames back to back, take one result per frame, see every stream inside hold its payload until it is taken.

    Before that, ``load`` fills the circuit's memories, if it is loadable.

    ``early`` is the mode, or gives one for each cycle. With ``reset_at``, the circuit is reset in that cycle and all frames are sent again;
    what came before is forgotten.
    """

    class Mode(Part):
        def __init__(self):
            self._modes = early() if callable(early) else itertools.repeat(early)

        def drive(self, ctx):
            ctx.set(accelerator.early, next(self._modes))

    names = accelerator.input_names
    contexts = accelerator.folding.contexts

    def start():
        loader = None
        if load:
            content = [{"data": byte, "first": int(place == 0)} for place, byte in enumerate(load)]
            loader = Source(accelerator.load, [content], gaps=gaps, seed=seed)
        sources = [] if loader is None else [loader]
        for offset, name in enumerate(names):
            stream, cancel = getattr(accelerator, name), getattr(accelerator, f"{name}_cancel", None)
            own = frames[offset :: len(names)]
            sources.append(Source(stream, own, gaps=gaps, cancel=cancel, after=loader, seed=seed + offset))
        sink = Sink(accelerator.o, len(frames), stalls=stalls, seed=seed)
        ports = [getattr(accelerator, f"monitor_{k}") for k in range(len(accelerator.plans))]
        return [Mode(), sink, *(Monitor(port, len(frames), contexts=contexts) for port in ports), *sources]

    with streams_inside() as streams:
        _, sink, *rest = run(accelerator, start, watch=lambda: [accelerator.o, *streams()], reset_at=reset_at)
    monitors, sources = rest[: len(accelerator.plans)], rest[-len(names) :]
    first, last = ([0] * len(frames) for _ in range(2))
    for offset, source in enumerate(sources):
        first[offset :: len(names)], last[offset :: len(names)] = source.first_cycles, source.last_cycles
    return Record([monitor.frames for monitor in monitors], sink.received, sink.cycles, first, last)


@contextmanager
def streams_inside() -> Iterator[Callable]:
    """While the block runs, an accelerator that is elaborated leaves its layers' inputs and its readout's output to be watched."""
    made = []

    def recording(component):
        def make(*args, **kwargs):
            made.append(component(*args, **kwargs))
            return made[-1]

        return make

    with mock.patch.multiple(hw.accelerator, IFLayer=recording(hw.accelerator.IFLayer), Readout=recording(hw.accelerator.Readout)):
        yield lambda: [part.o if hasattr(part.i, "release") else part.i for part in made]


def word_payloads(words: Words) -> list[list[Payload]]:
    """Words as payloads, one list per frame."""
    frames: list[list[Payload]] = [[] for _ in range(words.frame.max() + 1)]
    for k, frame in enumerate(words.frame):
        frames[frame].append(
            {
                "time": int(words.time[k]),
                "index": int(words.index[k]),
                "bits": sum(1 << int(s) for s in np.flatnonzero(words.bits[k])),
                "last_of_step": int(words.last_of_step[k]),
                "last_of_frame": int(words.last_of_frame[k]),
                "error": 0,
            }
        )
    return frames


def in_turn(frames: list[list[Payload]], plan: LayerPlan, *, seed: int = 0) -> list[tuple[int, list[Payload]]]:
    """Words of many frames as they pass a gate: (frame, words of one of its steps), with tags.

    Frame k belongs to context k modulo ``plan.contexts``; which context's step comes next is drawn.
    """
    draw = random.Random(seed)
    waiting: list[list[tuple[int, list[Payload]]]] = [[] for _ in range(plan.contexts)]
    for frame, words in enumerate(frames):
        step: list[Payload] = []
        for place, word in enumerate(words):
            step.append(word | {"first": int(place == 0), "frame": frame % plan.frames})
            if word["last_of_step"]:
                waiting[frame % plan.contexts].append((frame, step))
                step = []
    steps = []
    while any(waiting):
        steps.append(draw.choice([context for context in waiting if context]).pop(0))
    return steps


def random_folding(rng: np.random.Generator, shape: tuple[int, ...]) -> Folding:
    """Any folding of a network of ``shape``; all inputs, or all neurons, at once are drawn often."""
    layers = range(len(shape) - 1)
    contexts = int(rng.choice([1, 1, 2, 4]))
    simd = tuple(n if rng.random() < 0.3 else int(rng.integers(1, n + 1)) for n in shape[:-1])
    pe = tuple(m if rng.random() < 0.4 else int(rng.integers(1, m + 1)) for m in shape[1:])
    form = tuple(str(rng.choice(["delta", "delta", "xnor"])) for _ in layers)
    order = tuple("step" if form[k] == "xnor" else str(rng.choice(["event", "step"])) for k in layers)
    swap = []
    for k in layers:
        swaps = form[k] == "delta" and order[k] == "step" and (pe[k] < shape[k + 1] or contexts > 1)
        swap.append(int(rng.integers(1, pe[k] + 1)) if swaps and rng.random() < 0.5 else 1)
    return Folding(simd, pe, form, order, tuple(swap), contexts)


def pixel_payloads(images: Iterable[np.ndarray], pixels: int = 1) -> list[list[Payload]]:
    """Frames of any lengths as beats of ``pixels`` pixels, one list per frame; what the last beat lacks is as bright as can be."""
    frames = []
    for image in images:
        parts = [[*image[k : k + pixels], *[255] * pixels][:pixels] for k in range(0, len(image), pixels)]
        frames.append([{"intensity": sum(int(p) << 8 * k for k, p in enumerate(part)), "last_of_frame": 0} for part in parts])
        frames[-1][-1]["last_of_frame"] = 1
    return frames
