"""The checkpoint of a network that is to be converted: its parameters, its recipe, and a check set."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from export import UserError
from export.arrays import is_integer
from export.artifact import check_format, get, read_class_names, read_tensors
from export.check import CHECKPOINT_FORMAT, SOURCE_FORMAT
from export.errors import prefixed
from model import checkpoint
from model.checkpoint import CHECK_FRAMES
from model.conversion_recipe import ConversionRecipe
from model.quantized import QuantizedNetwork
from model.recipe_file import recipe_of
from model.synapses import Shape

VERSION = 1
ACTIVATION_BYTES = 1 << 26  # of a check set, at most: of large networks, those of its first frames


class Source(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        network: in evaluation mode.
        recipe: all options.
        class_names: one per output.
        provenance: of the training run.
        images: the check set, uint8 (frames, pixels), in the order of the network's inputs.
        activations: what the network made of the first ``counted`` frames of it, per hidden layer (frames, neurons): counts as uint8, real
            ones as float32.
        margins: likewise of all frames, float32 (frames, classes).
    """

    network: QuantizedNetwork
    recipe: ConversionRecipe
    class_names: tuple[str, ...]
    provenance: dict[str, Any]
    images: np.ndarray
    activations: list[np.ndarray]
    margins: np.ndarray

    @property
    def counted(self) -> int:
        """The number of frames whose activations are in the check set."""
        return min([len(self.images), *map(len, self.activations)])


def counted_frames(network: QuantizedNetwork) -> int:
    """The number of frames whose activations go into a check set, at most."""
    size = 1 if all(layer.quantised for layer in network.hidden) else 4
    return min(CHECK_FRAMES, max(1, ACTIVATION_BYTES // (size * max(1, sum(network.sizes[1:-1])))))


def write(
    path: str | Path,
    network: QuantizedNetwork,
    class_names: tuple[str, ...],
    provenance: dict[str, Any],
    images: np.ndarray,
    activations: list[np.ndarray],
    margins: np.ndarray,
) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters:
        provenance: with the ``recipe``.
        images, activations, margins: the check set, as in `Source`; activations of `counted_frames`, float32 (frames, *outputs).

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {f"network.{name}": tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    tensors |= {"check.images": images[:CHECK_FRAMES], "check.margins": margins[:CHECK_FRAMES]}
    for index, (part, layer) in enumerate(zip(activations, network.hidden, strict=True)):
        tensors[f"check.activations.{index}"] = part.astype(np.uint8 if layer.quantised else np.float32).reshape(len(part), -1)
    header = {"format": SOURCE_FORMAT, "version": VERSION, "class_names": list(class_names), "provenance": provenance}
    if network.input_map is not None:
        header["input_map"] = list(network.input_map)
    checkpoint.save(path, tensors, header)


def read(path: str | Path) -> Source:
    """Read a checkpoint.

    Raises:
        UserError: the file is damaged, or is no checkpoint of this method.
        OSError: the file cannot be read.
    """
    tensors, header = read_tensors(path)
    with prefixed(path):
        if header.get("format") == CHECKPOINT_FORMAT:
            raise UserError("must be a checkpoint of the method 'conversion', not of single spikes: those need no conversion")
        check_format(header, SOURCE_FORMAT, VERSION)
        provenance = get(header, "provenance", dict)
        recipe = recipe_of(get(provenance, "recipe", dict))
        if not isinstance(recipe, ConversionRecipe):
            raise UserError("must have a recipe of the method 'conversion'")
        names = read_class_names(header)
        try:
            network = _network(tensors, recipe, _inputs(tensors["check.images"], header), len(names))
            activations = [tensors[f"check.activations.{index}"] for index in range(len(network.hidden))]
            source = Source(network, recipe, names, provenance, tensors["check.images"], activations, tensors["check.margins"])
        except (KeyError, RuntimeError, IndexError) as error:
            raise UserError(f"must be the whole checkpoint of a network: {error}") from None
        _check_shapes(source)
        return source


def _inputs(images: np.ndarray, header: dict[str, Any]) -> Shape:
    """The shape of the inputs."""
    if "input_map" not in header:
        return (images.shape[1],)
    shape = tuple(get(header, "input_map", list))
    if len(shape) != 3 or not all(map(is_integer, shape)) or math.prod(shape) != images.shape[1]:
        raise UserError(f"input_map must be three integers, of {images.shape[1]} pixels in all, not {list(shape)!r:.60}")
    return shape


def _check_shapes(source: Source) -> None:
    """Refuse a check set that is not of this network."""
    frames, (_, *hidden, classes) = len(source.images), source.network.sizes
    shapes = [(source.counted, size) for size in hidden]
    if frames and not source.counted:
        raise UserError("the check set must have activations of a frame, but has none")
    wanted, found = [*shapes, (frames, classes)], [part.shape for part in (*source.activations, source.margins)]
    if found != wanted:
        raise UserError(f"the check set must have activations and margins of {wanted}, not {found}")


def _network(tensors: dict[str, np.ndarray], recipe: ConversionRecipe, inputs: Shape, classes: int) -> QuantizedNetwork:
    network = QuantizedNetwork.of(recipe, inputs, classes)
    parameters = {name.removeprefix("network."): torch.from_numpy(value) for name, value in tensors.items() if name.startswith("network.")}
    network.load_state_dict(parameters)
    return network.eval()
