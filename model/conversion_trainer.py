"""A training run of a network that is to be converted: ±1 weights, activations of several levels or real ones, no time."""

from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from export import UserError, reference, scores
from model import conversion_checkpoint
from model.augmentation import RandomDistortion
from model.conversion_recipe import ConversionRecipe
from model.data.dataset import Dataset, split_stratified
from model.encoding import arranged
from model.evaluation import OperatingPoint
from model.normalisation import MOMENTUM
from model.processes import Processes
from model.quantized import QuantizedNetwork
from model.synapses import inputs_of
from model.training_run import Epoch, TrainingRun

SETTLING = 50  # batches that averaged weights are normalised by


class Images(NamedTuple):
    """Images uint8 (frames, pixels) and labels int64 (frames,)."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: np.ndarray, labels: np.ndarray) -> "Images":
        """Copies, since a data set's arrays may be read-only."""
        return cls(torch.from_numpy(images.copy()), torch.from_numpy(labels.copy()))


class Outcome(NamedTuple):
    """What a network makes of frames.

    Attributes:
        activations: of each hidden layer, of the frames that are kept, float32 (frames, *outputs).
        margins: float32 (frames, classes).
        hidden_events: the number of activations other than 0, int64 (frames,).
    """

    activations: list[np.ndarray]
    margins: np.ndarray
    hidden_events: np.ndarray

    def summary(self) -> reference.Summary:
        """As of spiking neurons with a single step, ``T`` = 1: hidden spikes are activations other than 0."""
        best = self.margins.max(axis=1)
        step = np.zeros(len(best), np.int32)
        decisions = reference.Decisions(self.margins.argmax(axis=1).astype(np.int32), step, best.astype(np.int32), best < 0)
        return reference.Summary(decisions, (self.margins < 0).astype(np.int32), self.hidden_events)


