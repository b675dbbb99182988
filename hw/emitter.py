"""From rows of neurons that fired to the spike words of the next layer."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.folding import LayerPlan
from hw.streams import rows, words
from hw.words import WordFormat

ROW_TO_WORD = 1  # cycles from a step's last row to its first word


class SpikeEmitter(wiring.Component):
    """Holds one step's spikes and sends those words that have any, one per cycle, lowest index first.

    Latency: one cycle from a step's last row to its first word; a step without spikes is released in that cycle, without a word, unless it
    is step 0 or ends the frame.

    Parameters:
        plan: the layer whose rows come in.
        simd: neurons per word.

    Members:
        i: rows.
        o: spike words.
    """

    def __init__(self, plan: LayerPlan, *, simd: int):
        self._plan = plan
        self._form = WordFormat(plan.layer.outputs, plan.steps, simd)
        super().__init__({"i": In(rows(plan)), "o": Out(words(self._form))})

    def elaborate(self, platform):
        m = Module()
        plan, form, row = self._plan, self._form, self.i.payload
        held = Signal(form.words * form.simd)
        full, ended, failed = Signal(), Signal(), Signal()
        time = Signal.like(row.time)
        with_spikes = Signal(form.words)
        must_close, last, taken = Signal(), Signal(), Signal()
        index = Signal.like(self.o.stream.payload.index)

        m.d.comb += [
            with_spikes.eq(Cat(held.word_select(k, form.simd).any() for k in range(form.words))),
            must_close.eq(ended | (time == 0)),
            last.eq((with_spikes & (with_spikes - 1)) == 0),
            taken.eq(self.o.stream.valid & self.o.stream.ready),
            self.o.stream.valid.eq(full & (with_spikes.any() | must_close)),
            self.o.stream.payload.time.eq(time),
            self.o.stream.payload.index.eq(index),
            self.o.stream.payload.bits.eq(held.word_select(index, form.simd)),
            self.o.stream.payload.last_of_step.eq(last),
            self.o.stream.payload.last_of_frame.eq(last & ended),
            self.o.stream.payload.error.eq(failed),
            self.i.cancel.eq(self.o.cancel),
            self.i.release.eq(full & ((taken & last) | ~self.o.stream.valid)),
        ]
        for k in reversed(range(form.words)):
            with m.If(with_spikes[k]):
                m.d.comb += index.eq(k)

        with m.If(taken):
            m.d.sync += held.word_select(index, form.simd).eq(0)
        with m.If(self.i.release):
            m.d.sync += full.eq(0)
        # A cancelled frame ends with the word that is being offered, if it is the last, else with an empty one.
        with m.If(self.o.cancel):
            m.d.sync += held.eq(0)
        with m.If(self.i.flush):
            m.d.sync += full.eq(0)
        with m.If(self.i.valid):
            with m.Switch(row.group):
                for group in range(plan.groups):
                    begin = group * plan.pe
                    end = min(begin + plan.pe, plan.layer.outputs)
                    with m.Case(group):
                        m.d.sync += held[begin:end].eq(row.fire & ~self.o.cancel.replicate(plan.pe))
            with m.If(row.last_of_step):
                m.d.sync += [full.eq(1), ended.eq(row.last_of_frame), failed.eq(row.error), time.eq(row.time)]
        return m
