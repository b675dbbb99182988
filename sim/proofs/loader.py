"""Harness of weights at run time: what a stream of bytes leaves in the memories."""

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Array, Assert, Cover, Module, ResetInserter, Signal
from amaranth.lib.wiring import connect

from hw.core.memories import CHUNK, RowMemory, chunks
from hw.core.words import bits_for
from hw.loading.loader import Loader
from sim.proofs.parts import Harness
from sim.proofs.streams import offer


def loader(memories: Sequence[tuple[int, int]], make: Callable[..., Any] = Loader) -> Harness:
    """Any bytes with any gaps, any of which begins anew, and resets at any time.

    The memories are ``loaded`` if, and only if, all bytes have come since the last ``first``; of any one place in any one row, the byte is
    then the one that came at its place. Bytes before a first one are dropped, and a byte waits for a cycle at most.

    Parameters:
        memories: bits of a row and number of rows of each.
    """

    def fill(m: Module) -> None:
        dut, reset = make(memories), Signal()
        m.d.comb += reset.eq(AnySeq(1))
        m.submodules.dut = ResetInserter(reset)(dut)
        offer(m, dut.i)
        taken, first = dut.i.valid & dut.i.ready, dut.i.payload.first

        # What has to be there.
        size = sum(chunks(width) * rows for width, rows in memories)
        number, running, whole, began = Signal(range(size)), Signal(), Signal(), Signal()
        waited, bytes_taken = Signal(), running | first
        with m.If(taken & bytes_taken):
            with m.If(first):
                m.d.sync += [number.eq(1), running.eq(1), whole.eq(0), began.eq(whole)]
            with m.Elif(number == size - 1):
                m.d.sync += [number.eq(0), running.eq(0), whole.eq(1)]
            with m.Else():
                m.d.sync += number.eq(number + 1)
        with m.If(reset):
            m.d.sync += running.eq(0)
        m.d.sync += waited.eq(dut.i.valid & ~dut.i.ready & ~reset)
        m.d.comb += [
            Assert(dut.loaded == whole),
            Assert(~waited | dut.i.ready),
            Assert(~(dut.i.valid & running & ~first) | (dut.ends == (number == size - 1))),
            Cover(whole & began),
            Cover(whole & taken),
        ]

        # Any one place.
        place, content = Signal(range(size)), Signal(CHUNK)
        m.d.comb += place.eq(AnyConst(len(place)))
        with m.If(taken & bytes_taken & ((first & (place == 0)) | (~first & (place == number)))):
            m.d.sync += content.eq(dut.i.payload.data)
        rests = Signal(2)  # nothing has been written for so many cycles
        m.d.sync += rests.eq(rests + (rests != 2))
        with m.If(taken & bytes_taken):
            m.d.sync += rests.eq(0)
        offset = 0
        for k, (width, rows) in enumerate(memories):
            m.submodules[f"memory_{k}"] = memory = RowMemory(width, [0] * rows, writable=True)
            connect(m, getattr(dut, f"write_{k}"), memory.write)
            row, chunk = Signal(bits_for(rows), name=f"row_{k}"), Signal(bits_for(chunks(width)), name=f"chunk_{k}")
            m.d.comb += [row.eq(AnyConst(len(row))), chunk.eq(AnyConst(len(chunk))), memory.address.eq(row)]
            parts = Array(memory.data[at : at + CHUNK] for at in range(0, width, CHUNK))
            kept = Array((1 << min(CHUNK, width - at)) - 1 for at in range(0, width, CHUNK))
            here = (row < rows) & (chunk < chunks(width)) & (place == offset + row * chunks(width) + chunk)
            with m.If(whole & (rests == 2) & here):
                m.d.comb += [Assert(parts[chunk] == (content & kept[chunk])), Cover((content == 0xA5) & (row == rows - 1))]
            offset += chunks(width) * rows

    return Harness(fill)
