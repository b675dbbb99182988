"""``python -m hw codes NETWORK``: one network in all spike codes and numbers of steps, decided after the last, in one folding or two."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export import Events, Network, digest, load, pages, reference
from export.cli import Parser, different_integers, positive
from export.provenance import made
from export.recode import CODES, recode, without_early_exit
from export.scores import score
from export.store import Format
from export.text import dashed
from hw import Accelerator, Folding, inputs
from hw.arguments import add_folding_arguments, folding_from, list_of
from hw.core.words import coefficient_bits
from hw.cost.speed import Speed
from hw.fpga import flow
from hw.fpga.area import AreaModel
from hw.fpga.devices import DEVICES, Device, device_named
from hw.fpga.kept import Kept
from hw.fpga.parts import sum_of_parts

FORMAT = Format("firstspike-code-table", 1, {"rows": list, "network": str}, {"rows": {"code": str, "steps": int}})
NAME = "codes"
STEPS = (1, 2, 4, 8)
TEMPLATE = Path(__file__).parent / "templates" / "codes.md.j2"
BELOW = (0.0, 0.05, 0.2, 0.5, 1.5)
"""Accuracies that the cheapest rows are looked up for, in points below the best."""
COLUMNS = ("code", "T", "accuracy", "hidden events", "limit", "cycles", "ratio", "LUTs placed", "memory bits")


def main(arguments: Sequence[str], kept: Kept | None = None) -> int:
    """Measure and print the table; returns the exit status.

    Raises:
        UserError: network, folding and frames do not go together.
        ToolError: a tool failed.
        OSError: a file cannot be read or written.
    """
    kept = kept or Kept()
    parser = Parser(prog="python -m hw codes", description=__doc__)
    parser.add_argument("network", type=Path, nargs="?", default=kept.artifact("mnist-ternary"), help="default: artifacts/mnist-ternary")
    parser.add_argument(
        "--steps", type=different_integers, default=STEPS, metavar="T[,T…]", help="numbers of time steps (default: 1,2,4,8)"
    )
    parser.add_argument("--dataset", help="as python -m sim takes it (default: what the network was trained on)")
    parser.add_argument("--images", type=positive, metavar="N", help="the first N test frames only (default: all)")
    parser.add_argument("--device", default="ecp5-25k", metavar="|".join(DEVICES), help="of the LUTs (default: ecp5-25k)")
    parser.add_argument("--areas", action="store_true", help="LUTs by synthesis of the parts, not by the formula")
    parser.add_argument("--keep", action="store_true", help="keep the table in docs/results, and make docs/codes.md")
    add_folding_arguments(parser)
    parser.add_argument("--second-simd", type=list_of(int), metavar="1,8", help="of another folding, for its cycles and LUTs")
    parser.add_argument("--second-pe", type=list_of(int), metavar="40,10", help="of the other folding; all else as in the first")
    given = parser.parse_args(arguments)
    network, device = load(given.network), device_named(given.device)
    folding, second = folding_from(given, network), None
    if given.second_simd or given.second_pe:
        options = {"simd": given.second_simd or given.simd, "pe": given.second_pe or given.pe}
        second = folding_from(Namespace(**vars(given) | options), network)
    rows = []
    for code in CODES:
        for steps in given.steps:
            measured = _row(without_early_exit(recode(network, code, steps)), folding, second, given, device)
            rows.append({"code": code, "steps": steps} | measured)
            print(f"{code}, T = {steps}: {rows[-1]['interval']:.1f} cycles", flush=True)
    what = {"network": given.network.stem, "sha256": digest(network), "shape": list(network.shape), "folding": folding.as_dict()}
    what |= {"second": second.as_dict()} if second else {}
    what |= {"spike_bits": coefficient_bits(recode(network, "graded", 1).layers[0].neuron.coefficients)}
    what |= {"device": device.name, "luts_by": "synthesis of the parts" if given.areas else "formula", "frames_in": given.input}
    content = FORMAT.header | made() | what | {"rows": rows}
    print(text(content))
    if given.keep:
        print(kept.keep(NAME, content), write(kept), sep="\n")
    return 0


def _row(network: Network, folding: Folding, second: Folding | None, given: Namespace, device: Device) -> dict[str, Any]:
    """Accuracy and spikes by the golden model, and the folding's `_cost`; below ``second``, that of the other folding, if there is one."""
    frames = inputs.load(network, given.dataset or inputs.trained_on(network), given.images)
    golden = reference.run(network, frames.events)
    found = {} if frames.labels is None else score(golden, frames.labels).as_dict()
    events = float(sum(len(layer) for layer in golden.events[:-1]) / len(golden))
    row = found | _cost(network, folding, frames.events, golden, given, device) | {"hidden_events_mean": events}
    return row | ({"second": _cost(network, second, frames.events, golden, given, device)} if second else {})


