"""Neurons that are reset by subtraction, and spike often [S9], [S10]: rate codes, double thresholds, augmented spikes."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from export.arrays import is_integer
from export.connections import Connection, Totals
from export.errors import UserError
from export.neuron import MAX_THRESHOLD, Neuron, State, check_range, checked_fraction, integers

MAX_LEVELS = 127


@dataclass(frozen=True, eq=False)
class Rate(Neuron):
    """Integrate-and-fire neurons that spike in every step that ends with ``V ≥ θ``, and are reset by subtraction [S9], [S10].

    When a step closes, ``V`` grows by ``2**F`` times the step's sum, and by the bias.

    Parameters:
        thresholds: integers from 1 to 2**22, shape (outputs,); kept as int32.
        initial: the potential that a frame begins with, which may hold a bias: integers from -2**22 to 2**22, shape (outputs,); kept as
            int32. Left out: ``⌊θ / 2⌋``.
        bias: what is added in every step: integers from -2**22 to 2**22, shape (outputs,); kept as int32. Left out: 0.
        fraction: ``F``, 0 to 8: potentials, thresholds, starts and biases are fixed-point numbers with so many fractional bits.

    Raises:
        UserError: a shape, a dtype or a value is not as said.
    """

    kind: ClassVar[str] = "rate"
    spikes_once: ClassVar[bool] = False
    resets: ClassVar[bool] = True
    skips_empty_steps = False
    thresholds: np.ndarray
    initial: np.ndarray = None  # type: ignore[assignment]  # set below
    bias: np.ndarray = field(default=None, kw_only=True)  # type: ignore[arg-type]  # set below
    fraction: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        thresholds = integers("thresholds", self.thresholds)
        check_range("thresholds", thresholds, 1, MAX_THRESHOLD)
        object.__setattr__(self, "thresholds", thresholds)
        for name, otherwise in (("initial", thresholds // 2), ("bias", np.zeros_like(thresholds))):
            given = getattr(self, name)
            numbers = integers(name, otherwise if given is None else given)
            if numbers.shape != thresholds.shape:
                raise UserError(f"{name} must have shape {thresholds.shape}, as the thresholds have, not {numbers.shape}")
            check_range(name, numbers, -MAX_THRESHOLD, MAX_THRESHOLD)
            object.__setattr__(self, name, numbers)
        object.__setattr__(self, "fraction", checked_fraction(self.fraction))

    @property
    def has_bias(self) -> bool:
        """Whether anything is added in a step that brings no spike."""
        return bool(self.bias.any())

    def check(self, connection: Connection) -> None:
        self._check_size(connection)

    def start(self, frames: int) -> State:
        margin = np.tile((self.initial - self.thresholds).astype(np.float32), (frames, 1))
        return State(margin, np.zeros(margin.shape, np.int32))

    def step(self, state: State) -> np.ndarray:
        if self.has_bias:
            state.margin += self.bias.astype(np.float32)
        return self._respond(state)

    def _respond(self, state: State) -> np.ndarray:
        """The coefficients of a step, by the rule of the kind [S10]."""
        return self._send(state, (state.margin >= 0).astype(np.int16))

    def _send(self, state: State, coefficients: np.ndarray) -> np.ndarray:
        state.margin -= self.thresholds.astype(np.float32) * coefficients
        state.emitted += coefficients
        return coefficients

    def never(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> np.ndarray:
        return self._reach(greatest) + np.maximum(self.bias, self._biases(steps)) < self.thresholds

    def margin_range(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> tuple[int, int]:
        """After a spike ``V ≥ 0``, and sums fall by no more than from their greatest to their least, and by the bias of further steps."""
        lowest, highest = self._drive_range(least, greatest, steps)
        after = self._scaled(least - greatest) + np.minimum(0, self._biases(steps - 1))
        return int((np.minimum(lowest, after) - self.thresholds).min()), int((highest - self.thresholds).max())

    def _reach(self, sums: np.ndarray) -> np.ndarray:
        """The potential that sums lead to, without the bias, from which nothing has been taken: int64 (outputs,)."""
        return self.initial + self._scaled(sums)

    def _biases(self, steps: int) -> np.ndarray:
        """What the bias adds in a whole frame, int64 (outputs,)."""
        return self.bias.astype(np.int64) * steps

    def _drive_range(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest potential at any time of a frame, from which nothing has been taken: int64 (outputs,) each."""
        biases = self._biases(steps)
        return self._reach(least) + np.minimum(0, biases), self._reach(greatest) + np.maximum(0, biases)


