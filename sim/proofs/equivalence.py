"""Whether a mutant is equivalent to its circuit: with the same inputs after the same reset, no output that is read ever differs."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hw.verilog import MODULE
from sim.proofs.mutants import SELECTOR_BITS, Mutant, Mutated
from sim.proofs.sby import run
from sim.proofs.tools import yosys

PREPARE = ("setattr -unset init w:*", "memory_map", "setundef -undriven -zero", "setundef -init -zero", "opt_clean")
"""Passes of Yosys on both circuits. Initial values are removed, as a fault may separate a register from the wire that carries its own; the
comparison begins with a reset instead. Undefined values, such as rows that a memory does not have, are 0 in both."""


def equivalent(mutated: Mutated, mutant: Mutant, *, timeout: int = 600) -> bool | None:
    """Whether a mutant is equivalent to its circuit; None if that is undecided, as it always is where a clock is changed.

    Parameters:
        mutated: the circuit.
        mutant: one of its mutants.
        timeout: seconds.

    Raises:
        UserError: a program is missing.
        ToolError: a program fails.
    """
    if mutant.of_clock:  # sby takes registers and memories to have one clock
        return None
    script = [
        *("read_rtlil flat.il", f"rename {MODULE} sound"),
        *("read_rtlil flat.il", mutant.command, f"rename {MODULE} faulty"),
        *PREPARE,
        *("read_verilog -formal top.v", "prep -flatten -top top", "write_rtlil design.il"),
    ]
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "flat.il").write_text(mutated.netlist, encoding="utf-8")
        (folder / "top.v").write_text(_top(mutated.ports["ports"], mutant.number), encoding="utf-8")
        yosys("\n".join([*script, ""]), folder)
        found = run((folder / "design.il").read_text(encoding="utf-8"), "correspondence", 0, timeout=timeout)
    return None if found is None else not found


def _top(ports: Mapping[str, Any], number: int) -> str:
    """Verilog of both circuits with common inputs, a reset in the first cycle, and an assertion for each output."""
    inputs = {name: port["width"] for name, port in ports.items() if port["direction"] == "input"}
    outputs = {name: port["width"] for name, port in ports.items() if port["direction"] == "output"}
    lines = [
        f"module top({', '.join(f'input [{width - 1}:0] {name}' for name, width in inputs.items())});",
        # The selector, hidden from Yosys's constant folding, which fails on registers that become constant.
        f"  reg [{SELECTOR_BITS - 1}:0] selector = {number}, other = {number};",
        "  always @(posedge clk) begin selector <= other; other <= selector; end",
        "  reg begun = 0;",
        "  always @(posedge clk) begun <= 1;",
    ]
    for instance, selector in (("sound", ""), ("faulty", ", .mutant(selector)")):
        lines += [f"  wire [{width - 1}:0] {instance}_{name};" for name, width in outputs.items()]
        connections = [f".{name}({'rst || !begun' if name == 'rst' else name})" for name in inputs]
        connections += [f".{name}({instance}_{name})" for name in outputs]
        lines.append(f"  {instance} {instance}_circuit({', '.join(connections)}{selector});")
    equal = [f"!({when}) || sound_{bits} == faulty_{bits}" for name in outputs for when, bits in _read(name, ports)]
    return "\n".join([*lines, *(f"  always @* if (begun) assert({each});" for each in equal), "endmodule", ""])


def _read(name: str, ports: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Bits of an output, each with the condition under which they are read; of a flagged word or result, only flag and frame are."""
    stream, _, signal = name.rpartition("_")
    if signal == "payload":
        fields = ports[name]["fields"]
        for field in fields.keys() & {"error", "frame"}:
            yield f"sound_{stream}_valid", f"{name}[{fields[field]['offset']} +: {fields[field]['width']}]"
        yield f"sound_{stream}_valid && !sound_{name}[{fields['error']['offset']}]", name
    else:
        yield {"valid": "1", "ready": f"{stream}_valid", "cancel": f"{stream}_valid && sound_{stream}_ready"}[signal], name
