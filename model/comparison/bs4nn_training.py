"""Training of BS4NN networks, which are stored for the next comparison."""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from export import UserError, scores
from export.artifact import read_tensors
from model import checkpoint
from model.comparison import bs4nn
from model.comparison.evaluators import evaluate
from model.comparison.event_driven import event_driven
from model.data.dataset import Dataset, split_stratified

LEAST_SCALE = 0.1  # keeps θ / α a number; no network that learns comes near it


@dataclass(frozen=True)
class Bs4nnRecipe:
    """The hyperparameters of BS4NN's training.

    Attributes:
        sizes: from the inputs to the outputs.
        epochs: passes over the training frames.
        batch: frames per update, whose gradients are summed (published: 1).
        rate: of the latent weights, per frame (published: 0.1, over 200 epochs).
        scale_rate: of the scaling factors, per frame (published: 0.01).
        rise: frames over which both rates rise from 0; then they fall to 0 along a straight line.
        spans: the initial latent weights of a layer are uniform from 0 to this: first layers, output layer (published: 5 and 48).
        validation: training frames held out, to choose the epoch.
        seed: of the split, the initial weights and the order of frames.
    """

    sizes: tuple[int, ...]
    epochs: int = 15
    batch: int = 128
    rate: float = 0.5
    scale_rate: float = 0.05
    rise: int = 5000
    spans: tuple[float, float] = (5.0, 48.0)
    validation: int = 5000
    seed: int = 0

    def initial(self, generator: torch.Generator) -> list[bs4nn.Layer]:
        """Layers before training."""
        pairs = list(itertools.pairwise(self.sizes))
        spans = [self.spans[0]] * (len(pairs) - 1) + [self.spans[1]]
        return [bs4nn.Layer(torch.rand(pair, generator=generator) * span, bs4nn.SCALE) for pair, span in zip(pairs, spans, strict=True)]

    def factor(self, seen: int, total: int) -> float:
        """The schedule of both rates: warm-up, then linear decay."""
        return min(1.0, (seen + self.batch) / self.rise) * (1 - seen / total)


@dataclass(frozen=True)
class Trained:
    """A trained network; its scores on the validation frames, and the epoch that they chose."""

    layers: list[bs4nn.Layer]
    epoch: int
    validation: scores.Scores


def training_frames(dataset: Dataset) -> int:
    """The number of labelled training images.

    Raises:
        UserError: there are none.
    """
    if dataset.train_images is None or dataset.train_labels is None:
        raise UserError(f"{dataset.name} must have training images with labels to train BS4NN on, but has none")
    return len(dataset.train_labels)


def train(dataset: Dataset, recipe: Bs4nnRecipe, say: Callable[[str], None]) -> Trained:
    """Train, and keep the epoch that was best on the validation frames: strict, of equals the latest.

    Raises:
        UserError: the data set has no labelled training images, or too few.
    """
    frames = training_frames(dataset)
    assert dataset.train_images is not None
    assert dataset.train_labels is not None
    if not 0 < recipe.validation < frames:
        raise UserError(f"validation must leave frames on both sides: {recipe.validation} of {frames} training images would be held out")
    generator = torch.Generator().manual_seed(recipe.seed)
    trained_on, held_out = split_stratified(dataset.train_labels, recipe.validation, recipe.seed)
    times, labels = bs4nn.encode(dataset.train_images), torch.from_numpy(dataset.train_labels)
    layers = recipe.initial(generator)
    best: Trained | None = None
    seen = 0
    for epoch in range(1, recipe.epochs + 1):
        order = torch.from_numpy(trained_on)[torch.randperm(len(trained_on), generator=generator)]
        for part in order.split(recipe.batch):
            factor = recipe.factor(seen, recipe.epochs * len(trained_on))
            layers = update(layers, times[part], labels[part], recipe.rate * factor, recipe.scale_rate * factor)
            seen += len(part)
        result = evaluate(event_driven, bs4nn.timed(layers), times[held_out])
        score = scores.score(result, dataset.train_labels[held_out])
        say(
            f"BS4NN, epoch {epoch}/{recipe.epochs}: validation strict {score.strict:.2f} %, lenient {score.lenient:.2f} %, "
            f"{score.silent_share:.2f} % silent, {score.steps_mean:.1f} steps"
        )
        if best is None or score.strict >= best.validation.strict:
            copies = [bs4nn.Layer(layer.latent.clone(), layer.scale) for layer in layers]
            best = Trained(copies, epoch, score)
    assert best is not None
    return best


def update(layers: list[bs4nn.Layer], times: torch.Tensor, labels: torch.Tensor, rate: float, scale_rate: float) -> list[bs4nn.Layer]:
    """One step down the gradients of a batch. Only frames that have a gradient are run to their end.

    With ``γ = 1`` a frame has none if the label's output spikes first and alone; that is known at the decision.
    """
    assert bs4nn.GAMMA == 1
    network = bs4nn.timed(layers)
    fired = event_driven(network, times).spike_times[-1] < network.steps  # at the decision
    right = fired.gather(1, labels[:, None])[:, 0] & (fired.sum(1) == 1)
    times, labels = times[~right], labels[~right]
    spikes = [times, *event_driven(network, times, to_the_end=True).spike_times]
    gradients = bs4nn.gradients(layers, spikes, bs4nn.targets(spikes[-1], labels))
    return [
        bs4nn.Layer(layer.latent - rate * gradient.latent, max(LEAST_SCALE, layer.scale - scale_rate * gradient.scale))
        for layer, gradient in zip(layers, gradients, strict=True)
    ]


def load_or_train(path: Path, dataset: Dataset, recipe: Bs4nnRecipe, say: Callable[[str], None]) -> Trained:
    """The network in ``path`` if it was trained on this data set by this recipe; else train it, and write it there.

    Raises:
        UserError: the file is there but is damaged, or training is not possible.
        OSError: the file cannot be read or written.
    """
    origin = {"recipe": asdict(recipe) | {"sizes": list(recipe.sizes), "spans": list(recipe.spans)}, "dataset": dataset.digest}
    if path.exists():
        stored, trained = read(path)
        if stored == origin:
            say(f"BS4NN network: {path}, trained before")
            return trained
        say(f"BS4NN network: {path} is of another recipe or data set, and is replaced")
    trained = train(dataset, recipe, say)
    header = {"origin": origin, "epoch": trained.epoch, "validation": trained.validation.as_dict()}
    header["scales"] = [layer.scale for layer in trained.layers]
    checkpoint.save(path, {f"layers.{index}.latent": layer.latent.numpy() for index, layer in enumerate(trained.layers)}, header)
    return trained


def read(path: Path) -> tuple[dict[str, Any], Trained]:
    """A stored network, and what it was trained on and how.

    Raises:
        UserError: the file is damaged.
        OSError: the file cannot be read.
    """
    try:
        tensors, header = read_tensors(path)
        latent = [torch.from_numpy(tensors[f"layers.{index}.latent"]) for index in range(len(header["scales"]))]
        layers = list(map(bs4nn.Layer, latent, header["scales"]))
        return header["origin"], Trained(layers, header["epoch"], scores.Scores(**header["validation"]))
    except (KeyError, TypeError, UserError):
        raise UserError(f"{path} must be a BS4NN network that this command kept, but is not one: delete it") from None
