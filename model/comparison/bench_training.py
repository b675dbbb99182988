"""``python -m model bench training``: an update of this project's rule beside backpropagation through time in snntorch."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from export import UserError
from export.text import dashed
from model.augmentation import RandomDistortion
from model.bstdg import margin_loss
from model.comparison.bptt import UnrolledNetwork
from model.comparison.measuring import Comparison, Row, clock, interleave, peak_bytes
from model.data.dataset import Dataset
from model.encoding import LatencyEncoder
from model.layers import SingleSpikeNetwork
from model.recipes import Recipe

HIDDEN = (600,)
STEPS = (8, 128)
BATCH = 256
ROUNDS = 5
WARM_UP = 3  # updates of each before anything is measured
BATCHES = 4  # different ones, used in turn
INITIAL_FRAMES = 1000
FIRING = 0.25  # share of frames in which a neuron fires at the start
SILENT = 0.15  # share of silent frames at the start, about the mean of what recipes hold them at from the first update to the last
AUGMENT = 1.0  # reach in pixels


@dataclass(frozen=True)
class Point:
    """An update of both sides at one number of steps.

    Attributes:
        steps: ``T``.
        seconds, bptt_seconds: median.
        peak_bytes, bptt_peak_bytes: of tensors above the resting state (`model.comparison.measuring.peak_bytes`).
        augmentation_seconds: to distort the images of a batch and encode them, median; None where the inputs are no images.
    """

    steps: int
    seconds: float
    bptt_seconds: float
    peak_bytes: int
    bptt_peak_bytes: int
    augmentation_seconds: float | None


def rows(points: Sequence[Point]) -> list[Row]:
    """The table's rows."""
    found = []
    for point in points:
        at = f"T = {point.steps}"
        found.append(Row(f"{at}: update", "ms", 1, 1e3 * point.bptt_seconds, 1e3 * point.seconds))
        found.append(Row(f"{at}: peak memory", "MB", 1, point.bptt_peak_bytes / 1e6, point.peak_bytes / 1e6))
    first, last = points[0], points[-1]
    if last is not first:
        growth = last.bptt_seconds / first.bptt_seconds, last.seconds / first.seconds
        found.append(Row(f"update, T = {last.steps} / T = {first.steps}", "×", 2, *growth, ratio=False))
    return found


def epochs(points: Sequence[Point], frames: int, batch: int) -> list[tuple[str, float, str]]:
    """Seconds per epoch of this project, extrapolated from an update."""
    found, updates = [], math.ceil(frames / batch)
    for point in points:
        found.append((f"T = {point.steps}: {frames:,} frames, this project", updates * point.seconds, "s"))
        if point.augmentation_seconds is not None:
            seconds = updates * (point.seconds + point.augmentation_seconds)
            found.append((f"T = {point.steps}: the same with augmentation", seconds, "s"))
    return found


