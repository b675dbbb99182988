"""The pictures of a report, as SVG text."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.events import Events
from export.reference import Decisions
from model.drawing import HARDWARE, MODEL, MUTED, STYLE, count_panel, input_panel, name_outputs, raster_frame, steps_panel
from sim.outcome import Drawn
from sim.timing import Timing

NEGATIVE_MODEL, NEGATIVE_HARDWARE = "#17a2b8", "#ff9f1c"
GOLDEN_MODEL, VERILOG = "golden model", "hardware (Verilog)"
RING, DOT, LARGER, LARGEST = 4.5, 2.2, 1.6, 5
"""Diameters of marks of spikes that are worth 1, in points; what each further one adds; and how often it does."""


def rasters(
    frames: Mapping[int, Drawn],
    inputs: Events,
    steps: int,
    class_names: Sequence[str],
    labels: np.ndarray | None,
    image_shape: tuple[int, ...] | None,
) -> str:
    """Per frame: the input, then each layer's spikes, model (rings) and hardware (dots) over each other; the larger, the more a spike is
    worth, in other colours below 0."""
    layers = len(next(iter(frames.values())).seen)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(frames), 2.0 + 1.9 * layers), layout="constrained")
        axes = figure.subplots(1 + layers, len(frames), squeeze=False, height_ratios=[1.1] + [1.3] * (layers - 1) + [1])
        for column, (frame, drawn) in enumerate(frames.items()):
            decisions = drawn.golden.decisions
            label = "" if labels is None else f", label {class_names[labels[frame]]}"
            given = inputs[frame : frame + 1]
            if (given.coefficient == 1).all() and len(np.unique(given.neuron)) == len(given):
                input_panel(axes[0][column], given.spike_times()[0], steps, image_shape)
            else:
                count_panel(axes[0][column], np.bincount(given.neuron, given.coefficient, minlength=given.shape[2]), image_shape)
            axes[0][column].set_title(f"frame {frame}: decided {class_names[decisions.class_index[0]]}{label}")
            for layer, (golden, seen) in enumerate(zip(drawn.golden.events, drawn.seen, strict=True)):
                panel = axes[1 + layer][column]
                _raster(panel, golden, seen, int(decisions.step[0]))
                if column == 0:
                    panel.set_ylabel("output neuron" if layer == layers - 1 else f"layer {layer}, neuron")
                if layer == layers - 1:
                    panel.set_xlabel("step")
                    name_outputs(panel, class_names)
        marks = {name: handle for panel in axes[1:].flat for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)}
        figure.legend(marks.values(), marks.keys(), loc="outside lower center", ncols=3, frameon=False)
        return _svg(figure)


def _raster(panel: Axes, golden: Events, seen: Events, decision: int) -> None:
    _, steps, neurons = golden.shape
    raster_frame(panel, neurons, steps, decision)
    if (golden.coefficient == 1).all() and (seen.coefficient == 1).all():
        panel.plot(golden.step, golden.neuron, "o", mfc="none", mec=MODEL, mew=0.8, markersize=RING, label=GOLDEN_MODEL)
        panel.plot(seen.step, seen.neuron, ".", color=HARDWARE, markersize=3.2, label=VERILOG)
        return
    for sign, ring, dot, suffix in ((1, MODEL, HARDWARE, ""), (-1, NEGATIVE_MODEL, NEGATIVE_HARDWARE, ", below 0")):
        drawn: tuple[tuple[Events, float, dict[str, Any]], ...] = (
            (golden, RING, {"facecolors": "none", "edgecolors": ring, "linewidths": 0.8, "label": GOLDEN_MODEL + suffix}),
            (seen, DOT, {"color": dot, "linewidths": 0, "label": VERILOG + suffix}),
        )
        for events, place, style in drawn:
            part = events.select(np.sign(events.coefficient) == sign)
            panel.scatter(part.step, part.neuron, (place + LARGER * _steps_up(part)) ** 2, clip_on=False, **style)


def _steps_up(events: Events) -> np.ndarray:
    """How much larger than the smallest a mark is for its coefficient; those of large ones grow no more."""
    return np.minimum(np.abs(events.coefficient.astype(int)) - 1, LARGEST)


def histograms(timings: Mapping[str, Timing], decisions: Decisions, steps: int) -> str:
    """Cycles per frame in both modes, and the steps taken."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.2, 2.9), layout="constrained")
        latency, interval, taken = figure.subplots(1, 3)
        for panel, name, title in ((latency, "latency", "first word to result"), (interval, "intervals", "from result to result")):
            values = {mode: getattr(timing, name) for mode, timing in timings.items()}
            longest = max((int(v.max()) for v in values.values() if len(v)), default=1)
            bins = np.unique(np.linspace(0, longest + 1, 51).astype(int))
            for (mode, v), color in zip(values.items(), (MUTED, HARDWARE), strict=False):
                panel.hist(v, bins=bins, color=color, alpha=0.75, label=mode)
            panel.set(title=f"cycles, {title}", xlabel="cycles", ylabel="frames")
            panel.legend(loc="upper right", frameon=False)
        steps_panel(taken, decisions, steps)
        return _svg(figure)


def confusion(labels: np.ndarray, decided: np.ndarray, class_names: Sequence[str]) -> str:
    """How many frames of each label were decided to be of each class; decisions that are missing are left out."""
    classes = len(class_names)
    there = decided >= 0
    counts = np.bincount(labels[there] * classes + decided[there], minlength=classes**2).reshape(classes, classes)
    size = min(9.0, 2.2 + 0.42 * classes)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size + 0.6, size), layout="constrained")
        panel = figure.subplots()
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        panel.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
        if classes <= 30:
            for row, column in np.argwhere(counts):
                color = "white" if share[row, column] > 0.4 else "#333"
                panel.text(column, row, counts[row, column], ha="center", va="center", color=color, fontsize=8)
            long = max(map(len, class_names)) > 3
            panel.set_xticks(range(classes), class_names, rotation=60 if long else 0, ha="right" if long else "center")
            panel.set_yticks(range(classes), class_names)
        panel.set(xlabel="decided (hardware)", ylabel="label")
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
        return _svg(figure)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
