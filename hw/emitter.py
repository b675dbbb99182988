"""From rows of neurons that fired to the spike words of the next layer."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.folding import LayerPlan
from hw.streams import rows, words
from hw.words import WordFormat, bits_for

ROW_TO_WORD = 2  # cycles from a step's last row to its first word
ROW_TO_SKIP = 1  # cycles from the last row of a step that sends nothing to its release


class SpikeEmitter(wiring.Component):
    """Holds one step's spikes and sends those words that have any, one per cycle, lowest index first.

    Latency: two cycles from a step's last row to its first word. A step without spikes sends no word, unless it is step 0 or ends the
    frame, and is released a cycle after its last row; any other step is released with its last word.

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
        held = Signal(form.words * form.simd)  # written whole in every step
        unsent = Signal(form.words)  # words of it with spikes, not sent yet
        full, ended, failed = Signal(), Signal(), Signal()
        time = Signal.like(row.time)
        with_spikes = Signal(form.words)
        index = Signal(bits_for(form.words))
        some, last, skips, loads, taken = Signal(), Signal(), Signal(), Signal(), Signal()
        valid, word = Signal(), Signal(form.layout)

        m.d.comb += [
            with_spikes.eq(unsent & ~self.o.cancel.replicate(form.words)),
            some.eq(with_spikes.any()),
            last.eq((with_spikes & (with_spikes - 1)) == 0),
            skips.eq(full & ~some & ~ended & (time != 0)),
            loads.eq(full & ~skips & (~valid | self.o.stream.ready)),
            taken.eq(valid & self.o.stream.ready),
            self.o.stream.valid.eq(valid),
            self.o.stream.payload.eq(word),
            self.i.cancel.eq(self.o.cancel),
            self.i.release.eq(skips | (taken & word.last_of_step)),
        ]
        for k in reversed(range(form.words)):
            with m.If(with_spikes[k]):
                m.d.comb += index.eq(k)

        with m.If(taken):
            m.d.sync += valid.eq(0)
        with m.If(loads):
            m.d.sync += [
                valid.eq(1),
                word.time.eq(time),
                word.index.eq(index),
                word.bits.eq(Mux(some, held.word_select(index, form.simd), 0)),
                word.last_of_step.eq(last),
                word.last_of_frame.eq(last & ended),
                word.error.eq(failed),
                unsent.bit_select(index, 1).eq(0),
            ]
        with m.If(skips | (loads & last)):
            m.d.sync += full.eq(0)
        # A cancelled frame ends with the word that is being offered, if it is the last, else with an empty one.
        with m.If(self.o.cancel):
            m.d.sync += unsent.eq(0)
        with m.If(self.i.flush):
            m.d.sync += [full.eq(0), valid.eq(0)]
        with m.If(self.i.valid):
            with m.Switch(row.group):
                for group in range(plan.groups):
                    with m.Case(group):
                        self._take_row(m, group * plan.pe, held, unsent)
            with m.If(row.last_of_step):
                m.d.sync += [full.eq(1), ended.eq(row.last_of_frame), failed.eq(row.error), time.eq(row.time)]
        return m

    def _take_row(self, m: Module, begin: int, held: Signal, unsent: Signal) -> None:
        """Hold the spikes of a row whose first neuron is ``begin``, and mark the words that it gives spikes to."""
        simd = self._form.simd
        end = min(begin + self._plan.pe, self._plan.layer.outputs)
        m.d.sync += held[begin:end].eq(self.i.payload.fire)
        for word in range(begin // simd, -(-end // simd)):
            part = self.i.payload.fire[max(word * simd, begin) - begin : min((word + 1) * simd, end) - begin]
            with m.If(part.any() & ~self.o.cancel):
                m.d.sync += unsent[word].eq(1)
