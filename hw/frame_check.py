"""The guard at the gate: spike words from outside may be anything."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.streams import words
from hw.words import WordFormat


class FrameCheck(wiring.Component):
    """Passes words on until one breaks a rule; of such a frame nothing more than an empty last word passes, which is flagged.

    The rules: the index and the time are in range; step 0 comes first; time does not go back; a step is closed before the next begins, and
    does not go on after it was closed, but for an empty word that ends the frame; padding inputs do not spike; the end of a frame closes
    its last step. No latency.

    Parameters:
        form: the words.

    Members:
        i: words as they come.
        o: words that keep the rules; ``error`` in the last one of a frame that did not.
    """

    def __init__(self, form: WordFormat):
        self._form = form
        super().__init__({"i": In(words(form)), "o": Out(words(form))})

    def elaborate(self, platform):
        m = Module()
        form, word, checked = self._form, self.i.stream.payload, self.o.stream.payload
        first, open_step, failed = Signal(init=1), Signal(), Signal()
        last_time = Signal.like(word.time)
        continues = Signal()  # this word belongs to the step of the word before
        breaks_rule, wrong = Signal(), Signal()
        padding = form.words * form.simd - form.inputs

        rules = [
            first & (word.time != 0),
            ~first & (word.time < last_time),
            ~first & open_step & ~continues,
            ~first & ~open_step & continues & (word.bits.any() | ~word.last_of_frame),
            word.last_of_frame & ~word.last_of_step,
        ]
        if form.words < 1 << len(word.index):
            rules.append(word.index >= form.words)
        if form.steps < 1 << len(word.time):
            rules.append(word.time >= form.steps)
        if padding:
            rules.append((word.index == form.words - 1) & word.bits[form.simd - padding :].any())
        for rule in rules:
            with m.If(rule):
                m.d.comb += breaks_rule.eq(1)
        m.d.comb += [
            continues.eq(word.time == last_time),
            wrong.eq(word.error | breaks_rule | (failed & ~first)),
            checked.eq(word),
            self.o.stream.valid.eq(self.i.stream.valid & (~wrong | word.last_of_frame)),
            self.i.stream.ready.eq(self.o.stream.ready | (wrong & ~word.last_of_frame)),
            self.i.cancel.eq(self.o.cancel),
        ]
        with m.If(wrong):
            m.d.comb += [
                checked.error.eq(1),
                checked.time.eq(Mux(first, 0, last_time)),
                checked.index.eq(0),
                checked.bits.eq(0),
                checked.last_of_step.eq(1),
            ]
        with m.If(self.i.stream.valid & self.i.stream.ready):
            m.d.sync += [first.eq(word.last_of_frame), open_step.eq(~word.last_of_step), failed.eq(wrong)]
            with m.If(~wrong):
                m.d.sync += last_time.eq(word.time)
            with m.Elif(first):
                m.d.sync += last_time.eq(0)
        return m
