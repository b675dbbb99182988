"""Pixels in raster order to spike words in time order [S2]."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.streams import words
from hw.words import WordFormat, bits_for

PIXEL = data.StructLayout({"intensity": 8, "last_of_frame": 1})


class LatencyEncoder(wiring.Component):
    """Sorts a frame by spike time while it arrives: each step has a list of its pixels, linked through one memory.

    Two banks: one frame arrives while the one before leaves. Throughput: one pixel per cycle in; one spiking pixel per cycle out, and
    two more cycles per frame. Latency, from the frame's last pixel: two cycles to the word that closes an empty step 0, three to the
    first word with a spike.

    A frame that is cut short or too long is flagged; the one after it is right again.

    Parameters:
        form: words to send; ``form.inputs`` is the number of pixels of a frame.
        p_min: smallest intensity that spikes.

    Members:
        i: pixels in raster order, ``last_of_frame`` with the last.
        o: spike words.
    """

    def __init__(self, form: WordFormat, *, p_min: int):
        self._form, self._p_min = form, p_min
        super().__init__({"i": In(stream.Signature(PIXEL)), "o": Out(words(form))})

    def elaborate(self, platform):
        m = Module()
        form = self._form
        place = data.StructLayout({"bit": bits_for(form.simd), "word": bits_for(form.words)})
        place_bits = place.size
        full = Signal(2)  # per bank
        failed = Signal(2)
        drop = Signal()  # the leaving bank is done with

        m.submodules.links = links = Memory(shape=unsigned(place_bits), depth=2 << place_bits, init=[])
        link_write, link_read = links.write_port(), links.read_port()
        heads = [Signal(form.steps * place_bits, name=f"heads_{bank}") for bank in range(2)]
        tails = [Signal(form.steps * place_bits, name=f"tails_{bank}") for bank in range(2)]
        used = [Signal(form.steps, name=f"used_{bank}") for bank in range(2)]

        # Arrival.
        filling, overlong = Signal(), Signal()
        position = Signal(place)
        pixel = self.i.payload
        time = Signal(bits_for(form.steps))
        spikes, taken, at_end, ends = Signal(), Signal(), Signal(), Signal()
        filling_used, filling_tails = _of_bank(filling, used), _of_bank(filling, tails)
        m.d.comb += [
            self.i.ready.eq(~full.bit_select(filling, 1)),
            taken.eq(self.i.valid & self.i.ready),
            time.eq(((~pixel.intensity) * form.steps) >> 8),
            spikes.eq((pixel.intensity >= self._p_min) & ~overlong),
            at_end.eq((position.word == form.words - 1) & (position.bit == (form.inputs - 1) % form.simd)),
            ends.eq(pixel.last_of_frame),
            link_write.addr.eq(Cat(filling_tails.word_select(time, place_bits), filling)),
            link_write.data.eq(position),
            link_write.en.eq(taken & spikes & filling_used.bit_select(time, 1)),
        ]
        with m.If(taken):
            for bank in range(2):
                with m.If((filling == bank) & spikes):
                    m.d.sync += [
                        tails[bank].word_select(time, place_bits).eq(position),
                        used[bank].bit_select(time, 1).eq(1),
                    ]
                    with m.If(~filling_used.bit_select(time, 1)):
                        m.d.sync += heads[bank].word_select(time, place_bits).eq(position)
            with m.If(position.bit == form.simd - 1):
                m.d.sync += [position.bit.eq(0), position.word.eq(position.word + 1)]
            with m.Else():
                m.d.sync += position.bit.eq(position.bit + 1)
            with m.If(at_end):
                m.d.sync += overlong.eq(1)
            with m.If(ends):
                m.d.sync += [
                    position.eq(0),
                    overlong.eq(0),
                    filling.eq(~filling),
                    full.bit_select(filling, 1).eq(1),
                    failed.bit_select(filling, 1).eq(overlong | ~at_end),
                ]

        # Departure: walk the lists, gathering neighbours into words.
        leaving, walking, begun = Signal(), Signal(), Signal()
        current, following = Signal(place), Signal(place)
        step, next_step = Signal.like(time), Signal.like(time)
        gathered, bits = Signal(form.simd), Signal(form.simd)
        remaining, later = Signal(form.steps), Signal(form.steps)  # steps with spikes from this one on, and after it
        list_ends, word_ends, frame_ends, advances = Signal(), Signal(), Signal(), Signal()
        sending, free = Signal(), Signal()
        out = Signal(form.layout)
        leaving_heads, leaving_tails = _of_bank(leaving, heads), _of_bank(leaving, tails)
        out_taken, out_ended = Signal(), Signal()
        m.d.comb += [
            self.o.stream.valid.eq(sending),
            self.o.stream.payload.eq(out),
            out_taken.eq(sending & self.o.stream.ready),
            out_ended.eq(out_taken & out.last_of_frame),
            free.eq(~sending | self.o.stream.ready),
            later.eq(Mux(walking, remaining & ~(1 << step), _of_bank(leaving, used))),
            list_ends.eq(current.as_value() == leaving_tails.word_select(step, place_bits)),
            frame_ends.eq(list_ends & (later == 0)),
            word_ends.eq(list_ends | (place(link_read.data).word != current.word)),
            advances.eq(walking & (free | ~word_ends)),
            bits.eq(gathered | (1 << current.bit)),
            following.eq(Mux(~walking | list_ends, leaving_heads.word_select(next_step, place_bits), link_read.data)),
            link_read.addr.eq(Cat(Mux(advances | ~walking, following, current), leaving)),
        ]
        for t in reversed(range(form.steps)):
            with m.If(later[t]):
                m.d.comb += next_step.eq(t)

        fields = [
            out.error.eq(failed.bit_select(leaving, 1)),
        ]
        with m.If(out_taken):
            m.d.sync += sending.eq(0)
        with m.If(self.o.cancel & begun):
            m.d.sync += [walking.eq(0), gathered.eq(0)]
            with m.If(out_ended):
                m.d.comb += drop.eq(1)
            with m.Elif(free):
                m.d.sync += [*fields, sending.eq(1), out.bits.eq(0), out.last_of_step.eq(1), out.last_of_frame.eq(1)]
        with m.Elif(out_ended):
            m.d.comb += drop.eq(1)
        with m.Elif(~begun), m.If(full.bit_select(leaving, 1)):
            m.d.sync += begun.eq(1)
            with m.If(later != 0):
                m.d.sync += [walking.eq(1), step.eq(next_step), remaining.eq(later), current.eq(following)]
            with m.If(~later[0]):
                m.d.sync += [
                    *fields,
                    sending.eq(1),
                    out.time.eq(0),
                    out.index.eq(0),
                    out.bits.eq(0),
                    out.last_of_step.eq(1),
                    out.last_of_frame.eq(later == 0),
                ]
        with m.Elif(advances):
            m.d.sync += [gathered.eq(Mux(word_ends, 0, bits)), current.eq(following)]
            with m.If(list_ends):
                m.d.sync += [step.eq(next_step), remaining.eq(later), walking.eq(~frame_ends)]
            with m.If(word_ends):
                m.d.sync += [
                    *fields,
                    sending.eq(1),
                    out.time.eq(step),
                    out.index.eq(current.word),
                    out.bits.eq(bits),
                    out.last_of_step.eq(list_ends),
                    out.last_of_frame.eq(frame_ends),
                ]
        with m.If(drop):
            m.d.sync += [begun.eq(0), leaving.eq(~leaving), full.bit_select(leaving, 1).eq(0)]
            for bank in range(2):
                with m.If(leaving == bank):
                    m.d.sync += used[bank].eq(0)
        return m


def _of_bank(bank, signals):
    return Mux(bank, signals[1], signals[0])
