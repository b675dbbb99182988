"""Harnesses of neurons that spike with coefficients, and of the counts that they add up: their definition for all numbers."""

from collections.abc import Callable

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Const, Cover, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from export.connections import Totals
from export.reset_neurons import Graded, Rate, Ternary
from hw.core.counting import count_width, delta_counts
from hw.core.neurons import NEURONS
from hw.core.words import coefficient_bits
from sim.proofs.definition import total
from sim.proofs.parts import Harness

LANES = 2


def neurons(neuron: Rate, width: int, count_width: int = 3, make: Callable[..., wiring.Component] | None = None) -> Harness:
    """[S9] and [S10] for any potentials, counts, thresholds and sums of coefficients that fit: what two neurons side by side send and keep.

    Parameters:
        neuron: its kind, its range of counts, its fractional bits and the bits of its largest threshold and of its bias, if it has one;
            thresholds and biases themselves are symbols.
        width, count_width: bits of a potential and of a count, signed.
        make: the component; by default the kind's own.
    """

    def fill(m: Module) -> None:
        m.submodules.dut = dut = (make or NEURONS[neuron.kind])(neuron, pe=LANES, width=width, count_width=count_width)
        m.d.comb += [
            getattr(dut, name).eq(AnySeq(len(getattr(dut, name)))) for name in ("potential", "flags", "count", "parameters", "test")
        ]
        for lane in range(LANES):
            potential, count, threshold = (_part(getattr(dut, name), lane) for name in ("potential", "count", "parameters"))
            bias: Value = Const(0)
            if neuron.has_bias:
                threshold, bias = threshold[: len(threshold) // 2], threshold[len(threshold) // 2 :].as_signed()
            sums, after = (Signal(signed(width + len(bias) + 1), name=f"{name}_{lane}") for name in ("sums", "after"))
            m.d.comb += [sums.eq(potential.as_signed() + count.as_signed() * 2**neuron.fraction), after.eq(sums + Mux(dut.test, bias, 0))]
            m.d.comb += [Assume(threshold != 0), Assume(_fits(sums, width)), Assume(_fits(after, width))]
            sent, kept = _part(dut.fire, lane), _part(dut.new_potential, lane).as_signed()
            coefficient = sent.as_signed() if neuron.coefficients[0] < 0 else sent
            if not isinstance(neuron, Ternary):
                _rate(m, dut.test, after, threshold, coefficient, kept, width)
                continue
            least, greatest = neuron.counts
            before, behind = (_part(getattr(dut, name), lane) for name in ("flags", "new_flags"))
            if least < 0:
                before, behind = before.as_signed(), behind.as_signed()
            m.d.comb += [Assume((before >= least) & (before <= greatest)), Assert((behind >= least) & (behind <= greatest))]
            m.d.comb += Assert(behind == before + coefficient)
            with m.If(~dut.test):
                m.d.comb += [Assert(coefficient == 0), Assert(kept == after)]
            with m.Elif(isinstance(neuron, Graded)):
                _graded(m, after, threshold, behind, kept, neuron.counts)
            with m.Else():
                _ternary(m, after, threshold, before, coefficient, kept, neuron.counts, width)
            m.d.comb += [Cover(dut.test & (coefficient == bound)) for bound in neuron.coefficients]

    return Harness(fill)


def _rate(m: Module, test: Value, after: Value, threshold: Value, coefficient: Value, kept: Value, width: int) -> None:
    """1 if ``V ≥ θ``, of a potential ``V - θ``."""
    spikes = test & (after >= 0)
    rest = after - Mux(spikes, threshold, 0)
    m.d.comb += [Assume(_fits(rest, width)), Assert(coefficient == spikes), Assert(kept == rest), Cover(spikes), Cover(test & ~spikes)]


def _ternary(m: Module, after: Value, threshold: Value, count: Value, coefficient: Value, kept: Value, counts: Totals, width: int) -> None:
    """+1 if ``V ≥ θ`` and ``N`` is below its greatest, -1 if ``V < 0`` and ``N`` is above its least, of a potential ``V - θ``."""
    potential = after + threshold
    up = (potential >= threshold) & (count < counts[1])
    down = (potential < 0) & (count > counts[0])
    rest = after - Mux(up, threshold, 0) + Mux(down, threshold, 0)
    m.d.comb += [Assume(_fits(rest, width)), Assert(coefficient == up - down), Assert(kept == rest)]


def _graded(m: Module, after: Value, threshold: Value, count: Value, kept: Value, counts: Totals) -> None:
    """``clip(⌊(v + S) / θ⌋)``, of a potential ``v + S``: a division that is checked by multiplication."""
    least, greatest = counts
    m.d.comb += [
        Assert((count == least) | (threshold * count <= after)),
        Assert((count == greatest) | (threshold * (count + 1) > after)),
        Assert(kept == after),
    ]


def _part(signal: Value, lane: int) -> Value:
    """That of one neuron."""
    return signal.word_select(lane, len(signal) // LANES)


def _fits(value: Value, width: int) -> Value:
    return (value >= -(1 << width - 1)) & (value < 1 << width - 1)


def counts(simd: int, coefficients: Totals) -> Harness:
    """``Σ_i w_i · c_i`` for any weights and coefficients, of so many bits that hold their range."""

    def fill(m: Module) -> None:
        lane_bits, width = coefficient_bits(coefficients), count_width(simd, coefficients)
        weights, spikes = Signal(simd), Signal(simd * lane_bits)
        m.d.comb += [weights.eq(AnySeq(simd)), spikes.eq(AnySeq(len(spikes)))]
        terms: list[Value] = []
        for weight, lane in zip(weights, range(simd), strict=True):
            bits = spikes.word_select(lane, lane_bits)
            coefficient = bits.as_signed() if coefficients[0] < 0 else bits
            m.d.comb += Assume((coefficient >= coefficients[0]) & (coefficient <= coefficients[1]))
            terms.append(Mux(weight, coefficient, Const(0) - coefficient))
        found, largest = Signal(signed(width)), simd * max(map(abs, coefficients))
        m.d.comb += [
            found.eq(delta_counts(m, weights, spikes, 1, coefficients)),
            Assert(found == total(terms)),
            Cover(found == largest),
            Cover(found == -largest),
        ]

    return Harness(fill)
