"""Harness of what stands before the circuit: the latency encoder."""

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Cover, Module, Mux, Signal, Value

from hw.encoder import LatencyEncoder
from hw.words import WordFormat
from sim.proofs.parts import Harness
from sim.proofs.streams import Rules, offer

NUMBER_BITS = 3
"""Of frames' numbers; two frames are inside at most."""


def encoder(form: WordFormat, p_min: int, pixels: int) -> Harness:
    """Any pixels in, frames of any length, words that wait and are cancelled.

    What is offered holds, words keep the rules, and any one frame that is neither cancelled nor of a wrong length has each spike of [S2],
    at its time, and no other; one of a wrong length has ``error``.
    """

    def fill(m: Module) -> None:
        m.submodules.dut = dut = LatencyEncoder(form, p_min=p_min, pixels=pixels)
        m.submodules.rules = rules = Rules(form)
        offer(m, dut.i)
        beat, word, sent = dut.i.payload, dut.o.stream.payload, dut.o.stream
        taken_in, taken_out, cancels = Signal(), Signal(), Signal()
        m.d.comb += [
            sent.ready.eq(AnySeq(1)),
            cancels.eq(AnySeq(1)),
            dut.o.cancel.eq(cancels),
            taken_in.eq(dut.i.valid & dut.i.ready),
            taken_out.eq(sent.valid & sent.ready),
            rules.word.eq(word),
            rules.taken.eq(taken_out),
        ]
        waited, before = Signal(), Signal(form.layout.size)
        m.d.sync += [waited.eq(sent.valid & ~sent.ready & ~cancels), before.eq(Value.cast(word))]
        with m.If(waited):
            m.d.comb += Assert(sent.valid & (Value.cast(word) == before))
        # The chosen frame: any one.
        inside, number_in, number_out, chosen = Signal(), Signal(NUMBER_BITS), Signal(NUMBER_BITS), Signal(NUMBER_BITS)
        there, over, cut = Signal(), Signal(), Signal()
        beats, wrong = Signal(range(form.inputs + 2)), Signal()
        choose = taken_in & ~inside & ~there & AnySeq(1)
        mine = taken_in & (choose | (there & inside & (number_in == chosen)))
        place = Mux(inside, beats, 0)
        last = -(-form.inputs // pixels) - 1
        times = [Signal(range(form.steps + 1), name=f"time_{i}") for i in range(form.inputs)]
        seen = Signal(form.inputs)
        with m.If(taken_in):
            m.d.sync += [inside.eq(~beat.last_of_frame), number_in.eq(number_in + beat.last_of_frame)]
            m.d.sync += beats.eq(Mux(place == last + 1, place, place + 1))
        with m.If(choose):
            m.d.sync += [there.eq(1), chosen.eq(number_in)]
        with m.If(mine):
            m.d.sync += wrong.eq(beat.last_of_frame != (place == last))
            for i, time in enumerate(times):
                intensity = beat.intensity.word_select(i % pixels, 8)
                with m.If(place == i // pixels):
                    m.d.sync += time.eq(Mux(intensity >= p_min, (255 - intensity) * form.steps >> 8, form.steps))
        of_chosen = Signal()
        m.d.comb += of_chosen.eq(sent.valid & there & ~over & (number_out == chosen))
        with m.If(taken_out):
            m.d.sync += number_out.eq(number_out + word.last_of_frame)
        with m.If(of_chosen & taken_out & cancels):
            m.d.sync += cut.eq(1)
        with m.If(of_chosen & taken_out & word.last_of_frame):
            m.d.sync += over.eq(1)
        with m.If(sent.valid & ~cut & ~cancels):
            m.d.comb += Assert(~rules.spoilt | word.error)
        with m.If(of_chosen & ~cut & ~cancels):
            m.d.comb += [Assert(word.error == wrong), Cover(word.error & (chosen > 0))]
            for i, time in enumerate(times):
                index, lane = divmod(i, form.simd)
                here = (word.index == index) & word.bits[lane]
                with m.If(here & ~word.error):
                    m.d.comb += Assert((time == word.time) & ~seen[i])
                with m.If(here & taken_out):
                    m.d.sync += seen[i].eq(1)
                with m.If(word.last_of_frame & ~word.error):
                    m.d.comb += Assert(seen[i] | here | (time == form.steps))
            m.d.comb += Cover(word.last_of_frame & ~word.error & (word.time == form.steps - 1) & seen.any() & (chosen > 0))

    return Harness(fill)
