"""Neurons, ``PE`` of them side by side: one component per kind of neuron.

Potentials of a vector are packed into one signal, since one wide signal simulates several times faster, and converts and compiles in
a fraction of the time, of hundreds of narrow ones.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from export.connections import Totals
from export.neuron import Neuron
from export.reset_neurons import Rate, Ternary
from hw.core.words import coefficient_bits, signed_bits


class Neurons(wiring.Component):
    """``pe`` neurons of one kind. Combinational: their state comes in, spikes and their new state go out.

    The state of a neuron is a potential, which begins a frame with what `start` gives, and ``flag_bits`` more, which begin with 0.

    Parameters:
        neuron: the golden half.
        pe: number of neurons.
        width: bits of one potential, signed.
        count_width: bits of one ``count``, signed.
        tells_ripe: there is ``ripe``.

    Members:
        potential, flags: state before, neuron 0 least significant.
        count: what to add to each potential.
        parameters: what each neuron is given, if it is given anything.
        test: the step closes: neurons may fire.
        new_potential, new_flags: the state after.
        fire: coefficients of the neurons' spikes now; 0 for none.
        ripe: which neurons would spike if the step closed now; the test of any other changes nothing.
    """

    kind: ClassVar[str]
    """Of the golden half, a subclass of `export.neuron.Neuron`."""
    uses_flags: ClassVar[bool] = True
    """What they do depends on their flags."""

    def __init__(self, neuron: Neuron, *, pe: int, width: int, count_width: int, tells_ripe: bool = False):
        self._neuron, self._pe, self._width, self._count_width, self._tells_ripe = neuron, pe, width, count_width, tells_ripe
        self._flag_bits, self._parameter_bits = self.flag_bits(neuron), self.parameter_bits(neuron)
        members = {
            "potential": In(pe * width),
            "flags": In(pe * self._flag_bits),
            "count": In(pe * count_width),
            "test": In(1),
            "new_potential": Out(pe * width),
            "new_flags": Out(pe * self._flag_bits),
            "fire": Out(pe * coefficient_bits(neuron.coefficients)),
        }
        if self._parameter_bits:
            members["parameters"] = In(pe * self._parameter_bits)
        if tells_ripe:
            members["ripe"] = Out(pe)
        super().__init__(members)

    @staticmethod
    @abstractmethod
    def start(neuron: Neuron) -> np.ndarray:
        """The potentials that a frame begins with, int64 (outputs,)."""

    @staticmethod
    def flag_bits(neuron: Neuron) -> int:
        """Bits of a neuron's state beside its potential."""
        return 1

    @staticmethod
    def parameter_bits(neuron: Neuron) -> int:
        """Bits of what a neuron is given in each operation; 0 for none."""
        return 0

    @staticmethod
    def parameter_values(neuron: Neuron, bits: int) -> np.ndarray:
        """That, from 0, int64 (outputs,), in as many ``bits`` as a circuit has for it."""
        return np.zeros(len(neuron.thresholds), np.int64)

    @staticmethod
    def adders(neuron: Neuron) -> int:
        """Additions as wide as a potential, beside that of the count, for estimates of the area."""
        return 0

    def sum(self, p: int) -> Value:
        """The potential of neuron ``p`` with its count added."""
        before = self.potential[p * self._width : (p + 1) * self._width].as_signed()
        return before + self.counted(p)

    def counted(self, p: int) -> Value:
        """What its count adds to the potential of neuron ``p``."""
        count, fraction = self.count[p * self._count_width : (p + 1) * self._count_width].as_signed(), self._neuron.fraction
        return Cat(C(0, fraction), count).as_signed() if fraction else count

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
        negative = self.negative(m)
        m.d.comb += [
            self.fire.eq(~(negative | self.flags) & self.test.replicate(self._pe)),
            self.new_flags.eq(self.flags | self.fire),
        ]
        if self._tells_ripe:
            m.d.comb += self.ripe.eq(~(negative | self.flags))
        return m


