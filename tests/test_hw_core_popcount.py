"""hw.core.trees against Python's own."""

import random

import pytest
from amaranth.hdl import Module, Signal

from hw.core.trees import popcount
from tests.circuit import settle


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


def test_no_bits():
    m = Module()
    count = Signal(4, init=3)
    m.d.comb += count.eq(popcount(Signal(0)))

    def bench(put, get):
        assert get(count) == 0

    settle(m, bench)
