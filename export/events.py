"""Spikes as events: a sparse array over frames, steps and neurons, as the golden model gives it and a circuit emits it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from export.arrays import array
from export.errors import UserError

RADIX = 1 << 16  # numpy sorts keys of 16 bits by radix, which is several times faster
LIMIT = 1 << 15  # of coefficients


@dataclass(frozen=True, eq=False)
class Events:
    """The spikes of one layer, sorted by frame, then step, then neuron.

    Attributes:
        shape: frames, steps and neurons of the array whose entries other than 0 the events are.
        frame: int64 (events,).
        step: int32 (events,).
        neuron: int32 (events,).
        coefficient: int16 (events,), what each is worth; not 0.
    """

    shape: tuple[int, int, int]
    frame: np.ndarray
    step: np.ndarray
    neuron: np.ndarray
    coefficient: np.ndarray

    @classmethod
    def sort(
        cls, shape: tuple[int, int, int], frame: np.ndarray, step: np.ndarray, neuron: np.ndarray, coefficient: np.ndarray | int = 1
    ) -> "Events":
        """Events in any order, inside the array, coefficients of 16 bits; those of the same place stay in their order."""
        frame, coefficient = np.asarray(frame, np.int64), np.broadcast_to(np.asarray(coefficient, np.int16), len(frame))
        events = cls(shape, frame, np.asarray(step, np.int32), np.asarray(neuron, np.int32), coefficient)
        return events.select(np.argsort(events.place, kind="stable"))

    @classmethod
    def from_spike_times(cls, spike_times: np.ndarray, steps: int) -> "Events":
        """The events of neurons that spike once.

        Parameters:
            spike_times: integers (frames, neurons), 0 … steps, ``steps`` = never.
            steps: ``T``.
        """
        frame, neuron = np.nonzero(spike_times < steps)
        step = spike_times[frame, neuron]
        key = frame * steps + step
        order = np.argsort(key.astype(np.uint16) if len(spike_times) * steps <= RADIX else key, kind="stable")
        ones = np.ones(len(order), np.int16)
        shape = (len(spike_times), steps, spike_times.shape[1])
        return cls(shape, frame[order], step[order].astype(np.int32), neuron[order].astype(np.int32), ones)

    @classmethod
    def from_dense(cls, coefficients: np.ndarray) -> "Events":
        """The entries other than 0 of an array of integers (frames, steps, neurons), each of at most 16 bits.

        Raises:
            UserError: it is something else.
        """
        coefficients = array("coefficients", coefficients)
        if coefficients.ndim != 3 or coefficients.dtype.kind not in "iu":
            raise UserError(
                f"coefficients must be integers of shape (frames, steps, neurons), not {coefficients.dtype} {coefficients.shape}"
            )
        if coefficients.size and not -LIMIT <= coefficients.min() <= coefficients.max() < LIMIT:
            raise UserError(f"coefficients must fit into 16 bits, not from {coefficients.min()} to {coefficients.max()}")
        frame, step, neuron = np.nonzero(coefficients)
        frames, steps, neurons = coefficients.shape
        worth = coefficients[frame, step, neuron].astype(np.int16)
        return cls((frames, steps, neurons), frame, step.astype(np.int32), neuron.astype(np.int32), worth)

    @classmethod
    def concatenate(cls, parts: Sequence["Events"]) -> "Events":
        """Consecutive frames, at least one part; steps and neurons are those of the first."""
        first = np.cumsum([0, *(part.shape[0] for part in parts)])
        _, steps, neurons = parts[0].shape
        return cls(
            (int(first[-1]), steps, neurons),
            np.concatenate([part.frame + at for part, at in zip(parts, first, strict=False)]),
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("step", "neuron", "coefficient")),
        )

    def check(self) -> None:
        """Refuse arrays that are no events.

        Raises:
            UserError: they are no integers, differ in length, lie outside of ``shape``, are not sorted, share a place, or are worth 0.
        """
        arrays = {name: getattr(self, name) for name in ("frame", "step", "neuron", "coefficient")}
        for name, values in arrays.items():
            if not (isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "i") or np.ma.is_masked(values):
                raise UserError(f"{name} of events must be signed integers of shape (events,), not {_described(values)}")
        if len(set(map(len, arrays.values()))) > 1:
            raise UserError(f"arrays of events must be of one length, not {', '.join(f'{len(v)} ({n})' for n, v in arrays.items())}")
        if len(self.shape) != 3:
            raise UserError(f"shape of events must be (frames, steps, neurons), not {self.shape}")
        for (name, values), size in zip(arrays.items(), self.shape, strict=False):
            if len(values) and not 0 <= values.min() <= values.max() < size:
                raise UserError(f"{name} of events must be from 0 to {size - 1}, not from {values.min()} to {values.max()}")
        if (behind := np.diff(self.place) <= 0).any():
            k = int(np.argmax(behind))
            raise UserError(f"events must be sorted by frame, step and neuron, one per place, but event {k + 1} is not behind event {k}")
        if not self.coefficient.all():
            raise UserError(f"coefficients of events must not be 0, but that of event {int(np.argmin(self.coefficient != 0))} is")

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, frames: slice) -> "Events":
        """The events of consecutive frames, counted from the first of them."""
        begin, end, stride = frames.indices(self.shape[0])
        if stride != 1:
            raise ValueError(f"a slice of events must be of consecutive frames, not of every {stride}th")
        end = max(begin, end)
        part = slice(*np.searchsorted(self.frame, (begin, end)))
        shape = (end - begin, *self.shape[1:])
        return Events(shape, self.frame[part] - begin, self.step[part], self.neuron[part], self.coefficient[part])

    def select(self, which: np.ndarray) -> "Events":
        """Some of the events.

        Parameters:
            which: bool (events,), or indices in an order in which the events are sorted.
        """
        return Events(self.shape, self.frame[which], self.step[which], self.neuron[which], self.coefficient[which])

    @property
    def place(self) -> np.ndarray:
        """Each event's place in the array, int64 (events,), ascending if all lie inside it."""
        _, steps, neurons = self.shape
        return (self.frame * steps + self.step) * neurons + self.neuron

    @property
    def cell(self) -> np.ndarray:
        """``frame * neurons + neuron`` of each event, int64 (events,)."""
        return self.frame * self.shape[2] + self.neuron

    def by_step(self) -> Iterator["StepEvents"]:
        """The events of each step."""
        order = np.argsort(self.step.astype(np.uint16), kind="stable")
        bounds = np.searchsorted(self.step[order], np.arange(self.shape[1] + 1))
        for begin, end in itertools.pairwise(bounds.tolist()):
            at = order[begin:end]
            frame, begins = self.frame[at], np.ones(len(at), bool)
            np.not_equal(frame[1:], frame[:-1], out=begins[1:])
            first = np.flatnonzero(begins)
            yield StepEvents(frame[first], np.diff(first, append=len(at)), self.neuron[at], self.coefficient[at])

    def spike_times(self) -> np.ndarray:
        """The step of each neuron's first spike, int32 (frames, neurons), ``steps`` = never."""
        frames, steps, neurons = self.shape
        times = np.full((frames, neurons), steps, np.int32)
        late_first = np.arange(len(self))[::-1]  # so that the first spike is what stays
        times[self.frame[late_first], self.neuron[late_first]] = self.step[late_first]
        return times

    def equals(self, other: "Events") -> bool:
        """Whether both are the same events of arrays of the same shape."""
        same = self.shape == other.shape and len(self) == len(other)
        return same and all(np.array_equal(getattr(self, n), getattr(other, n)) for n in ("frame", "step", "neuron", "coefficient"))

    def missing_in(self, other: "Events") -> np.ndarray:
        """Which events have none at their place in ``other``, of the same shape: bool (events,)."""
        place, others = self.place, other.place
        found = np.searchsorted(others, place)
        return np.append(others, -1)[found] != place


class StepEvents(NamedTuple):
    """The events of one step, sorted by frame, then neuron.

    Attributes:
        frames: int64 (frames,), those that have events.
        counts: int64 (frames,), how many each of them has.
        neuron, coefficient: of each event, as in `Events`.
    """

    frames: np.ndarray
    counts: np.ndarray
    neuron: np.ndarray
    coefficient: np.ndarray

    def dense(self, neurons: int) -> np.ndarray:
        """Coefficients, 0 for none, float32 (frames, neurons)."""
        spikes = np.zeros((len(self.frames), neurons), np.float32)
        spikes[np.repeat(np.arange(len(self.frames)), self.counts), self.neuron] = self.coefficient
        return spikes


def _described(values: object) -> str:
    if not isinstance(values, np.ndarray):
        return type(values).__name__
    return f"{'masked ' if np.ma.is_masked(values) else ''}{values.dtype} {values.shape}"
