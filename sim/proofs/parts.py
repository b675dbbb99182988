"""Harnesses of the parts that words and numbers pass through: `hw.FrameCheck`, `hw.ArgMax`, and the counts of a neuron."""

from collections.abc import Callable

from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Const, Cover, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from hw.argmax import ArgMax
from hw.frame_check import FrameCheck
from hw.neuron import IFNeurons, count_width, delta_counts, xnor_counts
from hw.words import WordFormat
from sim.proofs.streams import Rules, anything, hold, offer


class Harness(wiring.Component):
    """A component without ports, made of a function that fills a module."""

    def __init__(self, fill: Callable[[Module], None]):
        self._fill = fill
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        self._fill(m)
        return m


def frame_check(form: WordFormat, make: Callable[[WordFormat], wiring.Component] = FrameCheck) -> Harness:
    """Any words in; out come the same words of the same frames, but those of a spoilt frame without spikes, and flagged."""

    def fill(m: Module) -> None:
        m.submodules.dut = dut = make(form)
        m.submodules.rules = rules = Rules(form)
        sent, passed = dut.i.stream.payload, dut.o.stream.payload
        offer(m, dut.i.stream)
        hold(m, dut.o.stream)
        taken = dut.i.stream.valid & dut.i.stream.ready
        m.d.comb += [
            dut.o.stream.ready.eq(AnySeq(1)),
            dut.o.cancel.eq(AnySeq(1)),
            rules.word.eq(sent),
            rules.taken.eq(taken),
            Assert(dut.i.cancel == dut.o.cancel),
            Assert(taken == (dut.o.stream.valid & dut.o.stream.ready)),
            Cover(taken & rules.spoilt & ~sent.error & sent.last_of_frame),
            Cover(taken & ~rules.spoilt & sent.last_of_frame & (sent.time != 0) & sent.bits.any()),
        ]
        with m.If(dut.o.stream.valid):
            m.d.comb += [Assert(passed.error == rules.spoilt), Assert(passed.last_of_frame == sent.last_of_frame)]
            with m.If(rules.spoilt):
                m.d.comb += Assert((passed.bits == 0) & (passed.index == 0))
                m.d.comb += Assert(passed.last_of_step == (sent.last_of_step | sent.last_of_frame))
            with m.Else():
                m.d.comb += Assert(passed.as_value() == sent.as_value())

    return Harness(fill)


def argmax(count: int, width: int, always: int, make: Callable[..., wiring.Component] = ArgMax) -> Harness:
    """Any numbers in any row; what comes out is not smaller than any of them, and larger than those at lower places."""

    def fill(m: Module) -> None:
        m.submodules.dut = dut = make(count=count, width=width, always=always)
        m.d.comb += [dut.values.eq(anything(dut.values)), dut.all_present.eq(AnySeq(1)), dut.advance.eq(AnySeq(1))]
        values, present, filled = dut.values, dut.all_present, 1
        for _ in range(dut.latency):  # the row that the output belongs to
            later, later_present, later_filled = Signal(count * width), Signal(), Signal()
            with m.If(dut.advance):
                m.d.sync += [later.eq(values), later_present.eq(present), later_filled.eq(filled)]
            values, present, filled = later, later_present, later_filled
        numbers = Array(values.word_select(place, width).as_signed() for place in range(count))
        with m.If(filled):
            m.d.comb += [Assert(dut.place < count), Assert(dut.value == numbers[dut.place]), Cover(dut.place == count - 1)]
            for place in range(count):
                races = 1 if place < always else present
                with m.If(races):
                    m.d.comb += Assert((dut.value > numbers[place]) | ((dut.value == numbers[place]) & (dut.place <= place)))
                with m.Else():
                    m.d.comb += Assert(dut.place != place)

    return Harness(fill)


def counts(simd: int, neurons: Callable[..., wiring.Component] = IFNeurons) -> Harness:
    """Statement S7 for any weights and spikes, in both forms; and a neuron fires once, when its sum reaches the threshold."""

    def fill(m: Module) -> None:
        weights, spikes = Signal(simd), Signal(simd)
        width = count_width(simd)
        m.d.comb += [weights.eq(anything(weights)), spikes.eq(anything(spikes))]
        total: Value = Const(0)
        negatives: Value = Const(0)
        for weight, spike in zip(weights, spikes, strict=True):
            total = total + _weight(weight) * spike
            negatives = negatives + ~weight
        delta, xnor = Signal(signed(width)), Signal(signed(width))
        m.d.comb += [delta.eq(delta_counts(m, weights, spikes, 1)), xnor.eq(xnor_counts(m, weights, spikes, 1))]
        m.d.comb += [Assert(delta == total), Assert(xnor - negatives == total), Cover(delta == simd), Cover(delta == -simd)]

        m.submodules.dut = dut = neurons(pe=1, width=width + 1, count_width=width)
        before = Signal(signed(width + 1))
        m.d.comb += [
            before.eq(anything(before)),
            dut.potential.eq(before),
            dut.count.eq(delta),
            dut.fired.eq(AnySeq(1)),
            dut.test.eq(AnySeq(1)),
        ]
        after = before + total
        fits = (after >= -(1 << width)) & (after < 1 << width)
        with m.If(fits):
            fires = dut.test & ~dut.fired & (after >= 0)
            m.d.comb += [
                Assert(dut.new_potential.as_signed() == after),
                Assert(dut.fire == fires),
                Assert(dut.new_fired == (dut.fired | fires)),
                Cover(fires),
            ]

    return Harness(fill)


def _weight(bit: Value) -> Value:
    """The weight that a bit stands for: -1 or +1."""
    return Mux(bit, 1, -1)
