"""Layers with ±1 weights, normalisation and clipped, quantised activations: ordinary networks, from which spiking ones are converted.

A hidden layer takes activations ``a_i`` and gives, with the sum ``S_j = Σ_i w_ij · a_i`` and the normalised one ``y_j``::

    y_j = γ_j · (S_j - μ_j) / σ_j + β_j = (S_j + b_j) · γ_j / σ_j        b_j = β_j · σ_j / γ_j - μ_j
    x_j = y_j · L / c = (S_j + b_j) / θ_j                                θ_j = c · σ_j / (γ_j · L)
    N_j = clip(⌊x_j + 1/2⌋, 0, L)                                        a count of levels, with a clip c that is trained

So nothing but ``θ_j`` and ``b_j`` is left of normalisation and clip. With ``integer`` both are whole numbers in the forward pass already,
rounded straight through, and

    N_j = clip(⌊(S_j + b_j + ⌊θ_j/2⌋) / θ_j⌋, 0, L)

is what a graded neuron counts [S11], exactly: with whole inputs all numbers are whole and below 2^24, where float32 is exact.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from export import UserError
from model.bstdg import binarize
from model.conversion_recipe import CLIPS, ConversionRecipe
from model.normalisation import LEAST_GAIN, MOMENTUM, Normalisation

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
    """What is left of normalisation and clip: θ > 0 and b, float (outputs,)."""

    thresholds: Tensor
    bias: Tensor


class BinaryLayer(nn.Module):
    """±1 weights, of latent ones ``weights`` float (outputs, inputs), and the normalisation of their sums."""

    def __init__(self, inputs: int, outputs: int, norm: str, integer: bool, generator: torch.Generator | None, **options: Any) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("outputs", outputs)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UserError(f"a layer's {name} must be a positive integer, not {size!r}")
        self.inputs, self.outputs, self.integer = inputs, outputs, integer
        self.weights = nn.Parameter((torch.rand(outputs, inputs, generator=generator) * 2 - 1) * LATENT_RANGE)
        self.norm = Normalisation(outputs, norm, **options)

    def sums(self, inputs: Tensor) -> Tensor:
        """``S``, float (frames, outputs), of inputs float (frames, inputs)."""
        return inputs @ Binarize.apply(self.weights).T

    def binary_weights(self) -> Tensor:
        """±1, float (outputs, inputs)."""
        return binarize(self.weights.detach())

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
        inputs, outputs: sizes, at least 1.
        levels: ``L``, the greatest count, at least 1.
        norm: as in `Normalisation`.
        quantised: give whole counts 0 … L; otherwise real activations ``clip(x, 0, 1)``, with 1 level.
        clip: how ``y`` is bounded: by ``c`` that is ``trained``; by a ``rate-norm`` layer, in which ``c = sigmoid(p) · r``, with ``p``
            trained and ``r`` the running maximum of ``y`` over all neurons (J. Ding et al., "Optimal ANN-SNN Conversion for Fast and
            Accurate Inference in Deep Spiking Neural Networks", IJCAI 2021, section 3.2: the RNL); or ``none``: ``max(y, 0)``, real only.
        integer: whole ``θ ≥ 1`` and ``b`` in the forward pass; needs ``quantised``.
        bias: without it ``b`` is 0, so that the potential grows evenly while inputs come in evenly.
        generator: source of the initial latent weights.

    Raises:
        UserError: a parameter is not as said.
    """

    bound: nn.Parameter | None
    greatest: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        levels: int,
        *,
        norm: str = "batch",
        quantised: bool = True,
        clip: str = "trained",
        integer: bool = True,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(inputs, outputs, norm, integer, generator, centred=bias)
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
        return f"{self.inputs}, {self.outputs}, levels={self.levels}, quantised={self.quantised}, integer={self.integer}"

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
        """Activations float (frames, outputs): counts 0 … L, or real ones."""
        return self.activate(sums := self.sums(inputs), self.folded(sums))

    def activate(self, sums: Tensor, folded: Folded) -> Tensor:
        """Activations of sums."""
        thresholds, bias = folded
        x = (sums + bias) / thresholds
        if not self.quantised:
            return x.relu() if self.bound is None else x.clamp(0, 1)
        with torch.no_grad():
            half = torch.floor(thresholds / 2) if self.integer else thresholds / 2
            counts = torch.floor((sums + bias + half) / thresholds).clamp_(0, self.levels)
        return StraightThrough.apply(x.clamp(-0.5, self.levels + 0.5), counts)

    @torch.no_grad()
    def clamp_(self) -> None:
        super().clamp_()
        if self.bound is not None and self.clip == "trained":
            self.bound.clamp_(min=LEAST_GAIN)


