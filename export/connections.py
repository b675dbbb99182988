"""Connections: the synapses between two sets of neurons, as arrays, and the golden model of what they sum up.

A connection has

* ``kind``, its name in files, ``inputs`` and ``outputs``, and the maps that they are, if they are;
* ``channels``: how many outputs have weights and thresholds of their own; the others are those again, at other positions of a map;
* ``weights``: a row for each of these, as files and memories hold them;
* ``synapses`` and ``negatives`` of each neuron, from which follow ``fan_in`` and ``sum_range``: the least and greatest sum of each neuron
  over a frame, which membrane widths are derived from;
* ``sums``: what a step's spikes add to the potentials; ``sums_of_events``: the same of spikes as events.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from export.arrays import array, frozen
from export.errors import UserError
from export.events import StepEvents
from export.maps import Map

# Weights of events are added up, instead of a matrix product, where
SPARSE = 16  # there are at least so many inputs for each event, and
ROUND = 1 << 17  # the product has so many multiplications for each round, in which an event of every frame is added.
MAX_FAN_IN = 1 << 20  # far below 2**24, up to which float32 counts exactly (the golden model multiplies in float32)


Totals = tuple[int, int]
"""Least and greatest running sum of coefficients."""


class Connection(ABC):
    """The synapses of a layer.

    Attributes:
        kind: its name in files.
        weights: -1 or +1, int8 (channels, weights of each).
    """

    kind: ClassVar[str]
    weights: np.ndarray

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Neurons, or pixels, that it begins at."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Neurons that it ends at."""

    @property
    def input_map(self) -> Map | None:
        """Height, width and channels, if the inputs must be a map."""
        return None

    @property
    def output_map(self) -> Map | None:
        """Height, width and channels, if the outputs are a map."""
        return None

    @property
    def channels(self) -> int:
        """Outputs with weights and thresholds of their own; output ``j`` has those of ``j % channels``."""
        return self.outputs

    @property
    @abstractmethod
    def synapses(self) -> np.ndarray:
        """The number of synapses of each neuron, int64 (outputs,)."""

    @property
    @abstractmethod
    def negatives(self) -> np.ndarray:
        """``K_j``: the number of -1 weights of each neuron, int64 (outputs,) [S7]."""

    @property
    def fan_in(self) -> int:
        """The most synapses of one neuron."""
        return int(self.synapses.max())

    @abstractmethod
    def sums(self, spikes: np.ndarray) -> np.ndarray:
        """``Σ_i w_ij · c_i`` of one step, float32 (frames, outputs), exact; ``spikes`` are coefficients (frames, inputs)."""

    def sums_of_events(self, events: StepEvents) -> np.ndarray:
        """The same of the events of some frames."""
        return self.sums(events.dense(self.inputs))

    def sum_range(self, totals: Totals = (0, 1)) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest ``Σ_i w_ij · n_i`` over all ``n_i`` from ``totals[0]`` to ``totals[1]``, int64 (outputs,) each.

        Parameters:
            totals: least and greatest sum of the coefficients that an input can have sent at any time of a frame.
        """
        least, greatest = totals
        positives = self.synapses - self.negatives
        return positives * least - self.negatives * greatest, positives * greatest - self.negatives * least


def signs(name: str, weights: np.ndarray) -> np.ndarray:
    """Weights of ±1 as int8, read-only.

    Raises:
        UserError: they are something else.
    """
    if weights.dtype.kind not in "iuf":
        raise UserError(f"{name} must be numbers, not {weights.dtype}")
    wrong = (weights != 1) & (weights != -1)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise UserError(f"{name} must be -1 or +1, but {name}[{', '.join(map(str, place))}] is {weights[place]}")
    return frozen(weights, np.int8)


@dataclass(frozen=True, eq=False)
class Dense(Connection):
    """A full matrix of ±1 weights.

    Parameters:
        weights: -1 or +1, shape (outputs, inputs), any integer or float dtype; kept as int8.

    Raises:
        UserError: a shape, a dtype or a value is not as said.
    """

    weights: np.ndarray
    kind: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        weights = array("weights", self.weights)
        if weights.ndim != 2 or 0 in weights.shape:
            raise UserError(f"weights must have shape (outputs, inputs), both at least 1, not {weights.shape}")
        if weights.shape[1] > MAX_FAN_IN:
            raise UserError(f"a layer must have at most {MAX_FAN_IN} inputs, not {weights.shape[1]}")
        object.__setattr__(self, "weights", signs("weights", weights))

    @property
    def inputs(self) -> int:
        return self.weights.shape[1]

    @property
    def outputs(self) -> int:
        return self.weights.shape[0]

    @cached_property
    def synapses(self) -> np.ndarray:
        return frozen(np.full(self.outputs, self.inputs), np.int64)

    @cached_property
    def negatives(self) -> np.ndarray:
        return frozen((self.weights < 0).sum(axis=1), np.int64)

    @cached_property
    def _transposed(self) -> np.ndarray:
        return np.ascontiguousarray(self.weights.T, np.float32)

    def sums(self, spikes: np.ndarray) -> np.ndarray:
        return spikes.astype(np.float32, copy=False) @ self._transposed

    def sums_of_events(self, events: StepEvents) -> np.ndarray:
        """The first event of each frame, then the second one of those that have it, and so on, while events are few."""
        counts, most = events.counts, int(events.counts.max(initial=0))
        places = len(counts) * self.inputs
        if SPARSE * len(events.neuron) > places or ROUND * most > places * self.outputs:
            return super().sums_of_events(events)
        order = np.argsort(-counts)
        begins = (np.cumsum(counts) - counts)[order]
        total = self._weighted(events, begins)
        for k in range(1, most):
            rows = np.count_nonzero(counts > k)
            total[:rows] += self._weighted(events, begins[:rows] + k)
        sums = np.empty_like(total)
        sums[order] = total
        return sums

    def _weighted(self, events: StepEvents, which: np.ndarray) -> np.ndarray:
        """What some events add, float32 (events, outputs)."""
        weights, coefficient = self._transposed.take(events.neuron[which], axis=0), events.coefficient[which]
        return weights if (coefficient == 1).all() else weights * coefficient[:, None]
