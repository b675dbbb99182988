"""What Yosys makes of memories, foretold."""

import random

import pytest

from hw.fpga import flow
from hw.fpga.devices import DEVICES
from hw.fpga.memories import Mapped, Shape, mapped

ROMS = [(8, 16), (64, 16), (36, 64), (20, 100), (36, 100), (8, 128), (20, 128), (36, 256), (8, 500), (64, 500), (20, 784), (20, 1100)]


@pytest.mark.parametrize("device", ["hx8k", "ecp5-25k"])
def test_block_rams(device):
    """Memories large and small, beside each other in one netlist; each is read as a whole row per cycle."""
    rng = random.Random(7)
    circuit, ports, uses = [], ["input clk", "input [10:0] a"], []
    for width, depth in ROMS:
        name = f"rom_{width}_{depth}"
        lines = "\n".join(f"    m[{row}] = {width}'h{rng.getrandbits(width):x};" for row in range(depth))
        address = f"a[{(depth - 1).bit_length() - 1}:0]"
        circuit.append(
            f"module {name}(input clk, input [10:0] a, output reg [{width - 1}:0] q);\n  reg [{width - 1}:0] m [0:{depth - 1}];\n"
            f"  initial begin\n{lines}\n  end\n  always @(posedge clk) q <= m[{address}];\nendmodule\n"
        )
        ports.append(f"output [{width - 1}:0] q_{name}")
        uses.append(f"  {name} {name} (.clk(clk), .a(a), .q(q_{name}));\n")
    top = f"module top({', '.join(ports)});\n{''.join(uses)}endmodule\n"
    design = flow.Design({"top.v": "".join(circuit) + top}, "top", "top")
    synthesis = flow.synthesise(design, DEVICES[device])
    areas = flow.parts_of(design, synthesis, DEVICES[device], [f"rom_{width}_{depth}" for width, depth in ROMS])
    family = DEVICES[device].family.name
    for width, depth in ROMS:
        expected, seen = mapped(family, Shape("rom", width, depth)), areas[f"rom_{width}_{depth}"]
        assert seen.block_rams == expected.block_rams, (width, depth)


@pytest.mark.parametrize(
    ("family", "shape", "area"),
    [
        ("ecp5", Shape("free", 24, 100), Mapped(0, 0, 1)),
        ("ecp5", Shape("free", 40, 16), Mapped(40, 40, 0)),
        ("ecp5", Shape("comb", 9, 4), Mapped(12, 0, 0)),
        ("ecp5", Shape("through", 40, 8), Mapped(40, 3, 0)),
        ("ice40", Shape("free", 24, 16), Mapped(0, 0, 2)),
        ("ice40", Shape("comb", 10, 4), Mapped(10 * 0.95 * 3 + 4, 40, 0)),
        ("xc7", Shape("free", 24, 20), Mapped(16, 24, 0)),
        ("xc7", Shape("rom", 36, 256), Mapped(0, 0, 0.5)),
        ("ecp5", Shape("rom", 99, 2), Mapped(1, 2, 0)),
    ],
    ids=str,
)
def test_writable_memories(family, shape, area):
    """As seen in grids of such memories."""
    assert mapped(family, shape) == area
