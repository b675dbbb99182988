"""What a network costs on a device, as JSON and as a table."""

import json
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np

from export import Network, digest
from export.text import dashed
from hw.core.folding import Folding
from hw.cost import streaming
from hw.cost.speed import Speed, against
from hw.fpga.area import AreaModel, Estimate
from hw.fpga.devices import KINDS, Device
from hw.fpga.flow import Placement, Synthesis
from hw.fpga.tools import YOSYS
from hw.host.boards import BoardDesign

FORMAT, VERSION = "firstspike-fpga", 2


def report(
    network: Network,
    folding: Folding,
    frames_in: str,
    device: Device,
    synthesis: Synthesis,
    placements: list[Placement],
    speed: Speed,
    about: dict[str, Any],
    *,
    weights: str = "rom",
    board: BoardDesign | None = None,
    sum_of_parts: Estimate | None = None,
) -> dict[str, Any]:
    """All figures, as JSON can hold them (``docs/fpga.md`` lists them).

    Parameters:
        network, folding, frames_in, weights: what the circuit was made of.
        placements: one per seed; none where the family ends with synthesis, or more was not asked for.
        speed: on frames that ``about`` names.
        board: what goes onto a board, if it is not the circuit by itself.
        sum_of_parts: see `hw.fpga.parts`; None if the parts were not synthesised.
    """
    family = device.family
    model = AreaModel(family, weights, board.board if board else None)
    tools = [tool for tool in (YOSYS, family.nextpnr if placements else None) if tool]
    mhz = median(placement.mhz for placement in placements) if placements else None
    clock = mhz if board is None else board.clock_hz / 1e6
    runs_at = None if missed(placements, board) else clock
    return {
        "format": FORMAT,
        "version": VERSION,
        "network": {"shape": list(network.shape), "steps": network.steps, "sha256": digest(network)},
        "folding": folding.as_dict(),
        "frames_in": frames_in,
        "weights": weights,
        "device": {"name": device.name, "part": device.part, "capacity": dict(device.capacity)},
        "board": None if board is None else {"name": board.board.name, "mhz": clock, "baud": board.baud},
        "tools": {tool.name: f"{tool.package} {tool.version}" for tool in tools},
        "area": asdict(synthesis.inside),
        "around": asdict(synthesis.around),
        "formula": asdict(model.estimate(network, folding, frames_in)),
        "sum_of_parts": sum_of_parts and asdict(sum_of_parts),
        "mhz": mhz,
        "seeds": [_placement(placement) for placement in placements],
        "frames": about,
        "cycles": speed.as_dict() | ({"streaming": streaming(network, folding)} if any(network.maps) else {}),
        "images_per_second": speed.images_per_second(runs_at) if runs_at else None,
        "latency_us": speed.latency_us(runs_at) if runs_at else None,
    }


def missed(placements: list[Placement], board: BoardDesign | None) -> bool:
    """Whether no placement reaches the clock of a board."""
    return board is not None and bool(placements) and max(placement.mhz for placement in placements) < board.clock_hz / 1e6


def _placement(placement: Placement) -> dict[str, Any]:
    used = {name: list(numbers) for name, numbers in placement.used.items()}
    return {"seed": placement.seed, "mhz": round(placement.mhz, 2), "used": used, "slowest_path": dict(placement.path)}


def table(data: dict[str, Any]) -> str:
    """The figures of a report as lines of text."""
    device, cycles, board = data["device"], data["cycles"], data["board"]
    folding = ", ".join(f"{name} {','.join(map(str, np.atleast_1d(values)))}" for name, values in data["folding"].items())
    on_board = f", on {board['name']}: with host link, {board['baud']:,} baud" if board else ""
    rows = [
        ("network", f"{dashed(data['network']['shape'])}, T = {data['network']['steps']}"),
        ("folding", f"{folding}; {data['frames_in']} in, weights: {data['weights']}"),
        ("device", f"{device['name']} ({device['part']}){on_board}"),
        *_area_rows(data),
    ]
    if data["seeds"]:
        rows += _placed_rows(data)
    else:
        rows.append(("clock", "not known: synthesis only"))
    rows += [
        ("cycles per image", f"{cycles['interval']:,.1f} ({cycles['interval'] / cycles['limit']:.2f} × limit {cycles['limit']:,.1f})"),
        *([("dense streaming", against(cycles["streaming"], cycles["interval"]))] if "streaming" in cycles else []),
        ("latency", f"{cycles['latency']:,.1f} cycles" + (f", {data['latency_us']:,.2f} µs" if data["latency_us"] else "")),
        ("frames", f"{cycles['frames']:,} of {data['frames']['dataset']}, early mode"),
    ]
    if data["images_per_second"]:
        less = ", less what the serial line takes" if board else ""
        rows.append(("images per second", f"{data['images_per_second']:,.0f}{less}"))
    return "\n".join(f"{name:<22}{value}" for name, value in rows)


def _area_rows(data: dict[str, Any]) -> list[tuple[str, str]]:
    area, there = data["area"], data["device"]["capacity"]
    estimates = {"formula": data["formula"], "sum of parts": data["sum_of_parts"] or {}}
    rows = []
    for kind, name in KINDS.items():
        if there.get(kind) or area[kind]:
            share = f" of {there[kind]:,} ({area[kind] / there[kind]:.0%})" if there.get(kind) else ""
            said = [f"; {name} {said[kind]:,g}{_off(said[kind], area[kind])}" for name, said in estimates.items() if kind in said]
            rows.append((name, f"{area[kind]:,g}{share}{''.join(said)}"))
    if any(data["around"][kind] for kind in KINDS):
        around = ", ".join(f"{data['around'][kind]:,g} {name}" for kind, name in KINDS.items() if data["around"][kind])
        rows.append(("harness, not counted", around))
    return rows


def _off(estimate: float, measured: float) -> str:
    return f" ({estimate / measured - 1:+.1%})" if measured else ""


def _placed_rows(data: dict[str, Any]) -> list[tuple[str, str]]:
    last, seeds = data["seeds"][-1], data["seeds"]
    rows = [("placed", f"{name} {used:,} of {there:,} ({used / there:.0%})") for name, (used, there) in last["used"].items()]
    clocks = ", ".join(f"{seed['mhz']:.1f}" for seed in seeds)
    each = f" (median of {len(seeds)} seeds: {clocks})" if len(seeds) > 1 else ""
    runs_at = f"; runs at {data['board']['mhz']:.1f} MHz" if data["board"] else ""
    rows.append(("clock", f"{data['mhz']:.1f} MHz{each}{runs_at}"))
    if path := last["slowest_path"]:
        spent = f"logic {path['logic_ns']:.1f} ns, routing {path['routing_ns']:.1f} ns"
        rows.append(("slowest path", f"{path['from']} → {path['to']}: {spent}"))
    return rows


def text(data: dict[str, Any]) -> str:
    """A report as the text of its file."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
