"""Frames that come over a bus, in words of 32 bits, as an accelerator's input stream."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from export import UserError
from hw.buses.managed import assemble, outside_layout
from hw.buses.registers import ADDRESS_BITS
from hw.buses.soc import MemoryMap, wishbone

UNIT = 32
LANES = UNIT // 8

ENTRY = data.StructLayout({"data": UNIT, "count": 2, "last": 1, "lost": 1})
"""A word that was written: its bytes, from the lowest; how many, less one; whether it ends its frame; whether words before it were lost."""


class FrameWindow(wiring.Component):
    """4 KiB of addresses for words of frames; those in the upper half end a frame. Reads give 0.

    An access takes two cycles. One that finds no room waits, or is lost; the next word that is not lost tells.

    Parameters:
        room: words that wait to be taken.

    Members:
        bus: Wishbone; of the bytes that are written, the lowest is the first.
        wait: an access that finds no room waits.
        o: words, in order.
        room: how many more there is room for.
        lost: a word was lost since the last reset.
    """

    def __init__(self, room: int):
        self._room = room
        super().__init__(
            {
                "bus": In(wishbone.Signature(addr_width=ADDRESS_BITS - 2, data_width=UNIT, granularity=8)),
                "wait": In(1),
                "o": Out(stream.Signature(ENTRY)),
                "room": Out(range(room + 1)),
                "lost": Out(1),
            }
        )
        self.bus.memory_map = MemoryMap(addr_width=ADDRESS_BITS, data_width=8)
        self.bus.memory_map.add_resource(self, name=("frames",), size=1 << ADDRESS_BITS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFOBuffered(width=ENTRY.size, depth=self._room)
        entry = Signal(ENTRY)
        asked = Signal()
        writes = Signal()
        missing = Signal()
        sel = self.bus.sel
        m.d.comb += [
            asked.eq(self.bus.cyc & self.bus.stb & ~self.bus.ack),
            writes.eq(asked & self.bus.we & sel.any()),
            entry.count.eq(sum(sel) - 1),
            entry.last.eq(self.bus.adr[-1]),
            entry.lost.eq(missing),
            queue.w_data.eq(entry),
            queue.w_en.eq(writes),
            self.room.eq(self._room - queue.level),
            self.o.valid.eq(queue.r_rdy),
            self.o.payload.eq(queue.r_data),
            queue.r_en.eq(self.o.ready),
        ]
        written = Cat(self.bus.dat_w.word_select(lane, 8) & sel[lane].replicate(8) for lane in range(LANES))
        for lane in reversed(range(LANES)):
            with m.If(sel[lane]):
                m.d.comb += entry.data.eq(written[8 * lane :])
        m.d.sync += self.bus.ack.eq(asked & (queue.w_rdy | ~writes | ~self.wait))
        with m.If(writes & queue.w_rdy):
            m.d.sync += missing.eq(0)
        with m.Elif(writes & ~self.wait):
            m.d.sync += [missing.eq(1), self.lost.eq(1)]
        return m


class Split(wiring.Component):
    """Words of four pixels as transfers of one, two or four. A transfer per cycle, no latency.

    Parameters:
        payload: of a transfer, one that `splits`.

    Members:
        i: see `ENTRY`; that words were lost shows as a frame of too few pixels.
        o: transfers.
    """

    def __init__(self, payload: data.StructLayout):
        self._outside = outside_layout(payload)
        self._pixels = self._outside.size // 8
        super().__init__({"i": In(stream.Signature(ENTRY)), "o": Out(stream.Signature(payload))})

    def elaborate(self, platform):
        m = Module()
        place = Signal(range(LANES))  # of the transfer in its word
        ends = Signal()
        word = self.i.payload
        part = word.data.word_select(place, 8 * self._pixels)
        m.d.comb += [
            ends.eq(place == word.count >> self._pixels.bit_length() - 1),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & ends),
            *assemble(self.o.payload, self._outside(part), word.last & ends),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += place.eq(Mux(ends, 0, place + 1))
        return m


class Gather(wiring.Component):
    """Words as transfers that take one or several: spike words, or more than four pixels. A word per cycle, no latency.

    Parameters:
        payload: of a transfer, one that does not split.

    Members:
        i: see `ENTRY`. A word that ends a frame completes its transfer: what pixels lack is 0; a spike word that lacks bits has ``error``,
            as does one before which words were lost.
        o: transfers.
    """

    def __init__(self, payload: data.StructLayout):
        self._outside = outside_layout(payload)
        self._units = -(-self._outside.size // UNIT)
        super().__init__({"i": In(stream.Signature(ENTRY)), "o": Out(stream.Signature(payload))})

    def elaborate(self, platform):
        m = Module()
        word = self.i.payload
        before, transfer = (Signal(self._units * UNIT, name=name) for name in ("before", "transfer"))
        lost = Signal()  # in one of the words before
        place = Signal(range(self._units))
        full = Signal()
        ends = Signal()
        m.d.comb += [
            transfer.eq(before),
            transfer.word_select(place, UNIT).eq(word.data),
            full.eq(place == self._units - 1),
            ends.eq(full | word.last),
            self.o.valid.eq(self.i.valid & ends),
            self.i.ready.eq(self.o.ready | ~ends),
            *assemble(self.o.payload, self._outside(transfer[: self._outside.size]), word.last, wrong=lost | word.lost | ~full),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                before.eq(Mux(ends, 0, transfer)),
                place.eq(Mux(ends, 0, place + 1)),
                lost.eq(~ends & (lost | word.lost)),
            ]
        return m


def splits(payload: data.StructLayout) -> bool:
    """Whether a word makes several transfers, or one, and not a transfer of several words.

    Raises:
        UserError: neither fits: transfers of pixels fill no number of words, nor does any number of them fill a word.
    """
    if "error" in payload.members:
        return False
    pixels = outside_layout(payload).size // 8
    if LANES % pixels and pixels % LANES:
        raise UserError(f"pixels that come over a bus must be taken 1, 2 or a multiple of 4 at once, not {pixels}")
    return pixels <= LANES
