"""Networks of layers with ±1 weights and quantised activations, from which spiking ones are converted."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from export import UserError
from export.maps import Map
from model.conversion_recipe import ConversionRecipe
from model.evaluation import frames_at_a_time
from model.quantized_layers import BinaryLayer, OutputLayer, QuantizedLayer
from model.synapses import Shape, Synapses, chain

EXACT = 1 << 24  # up to which float32 has every whole number
HALF_EXACT = 1 << 8  # up to which bfloat16 has


class QuantizedNetwork(nn.Module):
    """Hidden layers and the output layer, on the upper bits of intensities.

    Images are in the order of the network's inputs: position by position where these are a map of several planes [S15].

    Attributes:
        hidden: a ``ModuleList`` of `QuantizedLayer`; it may be empty.
        output: the `OutputLayer`.

    Parameters:
        synapses: of the layers, one after the other, at least one; the last are dense.
        bits: upper bits of the 8-bit intensities that the network sees, 1 … 8.
        levels, norm, quantised, clip, integer, bias, precision, generator: as in `QuantizedLayer`.

    Raises:
        UserError: a parameter is not as said, or sums could reach 2^24, from where float32 is not exact, or counts behind a pool 2^8, where
            they are bfloat16.
    """

    def __init__(
        self,
        synapses: Sequence[Synapses],
        levels: int,
        *,
        bits: int = 8,
        norm: str = "batch",
        quantised: bool = True,
        clip: str = "trained",
        integer: bool = True,
        bias: bool = True,
        precision: str = "float32",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
            raise UserError(f"bits must be an integer from 1 to 8, not {bits!r}")
        self.bits = bits
        *before, last = synapses
        options: dict[str, Any] = {"norm": norm, "integer": integer, "generator": generator}
        hidden = options | {"quantised": quantised, "clip": clip, "bias": bias, "precision": precision}
        layers = [QuantizedLayer(each, levels, **hidden) for each in before]
        self.hidden = cast("list[QuantizedLayer]", nn.ModuleList(layers))
        self.output = OutputLayer(last, **options)
        for index, each in enumerate(layers[1:], 1):
            if precision == "bfloat16" and (most := levels * each.synapses.summed) > HALF_EXACT:
                raise UserError(f"inputs of layer {index} must be at most {HALF_EXACT} where precision is 'bfloat16', not up to {most}")
        for index, (layer, most) in enumerate(zip(self.layers, [2**bits - 1, *([levels] * len(layers))], strict=True)):
            if (reach := layer.synapses.fan_in * layer.synapses.summed * most) >= EXACT:
                raise UserError(f"sums of layer {index} must stay below {EXACT}, where float32 is exact, but can reach {reach}")

    @classmethod
    def of(
        cls, recipe: ConversionRecipe, inputs: Shape, classes: int, generator: torch.Generator | None = None, pool_kind: str = "sum"
    ) -> "QuantizedNetwork":
        """The network of a recipe, before training.

        Parameters:
            inputs: the shape of the images: (pixels,), or the map (height, width, planes).
            pool_kind: of all pools, as in `model.synapses.Synapses`.

        Raises:
            UserError: they do not fit the recipe's structure.
        """
        names = ("bits", "norm", "clip", "quantised", "integer", "bias", "precision")
        options: dict[str, Any] = {name: getattr(recipe, name) for name in names}
        return cls(chain(recipe.stages(classes), inputs, pool_kind), recipe.levels, generator=generator, **options)

    @property
    def layers(self) -> list[BinaryLayer]:
        return [*self.hidden, self.output]

    @property
    def inputs(self) -> Shape:
        """The shape of the inputs: (pixels,), or a map (height, width, planes)."""
        return self.layers[0].synapses.inputs

    @property
    def input_map(self) -> Map | None:
        """Height, width and planes, if the inputs are a map."""
        return cast("Map", self.inputs) if len(self.inputs) == 3 else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """From the inputs to the outputs, such as (784, 600, 10)."""
        return (math.prod(self.inputs), *(math.prod(layer.synapses.outputs) for layer in self.layers))

    @property
    def batch(self) -> int:
        """Frames to be worked on at a time."""
        return frames_at_a_time(max(self.sizes))

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
        """The activations of every hidden layer, float (frames, *outputs), and the margins, float (frames, classes)."""
        activations, found = self.intensities(images), []
        for layer in self.hidden:
            activations = layer(activations)
            found.append(activations)
        return found, self.output.margins(activations)[0]

    def clamp_(self) -> None:
        """Bring all parameters back into their range after an update."""
        for layer in self.layers:
            layer.clamp_()
