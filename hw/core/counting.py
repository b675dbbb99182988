"""What a form counts: weights and spikes of a word, turned into a number to add to each neuron's potential [S7]."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from amaranth.hdl import C, Cat, Module, Signal, Value

from export.connections import Connection
from hw.core.trees import popcount


@dataclass(frozen=True)
class Form:
    """How sums are formed.

    Attributes:
        counts: ``counts(m, weights, spikes, pe)``: the numbers to add, packed, `count_width` bits each.
        cumulative: spikes are all those so far, and sums are formed anew in each step; else spikes are those that are new.
        padding: weight bit of inputs that do not exist, so that they do not count [S8].
        offset: what potentials start below ``-θ``, per output.
        neurons: kinds of neurons whose potentials it gives; empty: all.
    """

    counts: Callable[[Module, Value, Value, int], Value]
    cumulative: bool
    padding: int
    offset: Callable[[Connection], np.ndarray | int]
    neurons: tuple[str, ...] = ()


def count_width(simd: int) -> int:
    """Bits of a signed number from ``-simd`` to ``simd``."""
    return simd.bit_length() + 1


def delta_counts(m: Module, weights: Value, spikes: Value, pe: int) -> Value:
    """``2·popcount(b & Δs) - popcount(Δs)`` for each of ``pe`` neurons, packed, `count_width` bits each [S7].

    Parameters:
        weights: ``pe * simd`` weight bits; spikes: ``simd`` bits, those that are new.
    """
    simd = len(spikes)
    excited = Signal(pe * simd)
    total = Signal(simd.bit_length())
    m.d.comb += [excited.eq(weights & spikes.replicate(pe)), total.eq(popcount(spikes))]
    ones = (popcount(excited[p * simd : (p + 1) * simd]) for p in range(pe))
    return Cat(((count << 1) - total)[: count_width(simd)] for count in ones)


def xnor_counts(m: Module, weights: Value, spikes: Value, pe: int) -> Value:
    """``popcount(XNOR(b, S))`` for each of ``pe`` neurons, packed, `count_width` bits each [S7].

    Parameters:
        weights: ``pe * simd`` weight bits; spikes: ``simd`` bits, all so far.
    """
    simd = len(spikes)
    agreeing = Signal(pe * simd)
    m.d.comb += agreeing.eq(~(weights ^ spikes.replicate(pe)))
    return Cat(Cat(popcount(agreeing[p * simd : (p + 1) * simd]), C(0, 1)) for p in range(pe))


FORMS = {
    "delta": Form(delta_counts, cumulative=False, padding=0, offset=lambda connection: 0),
    "xnor": Form(xnor_counts, cumulative=True, padding=1, offset=lambda connection: connection.negatives, neurons=("single",)),
}
