"""From a network to a NIR graph."""

from itertools import pairwise

import nir
import numpy as np

from export.connections import Totals
from export.convolution import Conv2d
from export.errors import UserError, prefixed
from export.layer import Layer
from export.maps import Map
from export.network import Network
from export.nir.conventions import INITIAL, RESET, SUBTRACT, metadata_of
from export.reset_neurons import Rate


def graph_of(network: Network) -> nir.NIRGraph:
    """A network as a graph: IF nodes with the network's own numbers, an integrator at its end, metadata for what nodes cannot say.

    Maps are numbered plane by plane in NIR, so weights behind a map are put in that order.

    Raises:
        UserError: a layer has neurons, a pool or kernels that NIR cannot carry; the message names it.
    """
    sizes = network.maps[0]
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array([network.inputs] if sizes is None else _planes(sizes)))}
    for index, (layer, totals, before) in enumerate(zip(network.layers, network.totals, network.maps, strict=False)):
        with prefixed(f"layer {index}"):
            if layer.pool is not None:
                if layer.pool.kind != "sum":
                    raise UserError(f"pool must be sum, because NIR has no other, not {layer.pool.kind}")
                window = np.array(layer.pool.window)
                nodes[f"pool_{index}"] = nir.SumPool2d(window, window, np.array([0, 0]))
                before = layer.pool.output_map
            if before is not None and not isinstance(layer.connection, Conv2d):
                nodes[f"flatten_{index}"] = nir.Flatten(np.array(_planes(before)), 0, -1)
            last = index == len(network.layers) - 1
            nodes[f"synapses_{index}"] = _synapses(layer, before)
            nodes[f"neurons_{index}"] = _readout(layer) if last else _neurons(layer, totals)
    nodes["output"] = nir.Output(nodes[f"neurons_{len(network.layers) - 1}"].output_type["output"])
    names = list(nodes)
    return nir.NIRGraph(nodes, list(pairwise(names)), metadata=metadata_of(network))


def _planes(sizes: Map) -> list[int]:
    height, width, channels = sizes
    return [channels, height, width]


def _synapses(layer: Layer, before: Map | None) -> nir.NIRNode:
    """The connection, with the bias of each step."""
    connection, neuron = layer.connection, layer.neuron
    bias = _real(neuron.bias, neuron.fraction) if isinstance(neuron, Rate) else np.zeros(connection.channels, np.float32)
    if isinstance(connection, Conv2d):
        if len({*connection.kernel_shape}) > 1:
            raise UserError(f"kernels must be square, because the package nir takes them to be, not {connection.kernel_shape}")
        shape, stride, padding = connection.map_shape, connection.strides, connection.paddings
        return nir.Conv2d(shape, connection.kernels.astype(np.float32), np.array(stride), np.array(padding), np.array([1, 1]), 1, bias)
    weights = connection.weights.astype(np.float32)
    if before is not None:
        weights = weights.reshape(-1, before[0] * before[1], before[2]).swapaxes(1, 2).reshape(weights.shape)
    return nir.Affine(weights, bias) if bias.any() else nir.Linear(weights)


def _neurons(layer: Layer, totals: Totals) -> nir.NIRNode:
    neuron = layer.neuron
    if neuron.kind == "rate":
        assert isinstance(neuron, Rate)
        thresholds, start = _of_each(layer, neuron.thresholds, neuron.fraction), _of_each(layer, neuron.initial + 0.5, neuron.fraction)
        return nir.IF(np.ones_like(thresholds), thresholds, metadata={RESET: SUBTRACT, INITIAL: start})
    if neuron.kind == "single":
        least, greatest = layer.sum_range(totals)
        thresholds = _of_each(layer, neuron.thresholds - 0.5, 0)
        rise = (greatest - least).reshape(-1, layer.connection.channels).max(axis=0)  # of what comes after the spike
        return nir.IF(np.ones_like(thresholds), thresholds, _of_each(layer, neuron.thresholds - 1 - rise, 0))
    raise UserError(f"neurons must be rate or single, because those of NIR send plain spikes only, not {neuron.kind}")


def _readout(layer: Layer) -> nir.NIRNode:
    start = _of_each(layer, -layer.neuron.thresholds, layer.neuron.fraction)
    return nir.I(np.ones_like(start), metadata={INITIAL: start})


def _of_each(layer: Layer, numbers: np.ndarray, fraction: int) -> np.ndarray:
    """Numbers of channels as those of neurons, in the shape that NIR has for these: float32."""
    real = _real(numbers, fraction)
    if layer.output_map is None:
        return real
    channels, *lengths = _planes(layer.output_map)
    return np.tile(real[:, None, None], (1, *lengths)).reshape(channels, *lengths)


def _real(numbers: np.ndarray, fraction: int) -> np.ndarray:
    """Fixed-point numbers as float32, which is exact: they are of at most 24 bits."""
    return np.ldexp(np.asarray(numbers, np.float64), -fraction).astype(np.float32)
