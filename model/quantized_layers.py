"""Layers with ±1 weights, normalisation and clipped, quantised activations: ordinary networks, from which spiking ones are converted.

A hidden layer takes activations ``a_i`` and gives, with the sum ``S_j = Σ_i w_ij · a_i`` and the normalised one ``y_j``::

    y_j = γ_j · (S_j - μ_j) / σ_j + β_j = (S_j + b_j) · γ_j / σ_j        b_j = β_j · σ_j / γ_j - μ_j
    x_j = y_j · L / c = (S_j + b_j) / θ_j                                θ_j = c · σ_j / (γ_j · L)
    N_j = clip(⌊x_j + 1/2⌋, 0, L)                                        a count of levels, with a clip c that is trained

So nothing but ``θ_j`` and ``b_j`` is left of normalisation and clip. With ``integer`` both are whole numbers in the forward pass already,
rounded straight through, and

    N_j = clip(⌊(S_j + b_j + ⌊θ_j/2⌋) / θ_j⌋, 0, L)

is what a graded neuron counts [S11], exactly: with whole inputs all numbers are whole and below 2^24, where float32 is exact.

The sums are of a dense layer or of a convolution, as `model.synapses` has them; all else is by channel: ``j`` is a neuron of a dense layer,
or a channel of a map, which has one normalisation, ``θ`` and ``b`` at all positions.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from export import UserError
from model.bstdg import binarize
from model.conversion_recipe import CLIPS, PRECISIONS
from model.fused import Counts
from model.normalisation import LEAST_GAIN, MOMENTUM, Normalisation
from model.synapses import Synapses, Weighted

LATENT_RANGE = 0.1  # latent weights start uniformly within ± this
RATIO, RATIO_START = 0.8472978603872034, 0.7  # of a rate norm layer before training: p, and sigmoid(p)
CLIP = 2.0  # standard deviations of the sum at which the activation is clipped before training
LOGIT_GAIN = 2.0  # logits per standard deviation of the outputs' sums before training


class Binarize(torch.autograd.Function):
    """±1 weights of latent ones; the gradient passes straight through where the latent one lies within ±1."""

    @staticmethod
    def forward(context: Any, latent: Tensor) -> Tensor:
        context.save_for_backward(latent)
        return binarize(latent)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (latent,) = context.saved_tensors
        return gradients[0] * (latent.abs() <= 1)


class StraightThrough(torch.autograd.Function):
    """``exact`` forward, the gradient of ``real`` backward."""

    @staticmethod
    def forward(context: Any, real: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class Folded(NamedTuple):
    """What is left of normalisation and clip: θ > 0 and b, float (channels,)."""

    thresholds: Tensor
    bias: Tensor


class BinaryLayer(nn.Module):
    """Synapses with ±1 weights, of latent ones ``weights``, float as ``synapses.shape`` has it, and the normalisation of their sums.

    Attributes:
        precision: of sums and activations in training, as in `QuantizedLayer`.
    """

    precision = torch.float32

    def __init__(self, synapses: Synapses, norm: str, integer: bool, generator: torch.Generator | None, **options: Any) -> None:
        super().__init__()
        self.synapses, self.integer = synapses, integer
        self.weights = nn.Parameter((torch.rand(*synapses.shape, generator=generator) * 2 - 1) * LATENT_RANGE)
        self.norm = Normalisation(synapses.channels, norm, **options)

    def sums(self, inputs: Tensor) -> Tensor:
        """``S``, float (frames, *outputs), of inputs float (frames, …); in training of this ``precision``, else exact."""
        kind = self.precision if self.training else torch.float32
        return self.synapses.sums(inputs.to(kind), Binarize.apply(self.weights).to(kind))

    def weighted(self) -> Weighted:
        """The synapses with their ±1 weights."""
        return Weighted(self.synapses, binarize(self.weights.detach()))

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the parameters back into their range after an update."""
        self.weights.clamp_(-1, 1)
        self.norm.gain.clamp_(min=LEAST_GAIN)


