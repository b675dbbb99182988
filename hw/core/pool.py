"""The circuit's half of `export.Pool2d`: spike words come in under other addresses."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from export.pooling import Pool2d
from hw.core.memories import RowMemory
from hw.core.plan import LayerPlan
from hw.core.rounds import rounds
from hw.core.sequencer import Cycles
from hw.core.streams import connection_format, input_format
from hw.core.words import bits_for


def pooled_words(pool: Pool2d, simd: int) -> np.ndarray:
    """The index that each word of the map comes in under; -1 where it is left out: int64 (words,)."""
    address = pool.address[::simd].astype(np.int64)
    return np.where(address < 0, -1, address // simd)


class Pool(wiring.Component):
    """Spike words of a map go on as those of its windows; words that bring nothing new are dropped, unless they close a step.

    A word is looked up in a ROM. ``max`` also keeps, in a memory with a row for each context and word of windows, which of these have
    spiked (see `hw.core.rounds`).

    Latency: a cycle, with ``max`` two. Throughput: a word per cycle; with ``max``, the first word of a frame waits until the one before it
    is gone, and a cycle more.

    Parameters:
        plan: the layer that it is in front of.

    Members:
        i: words of the map.
        o: words of the windows.
    """

    def __init__(self, plan: LayerPlan):
        assert plan.layer.pool is not None
        self._plan, self._pool = plan, plan.layer.pool
        super().__init__(
            {
                "i": In(stream.Signature(input_format(plan).layout)),
                "o": Out(stream.Signature(connection_format(plan).layout)),
            }
        )

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int] | None:
        """Bits of a row and rows of the memory; None where there is none."""
        assert plan.layer.pool is not None
        if plan.layer.pool.kind == "sum":
            return None
        words = plan.layer.pool.outputs // plan.simd
        return plan.simd + bits_for(words), max(2, words << (plan.contexts - 1).bit_length())

    @staticmethod
    def window_layout(plan: LayerPlan) -> data.StructLayout:
        """What the ROM says of a word: the index that it comes in under, if it does, without the bits that words of one position do not
        share (see `LayerPlan.neighbour_bits`)."""
        return data.StructLayout({"inside": 1, "index": bits_for(connection_format(plan).words >> plan.neighbour_bits)})

    @staticmethod
    def rom(plan: LayerPlan) -> tuple[int, list[int]]:
        """Bits of a row and the rows of the ROM."""
        assert plan.layer.pool is not None
        indices = pooled_words(plan.layer.pool, plan.simd)[:: 1 << plan.neighbour_bits] >> plan.neighbour_bits
        return Pool.window_layout(plan).size, [2 * index + 1 if index >= 0 else 0 for index in indices.tolist()]

    @staticmethod
    def logic(plan: LayerPlan) -> tuple[float, float]:
        """LUTs of four inputs and flip-flops, for estimates of the area."""
        assert plan.layer.pool is not None
        return (50.0, 45.0) if plan.layer.pool.kind == "max" else (5.0, 6.0)

    def elaborate(self, platform):
        m = Module()
        m.submodules.windows = windows = RowMemory(*self.rom(self._plan))
        word = Signal(self.i.payload.shape())
        full = Signal()
        moves = Signal()  # the word goes on, and another can come
        cleaning = Signal()
        m.d.comb += [
            self.i.ready.eq((~full | moves) & ~cleaning),
            windows.address.eq(Mux(self.i.ready, self.i.payload.index, word.index) >> self._plan.neighbour_bits),
        ]
        with m.If(moves):
            m.d.sync += full.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [full.eq(1), word.eq(self.i.payload)]
        window = data.View(self.window_layout(self._plan), windows.data)
        if self._pool.kind == "sum":
            self._send(m, word, full, self._index(word, window), Mux(window.inside, word.bits, 0), moves)
        else:
            self._first_only(m, word, full, window, moves, cleaning)
        return m

    def _index(self, word, window) -> Value:
        """The index that a word comes in under."""
        return Cat(word.index[: self._plan.neighbour_bits], window.index)

    def _send(self, m: Module, word, valid, index, bits, leaves) -> None:
        """Offer a word, with other spikes, or drop it; ``leaves``: it is gone with this cycle."""
        owed = Signal()  # the first word of the frame was dropped
        passes = Signal()
        first = Signal()
        sent = self.o.payload
        m.d.comb += [
            passes.eq(bits.any() | word.last_of_step),
            first.eq(word.first | owed),
            self.o.valid.eq(valid & passes),
            leaves.eq(valid & (~passes | self.o.ready)),
            sent.index.eq(index),
            sent.bits.eq(bits),
            sent.first.eq(first),
        ]
        m.d.comb += [sent[name].eq(word[name]) for name in ("time", "last_of_step", "last_of_frame", "error", "frame")]
        with m.If(leaves):
            m.d.sync += owed.eq(first & ~passes)

    def _first_only(self, m: Module, arrived, full, window, moves, cleaning) -> None:
        """Let the first spike of each window pass, with a second stage, in which the row of the word's windows has been read."""
        plan = self._plan
        shape = self.memory_shape(plan)
        assert shape is not None
        places, context_bits = self._pool.outputs // plan.simd, (plan.contexts - 1).bit_length()
        row = data.StructLayout({"spiked": plan.simd, "tag": bits_for(places)})
        m.submodules.memory = memory = Memory(shape=unsigned(row.size), depth=shape[1], init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=[write])

        begins = Signal()  # the word is the first of its frame, and a place is to start anew
        taken = Signal()
        m.d.comb += taken.eq(self.i.valid & self.i.ready)
        round_ = rounds(
            m,
            contexts=plan.contexts,
            count=places,
            begins=taken & self.i.payload.first,
            arriving=self.i.payload.frame,
            frame=arrived.frame,
        )
        word = Signal.like(arrived, name="read_word")
        found = Signal(window.shape())
        index = self._index(word, found)
        tag = Signal(bits_for(places))
        valid = Signal()
        leaves = Signal()
        starts = Signal()
        kept, new = data.View(row, read.data), data.View(row, write.data)
        spiked = Signal(plan.simd)
        bits = Signal(plan.simd)
        m.d.comb += [
            moves.eq(full & ~begins & (~valid | leaves)),
            starts.eq(full & begins & ~valid),
            read.en.eq(moves),
            read.addr.eq(Cat(arrived.frame[:context_bits], self._index(arrived, window))),
            spiked.eq(Mux(kept.tag == tag, kept.spiked, 0)),
            bits.eq(Mux(found.inside, word.bits & ~spiked, 0)),
            write.en.eq(cleaning | starts | (leaves & found.inside)),
        ]
        with m.If(leaves):
            m.d.sync += valid.eq(0)
        with m.If(moves):
            m.d.sync += [valid.eq(1), word.eq(arrived), found.eq(window), tag.eq(round_)]
        with m.If(taken):
            m.d.sync += begins.eq(self.i.payload.first)
        with m.Elif(starts):
            m.d.sync += begins.eq(0)

        cleaned = Signal(range(shape[1]))
        clean = Signal()
        m.d.comb += cleaning.eq(~clean)
        with m.If(cleaning):
            m.d.sync += [cleaned.eq(cleaned + 1), clean.eq(cleaned == (places << context_bits) - 1)]
            m.d.comb += [write.addr.eq(cleaned), new.tag.eq(cleaned >> context_bits)]
        with m.Elif(starts):
            m.d.comb += [write.addr.eq(Cat(arrived.frame[:context_bits], round_)), new.tag.eq(round_)]
        with m.Else():
            m.d.comb += [write.addr.eq(Cat(word.frame[:context_bits], index)), new.tag.eq(tag), new.spiked.eq(spiked | word.bits)]
        self._send(m, word, valid, index, bits, leaves)