@dataclass(frozen=True, eq=False)
class Ternary(Rate):
    """Neurons with a double threshold: +1 at ``V ≥ θ``, -1 at ``V < 0``, as long as the running count stays in its range [S10].

    Parameters:
        thresholds, initial, bias, fraction: as in `Rate`.
        levels: ``L``, the greatest count, 1 to 127.
        signed: the least count is ``-L``, not 0.

    Raises:
        UserError: as in `Rate`, or ``levels`` is not as said.
    """

    kind: ClassVar[str] = "ternary"
    levels: int = field(kw_only=True)
    signed: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_integer(self.levels) and 1 <= self.levels <= MAX_LEVELS):
            raise UserError(f"levels must be an integer from 1 to {MAX_LEVELS}, not {self.levels!r}")
        if not isinstance(self.signed, bool):
            raise UserError(f"signed must be True or False, not {self.signed!r}")
        object.__setattr__(self, "levels", int(self.levels))

    @property
    def counts(self) -> Totals:
        """Least and greatest running count ``N``."""
        return (-self.levels if self.signed else 0), self.levels

    @property
    def coefficients(self) -> Totals:
        return -1, 1

    def totals(self, steps: int) -> Totals:
        return self.counts

    def _respond(self, state: State) -> np.ndarray:
        least, greatest = self.counts
        up = (state.margin >= 0) & (state.emitted < greatest)
        down = (state.margin < -self.thresholds.astype(np.float32)) & (state.emitted > least)
        return self._send(state, up.astype(np.int16) - down.astype(np.int16))

    def never(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> np.ndarray:
        never = super().never(least, greatest, steps)
        return never & (self._reach(least) + np.minimum(self.bias, self._biases(steps)) >= 0) if self.signed else never

    def margin_range(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> tuple[int, int]:
        """``V = v + S - θN`` with ``N`` in its range."""
        fewest, most = self.counts
        lowest, highest = self._drive_range(least, greatest, steps)
        thresholds = self.thresholds.astype(np.int64)
        return int((lowest - thresholds * (most + 1)).min()), int((highest - thresholds * (fewest + 1)).max())


@dataclass(frozen=True, eq=False)
class Graded(Ternary):
    """Neurons with augmented spikes: a spike's coefficient brings the running count to ``clip(⌊(v + S) / θ⌋)`` at once [S10], [S11].

    With a bias, ``v + S`` changes in each step.

    Parameters: as in `Ternary`.
    """

    kind: ClassVar[str] = "graded"

    @property
    def skips_empty_steps(self) -> bool:  # type: ignore[override]
        return not self.has_bias

    @property
    def coefficients(self) -> Totals:
        least, greatest = self.counts
        return least - greatest, greatest - least

    def start(self, frames: int) -> State:
        margin = np.tile(self.initial.astype(np.float32), (frames, 1))
        return State(margin, np.zeros(margin.shape, np.int32))

    def _respond(self, state: State) -> np.ndarray:
        counts = np.clip(state.margin.astype(np.int32) // self.thresholds, *self.counts)
        coefficients = (counts - state.emitted).astype(np.int16)
        state.emitted = counts
        return coefficients

    def margin_range(self, least: np.ndarray, greatest: np.ndarray, steps: int) -> tuple[int, int]:
        lowest, highest = self._drive_range(least, greatest, steps)
        return int(lowest.min()), int(highest.max())
