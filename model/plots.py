"""Plots of a training run, from its files; written beside the checkpoint."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from export import Network, UserError, load
from export.artifact import read_tensors
from export.check import network_from_checkpoint
from export.maps import crossed
from export.reference import DECISION_FIELDS, Decisions
from model import drawing, metrics
from model.conversion_recipe import METHOD
from model.drawing import DECISION, HARDWARE, MODEL, MUTED

CHECKPOINT, NETWORK = "checkpoint.safetensors", "network.safetensors"
TRAINING, VALIDATION = MUTED, MODEL  # colours of the two parts
FEW = 40  # outputs up to which each gets a bar of its own
BINS = 40  # of a histogram, at most


def write(folder: Path, frame: int = 0, *, network: Network | None = None) -> list[Path]:
    """Draw what is in a run's folder; the files. Of a run that is not finished, only the learning curves.

    Parameters:
        frame: of the checkpoint's check set, which is the test frames, or without such the validation frames.
        network: the checkpoint's, if its check set has just been replayed.

    Raises:
        UserError: the files are damaged, or there is no such frame.
        OSError: a file cannot be read or written.
    """
    content = metrics.read(folder / metrics.FILE)
    figures: dict[str, Callable[[], Figure]] = {}
    if content["epochs"]:
        figures["learning"] = lambda: learning(content)
    if content["finished"] and content["choices"].get("method") == METHOD:
        converted = network or load(folder / NETWORK)
        figures |= {"thresholds": lambda: thresholds(converted)}
    elif content["finished"]:
        tensors, _ = read_tensors(folder / CHECKPOINT)
        trained = network or network_from_checkpoint(folder / CHECKPOINT)[0]
        frames = len(tensors["check.inputs"])
        if not 0 <= frame < frames:
            raise UserError(f"frame must be from 0 to {frames - 1}, the frames of the check set, not {frame}")
        decisions = Decisions(**{name: tensors[f"check.{name}"] for name in DECISION_FIELDS})
        layers = [tensors["check.inputs"], *(tensors[f"check.spike_times.{index}"] for index in range(len(trained.layers)))]
        times = [part[frame] for part in layers]
        figures |= {
            "raster": lambda: raster(times, decisions, frame, trained, content.get("image_shape")),
            "steps": lambda: steps(decisions, trained.steps),
            "thresholds": lambda: thresholds(trained),
        }
    if content["finished"]:
        figures["operating-points"] = lambda: operating_points(content["shift_curve"], content["shift"])
    return [drawing.save(draw, folder / f"{name}.svg") for name, draw in figures.items()]


def learning(content: dict[str, Any]) -> Figure:
    """Learning curves: loss, accuracy, silent frames and steps by epoch, on training and validation frames."""
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True).flat
    records = content["epochs"]
    epochs = [record["epoch"] for record in records]
    trained = "training frames, augmented" if content["choices"].get("augment") else "training frames"
    titles = {"loss": "loss", "strict": "strict accuracy, %", "silent_share": "silent frames, %", "steps_mean": "steps taken, mean"}
    for panel, (name, title) in zip(panels, titles.items(), strict=True):
        panel.plot(epochs, [record[name] for record in records], ".-", color=TRAINING, markersize=3, label=trained)
        if name != "loss":
            values = [record["validation"][name] for record in records]
            panel.plot(epochs, values, ".-", color=VALIDATION, markersize=3, label="validation frames, shift chosen")
        panel.set_title(title)
        if name == "silent_share" and "max_silent" in content["choices"]:
            panel.axhline(content["choices"]["max_silent"], color=HARDWARE, lw=0.8, ls="--", label="most that a shift may leave")
        if name != "strict":
            panel.set_ylim(0, None)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if "best_epoch" in content:
            panel.axvline(content["best_epoch"], color=DECISION, lw=0.8, label="the epoch that was kept")
    for panel in panels[2:]:
        panel.set_xlabel("epoch")
    figure.legend(*panels[2].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def raster(times: Sequence[np.ndarray], decisions: Decisions, frame: int, network: Network, image_shape: Sequence[int] | None) -> Figure:
    """Every spike of one frame: inputs, hidden layers and outputs against the step.

    Parameters:
        times: spike times (neurons,) of the inputs and of each layer.
        decisions: of all frames.
        frame: which.
    """
    decision, decided = int(decisions.step[frame]), int(decisions.class_index[frame])
    image = image_shape is not None and len(image_shape) == 2
    heights = [1.6] * (len(times) - 1) + [max(1.2, 0.12 * network.outputs if network.outputs <= 20 else 0)]
    figure = Figure(figsize=(9.5 if image else 7, 1 + 1.4 * sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(times), 2 if image else 1, width_ratios=[1, 2.2] if image else [1], height_ratios=heights)
    if image:
        drawing.input_panel(figure.add_subplot(grid[:, 0]), times[0], network.steps, image_shape)
    names = ["input", *(f"layer {index}, neuron" for index in range(len(times) - 2)), "output"]
    for index, (name, fired) in enumerate(zip(names, times, strict=True)):
        panel = figure.add_subplot(grid[index, -1])
        panel.set_ylabel(name)
        panel.tick_params(labelbottom=name == "output")
        _spikes(panel, fired, decision, network.steps)
    drawing.name_outputs(panel, network.class_names)
    panel.plot(decision, decided, "o", mfc="none", mec=DECISION, mew=1.6, markersize=13, clip_on=False, label="decision")
    panel.set_xlabel("step")
    silent = ", silent: by the largest margin" if decisions.silent[frame] else ""
    figure.suptitle(
        f"frame {frame}: decided {network.class_names[decided]} at step {decision} (T = {network.steps}), "
        f"margin {decisions.margin[frame]}{silent}"
    )
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2 if not image else 4, frameon=False)
    return figure


def _spikes(panel: Axes, fired: np.ndarray, decision: int, steps: int) -> None:
    drawing.raster_frame(panel, len(fired), steps, decision)
    neuron = np.flatnonzero(fired < steps)
    early = fired[neuron] <= decision
    half, width = max(0.38, steps / 160), 1.0 if len(fired) > FEW else 2.5  # of a mark: steps, points
    for part, color, label in ((neuron[early], MODEL, "spike"), (neuron[~early], MUTED, "spike after the decision")):
        panel.hlines(part, fired[part] - half, fired[part] + half, color=color, lw=width, label=label)
    text = f"{int(early.sum())} of {len(neuron)} spikes by the decision"
    panel.set_title(text, loc="right", fontsize=8, fontweight="normal", color=MUTED)


def steps(decisions: Decisions, most: int) -> Figure:
    """How many frames took how many steps."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    panel = figure.subplots()
    drawing.steps_panel(panel, decisions, most)
    mean = float((decisions.step + 1).mean())
    panel.axvline(mean, color=HARDWARE, lw=1, ls="--", label=f"mean {mean:.2f} of {most}")
    panel.set_title(f"steps taken until the decision, {len(decisions.step):,} frames")
    panel.legend(loc="upper right", frameon=False)
    return figure


