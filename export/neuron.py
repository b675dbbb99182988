"""Neurons: thresholds as arrays, and the golden model of when they spike.

Arrays and states are of the different neurons of a layer, its *outputs* here. Where the layer is a convolution these are its channels, and
each position of each frame is worked on as a frame of its own [S15].

A neuron kind has

* ``kind``, its name in files;
* ``spikes_once``: a neuron spikes at most once per frame, with coefficient 1;
* ``resets``: a spike takes from the potential, so that margins no longer compare, and the layer cannot be the last [S5];
* ``skips_empty_steps``: a neuron that no spike has reached in a step neither spikes nor changes, step 0 apart [S4], so that a step
  without spikes need not be closed;
* ``coefficients`` and ``totals``: the range of what a spike is worth, and of the sum of that over a frame;
* ``start``, ``add`` and ``step``: the golden model, a state per frame and neuron, what sums add to it, and what becomes of it when a step
  closes;
* ``never``: which neurons no input can make spike;
* ``margin_range``: bounds of the potential, which membrane widths are derived from.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from export.arrays import array, frozen, is_integer
from export.connections import Connection, Totals
from export.errors import UserError

MAX_THRESHOLD = 1 << 22
MAX_FRACTION = 8


@dataclass(eq=False)
class State:
    """The state of some frames' neurons.

    Attributes:
        margin: float32 (frames, outputs), ``V - θ`` at the close of the last step; of `Graded` neurons ``V + θN``, from which nothing is
            taken. Whole numbers.
        emitted: int32 (frames, outputs), the sum of the coefficients so far.
    """

    margin: np.ndarray
    emitted: np.ndarray


class Neuron(ABC):
    """The neurons of a layer.

    Attributes:
        thresholds: ``θ``, int32 (outputs,).
        fraction: ``F``, the fractional bits of potentials.
    """

    kind: ClassVar[str]
    thresholds: np.ndarray
    fraction: int = 0
    spikes_once: ClassVar[bool]
    resets: ClassVar[bool]

    @property
    @abstractmethod
    def skips_empty_steps(self) -> bool:
        """Whether a neuron that no spike has reached in a step neither spikes nor changes, step 0 apart [S4]."""

    @property
    def coefficients(self) -> Totals:
        """Least and greatest of what a spike is worth, 0 (no spike) included."""
        return 0, 1

    def totals(self, steps: int) -> Totals:
        """Least and greatest sum of the coefficients that a neuron can have sent at any time of a frame of ``steps``."""
        return (0, 1 if self.spikes_once else steps)

    @abstractmethod
    def check(self, connection: Connection) -> None:
        """Refuse a connection that these neurons cannot end.

        Raises:
            UserError: they differ in size, or a threshold is out of the range that its sums can reach.
        """

    @abstractmethod
    def start(self, frames: int) -> State:
        """The state before step 0."""

    def add(self, state: State, sums: np.ndarray, frames: np.ndarray | slice = slice(None)) -> None:
        """Add ``2**F`` times the sums of a step, float32 (frames, outputs), to the potentials of some frames."""
        state.margin[frames] += np.ldexp(sums, self.fraction) if self.fraction else sums

    @abstractmethod
    def step(self, state: State) -> np.ndarray:
        """Close a step: the coefficients of its spikes, int16 (frames, outputs), after which ``state`` is the state to go on from.

        Parameters:
            state: with the sums of the step added to it.
        """

    @abstractmethod
    def never(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> np.ndarray:
        """Which neurons spike in no frame of ``steps``, if sums range from ``least`` to ``greatest``, (outputs,) each: bool (outputs,)."""

    @abstractmethod
    def margin_range(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> tuple[int, int]:
        """Least and greatest `State.margin` of any neuron in frames of ``steps``, if sums range from ``least`` to ``greatest``,
        (outputs,) each."""

    def _scaled(self, sums: np.ndarray) -> np.ndarray:
        """What sums add to potentials, int64."""
        return sums.astype(np.int64) << self.fraction

    def _check_size(self, connection: Connection) -> None:
        if self.thresholds.shape != (connection.channels,):
            each = "output" if connection.output_map is None else "channel"
            raise UserError(f"thresholds must have shape ({connection.channels},), one per {each}, not {self.thresholds.shape}")


def integers(name: str, value: object) -> np.ndarray:
    """``value`` as int32, shape (outputs,), read-only.

    Raises:
        UserError: it is something else.
    """
    numbers = array(name, value)
    if numbers.ndim != 1:
        raise UserError(f"{name} must have shape (outputs,), one per output, not {numbers.shape}")
    if numbers.dtype.kind not in "iu":
        raise UserError(f"{name} must be integers, not {numbers.dtype}")
    if (beyond := np.abs(numbers.astype(object)) > np.iinfo(np.int32).max).any():
        j = int(np.argmax(beyond))
        raise UserError(f"{name} must fit into 32 bits, but {name}[{j}] is {numbers[j]}")
    return frozen(numbers, np.int32)


def checked_fraction(value: object) -> int:
    """``F``.

    Raises:
        UserError: it is no integer from 0 to `MAX_FRACTION`.
    """
    if not (isinstance(value, int | np.integer) and is_integer(value) and 0 <= value <= MAX_FRACTION):
        raise UserError(f"fraction must be an integer from 0 to {MAX_FRACTION}, not {value!r}")
    return int(value)


def check_range(name: str, numbers: np.ndarray, least: int, greatest: int, why: str = "") -> None:
    wrong = (numbers < least) | (numbers > greatest)
    if wrong.any():
        j = int(np.argmax(wrong))
        raise UserError(f"{name} must be from {least} to {greatest}{why}, but {name}[{j}] is {numbers[j]}")
