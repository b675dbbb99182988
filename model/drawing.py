"""Colours, panels and reproducible SVG files, shared with the reports of ``sim``. No PyTorch here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from export.files import atomic_write
from export.reference import Decisions

MODEL, HARDWARE, DECISION, MUTED, LATER = "#1f77b4", "#d62728", "#2ca02c", "#8a94a0", "#eef1f4"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "svg.hashsalt": "firstspike",
    "svg.fonttype": "none",
}


def save(draw: Callable[[], Figure], path: Path) -> Path:
    """Draw a figure, and write it as SVG, whole or not at all; its path.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary, mpl.rc_context(STYLE):
        draw().savefig(temporary, format="svg", metadata={"Date": None})
    return path


def input_panel(panel: Axes, times: np.ndarray, steps: int, image_shape: Sequence[int] | None) -> None:
    """The spike times (inputs,) of a frame: as an image if they are one, else as a raster."""
    if image_shape is not None and len(image_shape) == 2 and np.prod(image_shape) == len(times):
        image = panel.imshow(np.where(times < steps, times, np.nan).reshape(image_shape), cmap="viridis_r", vmin=0, vmax=steps - 1)
        panel.figure.colorbar(image, ax=panel, label="input spike at step", shrink=0.9)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(True)
    else:
        neuron = np.flatnonzero(times < steps)
        panel.plot(times[neuron], neuron, ".", color=MUTED, markersize=3)
        panel.set_xlim(-0.5, steps - 0.5)
        panel.set_ylabel("input")


def count_panel(panel: Axes, counts: np.ndarray, image_shape: Sequence[int] | None) -> None:
    """The sums of the coefficients (inputs,) of a frame: as an image if they are one, else as bars."""
    if image_shape is not None and len(image_shape) == 2 and np.prod(image_shape) == len(counts):
        image = panel.imshow(counts.reshape(image_shape), cmap="Greys", vmin=0)
        panel.figure.colorbar(image, ax=panel, label="sum of coefficients", shrink=0.9)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(True)
    else:
        panel.barh(np.arange(len(counts)), counts, height=1, color=MUTED)
        panel.set_ylabel("input")
        panel.set_xlabel("sum of coefficients")


def raster_frame(panel: Axes, neurons: int, steps: int, decision: int) -> None:
    """Axes for a raster of so many neurons: steps to the right, what comes after the decision shaded."""
    panel.axvspan(decision + 0.5, steps - 0.5, color=LATER, lw=0, label="after the decision")
    panel.set_xlim(-0.5, steps - 0.5)
    panel.set_ylim(-0.03 * neurons - 0.5, 1.03 * neurons - 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def name_outputs(panel: Axes, class_names: Sequence[str]) -> None:
    """Class names beside the outputs' rows, if there are few enough."""
    if len(class_names) <= 20:
        panel.set_yticks(range(len(class_names)), class_names, fontsize=7)


def steps_panel(panel: Axes, decisions: Decisions, steps: int) -> None:
    """How many frames took how many steps."""
    at, silent = np.arange(1, steps + 1), decisions.silent.astype(bool)
    fired, not_fired = (np.bincount(decisions.step[part] + 1, minlength=steps + 1)[1:] for part in (~silent, silent))
    panel.bar(at, fired, color=DECISION, alpha=0.85, label="decided by an output's spike")
    if silent.any():
        panel.bar(at, not_fired, bottom=fired, color=MUTED, alpha=0.85, label="silent")
        panel.legend(loc="upper right", frameon=False)
    panel.set(title="steps taken until the decision", xlabel="steps", ylabel="frames")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
