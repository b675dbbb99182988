"""BS4NN, from its published equations: forward pass, target and gradient.

S. R. Kheradpisheh, M. Mirsadeghi, T. Masquelier, "BS4NN: Binarized Spiking Neural Networks with Temporal Coding and Learning", Neural
Processing Letters, 2021 (arXiv 2007.04039); the rule without binary weights is S4NN's (arXiv 1910.09495). ``docs/comparison.md`` writes
the equations out, and says where this code chooses between readings.

A spike time lies in ``0 … T``; ``T`` stands for never.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from export import UserError
from model.bstdg import binarize
from model.comparison.evaluators import TimedNetwork
from model.comparison.event_driven import event_driven

STEPS = 256
DELAY = 1
THRESHOLD = 100.0  # of every neuron; what counts is its ratio to the layer's scaling factor
SCALE = 5.0  # initial scaling factor of every layer
GAMMA = 1  # steps by which the wrong outputs should come after the first one


def encode(images: np.ndarray) -> Tensor:
    """Spike times int16 (frames, inputs), ``255 - p``, of intensities uint8 (frames, …). Black pixels spike too, at the last step.

    Raises:
        UserError: the intensities are not uint8.
    """
    if images.dtype != np.uint8 or images.ndim < 2:
        raise UserError(f"intensities must be uint8 of shape (frames, inputs), not {images.dtype} {images.shape}")
    return torch.from_numpy(255 - images.reshape(len(images), -1).astype(np.int16))


class Layer(NamedTuple):
    """Weights and scaling factor of a layer with N inputs and M outputs."""

    latent: Tensor  # (N, M), real-valued; the forward pass takes their sign
    scale: float  # α, above 0

    def threshold(self) -> int:
        """The least integer ``Σ w·s`` that lies strictly above ``θ / α``: where ``α · Σ w·s > θ``."""
        return math.floor(THRESHOLD / self.scale) + 1


def timed(layers: list[Layer], steps: int = STEPS) -> TimedNetwork:
    """The network as the evaluators take it."""
    weights = tuple(binarize(layer.latent) for layer in layers)
    thresholds = tuple(torch.full((layer.latent.shape[1],), float(layer.threshold())) for layer in layers)
    return TimedNetwork(weights, thresholds, steps, DELAY)


def forward(layers: list[Layer], times: Tensor, steps: int = STEPS) -> list[Tensor]:
    """All spike times, int32 (frames, M) per layer, of input spike times (frames, N)."""
    return event_driven(timed(layers, steps), times, to_the_end=True).spike_times


def targets(outputs: Tensor, labels: Tensor, steps: int = STEPS, gamma: int = GAMMA) -> Tensor:
    """Target spike times ``T_j`` int32 (frames, classes), relative to the first output spike ``τ``.

    The label's output should spike at ``τ``; the others at ``τ + γ``, unless they come later anyway. Where none spikes, the label's should
    have, at ``t_max - γ``.

    Parameters:
        outputs: spike times int32 (frames, classes).
        labels: int64 (frames,).
    """
    first = outputs.min(1, keepdim=True).values
    target = outputs.maximum((first + gamma).clamp(max=steps))
    wanted = torch.where(first == steps, steps - gamma, first)
    return target.scatter(1, labels[:, None], wanted)


class Gradients(NamedTuple):
    """Sums over the frames, for one layer."""

    latent: Tensor  # (N, M)
    scale: float


def gradients(layers: list[Layer], times: list[Tensor], target: Tensor) -> list[Gradients]:
    """The rule's gradients of all layers.

    Every frame's error is brought to length 1 in every layer, as published, so a frame counts once however far off it is.

    Parameters:
        layers: the network.
        times: spike times of the inputs and of every layer, (frames, …).
        target: of the outputs, from `targets`.
    """
    wrong = (target != times[-1]).any(1)  # the others have no gradient
    times, target = [part[wrong] for part in times], target[wrong]
    delta = _unit((target - times[-1]).to(torch.float32))
    result: list[Gradients] = []
    for layer, before, after in zip(reversed(layers), reversed(times[:-1]), reversed(times[1:]), strict=True):
        latent, below = torch.zeros_like(layer.latent), torch.zeros(before.shape)
        first = len(result) + 1 == len(layers)  # below the first layer there is nothing to train
        for frame, errors in enumerate(delta):
            inputs = (before[frame] < after[frame].max()).nonzero()[:, 0]
            share = (before[frame, inputs, None] < after[frame]) * errors  # δ_j · [t_i < t_j], (inputs, M)
            latent.index_add_(0, inputs, share)
            if not first:
                below[frame, inputs] = (share * layer.latent[inputs]).sum(1)
        scale = float((latent * binarize(layer.latent)).mean())
        result.append(Gradients(latent, scale))
        delta = _unit(below)
    return result[::-1]


def _unit(errors: Tensor) -> Tensor:
    """Rows brought to Euclidean length 1; rows of zeros stay."""
    return torch.nn.functional.normalize(errors, dim=1, eps=1e-30)
