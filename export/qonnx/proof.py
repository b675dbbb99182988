"""The golden model of an imported network against its graph: every activation of every layer, and every decision."""

from dataclasses import dataclass

import numpy as np

from export import reference
from export.errors import UserError
from export.events import Events
from export.qonnx.reader import Imported, Probe

CHUNK = 256  # images


@dataclass(frozen=True)
class Compared:
    """What was found equal.

    Attributes:
        images: images.
        activations: activations of inputs and hidden neurons, of all images.
        classes: decided classes, int64 (images,).
    """

    images: int
    activations: int
    classes: np.ndarray


def prove(imported: Imported, images: np.ndarray) -> Compared:
    """Run images through both, and compare.

    Parameters:
        imported: the network and its graph.
        images: uint8 (images, inputs), in the order of the network's inputs.

    Raises:
        UserError: something differs; the message names the first difference.
    """
    parts = [_prove(imported, images[at : at + CHUNK], at) for at in range(0, len(images), CHUNK)]
    activations, classes = zip(*parts, strict=True)
    return Compared(len(images), sum(activations), np.concatenate(classes))


def _prove(imported: Imported, images: np.ndarray, first: int) -> tuple[int, np.ndarray]:
    graph, network = imported.graph, imported.network
    names = [*(probe.tensor for probe in imported.probes), imported.scores, *filter(None, [imported.decision])]
    tensors = dict(zip(names, graph.run(_graph_images(imported, images), names), strict=True))
    inputs = network.check_inputs(network.encode(images))
    golden = reference.run(network, inputs)
    activations = 0
    for probe in imported.probes:
        own = _activations(imported, probe, inputs if probe.layer < 0 else golden.events[probe.layer])
        activations += own.size
        _compare(f"activation '{probe.tensor}'", tensors[probe.tensor].reshape(len(images), -1), own, first)
    decided = golden.decisions.class_index.astype(np.int64)[:, None]
    _compare("the class", tensors[imported.scores].reshape(len(images), -1).argmax(axis=1)[:, None], decided, first)
    if imported.decision is not None:
        _compare(f"the class '{imported.decision}'", tensors[imported.decision].reshape(len(images), -1)[:, :1], decided, first)
    return activations, decided[:, 0]


def _graph_images(imported: Imported, images: np.ndarray) -> np.ndarray:
    """Images as the graph takes them: plane by plane, from 0 to 1 if it takes float32."""
    sizes = imported.network.maps[0]
    if sizes is not None:
        images = images.reshape(len(images), -1, sizes[2]).transpose(0, 2, 1)
    images = images.reshape(len(images), *imported.graph.input_shape[1:])
    return images if imported.graph.dtype is np.uint8 else images.astype(np.float32) / np.float32(255)


def _activations(imported: Imported, probe: Probe, events: Events) -> np.ndarray:
    """What the graph's activation must be, channel by channel: float32 (images, neurons or windows); nan for a count without a level."""
    sizes = imported.network.maps[probe.layer + 1]
    if probe.pool is not None:
        events, sizes = probe.pool.apply(events), probe.pool.output_map
    frames, _, neurons = events.shape
    counts = np.bincount(events.cell, events.coefficient, frames * neurons).astype(np.int64)
    channels = neurons if sizes is None else sizes[2]
    places = counts.reshape(frames, -1, channels).transpose(0, 2, 1) - probe.code.least  # plane by plane
    of = np.arange(channels)[:, None] if len(probe.code.values) > 1 else 0
    return probe.code.values[of, places].reshape(frames, neurons)


def _compare(name: str, graph: np.ndarray, own: np.ndarray, first: int) -> None:
    if (different := graph != own).any():
        image, place = np.argwhere(different)[0]
        raise UserError(
            f"the golden model must equal the graph, but {name} differs in {int(different.sum())} places of {len(own)} images, "
            f"first at image {first + image}, place {place}: graph {graph[image, place]:g}, golden {own[image, place]:g}"
        )