def _cost(network: Network, folding: Folding, events: Events, golden: reference.Result, given: Namespace, device: Device) -> dict[str, Any]:
    """Cycles by the cost model, area by the formula or by synthesis."""
    speed = Speed.of(network, folding, events, golden, given.input)
    area = AreaModel(device.family, "rom").estimate(network, folding, given.input)
    memory_bits = area.memory_bits
    if given.areas:
        area = sum_of_parts(flow.bare(Accelerator(network, folding, frames_in=given.input)), device, lambda line: print(line, flush=True))
    return speed.as_dict() | {"luts": area.placed, "memory_bits": memory_bits}


def text(content: dict[str, Any]) -> str:
    """The table for a terminal."""
    table = _table(content)
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    head = f"{content['network']}, {dashed(content['shape'])}, {content['rows'][0]['frames']} test frames, {content['device']}"
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join([head + f", LUTs by {content['luts_by']}", *lines])


def _table(content: dict[str, Any]) -> list[tuple[str, ...]]:
    """`COLUMNS`, two more where there is a second folding, and the rows."""
    pe = ",".join(map(str, content["second"]["pe"])) if "second" in content else None
    return [COLUMNS + ((f"cycles, PE {pe}", f"LUTs placed, PE {pe}") if pe else ()), *map(_cells, content["rows"])]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of a `_table`."""
    second = row.get("second")
    return (
        row["code"],
        str(row["steps"]),
        f"{row['strict']:.2f} %" if "strict" in row else "",
        f"{row['hidden_events_mean']:.1f}",
        f"{row['limit']:.1f}",
        f"{row['interval']:.1f}",
        f"{row['interval'] / row['limit']:.2f}",
        f"{row['luts']:,.0f}",
        f"{row['memory_bits']:,}",
        *((f"{second['interval']:,.1f}", f"{second['luts']:,.0f}") if second else ()),
    )


def cheapest(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """For each accuracy, the rows that reach it with the fewest cycles, hidden events and LUTs; nothing without labels."""
    if any("strict" not in row for row in rows):
        return []
    best = max(row["strict"] for row in rows)
    found: dict[tuple[str, ...], str] = {}
    for below in BELOW:
        enough = [row for row in rows if round(best - row["strict"], 6) <= below]
        least = (min(enough, key=lambda row: row[name]) for name in ("interval", "hidden_events_mean", "luts"))
        found.setdefault(tuple(f"{row['code']}, T = {row['steps']}" for row in least), f"{best - below:.2f} %")
    return [(accuracy, *names) for names, accuracy in found.items()]


def write(kept: Kept) -> Path:
    """Write ``docs/codes.md`` from the kept table; its path.

    Raises:
        UserError: the kept file is not what it should be.
        OSError: a file cannot be read or written.
    """
    content = FORMAT.read(kept.folder / f"{NAME}.json")
    there = device_named(content["device"]).capacity["luts"]
    return pages.write(
        kept.root / "docs" / "codes.md",
        pages.fill(TEMPLATE, {"shape": dashed}, content=content, there=there, table=_table(content), cheapest=cheapest(content["rows"])),
    )
