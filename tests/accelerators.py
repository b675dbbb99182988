"""Runs whole frames through accelerators in Amaranth's own simulator, and draws foldings for them."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

import hw.core.accelerator
from export import Events, Network
from export.reference import run as golden_run
from hw import Accelerator, Folding, cost
from hw.core.words import WordFormat
from hw.cost.cycles import step_words
from tests.circuit import Part, Sink, Source, fields, runs
from tests.payloads import Payload, word_payloads


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
    accelerator: Accelerator, frames: list[list[Payload]], *, early: bool | Callable[[], Iterator[bool]], **options: Any
) -> Record:
    """The record of one run of `simulate_modes`."""
    (record,) = simulate_modes(accelerator, frames, [early], **options)
    return record


def simulate_modes(
    accelerator: Accelerator,
    frames: list[list[Payload]],
    modes: Sequence[bool | Callable[[], Iterator[bool]]],
    *,
    gaps: float = 0.0,
    stalls: float = 0.0,
    seed: int = 0,
    reset_at: int | None = None,
    load: bytes = b"",
    beside: Sequence[Part] = (),
) -> list[Record]:
    """Send frames back to back, take one result per frame, see every stream inside hold its payload until it is taken.

    Before that, ``load`` fills the circuit's memories, if it is loadable. Parts ``beside`` look on.

    All of that once for each of ``modes``: early or not, or what gives that for each cycle. With ``reset_at``, the circuit is reset in that
    cycle and all frames are sent again; what came before is forgotten.
    """

    class Mode(Part):
        def __init__(self, early):
            self._modes = early() if callable(early) else itertools.repeat(early)

        def drive(self, ctx):
            ctx.set(accelerator.early, next(self._modes))

    names = accelerator.input_names
    contexts = accelerator.folding.contexts

    def start(early):
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
        return [Mode(early), sink, *(Monitor(port, len(frames), contexts=contexts) for port in ports), *beside, *sources]

    def record(parts):
        _, sink, *rest = parts
        monitors, sources = rest[: len(accelerator.plans)], rest[-len(names) :]
        first, last = ([0] * len(frames) for _ in range(2))
        for offset, source in enumerate(sources):
            first[offset :: len(names)], last[offset :: len(names)] = source.first_cycles, source.last_cycles
        return Record([monitor.frames for monitor in monitors], sink.received, sink.cycles, first, last)

    with streams_inside() as streams:
        starts = [partial(start, early) for early in modes]
        return [record(parts) for parts in runs(accelerator, starts, watch=lambda: [accelerator.o, *streams()], reset_at=reset_at)]


def events_of(record: Record, layer: int, form: WordFormat) -> list[tuple[int, int, int, int]]:
    """(frame, step, neuron, coefficient) of each spike on a monitor."""
    found = []
    for frame, words in enumerate(record.words[layer]):
        for word in words:
            for lane in range(form.simd):
                value = word["bits"] >> lane * form.lane_bits & (1 << form.lane_bits) - 1
                if form.signed and value >> form.lane_bits - 1:
                    value -= 1 << form.lane_bits
                if value:
                    found.append((frame, word["time"], word["index"] * form.simd + lane, value))
    return sorted(found)


def assert_right(network: Network, folding: Folding, events: Events, **stress: Any) -> None:
    """Each event, decision and cycle of some frames, in both modes, is that of the golden model, or of the cost model.

    Cycles are not looked at under ``stress``: gaps, stalls and so on, as `simulate` takes them.
    """
    golden = golden_run(network, events)
    accelerator = Accelerator(network, folding)
    frames = word_payloads(accelerator.input_format.from_events(events))
    assert sum(map(len, golden.events[:-1])), "there is nothing to compare"
    modes = (False, True)
    for early, record in zip(modes, simulate_modes(accelerator, frames, modes, **stress), strict=True):
        decisions = golden.decisions
        for name, expected in (("class_index", decisions.class_index), ("step", decisions.step), ("margin", decisions.margin)):
            assert [result[name] for result in record.results] == expected.tolist(), name
        assert not any(result["error"] for result in record.results)
        for layer, part in enumerate(golden.events):
            shown = part.select(part.step <= decisions.step[part.frame]) if early else part
            expected = zip(*(getattr(shown, name).tolist() for name in ("frame", "step", "neuron", "coefficient")), strict=True)
            assert events_of(record, layer, accelerator.monitor_formats[layer]) == sorted(expected), f"layer {layer}, early={early}"
        if stress:
            continue
        cycles = cost.predict(network, folding, events, golden, early=early)
        assert cycles.result.tolist() == record.result_cycles, f"early={early}"
        assert cycles.first_word.tolist() == record.first_word_cycles
        if not early:
            words = step_words(accelerator.plans, events, golden)
            work = [(own.work(plan) + plan.step_work(own.passing)).sum() for plan, own in zip(accelerator.plans, words, strict=True)]
            assert max(work) <= record.result_cycles[-1]


@contextmanager
def streams_inside() -> Iterator[Callable]:
    """While the block runs, an accelerator that is elaborated leaves its layers' inputs and its readout's output to be watched."""
    made = []

    def recording(component):
        def make(*args, **kwargs):
            made.append(component(*args, **kwargs))
            return made[-1]

        return make

    with mock.patch.multiple(
        hw.core.accelerator, IFLayer=recording(hw.core.accelerator.IFLayer), Readout=recording(hw.core.accelerator.Readout)
    ):
        yield lambda: [part.o if hasattr(part.i, "release") else part.i for part in made]


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
