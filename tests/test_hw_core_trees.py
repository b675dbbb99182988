"""hw.core.trees: popcount and the first flag against Python's own, and the largest number and its place, a row per cycle."""

import random

import pytest
from amaranth.hdl import Module, Signal

from hw.core.trees import ArgMax, first_set, popcount
from tests.circuit import Part, run, settle


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100])
def test_popcount(width):
    draw = random.Random(width)
    bits = Signal(width)
    counted = popcount(bits)
    assert len(counted) == width.bit_length()
    count = Signal(width + 1)  # wide: nothing is lost here
    m = Module()
    m.d.comb += count.eq(counted)
    values = (
        range(1 << width)
        if width <= 5
        else [0, (1 << width) - 1, *(1 << k for k in range(width)), *(draw.getrandbits(width) for _ in range(50))]
    )

    def bench(put, get):
        for value in values:
            put(bits, value)
            assert get(count) == value.bit_count()

    settle(m, bench)


def test_popcount_of_no_bits():
    m = Module()
    count = Signal(4, init=3)
    m.d.comb += count.eq(popcount(Signal(0)))

    def bench(put, get):
        assert get(count) == 0

    settle(m, bench)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9])
def test_first_set_of_every_pattern(width):
    m, flags = Module(), Signal(width)
    found = first_set(m, flags, name="found")

    def bench(put, get):
        for pattern in range(1 << width):
            put(flags, pattern)
            lowest = (pattern & -pattern).bit_length() - 1 if pattern else 0
            seen = (get(found.any), get(found.several), get(found.index), get(found.rest))
            assert seen == (pattern != 0, pattern.bit_count() > 1, lowest, pattern & (pattern - 1) if pattern else 0)

    settle(m, bench)


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
def test_argmax(count, always):
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
