"""What becomes of every integer that a sum, or a pixel, can be: the graph's own nodes, evaluated on all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from export.errors import UserError

MAX_LEVELS = 256
CELLS = 1 << 21  # values that are worked on at a time, which bounds the memory

Step = Callable[[np.ndarray], np.ndarray]
"""What becomes of values (integers, channels): an array of as many rows."""


@dataclass(frozen=True, eq=False)
class Table:
    """What becomes of the integers from ``first`` to ``last``, channel by channel.

    Attributes:
        first, last: the integers.
        levels: the values that there are, ascending, float32 (levels,).
        below: how many of the integers become less than a level, int64 (levels, channels).
        falls: whether what is tested falls while the integers grow, bool (channels,).
        falls_before: whether what is pooled does, bool (channels,).
    """

    first: int
    last: int
    levels: np.ndarray
    below: np.ndarray
    falls: np.ndarray
    falls_before: np.ndarray

    @property
    def integers(self) -> int:
        return self.last - self.first + 1


class _Direction:
    """Whether columns rise or fall, seen part by part."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self.rises = self.falls = np.zeros(1, bool)

    def see(self, values: np.ndarray) -> None:
        """The next rows."""
        if self._last is not None:
            values = np.concatenate([self._last, values])
        change = np.diff(values, axis=0)
        self.rises = self.rises | (change > 0).any(axis=0)
        self.falls = self.falls | (change < 0).any(axis=0)
        self._last = values[-1:]

    def check(self) -> np.ndarray:
        """Whether columns fall, bool (channels,).

        Raises:
            UserError: a column does both.
        """
        if (both := self.rises & self.falls).any():
            raise UserError(f"values must rise or fall with the sum, but those of channel {int(np.argmax(both))} do both")
        return self.falls


def tabulate(first: int, last: int, begin: Step, before: Sequence[Step], after: Sequence[Step] = ()) -> Table:
    """The table of all integers from ``first`` to ``last``.

    Parameters:
        first, last: the integers.
        begin: makes the graph's values of integers, int64 (integers,): (integers, channels).
        before, after: what becomes of these, before they are pooled and after that.

    Raises:
        UserError: values are not finite, are of more than `MAX_LEVELS` levels, or both rise and fall.
    """
    counts: dict[float, np.ndarray] = {}
    pooled, tested = _Direction(), _Direction()
    rows = max(1, CELLS // begin(np.array([first])).size)
    for at in range(first, last + 1, rows):
        values = begin(np.arange(at, min(at + rows, last + 1)))
        for step in before:
            values = step(values)
        pooled.see(values)
        for step in after:
            values = step(values)
        tested.see(values)
        if not np.isfinite(values).all():
            raise UserError("values must be finite")
        begun = np.concatenate([values[0], values[1:][values[1:] != values[:-1]]])
        for level in np.unique(begun).tolist():
            counts[level] = counts.get(level, 0) + (values == level).sum(axis=0)
            if len(counts) > MAX_LEVELS:
                raise UserError(f"must come after a quantiser, of at most {MAX_LEVELS} levels")
    levels = np.array(sorted(counts), np.float32)
    numbers = np.array([counts[level] for level in sorted(counts)], np.int64)
    return Table(first, last, levels, np.cumsum(numbers, axis=0) - numbers, tested.check(), pooled.check())


def repeated(times: int) -> Step:
    """Each channel ``times`` times, one beside the other."""
    return lambda values: np.repeat(values, times, axis=1)


def merged(times: int) -> Step:
    """The inverse of `repeated`; refuses what differs."""

    def step(values: np.ndarray) -> np.ndarray:
        groups = values.reshape(len(values), -1, times)
        if (groups != groups[..., :1]).any():
            raise UserError("constants must be the same at all positions of a channel")
        return groups[..., 0]

    return step
