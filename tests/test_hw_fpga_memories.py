"""What Yosys makes of memories, foretold."""

import json
import random

import pytest

from hw.fpga import flow
from hw.fpga.devices import DEVICES
from hw.fpga.memories import Mapped, Shape, mapped

ROMS = [(8, 16), (20, 40), (16, 100), (18, 128), (9, 256), (6, 500), (5, 784), (3, 1100), (36, 240)]


@pytest.mark.parametrize("device", ["ecp5-25k", *(pytest.param(name, marks=pytest.mark.proofs) for name in ("hx8k", "xc7"))])
def test_roms(device):
    """Memories large and small, each a module that is kept in one piece; each is read as a whole row per cycle."""
    rng = random.Random(7)
    circuit, ports, uses = [], ["input clk", "input [10:0] a"], []
    for width, depth in ROMS:
        name = f"rom_{width}_{depth}"
        lines = "\n".join(f"    m[{row}] = {width}'h{rng.getrandbits(width):x};" for row in range(depth))
        circuit.append(
            f"(* keep_hierarchy *) module {name}(input clk, input [10:0] a, output reg [{width - 1}:0] q);\n"
            f"  reg [{width - 1}:0] m [0:{depth - 1}];\n  initial begin\n{lines}\n  end\n"
            f"  always @(posedge clk) q <= m[a[{(depth - 1).bit_length() - 1}:0]];\nendmodule\n"
        )
        ports.append(f"output [{width - 1}:0] q_{name}")
        uses.append(f"  {name} {name} (.clk(clk), .a(a), .q(q_{name}));\n")
    top = f"module top({', '.join(ports)});\n{''.join(uses)}endmodule\n"
    synthesis = flow.synthesise(flow.Design({"top.v": "".join(circuit) + top}, "top", "top"), DEVICES[device])
    modules = json.loads((synthesis.made.folder / flow.CELLS).read_text())["modules"]
    family = DEVICES[device].family
    for width, depth in ROMS:
        seen = flow.Area.of(family, modules[f"\\rom_{width}_{depth}"]["num_cells_by_type"])
        expected = mapped(family.name, Shape("rom", width, depth))
        assert seen.block_rams == expected.block_rams, (width, depth)
        alone = 1.15 if family.name == "xc7" else 1.3  # where nothing else is slow, it is made faster, and larger
        assert 0.85 * expected.luts - 4 <= seen.luts <= alone * expected.luts + 4, (width, depth)
        assert seen.ffs == pytest.approx(expected.ffs, abs=0.1), (width, depth)


@pytest.mark.parametrize(
    ("family", "shape", "area"),
    [
        ("ecp5", Shape("free", 24, 100), Mapped(0, 0, 1)),
        ("ecp5", Shape("free", 32, 64, lane=16), Mapped(0, 0, 1)),  # two lanes of 18 bits
        ("ecp5", Shape("free", 32, 64, lane=4), Mapped(8 * 4 * 4 + 3 * 32 + 2 * 4 * 8, 32, 0)),  # eight of 9: two block RAMs cost more
        ("ecp5", Shape("free", 104, 86, lane=8), Mapped(0, 0, 4)),
        ("ecp5", Shape("free", 40, 16), Mapped(40, 40, 0)),
        ("ecp5", Shape("comb", 9, 4), Mapped(12, 0, 0)),
        ("ecp5", Shape("through", 40, 8), Mapped(40, 3, 0)),
        ("ice40", Shape("free", 24, 16), Mapped(0, 0, 2)),
        ("ice40", Shape("comb", 10, 4), Mapped(10 * 0.95 * 3 + 4, 40, 0)),
        ("xc7", Shape("free", 24, 20), Mapped(16, 24, 0)),
        ("xc7", Shape("rom", 36, 256), Mapped(0, 0, 0.5)),
        ("ecp5", Shape("rom", 99, 2), Mapped(1, 2, 0)),
        ("ice40", Shape("spram", 60, 7840), Mapped(14, 0, 0, 4)),
        ("ice40", Shape("spram", 10, 20000), Mapped(24, 1, 0, 2)),
        ("ice40", Shape("block", 3, 8), Mapped(0, 0, 1)),
        ("xc7", Shape("free", 30, 50), Mapped(40, 30, 0)),  # three bits of 64 rows per cell
    ],
    ids=str,
)
def test_writable_memories(family, shape, area):
    """As seen in grids of such memories."""
    assert mapped(family, shape) == area
