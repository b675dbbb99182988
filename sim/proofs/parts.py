"""Harnesses of the parts that words and numbers pass through: `hw.FrameCheck`, `hw.ArgMax`, and the counts of a neuron."""

from collections.abc import Callable

import numpy as np
from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, ClockDomain, ClockSignal, Const, Cover, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from export import Single
from hw.core.counting import count_width, delta_counts, xnor_counts
from hw.core.frame_check import FrameCheck
from hw.core.neurons import IFNeurons
from hw.core.trees import ArgMax
from hw.core.words import WordFormat
from sim.proofs.streams import Rules, hold, offer


class Harness(wiring.Component):
    """A component made of a function that fills a module. It is never reset: see `sim.proofs.sby.ANY_CONTENT`."""

    def __init__(self, fill: Callable[[Module], None]):
        self._fill = fill
        super().__init__({"clk": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal().eq(self.clk)
        self._fill(m)
        return m


def frame_check(form: WordFormat, make: Callable[[WordFormat], wiring.Component] = FrameCheck) -> Harness:
    """Any words in; out come, a cycle later, those of lawful frames, and of a spoilt one those before the breach and an empty end."""

    def fill(m: Module) -> None:
        m.submodules.dut = dut = make(form)
        m.submodules.rules = rules = Rules(form)
        sent, passed = dut.i.stream, dut.o.stream
        offer(m, sent)
        hold(m, passed)
        taken = Signal()
        m.d.comb += [
            passed.ready.eq(AnySeq(1)),
            dut.o.cancel.eq(AnySeq(1)),
            taken.eq(sent.valid & sent.ready),
            rules.word.eq(sent.payload),
            rules.taken.eq(taken),
        ]
        due, expected = Signal(), Signal(form.layout)
        time = Signal.like(sent.payload.time)  # of the frame's last lawful word
        with m.If(passed.ready):
            m.d.sync += due.eq(0)
        with m.If(taken & ~rules.spoilt):
            m.d.sync += [due.eq(1), expected.eq(sent.payload), time.eq(sent.payload.time)]
        with m.Elif(taken & sent.payload.last_of_frame):
            end = {"index": 0, "bits": 0, "last_of_step": 1, "last_of_frame": 1, "error": 1}
            m.d.sync += [due.eq(1), *(expected[name].eq(value) for name, value in end.items())]
            m.d.sync += expected.time.eq(Mux(rules.begins, 0, time))
        with m.If(taken & rules.spoilt & rules.begins):
            m.d.sync += time.eq(0)
        m.d.comb += [
            Assert(passed.valid == due),
            Assert(sent.ready | (due & ~passed.ready)),
            Assert(dut.i.cancel == (dut.o.cancel & ~(due & expected.last_of_frame))),
            Cover(due & expected.error & (expected.time != 0)),
            Cover(due & ~expected.error & expected.last_of_frame & (expected.time != 0) & expected.bits.any()),
        ]
        with m.If(due):
            m.d.comb += Assert(passed.payload.as_value() == expected.as_value())

    return Harness(fill)


def argmax(count: int, width: int, always: int, make: Callable[..., wiring.Component] = ArgMax) -> Harness:
    """Any numbers in any row; what comes out is not smaller than any of them, and larger than those at lower places."""

    def fill(m: Module) -> None:
        m.submodules.dut = dut = make(count=count, width=width, always=always)
        m.d.comb += [dut.values.eq(AnySeq(len(dut.values))), dut.all_present.eq(AnySeq(1))]
        values, present, filled = dut.values, dut.all_present, 1
        for _ in range(dut.latency):  # the row that the output belongs to
            later, later_present, later_filled = Signal(count * width), Signal(), Signal()
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
        m.d.comb += [weights.eq(AnySeq(simd)), spikes.eq(AnySeq(simd))]
        total: Value = Const(0)
        negatives: Value = Const(0)
        for weight, spike in zip(weights, spikes, strict=True):
            total = total + _weight(weight) * spike
            negatives = negatives + ~weight
        delta, xnor = Signal(signed(width)), Signal(signed(width))
        m.d.comb += [delta.eq(delta_counts(m, weights, spikes, 1)), xnor.eq(xnor_counts(m, weights, spikes, 1))]
        m.d.comb += [Assert(delta == total), Assert(xnor - negatives == total), Cover(delta == simd), Cover(delta == -simd)]

        m.submodules.dut = dut = neurons(Single(np.zeros(1, np.int32)), pe=1, width=width + 1, count_width=width)
        before = Signal(signed(width + 1))
        m.d.comb += [
            before.eq(AnySeq(width + 1)),
            dut.potential.eq(before),
            dut.count.eq(delta),
            dut.flags.eq(AnySeq(1)),
            dut.test.eq(AnySeq(1)),
        ]
        after = before + total
        fits = (after >= -(1 << width)) & (after < 1 << width)
        with m.If(fits):
            fires = dut.test & ~dut.flags & (after >= 0)
            m.d.comb += [
                Assert(dut.new_potential.as_signed() == after),
                Assert(dut.fire == fires),
                Assert(dut.new_flags == (dut.flags | fires)),
                Cover(fires),
            ]

    return Harness(fill)


def _weight(bit: Value) -> Value:
    """The weight that a bit stands for: -1 or +1."""
    return Mux(bit, 1, -1)
