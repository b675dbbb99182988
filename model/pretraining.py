"""Training without time before training by spike times: a binary network, whose weights and thresholds a single-spike network starts with.

A neuron that spikes at most once has fired by the end of a step if ``Σ_i w_i · [t_i ≤ t] ≥ θ``, now or in a step before. With all spikes
in one step that is a neuron of a binary network; so one with the same layers, which sees the inputs of at least half of the full intensity,
those of the first half of the frame, is a start close by, and batch normalisation makes it quick to train.
"""

from typing import Any

import torch
from torch import Tensor

from model.conversion_recipe import ConversionRecipe
from model.conversion_trainer import ConversionTrainer
from model.convolution import ConvolutionLayer
from model.data.dataset import Dataset
from model.processes import Processes
from model.quantized import QuantizedNetwork
from model.quantized_layers import BinaryLayer, OutputLayer, QuantizedLayer
from model.recipes import Recipe
from model.synapses import Conv2d
from model.trainer import INITIAL_FRAMES, Trainer

RATE, BATCH, AVERAGE = 0.006, 128, 0.5


class Pretraining(ConversionTrainer):
    """The run before that of a recipe: activations of one bit, of pixels of one bit, and pools that take the greatest [S16].

    Parameters:
        dataset: with images.
        recipe: of single spikes, with epochs to ``pretrain``; layers, seed, augmentation and validation frames are the same.
        processes: a single one.

    Raises:
        UserError: the data set has no images with labels to train on, or several processes are to train.
    """

    log = "pretraining"
    pool_kind = "max"

    def __init__(self, dataset: Dataset, recipe: Recipe, processes: Processes | None = None) -> None:
        names = ("hidden", "structure", "seed", "augment", "elastic", "mirror", "validation")
        same: dict[str, Any] = {name: getattr(recipe, name) for name in names}
        how: dict[str, Any] = {"epochs": recipe.pretrain, "learning_rate": RATE, "batch_size": BATCH, "average": AVERAGE}
        super().__init__(dataset, ConversionRecipe(levels=1, bits=1, precision="bfloat16", **same, **how), processes)

    def _update(self, inputs: Tensor, labels: Tensor, progress: float) -> list[float]:
        found = super()._update(inputs, labels, progress)
        _bound(self.network)
        return found

    def _settle(self, network: QuantizedNetwork) -> None:
        super()._settle(network)
        _bound(network)

    @torch.no_grad()
    def hand_over(self, trainer: Trainer) -> None:
        """Give a run, before its first epoch, the best epoch's weights and thresholds.

        A hidden neuron that is active where ``(S + b + ⌊θ/2⌋) / θ ≥ 1`` (`model.quantized_layers`) has the threshold ``θ - b - ⌊θ/2⌋``;
        those of the outputs, ``-b``, are raised together until the recipe's first share of silent frames is silent.
        """
        assert self.best is not None, "at least one epoch must be finished"
        self.network.load_state_dict(self.best.parameters)
        self.network.eval()
        for source, layer in zip(self.network.layers, trainer.network.layers, strict=True):
            weights: Tensor = source.weights
            if isinstance(layer, ConvolutionLayer):  # from (channels, inputs, kernel, kernel) to the order of its patches
                weights = weights.permute(0, 2, 3, 1)
            layer.weights.copy_(weights.reshape(layer.weights.shape))
            layer.thresholds.copy_(_potential(source))
            layer.clamp_()
        frames = torch.randperm(len(trainer.train.labels), generator=trainer.generator)[:INITIAL_FRAMES]
        best = trainer.network.run(trainer.train.times[frames])[1].amax((0, 2))
        trainer.thresholds[-1].add_(torch.quantile(best, trainer.recipe.silent_start / 100))


@torch.no_grad()
def _bound(network: QuantizedNetwork) -> None:
    """Lower offsets so that thresholds in convolutions are at least 1, as single spikes have them: ``β ≤ (μ - 1) · γ / σ + c / 2``."""
    for layer in network.hidden:
        norm = layer.norm
        if isinstance(layer.synapses, Conv2d) and norm.offset is not None:
            norm.offset.copy_(torch.minimum(norm.offset, (norm.mean - 1) * norm.gain / norm.scale + layer.ceiling() / 2))


def _potential(layer: BinaryLayer) -> Tensor:
    """From which a neuron is active, float (channels,)."""
    if isinstance(layer, QuantizedLayer):
        thresholds, bias = layer.folded(torch.empty(0))
        return thresholds - bias - (thresholds / 2).floor()
    assert isinstance(layer, OutputLayer)
    return -layer.folded(torch.empty(0)).bias