class ReadoutNeurons(IFNeurons):
    """Output neurons behind spikes with coefficients [S12]."""

    kind = "readout"


class Response(NamedTuple):
    """What a neuron does at the end of a step.

    Attributes:
        coefficient: of its spike; 0 for none.
        potential: after it.
        count: the sum of the coefficients, this one included.
    """

    coefficient: Value
    potential: Value
    count: Value


def _lanes(signal: Value, width: int, *, is_signed: bool = False) -> list[Value]:
    """Numbers that lie side by side in a signal."""
    lanes = [signal[begin : begin + width] for begin in range(0, len(signal), width)]
    return [lane.as_signed() for lane in lanes] if is_signed else lanes


class ResetNeurons(Neurons):
    """Neurons that spike with a coefficient, given their threshold ``θ`` [S9]: one subclass per rule of [S10], which is its `respond`.

    Where any of them has a bias, each is given its own, too: the lower half of its parameters is ``θ``, the upper half the bias, in two's
    complement.
    """

    @staticmethod
    def parameter_bits(neuron: Neuron) -> int:
        assert isinstance(neuron, Rate)
        bits = int(neuron.thresholds.max()).bit_length()
        return 2 * max(bits, signed_bits(int(neuron.bias.min()), int(neuron.bias.max()))) if neuron.has_bias else bits

    @staticmethod
    def parameter_values(neuron: Neuron, bits: int) -> np.ndarray:
        assert isinstance(neuron, Rate)
        thresholds, half = neuron.thresholds.astype(np.int64), bits // 2
        return thresholds | (neuron.bias.astype(np.int64) & (1 << half) - 1) << half if neuron.has_bias else thresholds

    @staticmethod
    def start(neuron: Neuron) -> np.ndarray:
        assert isinstance(neuron, Rate)
        return neuron.initial.astype(np.int64) - neuron.thresholds

    @staticmethod
    def adders(neuron: Neuron) -> int:
        assert isinstance(neuron, Rate)
        return 1 + neuron.has_bias

    @abstractmethod
    def respond(self, m: Module, potentials: list[Value], emitted: list[Value], thresholds: list[Value]) -> list[Response]:
        """What each neuron does at the end of a step.

        Parameters:
            potentials: with the step's sums and the bias.
            emitted: the sum of the coefficients so far.
            thresholds: ``θ``.
        """

    def elaborate(self, platform):
        m = Module()
        potentials = self.packed(m, "sums", [self.sum(p) for p in range(self._pe)], self._width)
        emitted = _lanes(self.flags, self._flag_bits, is_signed=self._counts[0] < 0)
        closing, thresholds = potentials, _lanes(self.parameters, self._parameter_bits)
        if self._has_bias:
            half = self._parameter_bits // 2
            closing = self.biased(m, potentials, [lane[half:].as_signed() for lane in thresholds])
            thresholds = [lane[:half] for lane in thresholds]
        responses = self.respond(m, closing, emitted, thresholds)
        found = [
            (Mux(self.test, response.coefficient, 0), Mux(self.test, response.potential, before), Mux(self.test, response.count, count))
            for response, before, count in zip(responses, potentials, emitted, strict=True)
        ]
        for signal, values in zip((self.fire, self.new_potential, self.new_flags), zip(*found, strict=True), strict=True):
            width = len(signal) // self._pe
            m.d.comb += signal.eq(Cat(value[:width] for value in values))
        if self._tells_ripe:
            m.d.comb += self.ripe.eq(Cat(response.coefficient != 0 for response in responses))
        return m

    def biased(self, m: Module, potentials: list[Value], biases: list[Value]) -> list[Value]:
        """Potentials at the end of a step, with each neuron's bias."""
        return self.packed(m, "biased", [potential + bias for potential, bias in zip(potentials, biases, strict=True)], self._width)

    def packed(self, m: Module, name: str, numbers: Sequence[Value], width: int) -> list[Value]:
        """Signed numbers, one per neuron, side by side in a signal of their own."""
        signal = Signal(width * self._pe, name=name)
        m.d.comb += signal.eq(Cat(number[:width] for number in numbers))
        return _lanes(signal, width, is_signed=True)

    @property
    def _has_bias(self) -> bool:
        return isinstance(self._neuron, Rate) and self._neuron.has_bias

    @property
    def _counts(self) -> Totals:
        """Least and greatest sum of a neuron's coefficients."""
        return self._neuron.counts if isinstance(self._neuron, Ternary) else (0, 1)


