"""The check of spike words that come from outside: frames that break a rule are flagged, and go no further."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.streams import words
from hw.core.words import WordFormat

LATENCY = 1  # cycles from a word to the same word, checked


class FrameCheck(wiring.Component):
    """Passes words on until one breaks a rule; of such a frame nothing more than an empty last word passes, which is flagged.

    The rules: the index and the time are in range; step 0 comes first; time does not go back; a step is closed before the next begins, and
    does not go on after it was closed, but for an empty word that ends the frame; padding inputs do not spike; the end of a frame closes
    its last step; where no step may be skipped, each is closed, once; where they have to, indices ascend in a step. Latency: one cycle.
    Throughput: a word per cycle.

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
        first = Signal(init=1)
        open_step = Signal()
        failed = Signal()
        last_time = Signal.like(word.time)
        last_index = Signal.like(word.index)
        continues = Signal()  # this word belongs to the step of the word before
        breaks_rule = Signal()
        wrong = Signal()
        padding = form.words * form.simd - form.inputs

        broken = [  # the rules of ``docs/hardware.md``, by number
            first & (word.time != 0),  # 1, 2
            ~first & (word.time < last_time),  # 1
            ~first & open_step & ~continues,  # 3
            ~first & ~open_step & continues & (word.bits.any() | ~word.last_of_frame),  # 3, but for what 4 allows
            word.last_of_frame & ~word.last_of_step,  # 4
        ]
        if not form.skips_empty_steps:
            broken += [  # 7
                ~first & (word.time > last_time + 1),
                ~first & ~open_step & continues,
                word.last_of_frame & (word.time != form.steps - 1),
            ]
        if form.ascending:
            broken.append(~first & open_step & (word.index <= last_index))  # 8
        if form.words < 1 << len(word.index):
            broken.append(word.index >= form.words)  # 5
        if form.steps < 1 << len(word.time):
            broken.append(word.time >= form.steps)  # 5
        if padding:
            broken.append((word.index == form.words - 1) & word.bits[(form.simd - padding) * form.lane_bits :].any())  # 5
        for rule in broken:
            with m.If(rule):
                m.d.comb += breaks_rule.eq(1)
        sending = Signal()
        passes = Signal()
        taken = Signal()
        free = Signal()
        m.d.comb += [
            continues.eq(word.time == last_time),
            wrong.eq(word.error | breaks_rule | (failed & ~first)),
            passes.eq(~wrong | word.last_of_frame),
            free.eq(~sending | self.o.stream.ready),
            taken.eq(self.i.stream.valid & self.i.stream.ready),
            self.i.stream.ready.eq(free | ~passes),
            self.o.stream.valid.eq(sending),
            # The last word may be on its way to be dropped; what comes behind it is the next frame.
            self.i.cancel.eq(self.o.cancel & ~(sending & checked.last_of_frame)),
        ]
        with m.If(self.o.stream.ready):
            m.d.sync += sending.eq(0)
        with m.If(taken & passes):
            m.d.sync += [sending.eq(1), checked.eq(word)]
            with m.If(wrong):
                m.d.sync += [
                    checked.error.eq(1),
                    checked.time.eq(Mux(first, 0, last_time)),
                    checked.index.eq(0),
                    checked.bits.eq(0),
                    checked.last_of_step.eq(1),
                ]
        with m.If(taken):
            m.d.sync += [first.eq(word.last_of_frame), open_step.eq(~word.last_of_step), failed.eq(wrong), last_index.eq(word.index)]
            with m.If(~wrong):
                m.d.sync += last_time.eq(word.time)
            with m.Elif(first):
                m.d.sync += last_time.eq(0)
        return m