class ConversionTrainer(TrainingRun):
    """A training run of a `QuantizedNetwork`, by cross-entropy and Adam.

    Attributes:
        pool_kind: of the network's pools.

    Raises:
        UserError: the data set cannot be trained on with this recipe, or several processes are to train.
    """

    pool_kind: ClassVar[str] = "sum"
    network: QuantizedNetwork
    recipe: ConversionRecipe
    train: Images
    validation: Images

    def __init__(self, dataset: Dataset, recipe: ConversionRecipe, processes: Processes | None = None) -> None:
        super().__init__(dataset, recipe, processes)
        if self.processes.count > 1:
            raise UserError(f"method conversion must train in one process, since it normalises over batches, not in {self.processes.count}")
        device = self.processes.device
        self.train, self.validation = split(dataset, recipe)
        self.distort = None
        if recipe.augment:
            how: dict[str, Any] = {"elastic": recipe.elastic, "mirror": recipe.mirror, "shifts": recipe.shifts}
            self.distort = RandomDistortion(dataset.image_shape, recipe.augment, self.generator, **how)
        classes = len(dataset.class_names)
        inputs = inputs_of(recipe.stages(classes), dataset.inputs, dataset.image_shape)
        self.network = QuantizedNetwork.of(recipe, inputs, classes, self.generator, self.pool_kind).to(device)
        self.dataset = dataset.arranged(self.network.input_map)
        self.validation = split(self.dataset, recipe)[1]
        self.train = Images(*(part.to(device) for part in self.train))
        self.optimizer = torch.optim.Adam(
            [{"params": list(self.network.parameters()), "peak": recipe.learning_rate}], lr=recipe.learning_rate, eps=1e-10, fused=True
        )

    def describe(self, epoch: Epoch) -> str:
        point = epoch.validation
        return (
            f"loss {epoch.loss:.4f}, {100 * epoch.accuracy:.2f} % right; validation: {point.strict:.2f} % right, "
            f"{point.hidden_spikes_by_decision_mean:.1f} hidden activations other than 0"
        )

    def _inputs(self, batch: Tensor, part: slice) -> Tensor:
        images = self.train.images[batch[part]]
        if self.distort is not None:
            images = self.distort(images)
        images = arranged(images, self.network.input_map)
        if self.recipe.drop_inputs:
            kept = torch.rand(images.shape, generator=self.generator) >= self.recipe.drop_inputs
            images = images * kept.to(images.device)
        return images

    def _update(self, inputs: Tensor, labels: Tensor, progress: float) -> list[float]:
        self.network.train()
        logits = self.network(inputs)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.recipe.smoothing)
        hits = (logits.argmax(1) == labels).sum()
        _, total, right = self.processes.total(len(labels), loss.detach().double() * len(labels), hits)
        self._check_loss(total)
        self._schedule(progress)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.network.clamp_()
        return [total, right, 0, len(labels)]

    def _validate(self, epoch: int) -> OperatingPoint:
        if self.average is not None:
            self._settle(self.scored)
        summary = run(self.scored, self.validation.images, keep=0).summary()
        score = scores.score(summary, self.validation.labels.numpy())
        point = OperatingPoint(0, score.strict, score.silent_share, score.steps_mean, score.hidden_spikes_by_decision_mean)
        self._keep(epoch, point, [point])
        return point

    @torch.no_grad()
    def _settle(self, network: QuantizedNetwork) -> None:
        """Take the running statistics anew, as means over batches of training frames, since averaged weights have other sums."""
        norms = [layer.norm for layer in network.layers]
        network.train()
        order = torch.randperm(len(self.train.labels), generator=self.generator).to(self.processes.device)
        for number, batch in enumerate(order.split(self.recipe.batch_size)[:SETTLING], 1):
            for norm in norms:
                norm.momentum = 1 / number
            network(self._inputs(batch, slice(None)))
        for norm in norms:
            norm.momentum = MOMENTUM

    def _rank(self, point: OperatingPoint) -> float:
        return point.strict

    def finish(self, path: str | Path) -> dict[str, scores.Scores]:
        assert self.best is not None, "at least one epoch must be finished"
        self.network.cpu().load_state_dict(self.best.parameters)  # a GPU may not add up a convolution exactly
        keep = conversion_checkpoint.counted_frames(self.network)
        images, check = self.validation.images, run(self.network, self.validation.images, keep=keep)
        result = {"validation": scores.score(check.summary(), self.validation.labels.numpy())}
        if self.dataset.test_images is not None:
            images = torch.from_numpy(self.dataset.test_images.copy())
            check = run(self.network, images, keep=keep)
            if self.dataset.test_labels is not None:
                result["test"] = scores.score(check.summary(), self.dataset.test_labels)
        conversion_checkpoint.write(
            path, self.network, self.dataset.class_names, self._provenance(result), images.numpy(), check.activations, check.margins
        )
        return result


def split(dataset: Dataset, recipe: ConversionRecipe) -> tuple[Images, Images]:
    """Training and validation frames.

    Raises:
        UserError: the data set has no images with labels to train on.
    """
    if dataset.train_images is None or dataset.train_labels is None:
        raise UserError(f"{dataset.name} must have training images with labels to be trained on without time, but has none")
    images, labels = dataset.train_images, dataset.train_labels
    train, validation = split_stratified(labels, recipe.held_out(len(labels)), recipe.seed)
    return Images.of(images[train], labels[train]), Images.of(images[validation], labels[validation])


def run(network: QuantizedNetwork, images: Tensor, keep: int | None = None) -> Outcome:
    """A whole data set, uint8 (frames, …), through a network.

    Parameters:
        keep: the activations of so many frames, from the first; None: of all.
    """
    network.eval()
    device, keep = network.output.weights.device, len(images) if keep is None else keep
    parts: list[Outcome] = []
    for at in range(0, max(1, len(images)), network.batch):
        hidden, margins = network.run(images[at : at + network.batch].to(device))
        events = sum((torch.count_nonzero(part.flatten(1), dim=1) for part in hidden), torch.zeros(len(margins), device=device).long())
        kept = [part[: max(0, keep - at)].cpu().numpy() for part in hidden]
        parts.append(Outcome(kept, margins.cpu().numpy(), events.cpu().numpy()))
    activations = [np.concatenate(layer) for layer in zip(*(part.activations for part in parts), strict=True)]
    return Outcome(activations, *(np.concatenate([getattr(part, name) for part in parts]) for name in ("margins", "hidden_events")))