class OutputLayer(BinaryLayer):
    """The output layer: one scale for all classes, so that the sums with their biases, the margins, compare."""

    def __init__(
        self, inputs: int, outputs: int, *, norm: str = "batch", integer: bool = True, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(inputs, outputs, norm, integer, generator, shared=True, gain=LOGIT_GAIN)

    def margins(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """``S + b``, float (frames, outputs), and how much of it is one logit, float (1,)."""
        unit, bias = self.norm(sums := self.sums(inputs))
        if self.integer:
            bias = StraightThrough.apply(bias, bias.detach().round())
        return sums + bias, unit

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits float (frames, outputs)."""
        margins, unit = self.margins(inputs)
        return margins / unit


class QuantizedNetwork(nn.Module):
    """Hidden layers and the output layer, on the upper bits of intensities.

    Attributes:
        hidden: a ``ModuleList`` of `QuantizedLayer`; it may be empty.
        output: the `OutputLayer`.

    Parameters:
        sizes: from the inputs to the outputs, such as (784, 600, 10).
        bits: upper bits of the 8-bit intensities that the network sees, 1 … 8.
        levels, norm, quantised, clip, integer, bias, generator: as in `QuantizedLayer`.

    Raises:
        UserError: fewer than two sizes, or a parameter is not as said.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        levels: int,
        *,
        bits: int = 8,
        norm: str = "batch",
        quantised: bool = True,
        clip: str = "trained",
        integer: bool = True,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise UserError(f"a network's sizes must be at least two, inputs and outputs, not {list(sizes)}")
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
            raise UserError(f"bits must be an integer from 1 to 8, not {bits!r}")
        self.sizes, self.bits = tuple(sizes), bits
        *pairs, (last, outputs) = itertools.pairwise(sizes)
        options: dict[str, Any] = {"norm": norm, "integer": integer, "generator": generator}
        layers = [QuantizedLayer(inputs, size, levels, quantised=quantised, clip=clip, bias=bias, **options) for inputs, size in pairs]
        self.hidden = cast("list[QuantizedLayer]", nn.ModuleList(layers))
        self.output = OutputLayer(last, outputs, **options)

    @classmethod
    def of(cls, recipe: ConversionRecipe, sizes: Sequence[int], generator: torch.Generator | None = None) -> "QuantizedNetwork":
        """The network of a recipe, before training."""
        options: dict[str, Any] = {name: getattr(recipe, name) for name in ("bits", "norm", "clip", "quantised", "integer", "bias")}
        return cls(sizes, recipe.levels, generator=generator, **options)

    @property
    def layers(self) -> list[BinaryLayer]:
        return [*self.hidden, self.output]

    def intensities(self, images: Tensor) -> Tensor:
        """The upper bits of images uint8 (frames, …): whole, float (frames, inputs)."""
        if images.dtype != torch.uint8 or images.ndim < 2 or images.flatten(1).shape[1] != self.sizes[0]:
            raise UserError(f"images must be uint8 of shape (frames, {self.sizes[0]}), not {images.dtype} {tuple(images.shape)}")
        return (images.flatten(1) >> (8 - self.bits)).float()

    def forward(self, images: Tensor) -> Tensor:
        """Logits float (frames, classes) of images uint8 (frames, …)."""
        activations = self.intensities(images)
        for layer in self.hidden:
            activations = layer(activations)
        return self.output(activations)

    @torch.no_grad()
    def run(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The activations of every hidden layer, float (frames, outputs), and the margins, float (frames, classes)."""
        activations, found = self.intensities(images), []
        for layer in self.hidden:
            activations = layer(activations)
            found.append(activations)
        return found, self.output.margins(activations)[0]

    def clamp_(self) -> None:
        """Bring all parameters back into their range after an update."""
        for layer in self.layers:
            layer.clamp_()
