"""Pixels in raster order to spike words in time order [S2], [S13]."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.core.memories import NO_READ_WRITE_CHECK
from hw.core.streams import words
from hw.core.words import WordFormat
from hw.encoder.arrival import PixelArrival
from hw.encoder.codes import PixelCode
from hw.encoder.departure import WordDeparture
from hw.encoder.plan import EncoderPlan, pixel_layout

LAST_BEAT_TO_WORD = 6  # cycles from a frame's last beat to its first word, if one pixel comes per beat
CANCEL_TO_WORD = 5  # cycles from the cancel to the next frame's first word, if no block of that one is on its way yet


class PixelEncoder(wiring.Component):
    """Sorts a frame by the steps of its spikes while it arrives, and sends the one before meanwhile.

    What is kept of pixels goes into a memory of blocks of pixels, and the number of each block into a list for every step in which it has
    a spike (`hw.encoder.arrival`); then the lists are walked in the order of time (`hw.encoder.departure`).

    Throughput: a beat of ``pixels`` pixels per cycle in; a word per cycle out, without gaps between words, blocks, steps and frames. Two
    banks: once a frame's last word has been taken, the next frame but one can arrive.

    Latency: from a frame's last beat to its first word, `LAST_BEAT_TO_WORD` + `EncoderPlan.drain` cycles. When a frame is cancelled, an
    empty last word is there in the cycle after; the first word of the next frame follows within `CANCEL_TO_WORD` cycles of the cancel.
    `hw.encoder.cost` gives every cycle.

    A frame that is cut short or too long is sent as one empty word with ``error``; the one after it is right again.

    Parameters:
        form: words to send; ``form.inputs`` is the number of pixels of a frame.
        code: what is kept of a pixel, and what spikes become of it: `LatencyCode` or `SpreadCode`.
        pixels: pixels per beat; the last beat of a frame may be used in part.
        block: pixels per block (see `EncoderPlan`).

    Members:
        i: beats of pixels in raster order (see `pixel_layout`), ``last_of_frame`` with the last.
        o: spike words.

    Raises:
        UserError: ``pixels`` or ``block`` cannot be.
    """

    def __init__(self, form: WordFormat, code: PixelCode, *, pixels: int = 1, block: int | None = None):
        self.plan = EncoderPlan(form, code, pixels, block)
        super().__init__({"i": In(stream.Signature(pixel_layout(pixels))), "o": Out(words(form))})

    def elaborate(self, platform):
        m = Module()
        plan = self.plan
        m.submodules.arrival = arrival = PixelArrival(plan)
        m.submodules.departure = departure = WordDeparture(plan)
        never = [plan.empty_block] * (2 << plan.block_address)
        m.submodules.blocks = blocks = Memory(shape=unsigned(plan.block_bits), depth=len(never), init=never, attrs=NO_READ_WRITE_CHECK)
        _connect(m, blocks, arrival.blocks, departure.blocks)
        for way in range(plan.ways):
            memory = Memory(shape=unsigned(plan.block_address), depth=1 << plan.list_address, init=[], attrs=NO_READ_WRITE_CHECK)
            m.submodules[f"list_{way}"] = memory
            _connect(m, memory, getattr(arrival, f"list_{way}"), getattr(departure, f"list_{way}"))
        connect(m, flipped(self.i), arrival.i)
        connect(m, departure.o, flipped(self.o))
        m.d.comb += [
            departure.waiting.eq(arrival.waiting),
            departure.counts.eq(arrival.counts),
            departure.used.eq(arrival.used),
            departure.failed.eq(arrival.failed),
            arrival.handover.eq(departure.handover),
            arrival.drop.eq(departure.drop),
        ]
        return m


def _connect(m: Module, memory: Memory, writer: wiring.PureInterface, reader: wiring.PureInterface) -> None:
    """Connect a memory of two banks, one of which is written and the other one read.

    It is not read while the same bank is written. That never stands in the way, but spares the logic that synthesis adds where a block
    might be read and written at once.
    """
    write = memory.write_port(granularity=writer.signature.granularity)
    read = memory.read_port()
    connect(m, writer, write)
    m.d.comb += [
        read.addr.eq(reader.addr),
        read.en.eq(reader.en & ~(write.en.any() & (write.addr[-1] == read.addr[-1]))),
        reader.data.eq(read.data),
    ]
