"""What Yosys makes of a memory, before it does: block RAM, memory of LUTs, or plain logic.

The rules are those of its ``memory_libmap``: the cheapest of what there is, at the costs of the libraries for each family. Memories of
logic are estimated from what grids of memories came to.
"""

from dataclasses import dataclass

COST_PER_ROM_BIT = {"ecp5": 1 / 16, "ice40": 1 / 16, "xc7": 1 / 64}  # of plain logic, in `memory_libmap`; of a writable bit it is 1


@dataclass(frozen=True)
class Shape:
    """A memory with one read port and, unless it is a ROM, one write port.

    Attributes:
        kind: ``"rom"``; ``"ram"``, read a cycle after its address, with the value before a write in the same cycle; ``"free"``, where that
            does not matter; ``"through"``, with the value after; ``"comb"``, read at once.
        width, depth: bits of a row, and rows.
    """

    kind: str
    width: int
    depth: int

    @property
    def bits(self) -> int:
        return self.width * self.depth


@dataclass(frozen=True)
class Mapped:
    """What a memory takes."""

    luts: float = 0.0
    ffs: float = 0.0
    block_rams: float = 0.0


@dataclass(frozen=True)
class BlockRam:
    """A family's block RAM: its cost, and its widths with the depth of each."""

    cost: float
    shapes: tuple[tuple[int, int], ...]
    count: float = 1.0

    def needed(self, shape: Shape) -> tuple[float, int]:
        """How many, and how many rows of them a reader then has to choose from.

        Several rows side by side share RAMs, too; of equal numbers, the one with the least choice.
        """
        options = []
        for width, depth in self.shapes:
            choice = -(-shape.depth // depth)
            options.append((-(-shape.width * choice // width), choice))
        return min(options)


BLOCK_RAMS = {
    "ecp5": (BlockRam(128, ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))),),
    "ice40": (BlockRam(64, ((16, 256), (8, 512), (4, 1024), (2, 2048))),),
    "xc7": (  # 129 and 257 in the library, and what goes with them
        BlockRam(131, ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)), 0.5),
        BlockRam(259, ((72, 512), (36, 1024), (18, 2048), (9, 4096), (4, 8192), (2, 16384), (1, 32768))),
    ),
}


def mapped(family: str, shape: Shape) -> Mapped:
    """What a memory takes on a family of devices."""
    if shape.kind == "rom":
        soft, cost = _soft_rom(family, shape), shape.bits * COST_PER_ROM_BIT[family]
    else:
        soft, cost = _soft_ram(family, shape)
    if shape.kind == "comb":
        return soft
    count, choice, block_cost = min(
        ((number * ram.count, choice, number * ram.cost) for ram in BLOCK_RAMS[family] for number, choice in [ram.needed(shape)]),
        key=lambda option: option[2],
    )
    if cost <= block_cost:
        return soft
    luts = shape.width * _selector(family, choice)
    ffs = float((choice - 1).bit_length())
    if shape.kind in ("ram", "through"):  # block RAMs promise nothing where the same row is read and written; logic does
        luts += shape.width * 1.1 + 10
        ffs += shape.width * (2 if shape.kind == "ram" else 1) + (shape.depth - 1).bit_length()
    return Mapped(luts, ffs, count)


def _selector(family: str, inputs: int) -> float:
    """LUTs of one bit out of ``inputs``."""
    if inputs == 1:
        return 0.0
    if family == "xc7":
        return 1.0 if inputs <= 4 else inputs / 4
    return float(inputs - 1)


def _soft_rom(family: str, shape: Shape) -> Mapped:
    """A ROM as logic. Columns that are equal are made once, which counts where there are few rows."""
    if shape.depth <= 2:
        return Mapped(1.0, 2.0)
    different = 2.0 ** min(shape.depth, 30)
    columns = different * (1 - (1 - 1 / different) ** shape.width)
    inputs = 6 if family == "xc7" else 4
    leaves = -(-shape.depth // (1 << inputs))
    if family != "xc7":  # a tree, and what makes it faster
        luts = 1.0 if leaves == 1 else 1.25 * (2 * leaves - 1) - 0.25
    else:  # which has multiplexers beside its LUTs, for four of them
        luts = float(1 << (leaves - 1).bit_length()) if leaves <= 4 else 4 + 1.1 * leaves
    return Mapped(columns * luts, columns)


def _soft_ram(family: str, shape: Shape) -> tuple[Mapped, float]:
    """A memory of LUTs, or of flip-flops where there is none; and its cost."""
    ffs = 0.0 if shape.kind == "comb" else float(shape.width if shape.kind != "through" else (shape.depth - 1).bit_length())
    if family == "ice40":
        luts = shape.width * max(1.0, 0.95 * (shape.depth - 1)) + shape.depth
        return Mapped(luts, shape.bits + ffs), float(shape.bits)
    rows, columns, luts_each, cost_each = (16, 4, 4, 5.5) if family == "ecp5" else (32, 6, 4, 8.0)
    banks = -(-shape.depth // rows)
    units = -(-shape.width // columns) * banks
    select = 0.0 if banks == 1 else shape.width * _selector(family, banks) + 2 * banks
    return Mapped(units * luts_each + select, ffs), units * cost_each
