"""Neurons, ``PE`` of them side by side: one component per kind of neuron.

Potentials of a vector are packed into one signal, since one wide signal simulates several times faster, and converts and compiles in
a fraction of the time, of hundreds of narrow ones.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from export.neurons import Neuron


class Neurons(wiring.Component):
    """``pe`` neurons of one kind. Combinational: their state comes in, spikes and their new state go out.

    The state of a neuron is a potential, which begins a frame with what `start` gives, and one flag, which begins with 0.

    Parameters:
        pe: number of neurons.
        width: bits of one potential, signed.
        count_width: bits of one ``count``, signed.

    Members:
        potential, flags: state before, neuron 0 least significant.
        count: what to add to each potential.
        test: the step closes: neurons may fire.
        new_potential, new_flags: the state after.
        fire: neurons that spike now.
    """

    kind: ClassVar[str]
    """Of the golden half, a subclass of `export.neurons.Neuron`."""

    def __init__(self, *, pe: int, width: int, count_width: int):
        self._pe, self._width, self._count_width = pe, width, count_width
        super().__init__(
            {
                "potential": In(pe * width),
                "flags": In(pe),
                "count": In(pe * count_width),
                "test": In(1),
                "new_potential": Out(pe * width),
                "new_flags": Out(pe),
                "fire": Out(pe),
            }
        )

    @staticmethod
    @abstractmethod
    def start(neuron: Neuron) -> np.ndarray:
        """The potentials that a frame begins with, int64 (outputs,)."""

    def sum(self, p: int) -> Value:
        """The potential of neuron ``p`` with its count added."""
        before = self.potential[p * self._width : (p + 1) * self._width].as_signed()
        return before + self.count[p * self._count_width : (p + 1) * self._count_width].as_signed()

    def pack(self, potentials: Iterable[Value]) -> Value:
        """New potentials, side by side."""
        return Cat(potential[: self._width] for potential in potentials)

    def negative(self, m: Module) -> Signal:
        """Of which neurons ``new_potential`` is negative."""
        negative = Signal(self._pe)
        m.d.comb += negative.eq(Cat(self.new_potential[(p + 1) * self._width - 1] for p in range(self._pe)))
        return negative


class IFNeurons(Neurons):
    """Integrate-and-fire neurons without leak, each firing at most once per frame [S3].

    A potential is ``V - θ``, so that its sign is the test [S4]; a flag says that the neuron has fired in an earlier step of this frame.
    """

    kind = "single"

    @staticmethod
    def start(neuron: Neuron) -> np.ndarray:
        return -neuron.thresholds.astype(np.int64)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.new_potential.eq(self.pack(self.sum(p) for p in range(self._pe)))
        m.d.comb += [
            self.fire.eq(~(self.negative(m) | self.flags) & self.test.replicate(self._pe)),
            self.new_flags.eq(self.flags | self.fire),
        ]
        return m


NEURONS: dict[str, type[Neurons]] = {neurons.kind: neurons for neurons in (IFNeurons,)}
