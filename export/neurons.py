"""Neurons: thresholds as arrays, and the golden model of when they spike.

A neuron kind has

* ``kind``, its name in files;
* ``spikes_once``: a neuron spikes at most once per frame;
* ``skips_empty_steps``: a neuron that no spike has reached in a step neither spikes nor changes, step 0 apart [S4], so that a step
  without spikes need not be closed;
* ``start`` and ``step``: the golden model, a state per frame and neuron and what becomes of it when a step closes;
* ``margin_range``: bounds of ``V - θ``, which membrane widths are derived from.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from export.arrays import array, frozen
from export.connections import Connection
from export.errors import UserError


@dataclass(eq=False)
class State:
    """The state of some frames' neurons.

    Attributes:
        margin: float32 (frames, outputs), ``V - θ`` at the close of the last step; whole numbers.
        emitted: int32 (frames, outputs), the sum of the coefficients so far.
    """

    margin: np.ndarray
    emitted: np.ndarray


class Neuron(ABC):
    """The neurons of a layer.

    Attributes:
        thresholds: ``θ``, int32 (outputs,).
    """

    kind: ClassVar[str]
    thresholds: np.ndarray
    spikes_once: ClassVar[bool]
    skips_empty_steps: ClassVar[bool]

    def most_spikes(self, steps: int) -> int:
        """How often a neuron can spike in a frame of ``steps``; the most that its coefficients can sum up to."""
        return 1 if self.spikes_once else steps

    @abstractmethod
    def check(self, connection: Connection) -> None:
        """Refuse a connection that these neurons cannot end.

        Raises:
            UserError: they differ in size, or a threshold is out of the range that its sums can reach.
        """

    @abstractmethod
    def start(self, frames: int) -> State:
        """The state before step 0."""

    @abstractmethod
    def step(self, state: State) -> np.ndarray:
        """Close a step: the coefficients of its spikes, int8 (frames, outputs), after which ``state`` is the state to go on from.

        Parameters:
            state: with the sums of the step added to ``margin``.
        """

    @abstractmethod
    def margin_range(self, least: np.ndarray, greatest: np.ndarray) -> tuple[int, int]:
        """Least and greatest ``V - θ`` of any neuron, if sums range from ``least`` to ``greatest``, (outputs,) each."""


@dataclass(frozen=True, eq=False)
class Single(Neuron):
    """Integrate-and-fire neurons without leak that spike at most once per frame, when ``V`` reaches ``θ`` [S3].

    Parameters:
        thresholds: integers, shape (outputs,), each from ``-fan_in`` to ``fan_in + 1``; kept as int32.

    Raises:
        UserError: a shape, a dtype or a value is not as said.
    """

    kind: ClassVar[str] = "single"
    spikes_once: ClassVar[bool] = True
    skips_empty_steps: ClassVar[bool] = True
    thresholds: np.ndarray

    def __post_init__(self) -> None:
        thresholds = array("thresholds", self.thresholds)
        if thresholds.ndim != 1:
            raise UserError(f"thresholds must have shape (outputs,), one per output, not {thresholds.shape}")
        if thresholds.dtype.kind not in "iu":
            raise UserError(f"thresholds must be integers, not {thresholds.dtype}")
        if (beyond := np.abs(thresholds.astype(object)) > np.iinfo(np.int32).max).any():
            j = int(np.argmax(beyond))
            raise UserError(f"thresholds must fit into 32 bits, but thresholds[{j}] is {thresholds[j]}")
        object.__setattr__(self, "thresholds", frozen(thresholds, np.int32))

    def check(self, connection: Connection) -> None:
        thresholds, fan_in = self.thresholds, connection.fan_in
        if thresholds.shape != (connection.outputs,):
            raise UserError(f"thresholds must have shape ({connection.outputs},), one per output, not {thresholds.shape}")
        wrong = (thresholds < -fan_in) | (thresholds > fan_in + 1)
        if wrong.any():
            j = np.argmax(wrong)
            raise UserError(
                f"thresholds must be from {-fan_in} to {fan_in + 1} for {fan_in} inputs, but thresholds[{j}] is {thresholds[j]}"
            )

    def start(self, frames: int) -> State:
        margin = np.tile(-self.thresholds.astype(np.float32), (frames, 1))
        return State(margin, np.zeros(margin.shape, np.int32))

    def step(self, state: State) -> np.ndarray:
        spikes = (state.margin >= 0) & (state.emitted == 0)
        state.emitted += spikes
        return spikes.astype(np.int8)

    def margin_range(self, least: np.ndarray, greatest: np.ndarray) -> tuple[int, int]:
        return int((least - self.thresholds).min()), int((greatest - self.thresholds).max())


NEURONS: dict[str, type[Neuron]] = {neuron.kind: neuron for neuron in (Single,)}
