"""A training run, epoch by epoch: the updates, homeostasis, and the choice of the epoch and its operating point."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from export import Encoder, UserError, scores
from model import checkpoint, evaluation
from model.augmentation import DropSpikes, RandomAffine
from model.bstdg import margin_loss, timing_loss
from model.data.dataset import Dataset, split_stratified
from model.encoding import LatencyEncoder, as_spike_times
from model.layers import Decisions, SingleSpikeNetwork
from model.processes import Processes
from model.recipes import Recipe

FIRING, FIRING_OUTPUTS = 0.25, 0.03  # share of frames in which a neuron fires before training: hidden, output
INITIAL_FRAMES = 1000
HOMEOSTASIS = 1.0  # units of potential per update, times the deviation of the silent share
HOMEOSTASIS_FLOOR = 0.1  # of the schedule's factor: the thresholds follow to the end


class Frames(NamedTuple):
    """Spike times (frames, inputs) and labels int64 (frames,)."""

    times: Tensor
    labels: Tensor

    def select(self, indices: np.ndarray) -> "Frames":
        return Frames(self.times[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Frames":
        return Frames(self.times.to(device), self.labels.to(device))


class Epoch(NamedTuple):
    """What an epoch gave: means over its training frames (shares 0 … 1), and the chosen shift on the validation frames."""

    loss: float
    accuracy: float
    silent: float
    steps: float
    validation: evaluation.OperatingPoint


@dataclass
class Best:
    """The epoch to keep, its unshifted parameters, and the curve of operating points on the validation frames with the chosen one."""

    epoch: int
    point: evaluation.OperatingPoint
    curve: list[evaluation.OperatingPoint]
    parameters: dict[str, torch.Tensor]


class Trainer:
    """A training run, epoch by epoch. Everything follows from data set, recipe and, to the last bit, the number of threads.

    Parameters:
        processes: where it computes, and what shares the work; by default this process on the CPU.

    Attributes:
        network: the network in its current state.
        epoch: finished epochs.
        best: the best epoch so far; None before the first.

    Raises:
        UserError: the data set cannot be trained on with this recipe.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, processes: Processes | None = None) -> None:
        self.dataset, self.recipe = dataset, recipe
        self.processes = processes or Processes()
        kind = "none" if dataset.train_images is None else "latency"
        self.encoder = Encoder(kind, recipe.p_min).resolved(recipe.steps)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.train, self.validation, self.distorted = self._split()
        self.drop = DropSpikes(recipe.drop_spikes, recipe.steps, self.generator) if recipe.drop_spikes else None
        self.epoch = 0
        self.best: Best | None = None
        sizes = (dataset.inputs, *recipe.hidden, len(dataset.class_names))
        self.network = SingleSpikeNetwork(
            sizes, recipe.steps, window=recipe.window, gradient_at=recipe.gradient_at, generator=self.generator
        ).to(self.processes.device)
        first = torch.randperm(len(self.train.labels), generator=self.generator)[:INITIAL_FRAMES]
        self.network.initialize_thresholds(self.train.times[first], FIRING, FIRING_OUTPUTS)
        self.loss_scale = recipe.loss_scale / math.sqrt(sizes[-2])
        self.weights = [layer.weights for layer in self.network.layers]
        self.thresholds = [layer.thresholds for layer in self.network.layers]
        groups = [{"params": self.weights}, {"params": self.thresholds}]
        self.optimizer = torch.optim.Adam(groups, lr=recipe.learning_rate, eps=1e-10, fused=True)

    def run_epoch(self, bar: tqdm) -> Epoch:
        """One pass over the training frames, and the choice of epoch and shift.

        Raises:
            UserError: the loss is not a number any more.
        """
        order = torch.randperm(len(self.train.labels), generator=self.generator).to(self.processes.device)
        batches = order.split(self.recipe.batch_size)
        totals, seen = np.zeros(4), 0
        for number, batch in enumerate(batches):
            progress = (self.epoch * len(batches) + number + 1) / (self.recipe.epochs * len(batches))
            part = self.processes.share(len(batch))
            times = self.train.times[batch[part]] if self.distorted is None else self.distorted(batch, part)
            if self.drop is not None:
                times = self.drop(times, self.drop.draw(len(batch), self.dataset.inputs)[part])
            totals += self._update(times, self.train.labels[batch[part]], progress)
            seen += len(batch)
            loss, accuracy, silent, steps = totals / seen
            bar.set_postfix_str(
                f"loss {loss:.3f}, {100 * accuracy:.1f} % right, {100 * silent:.1f} % silent, {steps:.2f} steps", refresh=False
            )
            bar.update(len(batch))
        point = self._validate(self.epoch + 1)
        if self.processes.count > 1:
            self.processes.check_same("the SHA-256 of all parameters", self._fingerprint())
        self.epoch += 1
        loss, accuracy, silent, steps = (totals / seen).tolist()
        return Epoch(loss, accuracy, silent, steps, point)

    def _split(self) -> tuple[Frames, Frames, Callable[[Tensor, slice], Tensor] | None]:
        """Training and validation frames; and, with augmentation, spike times of distorted training frames: part of a batch of indices."""
        dataset, steps = self.dataset, self.recipe.steps
        images = dataset.train_images
        if dataset.train_labels is None or (images is None and dataset.train_spike_times is None):
            raise UserError(f"{dataset.name} must have training frames with labels to train on, but has none")
        times = spike_times(dataset, "train", self.encoder, steps)
        train, validation = split_stratified(dataset.train_labels, self.recipe.held_out(len(times)), self.recipe.seed)
        frames = Frames(as_spike_times(times, steps), torch.from_numpy(dataset.train_labels))
        distorted = None
        if self.recipe.augment:
            affine = RandomAffine(dataset.image_shape, self.recipe.augment, self.generator, mirror=self.recipe.mirror)
            encode = LatencyEncoder(steps, self.recipe.p_min).to(self.processes.device)
            assert images is not None, "spike times from outside have no image shape, which RandomAffine refuses"
            pixels = torch.from_numpy(images[train]).to(self.processes.device)

            def distorted(batch: Tensor, part: slice = slice(None)) -> Tensor:
                maps = affine.draw(len(batch))  # of the whole batch, whatever part of it is wanted
                return encode(affine(pixels[batch[part]], maps[part]))

        return frames.select(train).to(self.processes.device), frames.select(validation), distorted

    def _update(self, times: Tensor, labels: Tensor, progress: float) -> list[float]:
        """One step of the optimizer on this process's frames of a batch; sums over all of its frames of loss, hits, silence, steps."""
        decisions = self.network(times)
        loss = self._loss(decisions, labels) if len(labels) else decisions.margins.sum()
        hits, steps = (decisions.class_index == labels).sum(), (decisions.step + 1).sum()
        sums = (loss.detach().double() * len(labels), hits, decisions.silent.sum(), steps)
        frames, *of_batch = self.processes.total(len(labels), *sums)
        if not math.isfinite(of_batch[0]):
            raise UserError(
                f"the loss must stay a number, but is {of_batch[0]} in epoch {self.epoch + 1}: "
                f"try a --learning-rate below {self.recipe.learning_rate}"
            )
        schedule = (1 + math.cos(math.pi * progress)) / 2
        for group, rate in zip(self.optimizer.param_groups, (self.recipe.learning_rate, self.recipe.threshold_rate), strict=True):
            group["lr"] = rate * schedule
        self.optimizer.zero_grad()
        (loss * (len(labels) / frames)).backward()
        self.processes.sum_gradients(self.network.parameters())
        self.optimizer.step()
        with torch.no_grad():
            for weights in self.weights:
                weights.clamp_(-1, 1)
            # Homeostasis: the level that all output thresholds share, to which the loss is blind, follows the share of silent frames.
            gain = HOMEOSTASIS * max(schedule, HOMEOSTASIS_FLOOR)
            self.thresholds[-1].sub_(gain * (of_batch[2] / frames - self.recipe.silent_target(progress)))
        return of_batch

    def _loss(self, decisions: Decisions, labels: Tensor) -> Tensor:
        loss = margin_loss(decisions.margins, labels, self.loss_scale)
        if self.recipe.fire or self.recipe.wait:
            loss += timing_loss(decisions.margins, labels, decisions.silent, self.loss_scale, self.recipe.fire, self.recipe.wait)
        return loss

    def _validate(self, epoch: int) -> evaluation.OperatingPoint:
        """Choose the shift on the validation frames; keep the epoch if none before did better (of equals, the latest)."""
        result, margins = evaluation.run(self.network, self.validation.times)
        last = self.network.layers[-1]
        thresholds = last.integer_thresholds().cpu().numpy()
        curve = evaluation.shift_curve(result, margins, thresholds, last.inputs, self.validation.labels.numpy())
        point = evaluation.choose_shift(curve, self.recipe.max_silent)
        if self.best is None or self._rank(point) >= self._rank(self.best.point):
            parameters = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
            self.best = Best(epoch, point, curve, parameters)
        return point

    def _fingerprint(self) -> str:
        parameters = (tensor.cpu().numpy().tobytes() for tensor in self.network.state_dict().values())
        return hashlib.sha256(b"".join(parameters)).hexdigest()

    def _rank(self, point: evaluation.OperatingPoint) -> tuple[bool, float]:
        return point.silent_share <= self.recipe.max_silent, point.strict

    def finish(self, path: str | Path) -> dict[str, scores.Scores]:
        """Write the best epoch, shifted, as a checkpoint; its scores on the validation frames and, if there are labels, the test frames.

        Raises:
            OSError: the file cannot be written.
        """
        assert self.best is not None, "at least one epoch must be finished"
        self.network.load_state_dict(self.best.parameters)
        with torch.no_grad():
            self.thresholds[-1].copy_(self.network.layers[-1].integer_thresholds() + self.best.point.shift)
        dataset = self.dataset
        check_times, (check, _) = self.validation.times, evaluation.run(self.network, self.validation.times)
        result = {"validation": scores.score(check, self.validation.labels.numpy())}
        if dataset.test_images is not None or dataset.test_spike_times is not None:
            check_times = as_spike_times(spike_times(dataset, "test", self.encoder, self.recipe.steps), self.recipe.steps)
            check, _ = evaluation.run(self.network, check_times)
            if dataset.test_labels is not None:
                result["test"] = scores.score(check, dataset.test_labels)
        provenance = {
            "dataset": Path(dataset.name).name,
            "dataset_digest": dataset.digest,
            "split": dataset.split,
            "seed": self.recipe.seed,
            "recipe": self.recipe.as_dict(),
            "epochs": self.epoch,
            "best_epoch": self.best.epoch,
            "shift": self.best.point.shift,
            "shift_curve": [point.as_dict() for point in self.best.curve],
            "scores": {part: score.as_dict() for part, score in result.items()},
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": str(self.processes.device),
            "processes": self.processes.count,
        }
        names = dataset.class_names
        checkpoint.write(path, self.network, self.encoder, names, provenance, check_times.numpy(), check)
        return result


def spike_times(dataset: Dataset, part: str, encoder: Encoder, steps: int) -> np.ndarray:
    """Spike times int32 (frames, inputs) of the ``train`` or ``test`` part.

    Raises:
        UserError: there is no such part, or it does not fit the encoder or the number of steps.
    """
    images, times = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_spike_times")
    if images is not None:
        return encoder.encode(images, steps)
    if times is None:
        raise UserError(f"{dataset.name} must have a {part} part, but has none")
    if encoder.kind != "none":
        raise UserError(f"{dataset.name} has spike times, but the network takes images through its encoder '{encoder.kind}'")
    if times.max() > steps:
        raise UserError(f"{dataset.name}: spike times must be from 0 to {steps} ({steps} = never), but reach {times.max()}: see --steps")
    return times
