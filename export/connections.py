"""Connections: the synapses between two sets of neurons, as arrays, and the golden model of what they sum up.

A connection has

* ``kind``, its name in files, ``inputs``, ``outputs`` and ``fan_in``, the most synapses that any neuron has;
* ``sums``: what a step's spikes add to the potentials;
* ``sum_range``: the least and greatest sum of each neuron over a frame, which membrane widths are derived from.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from export.arrays import array, frozen
from export.errors import UserError

MAX_FAN_IN = 1 << 20  # far below 2**24, up to which float32 counts exactly (the golden model multiplies in float32)


Totals = tuple[int, int]
"""Least and greatest running sum of coefficients."""


class Connection(ABC):
    """The synapses of a layer.

    Attributes:
        weights: int8, -1 or +1; the first axis is that of the outputs.
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
    @abstractmethod
    def fan_in(self) -> int:
        """The most synapses of one neuron."""

    @cached_property
    def negatives(self) -> np.ndarray:
        """``K_j``: the number of -1 weights of each neuron, int32 (outputs,) [S7]."""
        return frozen((self.weights < 0).reshape(len(self.weights), -1).sum(axis=1), np.int32)

    @abstractmethod
    def sums(self, spikes: np.ndarray) -> np.ndarray:
        """``Σ_i w_ij · c_i`` of one step, float32 (frames, outputs), exact; ``spikes`` are coefficients (frames, inputs)."""

    @abstractmethod
    def sum_range(self, totals: Totals = (0, 1)) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest ``Σ_i w_ij · n_i`` over all ``n_i`` from ``totals[0]`` to ``totals[1]``, int64 (outputs,) each.

        Parameters:
            totals: least and greatest sum of the coefficients that an input can have sent at any time of a frame.
        """


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
        if weights.dtype.kind not in "iuf":
            raise UserError(f"weights must be numbers, not {weights.dtype}")
        wrong = (weights != 1) & (weights != -1)
        if wrong.any():
            j, i = np.argwhere(wrong)[0]
            raise UserError(f"weights must be -1 or +1, but weights[{j}, {i}] is {weights[j, i]}")
        object.__setattr__(self, "weights", frozen(weights, np.int8))

    @property
    def inputs(self) -> int:
        return self.weights.shape[1]

    @property
    def outputs(self) -> int:
        return self.weights.shape[0]

    @property
    def fan_in(self) -> int:
        return self.inputs

    @cached_property
    def _transposed(self) -> np.ndarray:
        return self.weights.T.astype(np.float32)

    def sums(self, spikes: np.ndarray) -> np.ndarray:
        return spikes.astype(np.float32, copy=False) @ self._transposed

    def sum_range(self, totals: Totals = (0, 1)) -> tuple[np.ndarray, np.ndarray]:
        least, greatest = totals
        negatives = self.negatives.astype(np.int64)
        positives = self.inputs - negatives
        return positives * least - negatives * greatest, positives * greatest - negatives * least


CONNECTIONS: dict[str, type[Connection]] = {connection.kind: connection for connection in (Dense,)}