def thresholds(network: Network) -> Figure:
    """The thresholds of each layer: a histogram, or a bar for each of a few outputs."""
    figure = Figure(figsize=(4.2 * len(network.layers), 3.4), layout="constrained")
    panels = figure.subplots(1, len(network.layers), squeeze=False)[0]
    for index, (panel, layer, totals) in enumerate(zip(panels, network.layers, network.totals[:-1], strict=True)):
        theta = layer.neuron.thresholds
        title = f"layer {index}: {crossed(layer.input_map or (layer.inputs,))} → {crossed(layer.output_map or (layer.outputs,))}"
        if index == len(network.layers) - 1 and len(theta) <= FEW:
            panel.bar(network.class_names, theta, color=MODEL)
            panel.axhline(0, color=MUTED, lw=0.8)
            panel.set(ylabel="threshold", xlabel="output")
            if max(map(len, network.class_names)) > 3:
                panel.tick_params("x", rotation=60)
        else:
            dead = int((theta > layer.sum_range(totals)[1]).sum()) if layer.neuron.spikes_once else 0
            width = math.ceil((theta.max() - theta.min() + 1) / BINS)
            bins = np.arange(theta.min(), theta.max() + width + 1, width) - 0.5
            panel.hist(theta, bins=bins, color=MODEL)
            panel.axvline(np.median(theta), color=HARDWARE, lw=1, ls="--", label=f"median {np.median(theta):g}")
            panel.set(xlabel="threshold", ylabel="neurons" if layer.output_map is None else "channels")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.legend(loc="upper right", frameon=False, title=f"{dead} can never fire" if dead else None)
        panel.set_title(title)
    return figure


def operating_points(points: Sequence[dict[str, float]], chosen: int) -> Figure:
    """The operating points that a shift of all output thresholds gives: accuracy, silent frames, steps and hidden spikes.

    Parameters:
        points: of the curve, as `model.evaluation.OperatingPoint.as_dict` gives them.
        chosen: the shift to mark.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    shifts = [point["shift"] for point in points]
    names = {
        "strict": "strict accuracy, %",
        "silent_share": "silent frames, %",
        "steps_mean": "steps taken, mean",
        "hidden_spikes_by_decision_mean": "hidden spikes by the decision, mean",
    }
    panels: Sequence[Axes] = figure.subplots(2, 2, sharex=True).flatten()
    for panel, (name, title) in zip(panels, names.items(), strict=True):
        values = [point[name] for point in points]
        panel.plot(shifts, values, color=MODEL)
        panel.axvline(chosen, color=DECISION, lw=0.8)
        at = values[shifts.index(chosen)]
        panel.plot(chosen, at, "o", color=DECISION)
        panel.set_title(f"{title}: {at:.2f} at {chosen}")
        if name != "strict":
            panel.set_ylim(0, None)
    for panel in panels[2:]:
        panel.set_xlabel("shift of all output thresholds")
    return figure
