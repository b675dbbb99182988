"""Icarus Verilog: an event-driven simulator with four states, in which nothing happens at time 0 that the text does not ask for."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

CLOCKS, RESETS = ("clk", "aclk", "wb_clk_i"), {"rst": 1, "wb_rst_i": 1, "aresetn": 0}
RESET_CYCLES = 4

needed = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")


def compile_and_run(folder: Path, sources: dict[str, str], top: str) -> str:
    """What a test bench says. The text is read as Verilog-2001, and run by SystemVerilog's rules, by which an initial content in a
    declaration is no event; the compiler must have nothing to say of either."""
    for name, text in sources.items():
        (folder / name).write_text(text)
    for options in (["-g2001", "-t", "null"], ["-g2012"]):
        command = ["iverilog", *options, "-Wall", "-Wno-timescale", "-s", top, "-o", "bench.vvp"]
        done = subprocess.run([*command, *(name for name in sources if name.endswith(".v"))], cwd=folder, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    return subprocess.run(["vvp", "-n", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=True).stdout


def play(folder: Path, verilog: str, port_map: dict[str, Any], rows: Sequence[tuple[dict[str, int], dict[str, int]]]) -> list[str]:
    """Give inputs cycle by cycle, compare outputs; returns the complaints.

    The first row's inputs are there from time 0 on, through some cycles of reset. From the first clock edge on no output may be unknown.

    Parameters:
        rows: per cycle, inputs and outputs by port; outputs are compared if the first row has them, payloads only while they are valid.
    """
    widths = {name: port["width"] for name, port in port_map["ports"].items() if name not in (*CLOCKS, *RESETS)}
    inputs, outputs = ([name for name in widths if port_map["ports"][name]["direction"] == way] for way in ("input", "output"))
    expected = [name for name in outputs if name in rows[0][1]]
    (clock,), (reset,) = port_map["ports"].keys() & set(CLOCKS), port_map["ports"].keys() & RESETS.keys()

    def packed(row: dict[str, int], names: list[str]) -> str:
        return "".join(f"{row[name]:0{widths[name]}b}" for name in names) or "0"

    checks = [f'if (^{name} === 1\'bx) $display("cycle %0d: {name} is %b", cycle, {name});' for name in outputs]
    for name in expected:
        valid = re.sub("_payload$", "_valid", name)
        condition = f"cycle >= 0 && {valid if valid in outputs else 1}"
        checks.append(
            f'if ({condition} && {name} !== golden_{name}) $display("cycle %0d: {name} is %h, not %h", cycle, {name}, golden_{name});'
        )
    bench = f"""
module bench;
  reg {clock} = 0, {reset} = {RESETS[reset]};
  integer cycle = -{RESET_CYCLES};
  reg [{sum(widths[name] for name in inputs) - 1}:0] given [0:{len(rows) - 1}];
  reg [{max(sum(widths[name] for name in expected), 1) - 1}:0] golden [0:{len(rows) - 1}];
  {" ".join(f"reg [{widths[name] - 1}:0] {name} = {widths[name]}'b{rows[0][0][name]:b};" for name in inputs)}
  {" ".join(f"wire [{widths[name] - 1}:0] {name};" for name in outputs)}
  {" ".join(f"reg [{widths[name] - 1}:0] golden_{name};" for name in expected)}
  {port_map["top"]} dut ({", ".join(f".{name}({name})" for name in port_map["ports"])});
  initial $readmemb("given.txt", given);
  initial $readmemb("golden.txt", golden);
  always #5 {clock} = !{clock};
  always @(posedge {clock}) begin
    {" ".join(checks)}
    cycle = cycle + 1;
    if (cycle == {len(rows)}) begin $display("end"); $finish; end
  end
  always @(negedge {clock}) if (cycle >= 0) begin
    {reset} = {1 - RESETS[reset]};
    {{{", ".join(inputs)}}} = given[cycle];
    {f"{{{', '.join(f'golden_{name}' for name in expected)}}} = golden[cycle];" if expected else ""}
  end
endmodule
"""
    texts = {
        "given.txt": "\n".join(packed(row, inputs) for row, _ in rows),
        "golden.txt": "\n".join(packed(row, expected) for _, row in rows),
    }
    *said, end = compile_and_run(folder, {"circuit.v": verilog, "bench.v": bench, **texts}, "bench").splitlines()
    assert end == "end"
    return said
