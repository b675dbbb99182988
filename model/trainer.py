"""A training run, epoch by epoch: the updates, homeostasis, and the choice of the epoch and its operating point."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from export import Encoder, UserError, scores
from export.maps import Map
from model import checkpoint, evaluation
from model.augmentation import DropSpikes, RandomDistortion
from model.bstdg import margin_loss, timing_loss
from model.data.dataset import Dataset, split_stratified
from model.encoding import LatencyEncoder, arranged, as_spike_times
from model.layers import Decisions, SingleSpikeNetwork
from model.map_network import network_of
from model.processes import Processes
from model.recipes import Recipe
from model.synapses import inputs_of
from model.training_run import Epoch, TrainingRun

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


class Trainer(TrainingRun):
    """A training run of single-spike neurons by the rule of `model.bstdg`.

    Raises:
        UserError: the data set cannot be trained on with this recipe.
    """

    network: SingleSpikeNetwork
    recipe: Recipe
    train: Frames
    validation: Frames

    def __init__(self, dataset: Dataset, recipe: Recipe, processes: Processes | None = None) -> None:
        super().__init__(dataset, recipe, processes)
        for name, off in (("normalise", "false"), ("pretrain", "0")):
            if getattr(recipe, name) and self.processes.count > 1:
                raise UserError(f"{name} must be {off} in several processes, since it is over whole batches")
        kind = "none" if dataset.train_images is None else "latency"
        self.encoder = Encoder(kind, recipe.p_min).resolved(recipe.steps)
        stages = recipe.stages(len(dataset.class_names))
        inputs = inputs_of(stages, dataset.inputs, dataset.image_shape)
        self.input_map = cast("Map", inputs) if len(inputs) == 3 else None
        self.dataset = dataset.arranged(self.input_map)
        self.train, self.validation, self.distorted = self._split(dataset.train_images)
        self.drop = DropSpikes(recipe.drop_spikes, recipe.steps, self.generator) if recipe.drop_spikes else None
        self.network = network_of(
            stages,
            inputs,
            recipe.steps,
            window=recipe.window,
            gradient_at=recipe.gradient_at,
            normalise=recipe.normalise,
            generator=self.generator,
        ).to(self.processes.device)
        first = torch.randperm(len(self.train.labels), generator=self.generator)[:INITIAL_FRAMES]
        self.network.initialize_thresholds(self.train.times[first], FIRING, FIRING_OUTPUTS)
        self.loss_scale = recipe.loss_scale / math.sqrt(self.network.layers[-1].inputs)
        self.weights = [layer.weights for layer in self.network.layers]
        self.thresholds = [layer.thresholds for layer in self.network.layers]
        groups = [
            {"params": self.weights, "peak": recipe.learning_rate},
            {"params": self.thresholds, "peak": recipe.threshold_rate},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=recipe.learning_rate, eps=1e-10, fused=True)

    def describe(self, epoch: Epoch) -> str:
        point = epoch.validation
        return (
            f"loss {epoch.loss:.4f}, {100 * epoch.accuracy:.2f} % right, {100 * epoch.silent:.1f} % silent, {epoch.steps:.2f} steps; "
            f"validation, shift {point.shift}: {point.strict:.2f} % right, {point.silent_share:.1f} % silent, {point.steps_mean:.2f} steps"
        )

    def _inputs(self, batch: Tensor, part: slice) -> Tensor:
        times = self.train.times[batch[part]] if self.distorted is None else self.distorted(batch, part)
        if self.drop is not None:
            times = self.drop(times, self.drop.draw(len(batch), self.dataset.inputs)[part])
        return times

    def _split(self, images: np.ndarray | None) -> tuple[Frames, Frames, Callable[[Tensor, slice], Tensor] | None]:
        """Training and validation frames; and, with augmentation, spike times of distorted training frames: part of a batch of indices.

        Parameters:
            images: of the training frames, plane by plane, if they are images.
        """
        dataset, steps = self.dataset, self.recipe.steps
        if dataset.train_labels is None or (images is None and dataset.train_spike_times is None):
            raise UserError(f"{dataset.name} must have training frames with labels to train on, but has none")
        times = spike_times(dataset, "train", self.encoder, steps)
        train, validation = split_stratified(dataset.train_labels, self.recipe.held_out(len(times)), self.recipe.seed)
        frames = Frames(as_spike_times(times, steps), torch.from_numpy(dataset.train_labels))
        distorted = None
        if self.recipe.augment:
            how: dict[str, Any] = {"elastic": self.recipe.elastic, "mirror": self.recipe.mirror}
            distort = RandomDistortion(dataset.image_shape, self.recipe.augment, self.generator, **how)
            encode = LatencyEncoder(steps, self.recipe.p_min).to(self.processes.device)
            assert images is not None, "spike times from outside have no image shape, which RandomDistortion refuses"
            pixels = torch.from_numpy(images[train]).to(self.processes.device)

            def distorted(batch: Tensor, part: slice = slice(None)) -> Tensor:
                grid = distort.draw(len(batch))  # of the whole batch, whatever part of it is wanted
                return encode(arranged(distort(pixels[batch[part]], grid[part]), self.input_map))

        return frames.select(train).to(self.processes.device), frames.select(validation), distorted

    def _update(self, times: Tensor, labels: Tensor, progress: float) -> list[float]:
        decisions = self.network(times)
        loss = self._loss(decisions, labels) if len(labels) else decisions.margins.sum()
        hits, steps = (decisions.class_index == labels).sum(), (decisions.step + 1).sum()
        sums = (loss.detach().double() * len(labels), hits, decisions.silent.sum(), steps)
        frames, *of_batch = self.processes.total(len(labels), *sums)
        self._check_loss(of_batch[0])
        schedule = self._schedule(progress)
        self.optimizer.zero_grad()
        (loss * (len(labels) / frames)).backward()
        self.processes.sum_gradients(self.network.parameters())
        self.optimizer.step()
        with torch.no_grad():
            for layer in self.network.layers:
                layer.clamp_()
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
        """Choose the shift on the validation frames, and `_keep` the epoch."""
        result, margins = evaluation.run(self.scored, self.validation.times)
        last = self.scored.layers[-1]
        thresholds = last.integer_thresholds().cpu().numpy()
        curve = evaluation.shift_curve(result, margins, thresholds, last.inputs, self.validation.labels.numpy())
        point = evaluation.choose_shift(curve, self.recipe.max_silent)
        self._keep(epoch, point, curve)
        return point

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
        names = dataset.class_names
        checkpoint.write(path, self.network, self.encoder, names, self._provenance(result), check_times.numpy(), check)
        return result


def spike_times(dataset: Dataset, part: str, encoder: Encoder, steps: int) -> Any:
    """Spike times int32 (frames, inputs), or events of an encoder that makes these, of the ``train`` or ``test`` part.

    Raises:
        UserError: there is no such part, or it does not fit the encoder or the number of steps.
    """
    images, times = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_spike_times")
    if part == "test" and dataset.test_events is not None and encoder.kind == "none":
        return dataset.test_events
    if images is not None:
        return encoder.encode(images, steps)
    if times is None:
        raise UserError(f"{dataset.name} must have a {part} part, but has none")
    if encoder.kind != "none":
        raise UserError(f"{dataset.name} has spike times, but the network takes images through its encoder '{encoder.kind}'")
    if times.max() > steps:
        raise UserError(f"{dataset.name}: spike times must be from 0 to {steps} ({steps} = never), but reach {times.max()}: see --steps")
    return times
