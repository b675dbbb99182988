"""Memories of whole rows: weights, and potentials to start from. A ROM in the bitstream, or filled at run time."""

from collections.abc import Sequence

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from hw.core.words import bits_for

NO_READ_WRITE_CHECK = {"no_rw_check": 1}
"""Attribute of memories of which nothing is used that is read while it is written: else Yosys builds what it should be then."""
CHUNK = 8
"""Bits that are written at once; a row has as many chunks as it needs, the last one filled up."""
SPRAM_DEVICE = "iCE40UP5K"
SPRAM_WIDTH, SPRAM_DEPTH, SPRAMS = 16, 1 << 14, 4
SPRAM_LEAST = 64 * 1024  # bits; smaller memories are better off in block RAM, of which there are 120 kbit


def chunks(width: int) -> int:
    """Chunks of a row of ``width`` bits."""
    return -(-width // CHUNK)


def spram_shape(width: int, rows: int) -> tuple[int, int] | None:
    """The single-port RAMs side by side, and one above the other, of which a writable memory is made on an iCE40UP5K; None if it is
    small enough for block RAM, or larger than all of them."""
    columns, banks = -(-width // SPRAM_WIDTH), -(-rows // SPRAM_DEPTH)
    return (columns, banks) if width * rows > SPRAM_LEAST and columns * banks <= SPRAMS else None


def row_write(width: int, rows: int) -> Signature:
    """How a row memory is filled: chunk ``chunk`` (0: the least significant) of row ``address`` becomes ``data`` where ``en`` is high."""
    return Signature({"en": Out(1), "address": Out(bits_for(rows)), "chunk": Out(bits_for(chunks(width))), "data": Out(CHUNK)})


class RowMemory(wiring.Component):
    """Rows that are read whole, one per cycle, one cycle after their address.

    Writable memories have no initial content, so that they can be made of parts that cannot have any: on an iCE40UP5K (told by
    ``platform.device``), one of more than 64 kbit is built of its four single-port RAMs. What is read in a cycle in which something is
    written is undefined. A platform with a method ``get_row_memory`` makes the memory from this one, as proofs do for symbolic contents.

    Parameters:
        width: bits of a row.
        rows: the rows' content; of a writable memory, only their number counts.
        writable: filled at run time.

    Members:
        address: row to read.
        data: the row addressed one cycle before.
        write: (writable only) see `row_write`.

    Raises:
        ValueError: there is no bit to keep.
    """

    def __init__(self, width: int, rows: Sequence[int], *, writable: bool = False):
        if width < 1 or len(rows) < 1:
            raise ValueError(f"a row memory must have at least one row of at least one bit, not {len(rows)} of {width}")
        self.width, self.rows, self.writable = width, rows, writable
        members = {"address": In(bits_for(len(rows))), "data": Out(width)}
        if writable:
            members["write"] = In(row_write(width, len(rows)))
        super().__init__(members)

    def elaborate(self, platform):
        if hasattr(platform, "get_row_memory"):
            return platform.get_row_memory(self)
        m = Module()
        spram = spram_shape(self.width, len(self.rows)) if self.writable else None
        if spram and getattr(platform, "device", None) == SPRAM_DEVICE:
            self._spram(m, *spram)
            return m
        if self.writable and len(self.rows) == 1:
            self._register(m)
            return m
        # At least two rows deep: an address of no bits becomes ``[-1:0]`` in Verilog, which is two.
        chunk = min(self.width, CHUNK)
        width = chunks(self.width) * chunk if self.writable else self.width
        content = [] if self.writable else self.rows
        m.submodules.memory = memory = Memory(shape=unsigned(width), depth=max(2, len(self.rows)), init=content, attrs=NO_READ_WRITE_CHECK)
        read = memory.read_port()
        m.d.comb += [read.addr.eq(self.address), self.data.eq(read.data)]
        if self.writable:
            write = memory.write_port(granularity=chunk)
            m.d.comb += [
                write.addr.eq(self.write.address),
                write.data.eq(self.write.data[:chunk].replicate(chunks(self.width))),
                write.en.eq(self._chunk_enables()),
            ]
        return m

    def _register(self, m: Module) -> None:
        """One row is always there; a reset leaves it as it is, like any memory."""
        row = Signal(self.width, reset_less=True)
        m.d.comb += self.data.eq(row)
        enables = self._chunk_enables()
        for k in range(chunks(self.width)):
            part = row.word_select(k, CHUNK) if (k + 1) * CHUNK <= self.width else row[k * CHUNK :]
            with m.If(enables[k]):
                m.d.sync += part.eq(self.write.data)

    def _chunk_enables(self):
        return Cat(self.write.en & (self.write.chunk == k) for k in range(chunks(self.width)))

    def _spram(self, m: Module, columns: int, banks: int) -> None:
        address = Signal(range(banks * SPRAM_DEPTH))
        bank = address[14:]
        read_bank = Signal(range(banks))
        per_ram = SPRAM_WIDTH // CHUNK
        enables = Signal(columns * per_ram)
        m.d.comb += [address.eq(Mux(self.write.en, self.write.address, self.address)), enables.eq(self._chunk_enables())]
        m.d.sync += read_bank.eq(bank)
        rows = []
        for b in range(banks):
            row = Signal(columns * SPRAM_WIDTH, name=f"row_{b}")
            rows.append(row)
            for c in range(columns):
                enable = enables.word_select(c, per_ram)
                m.submodules[f"spram_{b}_{c}"] = Instance(
                    "SB_SPRAM256KA",
                    i_CLOCK=ClockSignal(),
                    i_ADDRESS=address[:14],
                    i_CHIPSELECT=bank == b,
                    i_WREN=enable.any(),
                    i_MASKWREN=Cat(bit.replicate(4 // per_ram) for bit in enable),
                    i_DATAIN=self.write.data.replicate(per_ram),
                    i_STANDBY=Const(0, 1),
                    i_SLEEP=Const(0, 1),
                    i_POWEROFF=Const(1, 1),  # active low
                    o_DATAOUT=row.word_select(c, SPRAM_WIDTH),
                )
        m.d.comb += self.data.eq(Array(rows)[read_bank])