class PoolCycles:
    """The cost model of a pool and the layer behind it, with the interface of `hw.core.sequencer.Cycles` towards what sends words.

    Parameters:
        plan: the layer.
        following: its cost model.
    """

    def __init__(self, plan: LayerPlan, following: Cycles):
        assert plan.layer.pool is not None
        self.plan, self._following, self._looks_back = plan, following, plan.layer.pool.kind == "max"
        words = plan.layer.pool.outputs // plan.simd
        self._moved = words << (plan.contexts - 1).bit_length() if self._looks_back else 0  # when the first stage was free
        self._left = -1  # when the second was
        self._owed = False

    def word(self, available: int, closes: bool, frame: int, *, new_frame: bool, index: int) -> int:
        """Take a word that is on the input from ``available`` on; the cycle in which it was taken."""
        taken = max(available, self._moved)
        ready = taken + 1
        if not self._looks_back:
            self._moved = self._send(ready, closes, frame, new_frame, index)
            return taken
        if new_frame:
            ready = max(ready, self._left + 1) + 1
        self._moved = max(ready, self._left)
        self._left = self._send(self._moved + 1, closes, frame, new_frame, index)
        return taken

    def _send(self, valid: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        """When a word leaves that could from ``valid`` on: one without spikes is dropped, unless it closes its step."""
        first = new_frame or self._owed
        passes = index >= 0 or closes
        self._owed = first and not passes
        return self._following.word(valid, closes, frame, new_frame=first, index=index) if passes else valid