class QuantizedLayer(BinaryLayer):
    """A hidden layer.

    Attributes:
        bound: trained, float (1,): the clip ``c``, or ``p`` of a rate norm layer; None where there is no clip.
        greatest: of a rate norm layer, the running maximum, float (1,).

    Parameters:
        synapses: of a dense layer or a convolution.
        levels: ``L``, the greatest count, at least 1.
        norm: as in `Normalisation`.
        quantised: give whole counts 0 … L; otherwise real activations ``clip(x, 0, 1)``, with 1 level.
        clip: how ``y`` is bounded: by ``c`` that is ``trained``; by a ``rate-norm`` layer, in which ``c = sigmoid(p) · r``, with ``p``
            trained and ``r`` the running maximum of ``y`` over all neurons (J. Ding et al., "Optimal ANN-SNN Conversion for Fast and
            Accurate Inference in Deep Spiking Neural Networks", IJCAI 2021, section 3.2: the RNL); or ``none``: ``max(y, 0)``, real only.
        integer: whole ``θ ≥ 1`` and ``b`` in the forward pass; needs ``quantised``.
        bias: without it ``b`` is 0, so that the potential grows evenly while inputs come in evenly.
        precision: ``float32``, or ``bfloat16``: the type of sums and activations in training; counts up to 256 are exact in both, sums
            of bfloat16 are rounded to eight bits. Outside of training all is float32, and so exact.
        generator: source of the initial latent weights.

    Raises:
        UserError: a parameter is not as said.
    """

    bound: nn.Parameter | None
    greatest: Tensor

    def __init__(
        self,
        synapses: Synapses,
        levels: int,
        *,
        norm: str = "batch",
        quantised: bool = True,
        clip: str = "trained",
        integer: bool = True,
        bias: bool = True,
        precision: str = "float32",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(synapses, norm, integer, generator, centred=bias)
        if precision not in PRECISIONS:
            raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "bfloat16" and not quantised:
            raise UserError("quantised must be true where precision is 'bfloat16'")
        self.precision = getattr(torch, precision)
        if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
            raise UserError(f"levels must be a positive integer, not {levels!r}")
        if integer and not quantised:
            raise UserError("integer must be false where quantised is false")
        if clip not in CLIPS:
            raise UserError(f"clip must be one of {', '.join(CLIPS)}, not {clip!r}")
        if quantised and clip == "none":
            raise UserError("quantised must be false where clip is 'none'")
        self.levels, self.quantised, self.clip = levels if quantised else 1, quantised, clip
        self.bound = nn.Parameter(torch.full((1,), RATIO if clip == "rate-norm" else CLIP)) if clip != "none" else None
        if clip == "rate-norm":
            self.register_buffer("greatest", torch.full((1,), CLIP / RATIO_START))

    def extra_repr(self) -> str:
        return f"{self.synapses}, levels={self.levels}, quantised={self.quantised}, integer={self.integer}"

    def ceiling(self) -> Tensor:
        """``c``, float (1,); 1 where there is no clip."""
        if self.bound is None:
            return self.norm.gain.new_ones(1)
        return self.bound if self.clip == "trained" else torch.sigmoid(self.bound) * self.greatest

    def folded(self, sums: Tensor) -> Folded:
        """``θ`` and ``b`` for these sums in training, for all else."""
        unit, bias = self.norm(sums)
        if self.clip == "rate-norm" and self.training:
            with torch.no_grad():
                self.greatest.lerp_(((sums + bias) / unit).max().clamp(min=LEAST_GAIN), MOMENTUM)
        thresholds = unit * (self.ceiling() / self.levels)
        if not self.integer:
            return Folded(thresholds, bias)
        return Folded(
            StraightThrough.apply(thresholds, thresholds.detach().round().clamp(min=1)), StraightThrough.apply(bias, bias.detach().round())
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Activations float (frames, *outputs): counts 0 … L, or real ones."""
        return self.activate(sums := self.sums(inputs), self.folded(sums))

    def activate(self, sums: Tensor, folded: Folded) -> Tensor:
        """Activations of sums."""
        thresholds, bias = folded
        if not self.quantised:
            x = (sums + bias) / thresholds
            return x.relu() if self.bound is None else x.clamp(0, 1)
        half = (thresholds / 2).detach()
        return Counts.apply(sums, thresholds, bias, half.floor() if self.integer else half, self.levels)

    @torch.no_grad()
    def clamp_(self) -> None:
        super().clamp_()
        if self.bound is not None and self.clip == "trained":
            self.bound.clamp_(min=LEAST_GAIN)


class OutputLayer(BinaryLayer):
    """The output layer: one scale for all classes, so that the sums with their biases, the margins, compare."""

    def __init__(self, synapses: Synapses, *, norm: str = "batch", integer: bool = True, generator: torch.Generator | None = None) -> None:
        super().__init__(synapses, norm, integer, generator, shared=True, gain=LOGIT_GAIN)

    def margins(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """``S + b``, float (frames, outputs), and how much of it is one logit, float (1,)."""
        unit, bias = self.folded(sums := self.sums(inputs))
        return sums + bias, unit

    def folded(self, sums: Tensor) -> Folded:
        """How much of a margin is one logit, float (1,), and ``b``, for these sums in training, for all else."""
        unit, bias = self.norm(sums)
        return Folded(unit, StraightThrough.apply(bias, bias.detach().round()) if self.integer else bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits float (frames, outputs)."""
        margins, unit = self.margins(inputs)
        return margins / unit
