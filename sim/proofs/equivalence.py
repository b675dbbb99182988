"""Whether a mutant can be told from the circuit at all: both get the same inputs, and nothing that counts may ever differ.

What counts: who takes and gives what in which cycle, words and results as they pass, and their fields where these mean something.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.verilog import MODULE
from sim.proofs.mutants import SELECTOR_BITS, Mutant, Mutated
from sim.proofs.sby import run
from sim.proofs.tools import yosys


def equivalent(mutated: Mutated, mutant: Mutant, *, timeout: int = 600) -> bool | None:
    """Whether a mutant behaves as the circuit does, for ever and whatever comes in; None if that was not found out in time.

    Raises:
        UserError: a program is missing.
        ToolError: a program fails.
    """
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "flat.il").write_text(mutated.netlist)
        (folder / "top.v").write_text(_miter(mutated.ports, mutant.number))
        script = ["read_rtlil flat.il", f"rename {MODULE} sound", "read_rtlil flat.il", mutant.command, f"rename {MODULE} mutant"]
        # The faults sit between registers and the names that their first values belong to, so both begin with a reset instead. What is
        # undefined, such as rows that a memory does not have, is the same in both.
        script += ["setattr -unset init w:*", "memory_map", "setundef -undriven -zero", "setundef -init -zero", "opt_clean"]
        yosys("\n".join([*script, "read_verilog -formal top.v", "prep -flatten -top top", "write_rtlil both.il", ""]), folder)
        found = run((folder / "both.il").read_text(), "correspondence", 0, timeout=timeout)
    return None if found is None else not found


def _miter(port_map: Mapping[str, Any], number: int) -> str:
    """Verilog around both, with assertions."""
    ports = port_map["ports"]
    inputs = {name: port["width"] for name, port in ports.items() if port["direction"] == "input"}
    outputs = {name: port["width"] for name, port in ports.items() if port["direction"] == "output"}
    lines = [f"module top({', '.join(f'input [{width - 1}:0] {name}' for name, width in inputs.items())});"]
    # A constant, in a way that Yosys does not see and ABC does: the pass that folds constants trips over registers that become one.
    width = f"[{SELECTOR_BITS - 1}:0]"
    lines += [f"  reg {width} selector = {number};", f"  reg {width} other = {number};"]
    lines.append("  always @(posedge clk) begin selector <= other; other <= selector; end")
    for instance, selector in (("sound", []), ("mutant", [".mutant(selector)"])):
        lines += [f"  wire [{width - 1}:0] {instance}_{name};" for name, width in outputs.items()]
        connections = [f".{name}({name})" for name in inputs] + [f".{name}({instance}_{name})" for name in outputs]
        lines.append(f"  {instance} {instance}_circuit({', '.join(connections + selector)});")
    same = []
    for name in outputs:
        if name.endswith("__valid"):
            same += _same_stream(name.removesuffix("__valid"), ports)
        elif name.endswith("__ready"):
            same.append(f"!{name.removesuffix('__ready')}__valid || sound_{name} == mutant_{name}")
        elif name.endswith("_cancel"):
            stream = name.removesuffix("_cancel")
            same.append(f"!({stream}__valid && sound_{stream}__ready) || sound_{name} == mutant_{name}")
    lines += ["  reg begun = 0;", "  always @(posedge clk) begun <= 1;", "  always @* begin", "    if (!begun) assume(rst);"]
    lines += [*(f"    if (begun) assert({condition});" for condition in same), "  end", "endmodule", ""]
    return "\n".join(lines)


def _same_stream(name: str, ports: Mapping[str, Any]) -> list[str]:
    """A payload counts where it is valid, and of one that is flagged only that it is, and its frame."""
    sound, mutant = f"sound_{name}__payload", f"mutant_{name}__payload"
    fields = ports[f"{name}__payload"]["fields"]
    error = fields["error"]["offset"]
    conditions = [f"sound_{name}__valid == mutant_{name}__valid", f"!sound_{name}__valid || {sound}[{error}] == {mutant}[{error}]"]
    if "frame" in fields:
        bits = f"[{fields['frame']['offset']} +: {fields['frame']['width']}]"
        conditions.append(f"!sound_{name}__valid || {sound}{bits} == {mutant}{bits}")
    return [*conditions, f"!sound_{name}__valid || {sound}[{error}] || {sound} == {mutant}"]
