"""The golden model: what a network does, spike for spike, in numpy and nothing else.

All arithmetic is on integers; sums and matrix products run in float32, which is exact here because no sum reaches 2**24. Work follows the
spikes: where a step brings few, their weights are added up, and only the frames that they reach are worked on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from export.events import RADIX, Events
from export.layer import Layer
from export.network import Network
from export.neuron import State

# What is worked on at a time bounds the memory.
CHUNK = 1024  # frames
STATES = 1 << 21  # potentials of one layer
SHARD_BYTES = 1 << 29  # what the spikes of a shard take, more or less
SPIKE_BYTES, NEURON_BYTES = 100, 16  # of that, for each spike of a frame, inputs included, and for each neuron and input


@dataclass(frozen=True, eq=False)
class Decisions:
    """One decision per frame [S5].

    Attributes:
        class_index: int32 (frames,), the decided class.
        step: int32 (frames,), ``t*``; steps taken are ``step + 1``.
        margin: int32 (frames,), ``V_j(t*) - θ_j`` of the decided class.
        silent: bool (frames,), True where no output spiked.
    """

    class_index: np.ndarray
    step: np.ndarray
    margin: np.ndarray
    silent: np.ndarray


DECISION_FIELDS = tuple(field.name for field in fields(Decisions))


@dataclass(frozen=True, eq=False)
class Summary:
    """What scores need of a result.

    Attributes:
        decisions: the readout's decisions.
        output_times: int32 (frames, outputs), spike times of the last layer, ``T`` = never.
        hidden_spikes: int64 (frames,), the number of spikes in the other layers up to the decision.
    """

    decisions: Decisions
    output_times: np.ndarray
    hidden_spikes: np.ndarray

    @classmethod
    def concatenate(cls, parts: Sequence["Summary"]) -> "Summary":
        """Consecutive frames."""
        arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("output_times", "hidden_spikes"))
        return cls(_concatenate([part.decisions for part in parts]), *arrays)


@dataclass(frozen=True, eq=False)
class Result:
    """Spikes of every layer and the decisions.

    Attributes:
        events: the spikes of each layer.
        decisions: the readout's decisions.
    """

    events: tuple[Events, ...]
    decisions: Decisions

    @classmethod
    def from_spike_times(cls, spike_times: Sequence[np.ndarray], decisions: Decisions, steps: int) -> "Result":
        """The result of neurons that spike once; ``spike_times`` are integers (frames, outputs) per layer, ``steps`` = never."""
        return cls(tuple(Events.from_spike_times(times, steps) for times in spike_times), decisions)

    @classmethod
    def concatenate(cls, parts: Sequence["Result"]) -> "Result":
        """Consecutive frames."""
        events = tuple(Events.concatenate(layer) for layer in zip(*(part.events for part in parts), strict=True))
        return cls(events, _concatenate([part.decisions for part in parts]))

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.decisions.step)

    def __getitem__(self, frames: slice) -> "Result":
        """The result of consecutive frames."""
        decisions = Decisions(*(getattr(self.decisions, name)[frames] for name in DECISION_FIELDS))
        return Result(tuple(events[frames] for events in self.events), decisions)

    @cached_property
    def spike_times(self) -> tuple[np.ndarray, ...]:
        """The step of each neuron's first spike, one int32 array (frames, outputs) per layer, 0 … T, ``T`` = never."""
        return tuple(events.spike_times() for events in self.events)

    @property
    def summary(self) -> Summary:
        """What scores need of it."""
        *hidden, outputs = self.events
        counts = [np.bincount(h.frame[h.step <= self.decisions.step[h.frame]], minlength=len(self)) for h in hidden]
        return Summary(self.decisions, outputs.spike_times(), np.sum([np.zeros(len(self), np.int64), *counts], axis=0))


def _concatenate(parts: Sequence[Decisions]) -> Decisions:
    return Decisions(*(np.concatenate([getattr(part, name) for part in parts]) for name in DECISION_FIELDS))


def run(network: Network, inputs: np.ndarray | Events) -> Result:
    """Run frames through the network [S3–S5], [S9–S12].

    Parameters:
        network: the network.
        inputs: spikes as events, or spike times: integers (frames, inputs), 0 … T, ``T`` = never.

    Raises:
        UserError: the spikes do not fit the network.
    """
    return Result.concatenate(list(_chunks(network, inputs)))


def summarize(network: Network, inputs: np.ndarray | Events) -> Summary:
    """What scores need of the same; spikes are forgotten on the way, of which a large network has more than fit into memory.

    Raises:
        UserError: the spikes do not fit the network.
    """
    return Summary.concatenate([result.summary for result in _chunks(network, inputs)])


def _chunks(network: Network, inputs: np.ndarray | Events) -> Iterator[Result]:
    """Some frames at a time, at least one result."""
    events = network.check_inputs(inputs)
    chunk = chunk_of(network)
    return (_run_chunk(network, events[at : at + chunk]) for at in range(0, max(1, events.shape[0]), chunk))


