"""``docs/hardware-results.md``, made from what is kept in ``docs/results``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from export import digest, load, pages
from export.pages import number
from export.text import dashed
from hw.fpga.kept import Kept

TEMPLATE = Path(__file__).parent / "templates" / "hardware-results.md.j2"


def write(kept: Kept) -> Path:
    """Write the page; its path.

    Raises:
        UserError: a kept file is not what it should be.
        OSError: a file cannot be read or written.
    """
    return pages.write(kept.page, page(kept))


def page(kept: Kept) -> str:
    """The page, in Markdown.

    Raises:
        UserError: a kept file is not what it should be.
        OSError: a file cannot be read.
    """
    filters: dict[str, Callable[..., str]] = {"folding": folding, "shape": dashed, "off": off}
    filters["artifact"] = lambda data: artifact(kept, data)
    return pages.fill(TEMPLATE, filters, rows=kept.cycles(), reports=kept.reports())


def artifact(kept: Kept, data: dict[str, Any]) -> str:
    """The name of the network that a row or a report is of, and whether the artifact has become another since.

    Raises:
        UserError: the artifact is not one.
    """
    path, sha256 = kept.artifact(data["artifact"]), data.get("sha256") or data["network"]["sha256"]
    return data["artifact"] + " (an earlier one)" * (path.exists() and digest(load(path)) != sha256)


def folding(row: dict[str, Any]) -> str:
    """A row's folding in short: of what is the same in every layer and usual, nothing."""
    said = row["folding"]
    words = [f"PE {_list(said['pe'])}", f"SIMD {_list(said['simd'])}"]
    if "xnor" in said["form"]:
        words.append(_list(said["form"]))
    elif "step" in said["loop_order"]:
        words.append(f"order {_list(said['loop_order'])}")
    if max(said["swap"]) > 1:
        words.append(f"swap {_list(said['swap'])}")
    if said["contexts"] > 1:
        words.append(f"{said['contexts']} contexts")
    if row["frames_in"] == "pixels":
        words.append(f"{said['pixels']} pixel{'s' * (said['pixels'] > 1)} per cycle")
    return ", ".join(words)


def is_of(data: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a report is of the circuit of a row."""
    return (data["network"]["sha256"], data["folding"], data["frames_in"]) == (row["sha256"], row["folding"], row["frames_in"])


def terminal_table(rows: list[dict[str, Any]], reports: list[dict[str, Any]]) -> str:
    """Cycles and areas in one table, as text."""
    head = ("network", "folding", "limit", "cycles", "ratio", "latency", "device", "LUTs", "FFs", "block RAMs", "MHz", "images/s")
    table: list[tuple[str, ...]] = [head]
    for row in rows:
        ratio = number(row["interval"] / row["limit"])
        cells = (row["artifact"], folding(row), number(row["limit"], 1), number(row["interval"], 1), ratio, number(row["latency"], 1))
        areas = [data for data in reports if is_of(data, row)]
        table += [cells + _area_cells(data) for data in areas] or [cells + ("",) * 6]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    left = ("network", "folding", "device")
    lines = [
        "  ".join(cell.ljust(width) if name in left else cell.rjust(width) for name, cell, width in zip(head, line, widths, strict=True))
        for line in table
    ]
    return "\n".join(line.rstrip() for line in lines)


def _area_cells(data: dict[str, Any]) -> tuple[str, ...]:
    area = data["area"]
    clock = number(data["mhz"], 1) if data["mhz"] else ""
    rate = number(data["images_per_second"], 0) if data["mhz"] else ""
    return (data["device"]["name"], number(area["luts"], 0), number(area["ffs"], 0), f"{area['block_rams']:g}", clock, rate)


def off(estimate: float, measured: float) -> str:
    """An estimate's error."""
    return f"{estimate / measured - 1:+.1%}"


def _list(values: list) -> str:
    return ",".join(map(str, values))
