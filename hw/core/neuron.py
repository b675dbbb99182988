"""The integrate-and-fire neuron, ``PE`` of them side by side.

Potentials of a row are packed into one vector, since one wide signal simulates several times faster, and converts and compiles in
a fraction of the time, of hundreds of narrow ones.
"""

from amaranth.hdl import C, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.popcount import popcount


class IFNeurons(wiring.Component):
    """``pe`` integrate-and-fire neurons without leak, each firing at most once per frame [S3].

    Combinational: potentials come in, potentials and spikes go out. A potential is ``V - θ``, so that its sign is the test.

    Parameters:
        pe: number of neurons.
        width: bits of one potential, signed.
        count_width: bits of one ``count``, signed.

    Members:
        potential: potentials before, neuron 0 least significant.
        fired: neurons that have fired in an earlier step of this frame.
        count: what to add to each potential.
        test: the step closes: neurons at or above threshold fire [S4].
        new_potential, new_fired: the state after.
        fire: neurons that spike now.
    """

    def __init__(self, *, pe: int, width: int, count_width: int):
        self._pe, self._width, self._count_width = pe, width, count_width
        super().__init__(
            {
                "potential": In(pe * width),
                "fired": In(pe),
                "count": In(pe * count_width),
                "test": In(1),
                "new_potential": Out(pe * width),
                "new_fired": Out(pe),
                "fire": Out(pe),
            }
        )

    def elaborate(self, platform):
        m = Module()
        sums, below = [], []
        for p in range(self._pe):
            before = self.potential[p * self._width : (p + 1) * self._width].as_signed()
            count = self.count[p * self._count_width : (p + 1) * self._count_width].as_signed()
            sums.append((before + count)[: self._width])
        m.d.comb += self.new_potential.eq(Cat(sums))
        for p in range(self._pe):
            below.append(self.new_potential[(p + 1) * self._width - 1])
        negative = Signal(self._pe)
        m.d.comb += [
            negative.eq(Cat(below)),
            self.fire.eq(~(negative | self.fired) & self.test.replicate(self._pe)),
            self.new_fired.eq(self.fired | self.fire),
        ]
        return m


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
