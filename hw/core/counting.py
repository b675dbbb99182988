"""What a form counts: weights and spikes of a word, turned into a number to add to each neuron's potential [S7]."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import C, Cat, Module, Signal, Value

from export.connections import Connection, Totals
from hw.core.trees import popcount
from hw.core.words import coefficient_bits


@dataclass(frozen=True)
class Form:
    """How sums are formed.

    Attributes:
        counts: ``counts(m, weights, spikes, pe, coefficients)``: the numbers to add, packed, `count_width` bits each.
        cumulative: spikes are all those so far, and sums are formed anew in each step; else spikes are those that are new.
        padding: weight bit of inputs that do not exist, so that they do not count [S8].
        offset: what potentials start below ``-θ``, per output.
        neurons: kinds of neurons whose potentials it gives; empty: all.
    """

    counts: Callable[[Module, Value, Value, int, Totals], Value]
    cumulative: bool
    padding: int
    offset: Callable[[Connection], np.ndarray | int]
    neurons: tuple[str, ...] = ()


def count_width(simd: int, coefficients: Totals = (0, 1)) -> int:
    """Bits of a signed number from ``-simd`` to ``simd`` times the greatest coefficient."""
    return (simd * max(-coefficients[0], coefficients[1])).bit_length() + 1


def delta_counts(m: Module, weights: Value, spikes: Value, pe: int, coefficients: Totals = (0, 1)) -> Value:
    """``Σ_i w_i · c_i`` for each of ``pe`` neurons, packed, `count_width` bits each [S7].

    Of spikes that are worth 1, ``2·popcount(b & Δs) - popcount(Δs)``; of coefficients with several bits, that of each bit, times what the
    bit is worth.

    Parameters:
        weights: ``pe * simd`` weight bits.
        spikes: ``simd`` coefficients, those that are new.
        coefficients: their range.
    """
    lane_bits = coefficient_bits(coefficients)
    simd = len(spikes) // lane_bits
    width = count_width(simd, coefficients)
    planes: list[list[Value]] = []
    for bit in range(lane_bits):
        plane = spikes if lane_bits == 1 else Cat(spikes[bit::lane_bits])
        suffix = "" if lane_bits == 1 else f"_{bit}"
        excited = Signal(pe * simd, name="excited" + suffix)
        total = Signal(simd.bit_length(), name="total" + suffix)
        m.d.comb += [excited.eq(weights & plane.replicate(pe)), total.eq(popcount(plane))]
        planes.append([(popcount(excited[p * simd : (p + 1) * simd]) << 1) - total for p in range(pe)])
    return Cat(_weighted([plane[p] for plane in planes], signed=coefficients[0] < 0)[:width] for p in range(pe))


def _weighted(numbers: list[Value], *, signed: bool) -> Value:
    """The sum of numbers, each times what its bit is worth; the last bit of two's complement numbers is worth less than 0."""
    total = numbers[0]
    for bit, number in enumerate(numbers[1:], 1):
        total = total - (number << bit) if signed and bit == len(numbers) - 1 else total + (number << bit)
    return total


def xnor_counts(m: Module, weights: Value, spikes: Value, pe: int, coefficients: Totals = (0, 1)) -> Value:
    """``popcount(XNOR(b, S))`` for each of ``pe`` neurons, packed, `count_width` bits each [S7].

    Parameters:
        weights: ``pe * simd`` weight bits; spikes: ``simd`` bits, all so far; coefficients: those of single spikes.
    """
    simd = len(spikes)
    agreeing = Signal(pe * simd)
    m.d.comb += agreeing.eq(~(weights ^ spikes.replicate(pe)))
    return Cat(Cat(popcount(agreeing[p * simd : (p + 1) * simd]), C(0, 1)) for p in range(pe))


FORMS = {
    "delta": Form(delta_counts, cumulative=False, padding=0, offset=lambda connection: 0),
    "xnor": Form(xnor_counts, cumulative=True, padding=1, offset=lambda connection: connection.negatives, neurons=("single",)),
}
