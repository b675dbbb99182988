"""A report as one HTML page that needs nothing beside it."""

from typing import TYPE_CHECKING

import numpy as np

from sim import pictures
from sim.templates import render

if TYPE_CHECKING:
    from sim.report import Report

SHOWN = 3
"""Frames whose spikes are drawn."""


def page(report: "Report") -> str:
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
            _shown(report),
            report.spike_times,
            report.golden,
            full.seen,
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


def _shown(report: "Report") -> list[int]:
    """The frame with the first difference, then frames of different classes, from the start."""
    frames = [] if report.first_difference is None else [min(report.first_difference.frame, report.data["frames"] - 1)]
    kinds = report.golden.decisions.class_index if report.labels is None else report.labels
    firsts = np.sort(np.unique(kinds, return_index=True)[1])
    for frame in (*firsts, *range(report.data["frames"])):
        if len(frames) < SHOWN and int(frame) not in frames:
            frames.append(int(frame))
    return frames


def _score_rows(report: "Report") -> list[tuple[str, dict[str, float]]]:
    names = {"pytorch": "PyTorch, ±1 weights", "golden": "golden model", "rtl": "RTL (Verilator)"}
    return [(name, report.data["accuracy"][key]) for key, name in names.items() if report.data["accuracy"][key]]
