"""Weights at run time: bytes in, row memories filled."""

from collections.abc import Iterable, Sequence

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core.memories import CHUNK, chunks, row_write
from hw.core.plan import LayerPlan
from hw.core.words import bits_for

LOAD = data.StructLayout({"data": CHUNK, "first": 1})


def row_memories(plan: LayerPlan) -> list[tuple[int, list[int]]]:
    """The memories of a layer in the order in which they are filled: bits of a row, and the rows."""
    return [(plan.weight_width, plan.weight_rows), (plan.initial_width, plan.initial_potentials)]


def load_content(plans: Iterable[LayerPlan]) -> bytes:
    """What fills the memories of all layers: layer by layer, weights and then potentials to start from, row by row, least significant
    byte first; the last byte of a row is filled up with zeros."""
    memories = (memory for plan in plans for memory in row_memories(plan))
    return b"".join(row.to_bytes(chunks(width), "little") for width, rows in memories for row in rows)


class Loader(wiring.Component):
    """Fills row memories one after the other from a stream of bytes.

    A byte is written in the cycle in which it is taken; one per cycle is. ``first`` with a byte begins anew, whatever was there before, and
    costs a cycle where a load was under way. Bytes after the last one, and before a first, are dropped.

    Parameters:
        memories: bits of a row and number of rows of each, in order.

    Members:
        i: bytes, ``first`` with the first one.
        ends: the byte that is offered is the last.
        write_0, …: to the memories.
        loaded: everything has been written since the last ``first``. A reset in the middle ends a load; of a whole one it forgets nothing.
    """

    def __init__(self, memories: Sequence[tuple[int, int]]):
        self.memories = tuple(memories)
        writes = {f"write_{k}": Out(row_write(*memory)) for k, memory in enumerate(self.memories)}
        super().__init__({"i": In(stream.Signature(LOAD)), "ends": Out(1), "loaded": Out(1), **writes})

    @property
    def size(self) -> int:
        """Bytes of a load."""
        return sum(chunks(width) * rows for width, rows in self.memories)

    def elaborate(self, platform):
        m = Module()
        memory = Signal(bits_for(len(self.memories)))
        row = Signal(bits_for(max(rows for _, rows in self.memories)))
        chunk = Signal(bits_for(max(chunks(width) for width, _ in self.memories)))
        running = Signal()
        restarts = Signal()
        writes = Signal()
        row_ends = Signal()
        memory_ends = Signal()
        loaded = Signal(reset_less=True)
        m.d.comb += [
            restarts.eq(self.i.valid & self.i.payload.first & running),
            self.i.ready.eq(~restarts),
            writes.eq(self.i.valid & self.i.ready & (running | self.i.payload.first)),
            row_ends.eq(chunk == Array(chunks(width) - 1 for width, _ in self.memories)[memory]),
            memory_ends.eq(row_ends & (row == Array(rows - 1 for _, rows in self.memories)[memory])),
            self.ends.eq(memory_ends & (memory == len(self.memories) - 1)),
            self.loaded.eq(loaded),
        ]
        for k in range(len(self.memories)):
            write = getattr(self, f"write_{k}")
            m.d.comb += [
                write.en.eq(writes & (memory == k)),
                write.address.eq(row),
                write.chunk.eq(chunk),
                write.data.eq(self.i.payload.data),
            ]
        with m.If(writes):
            m.d.sync += [running.eq(1), loaded.eq(0), chunk.eq(chunk + 1)]
            with m.If(row_ends):
                m.d.sync += [chunk.eq(0), row.eq(row + 1)]
            with m.If(memory_ends):
                m.d.sync += [row.eq(0), memory.eq(memory + 1)]
            with m.If(self.ends):
                m.d.sync += loaded.eq(1)
        with m.If(restarts | (writes & self.ends)):
            m.d.sync += [memory.eq(0), row.eq(0), chunk.eq(0), running.eq(0)]
        return m
