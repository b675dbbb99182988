"""Harness of what stands before the circuit: the latency encoder."""

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Cover, Module, Mux, Signal, Value

from hw.core.words import WordFormat
from hw.encoder.codes import LatencyCode
from hw.encoder.encoder import PixelEncoder
from sim.proofs.parts import Harness
from sim.proofs.streams import Rules, hold, offer

NUMBER_BITS = 3
"""Of frames' numbers; two frames are inside at most."""


class ChosenFrame:
    """Any one frame of pixels.

    Attributes:
        there: it has begun.
        number: of it.
        wrong: it has too few pixels, or too many.
        times: per pixel its spike time, T if it has none [S2].
    """

    def __init__(self, m: Module, form: WordFormat, port, p_min: int, pixels: int):
        beat, taken = port.payload, port.valid & port.ready
        self.there, self.number, self.wrong = Signal(), Signal(NUMBER_BITS), Signal()
        self.times = [Signal(range(form.steps + 1), name=f"time_{i}") for i in range(form.inputs)]
        inside, current, beats = Signal(), Signal(NUMBER_BITS), Signal(range(form.inputs + 2))
        choose = taken & ~inside & ~self.there & AnySeq(1)
        mine = taken & (choose | (self.there & inside & (current == self.number)))
        place = Mux(inside, beats, 0)
        last = -(-form.inputs // pixels) - 1
        with m.If(taken):
            m.d.sync += [inside.eq(~beat.last_of_frame), current.eq(current + beat.last_of_frame)]
            m.d.sync += beats.eq(Mux(place == last + 1, place, place + 1))
        with m.If(choose):
            m.d.sync += [self.there.eq(1), self.number.eq(current)]
        with m.If(mine):
            m.d.sync += self.wrong.eq(beat.last_of_frame != (place == last))
            for i, time in enumerate(self.times):
                intensity = beat.intensity.word_select(i % pixels, 8)
                with m.If(place == i // pixels):
                    m.d.sync += time.eq(Mux(intensity >= p_min, (255 - intensity) * form.steps >> 8, form.steps))


def encoder(form: WordFormat, p_min: int, pixels: int) -> Harness:
    """Any pixels in, frames of any length, words that wait and are cancelled.

    What is offered holds, words keep the rules, and any one frame that is neither cancelled nor of a wrong length has each spike of [S2],
    at its time, and no other; one of a wrong length has ``error``.
    """

    def fill(m: Module) -> None:
        m.submodules.dut = dut = PixelEncoder(form, LatencyCode(form.steps, p_min), pixels=pixels)
        offer(m, dut.i)
        cancels = Signal()
        m.d.comb += [dut.o.stream.ready.eq(AnySeq(1)), cancels.eq(AnySeq(1)), dut.o.cancel.eq(cancels)]
        hold(m, dut.o.stream, unless=cancels)
        _words(m, form, dut.o.stream, cancels, ChosenFrame(m, form, dut.i, p_min, pixels))

    return Harness(fill)


def _words(m: Module, form: WordFormat, sent, cancels: Value, chosen: ChosenFrame) -> None:
    """Words keep the rules, and those of the chosen frame have its spikes."""
    word, taken = sent.payload, sent.valid & sent.ready
    m.submodules.rules = rules = Rules(form)
    m.d.comb += [rules.word.eq(word), rules.taken.eq(taken)]
    current, cut, over, seen = Signal(NUMBER_BITS), Signal(), Signal(), Signal(form.inputs)
    mine, holds = Signal(), Signal()  # a word of the chosen frame; nothing of it was cancelled
    m.d.comb += [
        mine.eq(sent.valid & chosen.there & ~over & (current == chosen.number)),
        holds.eq(~cut & ~cancels),
    ]
    with m.If(taken):
        m.d.sync += current.eq(current + word.last_of_frame)
    with m.If(mine & taken):
        m.d.sync += [cut.eq(cut | cancels), over.eq(word.last_of_frame)]
    with m.If(sent.valid & holds):
        m.d.comb += Assert(~rules.spoilt | word.error)
    with m.If(mine & holds):
        m.d.comb += [Assert(word.error == chosen.wrong), Cover(word.error & (chosen.number > 0))]
        for i, time in enumerate(chosen.times):
            index, lane = divmod(i, form.simd)
            here = (word.index == index) & word.bits[lane]
            with m.If(here & ~word.error):
                m.d.comb += Assert((time == word.time) & ~seen[i])
            with m.If(here & taken):
                m.d.sync += seen[i].eq(1)
            with m.If(word.last_of_frame & ~word.error):
                m.d.comb += Assert(seen[i] | here | (time == form.steps))
        m.d.comb += Cover(word.last_of_frame & ~word.error & (word.time == form.steps - 1) & seen.any() & (chosen.number > 0))