class RateNeurons(ResetNeurons):
    """A potential is ``V - θ``, of which ``θ`` is taken with each spike; the flag is not used."""

    kind = "rate"
    uses_flags = False

    def respond(self, m, potentials, emitted, thresholds):
        fires = [~potential[-1] for potential in potentials]
        return [
            Response(fire, potential - Mux(fire, threshold, 0), C(0, 1))
            for fire, potential, threshold in zip(fires, potentials, thresholds, strict=True)
        ]


class CountingNeurons(ResetNeurons):
    """Neurons whose running count of coefficients is kept beside the potential."""

    @staticmethod
    def flag_bits(neuron: Neuron) -> int:
        assert isinstance(neuron, Ternary)
        return coefficient_bits(neuron.counts)


class TernaryNeurons(CountingNeurons):
    """A double threshold; a potential is ``V - θ``."""

    kind = "ternary"

    @staticmethod
    def adders(neuron: Neuron) -> int:
        return 1 + ResetNeurons.adders(neuron)

    def respond(self, m, potentials, emitted, thresholds):
        least, greatest = self._counts
        width = max(self._width, len(thresholds[0]) + 1) + 1
        raised = self.packed(m, "raised", [v + theta for v, theta in zip(potentials, thresholds, strict=True)], width)
        responses = []
        for potential, above, count, threshold in zip(potentials, raised, emitted, thresholds, strict=True):
            up = ~potential[-1] & (count != greatest)
            down = above[-1] & (count != least)
            change = Mux(down, -1, up)
            responses.append(Response(change, Mux(down, above, Mux(up, potential - threshold, potential)), count + change))
        return responses


class GradedNeurons(CountingNeurons):
    """Augmented spikes; a potential is ``V + θN``, of which nothing is taken.

    The new count is the quotient of potential and threshold, clipped, by restoring division: one subtraction per bit of the count.
    """

    kind = "graded"

    @staticmethod
    def start(neuron: Neuron) -> np.ndarray:
        assert isinstance(neuron, Rate)
        return neuron.initial.astype(np.int64)

    @staticmethod
    def adders(neuron: Neuron) -> int:
        assert isinstance(neuron, Ternary)
        return (neuron.counts[1] - neuron.counts[0]).bit_length() + neuron.has_bias

    def respond(self, m, potentials, emitted, thresholds):
        least, greatest = self._counts
        levels = greatest - least
        rests = [v - theta * least for v, theta in zip(potentials, thresholds, strict=True)] if least else potentials
        quotients: list[list[Value]] = [[] for _ in rests]
        for bit in reversed(range(levels.bit_length())):
            width = max(len(rests[0]), len(thresholds[0]) + bit + 1) + 1  # a large threshold is wider than what is divided
            less = self.packed(m, f"less_{bit}", [rest - (theta << bit) for rest, theta in zip(rests, thresholds, strict=True)], width)
            for quotient, difference in zip(quotients, less, strict=True):
                quotient.insert(0, ~difference[-1])
            rests = [Mux(diff[-1], rest, diff)[: len(rest)].as_signed() for rest, diff in zip(rests, less, strict=True)]
        steps = [Cat(quotient) for quotient in quotients]
        counts = [Mux(step > levels, greatest, step + least) for step in steps]
        return [Response(count - before, potential, count) for count, before, potential in zip(counts, emitted, potentials, strict=True)]


NEURONS: dict[str, type[Neurons]] = {
    neurons.kind: neurons for neurons in (IFNeurons, ReadoutNeurons, RateNeurons, TernaryNeurons, GradedNeurons)
}
