"""The checkpoint: the trained parameters with a check set, for ``python -m export``; and back into PyTorch.

``export.check`` reads it without PyTorch and replays the check set.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from export import Encoder, Network, Single, UserError, layer_files, reference
from export.artifact import check_format, encoder_header, get, read_encoder, read_tensors, serialized
from export.check import CHECKPOINT_FORMAT, CHECKPOINT_VERSION, read_layers
from export.errors import prefixed
from export.files import atomic_write
from model.layers import SingleSpikeNetwork
from model.map_network import MapNetwork
from model.synapses import synapses_of

CHECK_FRAMES = 10_000  # at most so many frames go into the check set
SPIKE_TIMES = 1 << 26  # of a check set, at most: of large networks, those of its first frames


def write(
    path: str | Path,
    network: SingleSpikeNetwork,
    encoder: Encoder,
    class_names: tuple[str, ...],
    provenance: dict[str, Any],
    check_times: np.ndarray,
    check: reference.Result,
) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters:
        check_times: int32 (frames, inputs), the check set's input.
        check: what the PyTorch network makes of it.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {"check.inputs": np.ascontiguousarray(check_times[:CHECK_FRAMES], np.int32)}
    times = check[: min(CHECK_FRAMES, max(1, SPIKE_TIMES // sum(network.sizes[1:])))].spike_times
    for index, layer in enumerate(network.layers):
        tensors[f"layers.{index}.weights"] = layer.weights.detach().cpu().numpy()
        tensors[f"layers.{index}.thresholds"] = layer.thresholds.detach().cpu().numpy()
        tensors[f"check.spike_times.{index}"] = times[index]
    for name in ("class_index", "step", "margin"):
        tensors[f"check.{name}"] = getattr(check.decisions, name)[:CHECK_FRAMES]
    tensors["check.silent"] = check.decisions.silent[:CHECK_FRAMES].astype(np.uint8)
    header = {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "steps": network.steps,
        "encoder": encoder_header(encoder.resolved(network.steps)),
        "class_names": list(class_names),
        "provenance": provenance,
    }
    if isinstance(network, MapNetwork):
        header["layers"] = [layer_files.describe(layer) for layer in network.exported()]
    save(path, tensors, header)


def save(path: str | Path, tensors: dict[str, np.ndarray], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header as one safetensors file, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(serialized(contiguous, header))


def read(path: str | Path) -> tuple[SingleSpikeNetwork, Encoder, dict[str, Any]]:
    """The network of a checkpoint in PyTorch, its encoder, and the whole header.

    Raises:
        UserError: the file is damaged, or is no checkpoint.
        OSError: the file cannot be read.
    """
    tensors, header = read_tensors(path)
    with prefixed(path):
        check_format(header, CHECKPOINT_FORMAT, CHECKPOINT_VERSION)
        if "layers" not in header:
            return _network(tensors, get(header, "steps", int)), read_encoder(header), header
        layers = read_layers(tensors, header)
        network = to_torch(Network(tuple(layers), get(header, "steps", int)))
        parameters = [(tensors[f"layers.{index}.weights"], tensors[f"layers.{index}.thresholds"]) for index in range(len(layers))]
        return _filled(network, parameters), read_encoder(header), header


def _network(tensors: dict[str, np.ndarray], steps: int) -> SingleSpikeNetwork:
    layers: list[tuple[np.ndarray, np.ndarray]] = []
    while f"layers.{len(layers)}.weights" in tensors:
        weights, thresholds = (tensors.get(f"layers.{len(layers)}.{part}") for part in ("weights", "thresholds"))
        if weights is None or thresholds is None or weights.ndim != 2 or thresholds.shape != weights.shape[:1]:
            raise UserError(f"layers.{len(layers)}: must have weights (outputs, inputs) and thresholds (outputs,)")
        if layers and layers[-1][0].shape[0] != weights.shape[1]:
            raise UserError(f"layers.{len(layers)}: must take {layers[-1][0].shape[0]} inputs, not {weights.shape[1]}")
        layers.append((weights, thresholds))
    if not layers:
        raise UserError("must have tensors 'layers.0.weights' and 'layers.0.thresholds', but has none")
    return _build(layers, steps)


def to_torch(network: Network) -> SingleSpikeNetwork:
    """An exported network in PyTorch: its ±1 weights as latent ones.

    Raises:
        UserError: not all neurons spike at most once, a pool adds up, or a kernel, stride, padding or pool is not square.
    """
    layers = [(layer.connection.weights.astype(np.float32), layer.neuron.thresholds.astype(np.float32)) for layer in network.layers]
    if not all(type(layer.neuron) is Single for layer in network.layers):
        raise UserError("neurons must spike at most once to be run in PyTorch as single spikes")
    if all(layer.is_dense for layer in network.layers):
        return _build(layers, network.steps)
    return _filled(MapNetwork(list(map(synapses_of, network.layers)), network.steps), layers)


def _build(layers: list[tuple[np.ndarray, np.ndarray]], steps: int) -> SingleSpikeNetwork:
    return _filled(SingleSpikeNetwork([layers[0][0].shape[1], *(len(weights) for weights, _ in layers)], steps), layers)


def _filled(network: SingleSpikeNetwork, layers: list[tuple[np.ndarray, np.ndarray]]) -> SingleSpikeNetwork:
    """The network, with latent weights and thresholds of its layers."""
    with torch.no_grad():
        for layer, (weights, thresholds) in zip(network.layers, layers, strict=True):
            layer.weights.copy_(torch.from_numpy(weights))
            layer.thresholds.copy_(torch.from_numpy(thresholds))
    return network
