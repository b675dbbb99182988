"""What Yosys makes of a memory, before it does: block RAM, memory of LUTs, or plain logic.

The rules are those of its ``memory_libmap``: of the cells in its libraries for each family, and of plain logic, the cheapest. What
memories of logic then take is estimated from what grids of memories came to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from hw.core.memories import spram_shape

COST_PER_ROM_BIT = {"ecp5": 1 / 16, "ice40": 1 / 16, "xc7": 1 / 64}  # of plain logic, in `memory_libmap`; of a writable bit it is 1
COST_OF_CHOICE = 0.5  # of a bit more that a row is chosen from, or of a bank more that can be written
COST_OF_EMULATION = 2.0  # of a point of what a cell does not do by itself


@dataclass(frozen=True)
class Shape:
    """A memory with one read port and, unless it is a ROM, one write port.

    Attributes:
        kind: ``"rom"``; ``"free"``, read a cycle after its address, with anything where the same row is written at the same time;
            ``"through"``, with the value after; ``"comb"``, read at once; ``"block"``, as ``"free"``, but always of block RAM;
            ``"spram"``, of the single-port RAMs of an iCE40UP5K.
        width, depth: bits of a row, and rows.
        lane: bits of a row that are written by themselves, where it is not the whole row; the last lane may have fewer.
        short, short_depth: so many bits of a ROM's rows are 0 from that row on.
        constant: so many bits are the same in all rows of a ROM, and are not kept.
    """

    kind: str
    width: int
    depth: int
    lane: int = 0
    short: int = 0
    short_depth: int = 0
    constant: int = 0

    @property
    def bits(self) -> int:
        return self.width * self.depth

    @classmethod
    def of_rom(cls, width: int, rows: Sequence[int]) -> "Shape":
        """A ROM of rows of so many bits; it is at least two rows deep (see `hw.core.memories.RowMemory`)."""
        varying = reduce(or_, (row ^ rows[0] for row in rows)) | (rows[0] if len(rows) == 1 else 0)
        return cls("rom", width, max(2, len(rows)), constant=width - varying.bit_count())

    @property
    def lanes(self) -> int:
        """How many a row has."""
        return -(-self.width // self.lane) if self.lane else 1

    def padded(self, byte: int) -> int:
        """Bits of a row in which each lane begins with a byte of so many bits, and the row ends with one."""
        full, rest = divmod(self.width, self.lane or self.width)
        return (full * -(-(self.lane or self.width) // byte) + -(-rest // byte)) * byte


@dataclass(frozen=True)
class Mapped:
    """What a memory takes."""

    luts: float = 0.0
    ffs: float = 0.0
    block_rams: float = 0.0
    sprams: int = 0


@dataclass(frozen=True)
class Cell:
    """A cell of a library.

    Attributes:
        kind: ``"block"`` or ``"distributed"``, which is read at once, and not used for ROMs.
        cost: of one, in the library; that of a ``distributed`` one is for those of its bits that are used where ``scales`` says so.
        widths: with the rows of each.
        byte: bits that are written together.
        takes: block RAMs, or LUTs, of one.
        scales: the part of the cost that is for used bits.
    """

    kind: str
    cost: float
    widths: tuple[tuple[int, int], ...]
    byte: int
    takes: float
    scales: float = 0.0


@dataclass(frozen=True)
class Choice:
    """Cells for a memory: how many, in how many banks of rows, and what that costs in the sense of the library."""

    cost: float
    banks: int
    cells: int
    cell: Cell


CELLS = {
    "ecp5": (
        Cell("block", 128, ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024)), 9, 1),
        Cell("block", 128, ((9, 2048), (18, 1024), (36, 512)), 9, 1),
        Cell("distributed", 4, ((4, 16),), 4, 4),
    ),
    "ice40": (Cell("block", 64, ((2, 2048), (4, 1024), (8, 512), (16, 256)), 1, 1),),
    "xc7": (
        Cell("block", 129, ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512)), 9, 0.5),
        Cell("block", 257, ((1, 32768), (2, 16384), (4, 8192), (9, 4096), (18, 2048), (36, 1024), (72, 512)), 9, 1),
        Cell("distributed", 8, ((6, 32),), 6, 4, 7),
        Cell("distributed", 8, ((3, 64),), 3, 4, 7),
    ),
}


def mapped(family: str, shape: Shape) -> Mapped:
    """What a memory takes on a family of devices."""
    if shape.kind == "spram":
        return _spram(shape)
    if shape.constant:
        shape = replace(shape, width=shape.width - shape.constant, constant=0)
    if not shape.width:
        return Mapped()
    rom = shape.kind == "rom"
    options = [choice for cell in CELLS[family] if _suits(cell, shape) for choice in _choices(cell, shape)]
    best = min(options, key=lambda choice: choice.cost, default=None)
    plain = int(shape.bits * (COST_PER_ROM_BIT[family] if rom else 1.0))
    if best is None or (best.cost >= plain and shape.kind != "block"):
        return _rom_of_logic(family, shape) if rom else _ram_of_logic(shape)
    select = shape.width * _selector(family, best.banks)
    if best.cell.kind == "distributed":
        enables = 2.0 * best.banks * shape.lanes if best.banks > 1 else 0.0
        return Mapped(best.cells * best.cell.takes + select + enables, _read_registers(shape))
    luts, ffs = select, float((best.banks - 1).bit_length())
    if shape.kind == "through":  # block RAMs promise nothing where the same row is read and written; logic does
        luts += shape.width * 1.1 + 10
        ffs += shape.width + (shape.depth - 1).bit_length()
    return Mapped(luts, ffs, best.cells * best.cell.takes)


def _suits(cell: Cell, shape: Shape) -> bool:
    return shape.kind != "comb" if cell.kind == "block" else shape.kind not in ("rom", "block")


def _choices(cell: Cell, shape: Shape) -> Iterator[Choice]:
    """The ways to make a memory of one kind of cell, one for each width that this has."""
    emulated = 1 + 3 * (shape.kind == "through")
    for width, depth in cell.widths:
        row = shape.padded(1 if shape.kind == "rom" else min(cell.byte, width))
        banks = -(-shape.depth // depth)
        cells = -(-banks * row // width)
        cost = (cell.cost - cell.scales) * cells + cell.scales * banks * shape.width / width
        cost += COST_OF_CHOICE * ((banks - 1) * shape.width + (banks * shape.lanes if banks > 1 and shape.kind != "rom" else 0))
        yield Choice(cost + COST_OF_EMULATION * emulated, banks, cells, cell)


def _spram(shape: Shape) -> Mapped:
    columns, banks = spram_shape(shape.width, shape.depth) or (0, 0)
    address = 14.0  # bits, of what is written or of what is read
    return Mapped(address + (banks - 1) * shape.width, float((banks - 1).bit_length()), sprams=columns * banks)


def _selector(family: str, inputs: int) -> float:
    """LUTs of one bit out of ``inputs``."""
    if inputs == 1:
        return 0.0
    if family == "xc7":
        return 1.0 if inputs <= 4 else inputs / 4
    return float(inputs - 1)


def _rom_of_logic(family: str, shape: Shape) -> Mapped:
    """A ROM as logic. Columns that are equal are made once, which counts where there are few rows."""
    if shape.depth <= 2:
        return Mapped(1.0, 2.0)
    luts = columns = 0.0
    for width, depth in ((shape.width - shape.short, shape.depth), (shape.short, shape.short_depth)):
        different = 2.0 ** min(depth, 30)
        some = different * (1 - (1 - 1 / different) ** width)
        columns += some
        luts += some * _luts_of_column(family, depth)
    return Mapped(luts, columns)


def _luts_of_column(family: str, depth: int) -> float:
    """LUTs of one bit out of ``depth`` constant ones."""
    if family == "xc7":  # which has multiplexers beside its LUTs, for four of them
        leaves = -(-depth // 64)
        return float(1 << (leaves - 1).bit_length()) if 0 < leaves <= 4 else 4 + 1.1 * leaves
    whole, rest = divmod(depth, 16)
    few = whole > 0 and 0 < rest <= 4  # rows, which go into a LUT that chooses
    leaves = whole + (rest > 0 and not few)
    return max(1.0, 2.0 * leaves - 1.0) + few


def _ram_of_logic(shape: Shape) -> Mapped:
    """A memory of flip-flops."""
    luts = shape.width * max(1.0, 0.95 * (shape.depth - 1)) + shape.depth * shape.lanes
    return Mapped(luts, shape.bits + _read_registers(shape))


def _read_registers(shape: Shape) -> float:
    """Flip-flops behind what is read at once: of what was read, or of the address."""
    if shape.kind == "comb":
        return 0.0
    return float(shape.width if shape.kind == "free" else (shape.depth - 1).bit_length())
