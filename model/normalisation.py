"""Normalisation of the sums of layers with ±1 weights."""

import math

import torch
from torch import Tensor, nn

from export import UserError
from model.conversion_recipe import NORMS
from model.fused import Moments

MOMENTUM = 0.1  # of the running mean and scale in training
LEAST_SCALE = 1e-3  # of a sum: that of a neuron whose inputs never change would be 0
GREATEST = (1 + math.sqrt(math.pi * math.log(4))) / 2  # of C(n)
LEAST_GAIN = 1e-2  # a gain stays positive: a negative one is that of the opposite weights


class Normalisation(nn.Module):
    """Mean and scale of sums, and a gain and an offset that are trained.

    The scale ``σ`` estimates the standard deviation: by itself (``batch``), by the mean absolute deviation, ``√(π/2) · mean|S - μ|``
    (``l1``), or by the greatest of n, ``C(n) · max|S - μ|`` with ``C(n) = (1 + √(π ln 4)) / (2 · √(2 ln n))`` (``linf``): E. Hoffer et al.,
    "Norm matters: efficient and accurate normalization schemes in deep networks", NeurIPS 2018, section 4. ``C(n)`` is midway between
    ``1 / √(2 ln n)`` and ``√(π ln 2 / ln n)``, what bounds on the expected greatest of n normal values give.

    Parameters:
        channels: neurons of a dense layer, or channels of a map, each normalised over all of its positions.
        kind: one of ``NORMS``.
        shared: one scale and one gain for all neurons.
        centred: without it ``μ`` and ``β`` stay 0, ``σ`` is taken of the sums themselves, and so no bias is left.

    Attributes:
        mean, scale: the running ones, float (channels,) and (channels,) or (1,); those of a batch have the weight ``momentum``.

    Raises:
        UserError: the kind is unknown.
    """

    mean: Tensor
    scale: Tensor
    momentum = MOMENTUM

    def __init__(self, channels: int, kind: str = "batch", *, shared: bool = False, centred: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        if kind not in NORMS:
            raise UserError(f"norm must be one of {', '.join(NORMS)}, not {kind!r}")
        self.kind, self.shared, self.centred = kind, shared, centred
        self.gain = nn.Parameter(torch.full((1 if shared else channels,), gain))
        self.offset = nn.Parameter(torch.zeros(channels)) if centred else None
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(1 if shared else channels))

    def statistics(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (channels,) and scale (channels,) or (1,) of sums (frames, …, channels)."""
        if self.kind == "batch" and not self.shared:
            return Moments.apply(sums, LEAST_SCALE, self.centred)
        sums, places = sums.float(), tuple(range(sums.ndim - 1))
        mean = sums.mean(places) if self.centred else torch.zeros_like(self.mean)
        deviation = sums - mean
        axes = (*places, sums.ndim - 1) if self.shared else places
        if self.kind == "batch":
            scale = deviation.square().mean(axes).sqrt()
        elif self.kind == "l1":
            scale = deviation.abs().mean(axes) * math.sqrt(math.pi / 2)
        else:
            count = deviation.numel() if self.shared else deviation[..., 0].numel()
            scale = deviation.abs().amax(axes) * GREATEST / math.sqrt(2 * math.log(max(2, count)))
        return mean, scale.clamp(min=LEAST_SCALE).view(-1)

    def forward(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """``σ / γ`` and ``b``, that is, ``y = (S + b) / (σ / γ)``; in training by the batch, which the running ones follow."""
        if self.training and sums[..., 0].numel() > 1:
            mean, scale = self.statistics(sums)
            with torch.no_grad():
                self.mean.lerp_(mean, self.momentum)
                self.scale.lerp_(scale, self.momentum)
        else:
            mean, scale = self.mean, self.scale
        unit = scale / self.gain
        return unit, -mean if self.offset is None else self.offset * unit - mean
