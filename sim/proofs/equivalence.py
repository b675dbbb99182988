"""Whether a mutant can be told from the circuit at all: both get the same inputs, and nothing that counts may ever differ.

What counts: who takes and gives what in which cycle, words and results as they pass, and their fields where these mean something.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hw.verilog import MODULE
from sim.proofs.mutants import SELECTOR_BITS, Mutant, Mutated
from sim.proofs.sby import run
from sim.proofs.tools import yosys

BEGINS = ("setattr -unset init w:*", "memory_map", "setundef -undriven -zero", "setundef -init -zero", "opt_clean")
"""Yosys's passes before a proof. A fault may sit between a register and the name that its first value belongs to, so what is compared
begins with a reset instead. What is undefined, such as rows that a memory does not have, is the same in both."""


def equivalent(mutated: Mutated, mutant: Mutant, *, timeout: int = 600) -> bool | None:
    """Whether a mutant behaves as the circuit does after a reset, for ever and whatever comes in.

    Two questions are asked. The first, of a fault in logic: in a state of the sound circuit, do outputs and the next state of both ever
    differ? If they do, that says nothing; but it is answered soon. The second: do the outputs of both ever differ?

    Parameters:
        mutated: the circuit.
        mutant: one of its mutants.
        timeout: seconds for each question.

    Returns:
        None if neither was answered in time.

    Raises:
        UserError: a program is missing.
        ToolError: a program fails.
    """
    if mutant.port != "Q" and _in_the_same_state(mutated, mutant, timeout):
        return True
    passes = ["read_rtlil flat.il", f"rename {MODULE} sound", "read_rtlil flat.il", mutant.command, f"rename {MODULE} mutant", *BEGINS]
    return _ask(mutated.netlist, passes, _both(mutated.ports, mutant.number), timeout)


def _in_the_same_state(mutated: Mutated, mutant: Mutant, timeout: int) -> bool | None:
    """Whether a mutant gives what the circuit gives, and goes where it goes, in every state that the circuit comes to."""
    everted = _everted(mutated.netlist)
    passes = ["read_rtlil flat.il", f"copy {MODULE} mutant", mutant.command.replace(f"-module {MODULE}", "-module mutant")]
    state = {name: int(width or 1) for width, name in re.findall(r"^  wire (?:width (\d+) )?input \d+ \\(\S+)\.q$", everted, re.MULTILINE)}
    assert len(state) == len(re.findall(r"^  wire (?:width \d+ )?output \d+ \S+\.d$", everted, re.MULTILINE)) > 0
    return _ask(everted, [*passes, f"rename {MODULE} sound"], _both(mutated.ports, mutant.number, state), timeout)


def _ask(netlist: str, passes: list[str], top: str, timeout: int) -> bool | None:
    """Whether the assertions of a top module hold for ever; None if that was not found out in time."""
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "flat.il").write_text(netlist)
        (folder / "top.v").write_text(top)
        yosys("\n".join([*passes, "read_verilog -formal top.v", "prep -flatten -top top", "write_rtlil design.il", ""]), folder)
        found = run((folder / "design.il").read_text(), "correspondence", 0, timeout=timeout)
    return None if found is None else not found


@cache
def _everted(netlist: str) -> str:
    """The netlist without its registers: the output of each is a port ``NAME.q`` instead, its input a port ``NAME.d``."""
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "flat.il").write_text(netlist)
        yosys("\n".join(["read_rtlil flat.il", *BEGINS, "expose -evert-dff", "opt_clean", "write_rtlil everted.il", ""]), folder)
        return (folder / "everted.il").read_text()


def _both(port_map: Mapping[str, Any], number: int, state: Mapping[str, int] | None = None) -> str:
    """Verilog around the circuit and a mutant: after a reset, nothing that counts differs.

    Parameters:
        port_map: of the circuit.
        number: of the mutant.
        state: widths of the registers by name, if both have none: those here are the sound circuit's, the mutant gets to see them, and its
            next state counts too.
    """
    ports, state = port_map["ports"], state or {}
    inputs, outputs = _widths(ports, "input"), _widths(ports, "output")
    # A constant, in a way that Yosys does not see and ABC does: the pass that folds constants trips over registers that become one.
    width = f"[{SELECTOR_BITS - 1}:0]"
    lines = [f"  reg {width} selector = {number};", f"  reg {width} other = {number};"]
    lines += ["  always @(posedge clk) begin selector <= other; other <= selector; end"]
    for place, bits in enumerate(state.values()):
        lines += [f"  reg [{bits - 1}:0] state_{place} = 0;", f"  always @(posedge clk) state_{place} <= sound_{place};"]
    for instance, selector in (("sound", []), ("mutant", [".mutant(selector)"])):
        lines += [f"  wire [{bits - 1}:0] {instance}_{name};" for name, bits in outputs.items()]
        lines += [f"  wire [{bits - 1}:0] {instance}_{place};" for place, bits in enumerate(state.values())]
        connections = [f".{name}({name})" for name in inputs] + [f".{name}({instance}_{name})" for name in outputs] + selector
        for place, name in enumerate(state):
            connections += [f".\\{name}.q (state_{place})", f".\\{name}.d ({instance}_{place})"]
        lines.append(f"  {instance} {instance}_circuit({', '.join(connections)});")
    same = [f"sound_{place} == mutant_{place}" for place in range(len(state))]
    for name in outputs:
        if name.endswith("_valid"):
            same += _same_stream(name.removesuffix("_valid"), ports)
        elif name.endswith("_ready"):
            same.append(f"!{name.removesuffix('_ready')}_valid || sound_{name} == mutant_{name}")
        elif name.endswith("_cancel"):
            stream = name.removesuffix("_cancel")
            same.append(f"!({stream}_valid && sound_{stream}_ready) || sound_{name} == mutant_{name}")
    return _top(inputs, lines, same)


def _widths(ports: Mapping[str, Any], direction: str) -> dict[str, int]:
    return {name: port["width"] for name, port in ports.items() if port["direction"] == direction}


def _top(inputs: Mapping[str, int], body: Sequence[str], conditions: Sequence[str]) -> str:
    """A module that begins with a reset, and asserts conditions from then on."""
    lines = [f"module top({', '.join(f'input [{width - 1}:0] {name}' for name, width in inputs.items())});", *body]
    lines += ["  reg begun = 0;", "  always @(posedge clk) begun <= 1;", "  always @* begin", "    if (!begun) assume(rst);"]
    return "\n".join([*lines, *(f"    if (begun) assert({condition});" for condition in conditions), "  end", "endmodule", ""])


def _same_stream(name: str, ports: Mapping[str, Any]) -> list[str]:
    """A payload counts where it is valid, and of one that is flagged only that it is, and its frame."""
    sound, mutant = f"sound_{name}_payload", f"mutant_{name}_payload"
    fields = ports[f"{name}_payload"]["fields"]
    error = fields["error"]["offset"]
    conditions = [f"sound_{name}_valid == mutant_{name}_valid", f"!sound_{name}_valid || {sound}[{error}] == {mutant}[{error}]"]
    if "frame" in fields:
        bits = f"[{fields['frame']['offset']} +: {fields['frame']['width']}]"
        conditions.append(f"!sound_{name}_valid || {sound}{bits} == {mutant}{bits}")
    return [*conditions, f"!sound_{name}_valid || {sound}[{error}] || {sound} == {mutant}"]
