"""hw.core.trees against Python."""

import pytest
from amaranth.hdl import Module, Signal

from hw.core.trees import first_set
from tests.circuit import settle


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9])
def test_every_pattern(width):
    m, flags = Module(), Signal(width)
    found = first_set(m, flags, name="found")

    def bench(put, get):
        for pattern in range(1 << width):
            put(flags, pattern)
            lowest = (pattern & -pattern).bit_length() - 1 if pattern else 0
            seen = (get(found.any), get(found.several), get(found.index), get(found.rest))
            assert seen == (pattern != 0, pattern.bit_count() > 1, lowest, pattern & (pattern - 1) if pattern else 0)

    settle(m, bench)
