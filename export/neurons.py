"""Neurons that are never reset, and the table of all kinds, by the name that files have for them."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from export.connections import Connection
from export.neuron import MAX_THRESHOLD, Neuron, State, check_range, checked_fraction, integers
from export.reset_neurons import Graded, Rate, Ternary


@dataclass(frozen=True, eq=False)
class Single(Neuron):
    """Integrate-and-fire neurons without leak that spike at most once per frame, when ``V`` reaches ``θ`` [S3].

    Parameters:
        thresholds: integers, shape (outputs,), each from ``-fan_in``, or 1 in a convolution, to ``fan_in + 1``; kept as int32.

    Raises:
        UserError: a shape, a dtype or a value is not as said.
    """

    kind: ClassVar[str] = "single"
    spikes_once: ClassVar[bool] = True
    resets: ClassVar[bool] = False
    skips_empty_steps = True
    thresholds: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", integers("thresholds", self.thresholds))

    def check(self, connection: Connection) -> None:
        self._check_size(connection)
        fan_in = connection.fan_in
        least = -fan_in if connection.output_map is None else 1  # [S15]
        check_range("thresholds", self.thresholds, least, fan_in + 1, f" for {fan_in} inputs")

    def start(self, frames: int) -> State:
        margin = np.tile(-self.thresholds.astype(np.float32), (frames, 1))
        return State(margin, np.zeros(margin.shape, np.int32))

    def step(self, state: State) -> np.ndarray:
        spikes = (state.margin >= 0) & (state.emitted == 0)
        state.emitted += spikes
        return spikes.astype(np.int16)

    def never(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> np.ndarray:
        return self._scaled(greatest) < self.thresholds

    def margin_range(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> tuple[int, int]:
        return int((self._scaled(least) - self.thresholds).min()), int((self._scaled(greatest) - self.thresholds).max())


@dataclass(frozen=True, eq=False)
class Readout(Single):
    """Output neurons behind spikes with coefficients: never reset, decided by their margins [S12].

    A spike is the first step in which ``V`` reaches ``θ``. A class's bias is part of its threshold.

    Parameters:
        thresholds: integers from -2**22 to 2**22, shape (outputs,); kept as int32.
        fraction: ``F``, 0 to 8: potentials and thresholds are fixed-point numbers with so many fractional bits.
    """

    kind: ClassVar[str] = "readout"
    fraction: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "fraction", checked_fraction(self.fraction))

    def check(self, connection: Connection) -> None:
        self._check_size(connection)
        check_range("thresholds", self.thresholds, -MAX_THRESHOLD, MAX_THRESHOLD)


NEURONS: dict[str, type[Neuron]] = {neuron.kind: neuron for neuron in (Single, Readout, Rate, Ternary, Graded)}
