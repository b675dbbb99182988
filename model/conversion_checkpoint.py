"""The checkpoint of a network that is to be converted: its parameters, its recipe, and a check set."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from export import UserError
from export.artifact import check_format, get, read_class_names, read_tensors
from export.check import CHECKPOINT_FORMAT, SOURCE_FORMAT
from export.errors import prefixed
from model import checkpoint
from model.checkpoint import CHECK_FRAMES
from model.conversion_recipe import ConversionRecipe
from model.quantized import QuantizedNetwork
from model.recipe_file import recipe_of

VERSION = 1


class Source(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        network: in evaluation mode.
        recipe: all options.
        class_names: one per output.
        provenance: of the training run.
        images: the check set, uint8 (frames, pixels).
        activations, margins: what the network made of it, float32 (frames, outputs) per hidden layer, and (frames, classes).
    """

    network: QuantizedNetwork
    recipe: ConversionRecipe
    class_names: tuple[str, ...]
    provenance: dict[str, Any]
    images: np.ndarray
    activations: list[np.ndarray]
    margins: np.ndarray


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
        images, activations, margins: the check set, as in `Source`.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {f"network.{name}": tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    tensors |= {"check.images": images[:CHECK_FRAMES], "check.margins": margins[:CHECK_FRAMES]}
    tensors |= {f"check.activations.{index}": part[:CHECK_FRAMES] for index, part in enumerate(activations)}
    header = {"format": SOURCE_FORMAT, "version": VERSION, "class_names": list(class_names), "provenance": provenance}
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
            network = _network(tensors, recipe, len(names))
            activations = [tensors[f"check.activations.{index}"] for index in range(len(network.hidden))]
            return Source(network, recipe, names, provenance, tensors["check.images"], activations, tensors["check.margins"])
        except (KeyError, RuntimeError) as error:
            raise UserError(f"must be the whole checkpoint of a network: {error}") from None


def _network(tensors: dict[str, np.ndarray], recipe: ConversionRecipe, classes: int) -> QuantizedNetwork:
    sizes = (tensors["check.images"].shape[1], *recipe.hidden, classes)
    network = QuantizedNetwork.of(recipe, sizes)
    parameters = {name.removeprefix("network."): torch.from_numpy(value) for name, value in tensors.items() if name.startswith("network.")}
    network.load_state_dict(parameters)
    return network.eval()
