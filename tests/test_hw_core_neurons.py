"""hw.core.neurons and hw.core.counting: sums, thresholds and flags of neurons side by side, and what the two forms count."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module, Signal

from export import Single
from hw.core.counting import count_width, delta_counts, xnor_counts
from hw.core.neurons import IFNeurons
from tests.circuit import settle

SIZES = [1, 2, 3, 4, 5, 7, 8, 9]


def lanes(values, width):
    return sum((value & ((1 << width) - 1)) << (k * width) for k, value in enumerate(values))


def signed(packed, place, width):
    value = packed >> (place * width) & ((1 << width) - 1)
    return value - (value >> (width - 1) << width)


@pytest.mark.parametrize("pe", [1, 2, 3, 8])
def test_neurons(pe):
    width, narrow = 6, 4
    draw = random.Random(pe)
    m = Module()
    m.submodules.dut = dut = IFNeurons(Single(np.zeros(pe, int)), pe=pe, width=width, count_width=narrow)
    cases = [([-1] * pe, [1] * pe), ([-1] * pe, [0] * pe), ([0] * pe, [0] * pe), ([3] * pe, [-4] * pe), ([-8] * pe, [7] * pe)]
    cases += [([draw.randint(-24, 24) for _ in range(pe)], [draw.randint(-7, 7) for _ in range(pe)]) for _ in range(60)]

    def bench(put, get):
        for before, count in cases:
            for test in (0, 1):
                fired = draw.choice([0, draw.getrandbits(pe)])
                put(dut.potential, lanes(before, width))
                put(dut.count, lanes(count, narrow))
                put(dut.flags, fired)
                put(dut.test, test)
                after = [a + b for a, b in zip(before, count, strict=True)]
                fire = sum(1 << p for p in range(pe) if test and after[p] >= 0 and not fired >> p & 1)  # [S3]: equality fires
                assert [signed(get(dut.new_potential), p, width) for p in range(pe)] == after
                assert get(dut.fire) == fire
                assert get(dut.new_flags) == fired | fire

    settle(m, bench)


@pytest.mark.parametrize(("simd", "bits"), [(1, 2), (2, 3), (3, 3), (4, 4), (7, 4), (8, 5)])
def test_count_width_holds_plus_and_minus_simd(simd, bits):
    assert count_width(simd) == bits
    assert -(1 << bits - 1) <= -simd <= simd < 1 << bits - 1


@pytest.mark.parametrize("simd", SIZES)
@pytest.mark.parametrize("form", ["delta", "xnor"])
def test_counts(form, simd):
    pe, width = 3, count_width(simd)
    draw = random.Random(simd)
    weights, spikes, counts = Signal(pe * simd), Signal(simd), Signal(pe * width + 8)
    m = Module()
    made = (delta_counts if form == "delta" else xnor_counts)(m, weights, spikes, pe)
    assert len(made) == pe * width
    m.d.comb += counts.eq(made)
    everything = (1 << simd) - 1
    cases = [(w, s) for w in (0, (1 << pe * simd) - 1) for s in (0, everything)]
    cases += [(draw.getrandbits(pe * simd), draw.getrandbits(simd)) for _ in range(60)]

    def bench(put, get):
        for weight, spike in cases:
            put(weights, weight)
            put(spikes, spike)
            packed = get(counts)
            assert packed >> pe * width == 0
            for p in range(pe):
                b = weight >> (p * simd) & everything
                if form == "delta":
                    expected = sum((1 if b >> i & 1 else -1) for i in range(simd) if spike >> i & 1)
                else:
                    expected = sum((b >> i & 1) == (spike >> i & 1) for i in range(simd))
                assert signed(packed, p, width) == expected

    settle(m, bench)
