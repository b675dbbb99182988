"""A report as one HTML page that needs nothing beside it."""

from pathlib import Path

from export.files import write_together
from sim import pictures
from sim.report import Report
from sim.templates import render


def save(report: Report, folder: Path) -> None:
    """Write ``report.json`` and ``report.html`` into a folder, both or none."""
    write_together({folder / "report.json": report.json() + "\n", folder / "report.html": page(report)})


def page(report: Report) -> str:
    """The text of the page."""
    full = report.comparisons["full"]
    return render(
        "report.html.j2",
        report=report,
        data=report.data,
        full=full,
        early=report.comparisons["early"],
        scores=_score_rows(report),
        rasters=pictures.rasters(
            report.outcome.drawn,
            report.inputs,
            report.network.steps,
            report.network.class_names,
            report.labels,
            report.data.get("image_shape"),
        ),
        histograms=pictures.histograms(report.timings, full.decisions, report.network.steps),
        confusion=None
        if report.labels is None
        else pictures.confusion(report.labels, full.decisions.class_index, report.network.class_names),
        json_text=report.json(),
    )


def _score_rows(report: Report) -> list[tuple[str, dict[str, float]]]:
    names = {"pytorch": "PyTorch, ±1 weights", "golden": "golden model", "rtl": "RTL (Verilator)"}
    return [(name, report.data["accuracy"][key]) for key, name in names.items() if report.data["accuracy"][key]]
