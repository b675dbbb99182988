"""hw.core.trees: the winner and its place against Python's own, a row per cycle."""

import random

import pytest

from hw.core.trees import ArgMax
from tests.circuit import Part, run


class Rows(Part):
    """Shows a row of numbers per cycle, and keeps what comes out `ArgMax.latency` cycles later."""

    def __init__(self, dut, rows, width):
        self._dut, self._rows, self._width = dut, rows, width
        self._at = 0
        self.winners = []

    @property
    def done(self):
        return len(self.winners) == len(self._rows)

    def drive(self, ctx):
        row, all_present = self._rows[min(self._at, len(self._rows) - 1)]
        mask = (1 << self._width) - 1
        ctx.set(self._dut.values, sum((value & mask) << (k * self._width) for k, value in enumerate(row)))
        ctx.set(self._dut.all_present, all_present)

    def look(self, ctx, cycle):
        if self._at >= self._dut.latency and not self.done:
            self.winners.append((ctx.get(self._dut.value), ctx.get(self._dut.place)))
        self._at += 1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 10])
@pytest.mark.parametrize("always", [1, -1, 0])
def test_winner(count, always):
    """``always``: one place, all but one, all of them."""
    width = 4
    draw = random.Random(count)
    always = max(1, always if always > 0 else count + always)
    rows = [([value] * count, present) for value in (-8, 0, 7) for present in (0, 1)]
    rows += [([-8] * k + [7] + [-8] * (count - 1 - k), present) for k in range(count) for present in (0, 1)]
    for _ in range(60):
        least = draw.randint(-8, 5)
        rows.append(([draw.randint(least, least + 2) for _ in range(count)], draw.getrandbits(1)))  # ties are common
    dut = ArgMax(count=count, width=width, always=always)
    assert dut.latency == max(n for n in range(5) if n == 0 or 1 << n - 1 < count)
    (part,) = run(dut, lambda: [Rows(dut, rows, width)])
    expected = []
    for row, present in rows:
        racing = row if present else row[:always]
        expected.append((max(racing), racing.index(max(racing))))
    assert part.winners == expected
