"""``python -m hw bench``: cycles, ratios to the limit, latency and areas of the committed networks in several foldings, in one table."""

from collections.abc import Sequence
from typing import Any

from export import digest, load
from export.cli import Parser, positive
from export.provenance import made
from hw import Accelerator, inputs
from hw.arguments import add_folding_arguments, folding_from
from hw.cost.speed import Speed
from hw.fpga import flow, report, results
from hw.fpga.devices import Device, device_named
from hw.fpga.kept import FOLDINGS, Kept
from hw.fpga.parts import sum_of_parts


def main(arguments: Sequence[str], kept: Kept | None = None) -> int:
    """Measure, keep, make the page, and print the table; returns the exit status.

    Raises:
        UserError: a row is not what it should be.
        ToolError: a tool failed.
        OSError: a file cannot be read or written.
    """
    kept = kept or Kept()
    parser = Parser(prog="python -m hw bench", description="Cycles and areas of the committed networks, in one table.")
    parser.add_argument("--images", type=positive, metavar="N", help="the first N test frames only; nothing is kept then (default: all)")
    parser.add_argument(
        "--areas", metavar="DEVICE", help="synthesise each row for a device, too; by default areas are those of kept reports"
    )
    given = parser.parse_args(arguments)
    device = None if given.areas is None else device_named(given.areas)
    rows, reports = [], kept.reports()
    for row in kept.rows():
        measured = Measured(kept, row, given.images)
        rows.append(measured.as_dict())
        print(f"{row['network']}, {results.folding(rows[-1])}: {rows[-1]['interval']:,.1f} cycles", flush=True)
        if device and not any(results.is_of(data, rows[-1]) and data["device"]["name"] == device.name for data in reports):
            reports.append(measured.synthesised(device))
            whole, parts, formula = (reports[-1][kind]["luts"] for kind in ("area", "sum_of_parts", "formula"))
            errors = f"sum of parts {parts:,} ({parts / whole - 1:+.1%}), formula {formula:,} ({formula / whole - 1:+.1%})"
            print(f"  {device.name}: {whole:,} LUTs; {errors}", flush=True)
            if given.images is None:
                print(f"  {kept.keep_report(kept.artifact(row['network']), reports[-1] | made())}")
    print(results.terminal_table(rows, reports))
    if given.images is None:
        print(kept.keep_cycles(rows, made()))
        print(results.write(kept))
    return 0


class Measured:
    """One row of the table: a network in a folding, on the test frames of a data set.

    Parameters:
        kept: where networks are.
        row: what to measure.
        images: the first so many frames only, or None.

    Raises:
        UserError: network, folding and frames do not go together.
        OSError: a file cannot be read.
    """

    def __init__(self, kept: Kept, row: dict[str, str], images: int | None):
        self.name = row["network"]
        self.network = load(kept.artifact(self.name))
        parser = Parser(prog=f"{kept.folder / FOLDINGS}")
        add_folding_arguments(parser)
        options = [
            word for key, value in row.items() if key not in ("network", "dataset") for word in (f"--{key.replace('_', '-')}", value)
        ]
        given = parser.parse_args(options)
        self.folding, self.frames_in = folding_from(given, self.network), given.input
        frames = inputs.load(self.network, row.get("dataset") or inputs.trained_on(self.network), images)
        self.about = frames.about
        self.speed = Speed.measure(self.network, self.folding, frames.events, self.frames_in)

    def as_dict(self) -> dict[str, Any]:
        """The figures, as JSON can hold them."""
        what = {"artifact": self.name, "sha256": digest(self.network), "shape": list(self.network.shape), "dataset": self.about["dataset"]}
        return what | {"frames_in": self.frames_in, "folding": self.folding.as_dict()} | self.speed.as_dict()

    def synthesised(self, device: Device) -> dict[str, Any]:
        """A report of the area on a device, without place and route; with the name of the artifact."""
        design = flow.bare(Accelerator(self.network, self.folding, frames_in=self.frames_in))
        whole, parts = flow.synthesise(design, device), sum_of_parts(design, device)
        data = report.report(self.network, self.folding, self.frames_in, device, whole, [], self.speed, self.about, sum_of_parts=parts)
        return data | {"artifact": self.name}