def shards(network: Network, inputs: Events, golden: Callable[[slice], Result] | None = None) -> Iterator[tuple[slice, Result]]:
    """Consecutive frames, of which each part takes some `SHARD_BYTES` at most with all of its spikes, and their results.

    Parameters:
        golden: gives the results of some frames; None: the golden model does.
    """
    begin, size, parts = 0, 0, list[Result]()
    chunk, frames = chunk_of(network), inputs.shape[0]
    for at in range(0, max(1, frames), chunk):
        here = slice(at, min(at + chunk, frames))
        some = inputs[here]
        result = run(network, some) if golden is None else golden(here)
        spikes = len(some) + sum(map(len, result.events))
        more = NEURON_BYTES * len(result) * sum(network.shape) + SPIKE_BYTES * spikes
        if parts and size + more > SHARD_BYTES:
            yield slice(begin, at), Result.concatenate(parts)
            begin, size, parts = at, 0, []
        size += more
        parts.append(result)
    yield slice(begin, frames), Result.concatenate(parts)


def chunk_of(network: Network) -> int:
    """Frames of a network that are worked on at a time."""
    return min(CHUNK, max(1, STATES // max(network.shape)))


def _run_chunk(network: Network, inputs: Events) -> Result:
    events = [inputs]
    for layer in network.layers[:-1]:
        events.append(_run_layer(layer, events[-1]))
    readout = _Readout(inputs.shape[0], network.outputs, network.steps)
    events.append(_run_layer(network.layers[-1], events[-1], readout))
    return Result(tuple(events[1:]), readout.decisions())


class _Readout:
    """The margins of each frame at its decision [S5]."""

    def __init__(self, frames: int, outputs: int, steps: int):
        self._margin = np.empty((frames, outputs), np.float32)
        self._step = np.full(frames, steps - 1, np.int32)
        self._undecided = np.ones(frames, bool)

    def see(self, step: int, frames: np.ndarray | slice, margin: np.ndarray, spikes: np.ndarray) -> None:
        """A step of the last layer: margins of some frames and whether neurons spike, (frames, outputs) each."""
        decides = self._undecided[frames] & spikes.any(axis=1)
        deciding = np.arange(len(self._undecided))[frames][decides]
        self._margin[deciding], self._step[deciding] = margin[decides], step
        self._undecided[deciding] = False

    def end(self, margin: np.ndarray) -> None:
        """The margins after the last step."""
        self._margin[self._undecided] = margin[self._undecided]

    def decisions(self) -> Decisions:
        class_index = self._margin.argmax(axis=1)  # the lowest index on a tie
        margin = self._margin[np.arange(len(class_index)), class_index]
        return Decisions(class_index.astype(np.int32), self._step, margin.astype(np.int32), self._undecided)


def _run_layer(layer: Layer, inputs: Events, readout: _Readout | None = None) -> Events:
    """The spikes of a layer."""
    if layer.pool is not None:
        inputs = layer.pool.apply(inputs)
    frames, steps, _ = inputs.shape
    flat = frames, layer.outputs
    state = layer.neuron.start(frames * layer.outputs // layer.connection.channels)
    found: list[tuple[np.ndarray, ...]] = [(np.empty(0, np.int64),) * 4]
    for step, events in enumerate(inputs.by_step()):
        reached = events.frames
        others_stay = step > 0 and layer.neuron.skips_empty_steps
        if others_stay and not len(reached):
            continue
        apart = others_stay and 2 * len(reached) < frames  # what is reached is worked on in a copy, and all else not at all
        part = _select(state, reached, flat) if apart else state
        if len(reached):
            flattened = replace(part, margin=part.margin.reshape(-1, layer.outputs))  # the same memory
            rows = slice(None) if apart or len(reached) == frames else reached
            layer.neuron.add(flattened, layer.connection.sums_of_events(events), rows)
        coefficients = layer.neuron.step(part).reshape(-1, layer.outputs)
        if apart:
            _put(state, reached, flat, part)
        fires = coefficients != 0
        row, neuron = np.divmod(np.flatnonzero(fires), layer.outputs)
        found.append((reached[row] if apart else row, np.full(len(row), step), neuron, coefficients[row, neuron]))
        if readout is not None:
            readout.see(step, reached if apart else slice(None), part.margin.reshape(-1, layer.outputs), fires)
    if readout is not None:
        readout.end(state.margin.reshape(flat))
    frame, at, neuron, coefficient = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.argsort(frame.astype(np.uint16) if frames <= RADIX else frame, kind="stable")
    shape = (frames, steps, layer.outputs)
    return Events(shape, frame[order], at[order].astype(np.int32), neuron[order].astype(np.int32), coefficient[order].astype(np.int16))


def _select(state: State, frames: np.ndarray, flat: tuple[int, int]) -> State:
    """The state of some frames, which ``flat`` are rows of: frames and outputs."""
    channels = state.margin.shape[1]
    return State(*(numbers.reshape(flat)[frames].reshape(-1, channels) for numbers in (state.margin, state.emitted)))


def _put(state: State, frames: np.ndarray, flat: tuple[int, int], part: State) -> None:
    """Write the state of some frames."""
    for numbers, new in ((state.margin, part.margin), (state.emitted, part.emitted)):
        numbers.reshape(flat)[frames] = new.reshape(len(frames), -1)
