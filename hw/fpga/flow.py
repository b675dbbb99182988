"""Synthesis, place and route, and the bitstream."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from export import UserError
from hw import verilog
from hw.core.accelerator import Accelerator
from hw.fpga.devices import KINDS, Device, Family
from hw.fpga.harness import TOP, UNUSED, harness
from hw.fpga.tools import YOSYS, Job, Made, ToolError
from hw.host.boards import TOP as TOP_OF_BOARD
from hw.host.boards import BoardDesign

NETLIST, CELLS, TIMING, PLACED = "netlist.json", "cells.json", "timing.json", "placed.txt"


@dataclass(frozen=True)
class Design:
    """What is to be put on a device.

    Attributes:
        sources: Verilog texts by file name.
        top: the module that has the pins.
        inside: the module whose area is counted by itself; it stays in one piece.
        unused: outputs of ``inside`` that nobody looks at, as a pattern; what only they need is left out.
        constraints: option and text, by name, of files of pins; empty: pins are free.
    """

    sources: Mapping[str, str]
    top: str
    inside: str
    unused: str = ""
    constraints: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Area:
    """Cells of a netlist; ``luts`` are those of plain logic, of carry chains and of memories made of LUTs."""

    luts: int = 0
    carries: int = 0
    ffs: int = 0
    block_rams: float = 0
    sprams: int = 0
    dsps: int = 0
    cells: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, family: Family, cells: Mapping[str, int]) -> "Area":
        """The area of so many cells of each kind.

        Raises:
            ToolError: what a cell counts as is not known.
        """
        sums: dict[str, Any] = {kind.name: 0 for kind in fields(cls) if kind.name != "cells"}
        real = {name: cells[name] for name in sorted(cells) if not name.startswith("$")}  # $scopeinfo is no cell
        for name, count in real.items():
            counted = next((counted for pattern, counted in family.counts.items() if fnmatchcase(name, pattern)), None)
            if counted is None:
                raise ToolError(f"the netlist must be made of cells that are known, but has {count} of '{name}'")
            for kind, weight in counted.items():
                sums[kind] += weight * count
        return cls(**sums, cells=real)


@dataclass(frozen=True)
class Synthesis:
    """A netlist.

    Attributes:
        inside: area of the circuit itself.
        around: area of the harness.
        made: its files.
    """

    inside: Area
    around: Area
    made: Made


@dataclass(frozen=True)
class Placement:
    """A netlist that was placed and routed.

    Attributes:
        seed: of place and route.
        mhz: the fastest clock, of paths from register to register.
        used: by kind of place on the device: how many are used, and how many there are.
        path: the slowest of those paths: ``from``, ``to``, ``logic_ns``, ``routing_ns``.
        made: its files.
    """

    seed: int
    mhz: float
    used: Mapping[str, tuple[int, int]]
    path: Mapping[str, Any]
    made: Made


def harnessed(accelerator: Accelerator) -> Design:
    """A circuit by itself, in a harness."""
    sources = {"accelerator.v": verilog.generate(accelerator), "harness.v": harness(verilog.port_map(accelerator))}
    return Design(sources, TOP, verilog.MODULE, unused=UNUSED)


def bare(accelerator: Accelerator) -> Design:
    """A circuit by itself, to be synthesised only."""
    return Design({"accelerator.v": verilog.generate(accelerator)}, verilog.MODULE, verilog.MODULE, unused=UNUSED)


def on_board(design: BoardDesign) -> Design:
    """All that goes onto a board."""
    constraints = {design.constraints_name: (design.constraints_option, design.constraints)}
    return Design({f"{TOP_OF_BOARD}.v": design.verilog}, TOP_OF_BOARD, TOP_OF_BOARD, constraints=constraints)


def synthesise(design: Design, device: Device) -> Synthesis:
    """Synthesise.

    Raises:
        UserError: Yosys is not installed.
        ToolError: it failed.
    """
    script = [f"read_verilog {' '.join(design.sources)}"]
    if design.unused:
        script.append(f"delete -output {design.inside}/o:{design.unused}")
    if design.inside != design.top:
        script.append(f"setattr -mod -set keep_hierarchy 1 {design.inside}")
    script.append(f"{device.family.synthesis} -top {design.top} -json {NETLIST}")
    script.append(f"tee -q -o {CELLS} stat -json")
    sources = {**design.sources, "script.ys": "\n".join(script) + "\n"}
    made = Job(YOSYS, ("-q", "-l", "full.log", "script.ys"), sources, (NETLIST, CELLS)).make()
    modules = json.loads((made.folder / CELLS).read_text(encoding="utf-8"))["modules"]
    cells = {name.lstrip("\\"): module["num_cells_by_type"] for name, module in modules.items()}

    def area(module: str) -> Area:
        return Area.of(device.family, {name: count for name, count in cells[module].items() if name not in cells})

    around = area(design.top) if design.top != design.inside else Area()
    return Synthesis(area(design.inside), around, made)


def check_fits(synthesis: Synthesis, device: Device) -> None:
    """Refuse what is larger than the device, before hours go into placing it.

    Raises:
        UserError: it is; the message says by what.
    """
    needs = {kind: getattr(synthesis.inside, kind) + getattr(synthesis.around, kind) for kind in KINDS}
    over = device.over(needs)
    if over:
        raise UserError(f"the circuit must fit into {device.name}, but needs {' and '.join(over)}")


def place_and_route(design: Design, synthesis: Synthesis, device: Device, seed: int, mhz: float) -> Placement:
    """Place and route.

    Parameters:
        seed: of the placer; another one gives another, equally good, result.
        mhz: the clock to aim at.

    Raises:
        UserError: the program is not installed, or there is no room on the device; LUTs and flip-flops do not always go together in pairs.
        ToolError: it failed.
    """
    tool = device.family.nextpnr
    assert tool is not None  # the caller has asked
    arguments = [*device.arguments, "--json", NETLIST, "--top", design.top, "--seed", str(seed), "--freq", f"{mhz:g}"]
    sources: dict[str, str | Path] = {NETLIST: synthesis.made.folder / NETLIST}
    for name, (option, text) in design.constraints.items():
        arguments += [option, name]
        sources[name] = text
    if not design.constraints:
        arguments += device.pins
    arguments += ["--timing-allow-fail", "--report", TIMING, device.family.textfile, PLACED]
    try:
        made = Job(tool, arguments, sources, (TIMING, PLACED)).make()
    except ToolError as error:
        if error.log and (over := _over(error.log)):
            raise UserError(f"the circuit must fit into {device.name}, but needs {' and '.join(over)} when placed ({error.log})") from None
        raise
    report = json.loads((made.folder / TIMING).read_text(encoding="utf-8"))
    if not report["fmax"]:
        raise ToolError(f"{tool.name} must find a clock, but {made.log} names none")
    clock = min(report["fmax"], key=lambda name: report["fmax"][name]["achieved"])
    used = {name: (entry["used"], entry["available"]) for name, entry in report["utilization"].items() if entry["used"]}
    return Placement(seed, report["fmax"][clock]["achieved"], used, _slowest(report["critical_paths"], clock), made)


def bitstream(placement: Placement, device: Device) -> Path:
    """The bitstream of what was placed and routed.

    Raises:
        ToolError: it cannot be made.
    """
    tool, name = device.family.packer, f"bitstream{device.family.bitstream}"
    assert tool is not None  # whoever has a place and route has one
    made = Job(tool, (PLACED, name), {PLACED: placement.made.folder / PLACED}, (name,)).make()
    return made.folder / name


def _over(log: Path) -> list[str]:
    """The kinds of place of which a log of place and route says that more are used than there are."""
    counts = re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return [f"{int(used):,} of {int(there):,} {kind}" for kind, used, there in counts if int(used) > int(there)]


def _slowest(paths: list[dict[str, Any]], clock: str) -> dict[str, Any]:
    """Where a clock's slowest path from register to register begins and ends, and what it spends on the way."""
    edge = f"posedge {clock}"
    hops: list[dict[str, Any]] = next((path["path"] for path in paths if (path["from"], path["to"]) == (edge, edge)), [])
    if not hops:
        return {}
    routing = sum(hop["delay"] for hop in hops if hop["type"] == "routing")
    total = sum(hop["delay"] for hop in hops)
    return {
        "from": _readable(hops[0]["from"]["cell"]),
        "to": _readable(hops[-1]["to"]["cell"]),
        "logic_ns": round(total - routing, 3),
        "routing_ns": round(routing, 3),
    }


def _readable(cell: str) -> str:
    """A cell's name without what synthesis has put behind the signal's."""
    return re.split(r"_(?:TRELLIS_FF|SB_DFF|LUT4|SB_LUT4|CCU2C|PFUMX|L6MUX21)", cell)[0]