def measure(
    dataset: Dataset,
    *,
    hidden: Sequence[int] = HIDDEN,
    steps: Sequence[int] = STEPS,
    batch: int = BATCH,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Comparison:
    """Measure updates of both, in turns, at every number of steps, in one run.

    Both start from the same weights and thresholds, see the same batches and have the same loss and optimizer; each then follows its own
    gradient. An update is: forward, loss, backward, optimizer.

    Parameters:
        dataset: its training images are used.
        hidden: sizes of the hidden layers.
        steps: numbers of time steps ``T``.
        batch: frames per update.
        rounds: rounds of one update of each.
        seed: of the weights, the batches and the augmentation.

    Raises:
        UserError: the data set has no labelled training images, or fewer than ``batch`` of them.
    """
    if dataset.train_images is None or dataset.train_labels is None:
        raise UserError(f"{dataset.name} must have training images with labels to be trained on, but has none")
    if batch > len(dataset.train_images):
        raise UserError(f"batch must be at most {len(dataset.train_images)}, the training images of {dataset.name}, not {batch}")
    sizes = (dataset.inputs, *hidden, len(dataset.class_names))
    functions: dict[tuple[int, str], Callable[[], object]] = {}
    for t in steps:
        functions |= {(t, name): function for name, function in _at(t, dataset, sizes, batch, seed).items()}
    for function in functions.values():
        for _ in range(WARM_UP):
            function()
    seconds = interleave(functions, rounds)
    peaks = {key: peak_bytes(function) for key, function in functions.items() if key[1] != "augmentation"}
    points = [
        Point(
            steps=t,
            seconds=seconds[t, "ours"],
            bptt_seconds=seconds[t, "bptt"],
            peak_bytes=peaks[t, "ours"],
            bptt_peak_bytes=peaks[t, "bptt"],
            augmentation_seconds=seconds.get((t, "augmentation")),
        )
        for t in steps
    ]
    title = f"Training beside backpropagation through time, {dashed(sizes)} on {Path(dataset.name).name}"
    about = f"Batch {batch}; an update, {clock()}, median of {rounds} rounds. BPTT is that of snntorch {version('snntorch')}."
    return Comparison(title, about, "BPTT", rows(points), epochs(points, len(dataset.train_images), batch))


def _at(steps: int, dataset: Dataset, sizes: tuple[int, ...], batch: int, seed: int) -> dict[str, Callable[[], object]]:
    """The functions to measure at one number of steps: an update of ``ours`` and of ``bptt``, ``augmentation`` of images."""
    assert dataset.train_images is not None
    assert dataset.train_labels is not None
    generator, encode = torch.Generator().manual_seed(seed), LatencyEncoder(steps)
    order = torch.randperm(len(dataset.train_images), generator=generator)
    first = order[: max(INITIAL_FRAMES, BATCHES * batch)].numpy()
    images, labels = torch.from_numpy(dataset.train_images[first]), torch.from_numpy(dataset.train_labels[first])
    batches = list(zip(encode(images).split(batch)[:BATCHES], labels.split(batch), strict=False))
    ours = SingleSpikeNetwork(sizes, steps, generator=generator)
    initialize(ours, encode(images[:INITIAL_FRAMES]))
    scale = Recipe().loss_scale / math.sqrt(sizes[-2])
    functions: dict[str, Callable[[], object]] = {
        "bptt": Update(UnrolledNetwork(ours), batches, scale),  # first, while `ours` is untrained: it copies
        "ours": Update(ours, batches, scale),
    }
    if dataset.image_shape is not None:
        distort = RandomDistortion(dataset.image_shape, AUGMENT, generator)
        functions["augmentation"] = lambda: encode(distort(images[:batch]))
    return functions


@torch.no_grad()
def initialize(network: SingleSpikeNetwork, times: Tensor) -> None:
    """Set the thresholds so that neurons fire in `FIRING` of these frames, and outputs leave `SILENT` of them silent."""
    network.initialize_thresholds(times, FIRING, FIRING)
    last = network.layers[-1]
    last.thresholds.copy_(last.integer_thresholds())
    highest = network.run(times)[1].amax((0, 2))  # of all outputs and steps: below 0 in silent frames
    last.thresholds.add_(highest.quantile(SILENT, interpolation="lower"))


class Update:
    """An update of a network each time it is called, with one batch after the other.

    Parameters:
        network: takes spike times, gives `model.layers.Decisions`.
        batches: spike times and labels.
        scale: of the loss.
    """

    def __init__(self, network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], scale: float) -> None:
        self.network, self.batches, self.scale = network, itertools.cycle(batches), scale
        recipe = Recipe()
        groups = [
            {"params": [parameter for parameter in network.parameters() if parameter.ndim == dimensions], "lr": rate}
            for dimensions, rate in ((2, recipe.learning_rate), (1, recipe.threshold_rate))
        ]
        self.optimizer = torch.optim.Adam(groups)

    def __call__(self) -> None:
        times, labels = next(self.batches)
        margin_loss(self.network(times).margins, labels, self.scale).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
