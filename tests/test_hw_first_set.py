"""hw.first_set against Python's own."""

import random

import pytest
from amaranth.hdl import Module, Signal

from hw.first_set import first_set
from tests.circuit import settle


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 48])
def test_first_set(width):
    draw = random.Random(width)
    m = Module()
    bits, index, some, several = Signal(width), Signal(8), Signal(), Signal()
    found = first_set(m, bits)
    assert len(found.index) == (width - 1).bit_length()
    m.d.comb += [index.eq(found.index), some.eq(found.some), several.eq(found.several)]
    single = [1 << k for k in range(width)]
    values = range(1 << width) if width <= 8 else [0, *single, *(draw.choice(single) | draw.choice(single) for _ in range(200))]

    def bench(put, get):
        for value in values:
            put(bits, value)
            assert get(index) == max(0, (value & -value).bit_length() - 1)
            assert get(some) == (value > 0)
            assert get(several) == (value.bit_count() > 1)

    settle(m, bench)
