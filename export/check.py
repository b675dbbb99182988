"""From a checkpoint to a network, and the replay that proves the two equal."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from export import layer_files, reference
from export.artifact import check_format, get, read_class_names, read_encoder, read_tensors
from export.connections import Connection, Dense
from export.errors import UserError, prefixed
from export.layer import Layer
from export.network import Network
from export.neurons import Single
from export.pooling import Pool2d

CHECKPOINT_FORMAT = "firstspike-checkpoint"
CHECKPOINT_VERSION = 1
SOURCE_FORMAT = "firstspike-conversion-source"  # of the checkpoint of a network that `python -m model convert` exports


def binarize(latent: np.ndarray) -> np.ndarray:
    """±1 int8 weights of real ones: their sign, with sign(0) = +1 [S3]."""
    return np.where(latent >= 0, 1, -1).astype(np.int8)


def round_thresholds(thresholds: np.ndarray, fan_in: int, least: int | None = None) -> np.ndarray:
    """Integer thresholds int32 of real ones: rounded up, then clipped to ``least … fan_in + 1``, by default from ``-fan_in`` [S3]."""
    return np.clip(np.ceil(thresholds), -fan_in if least is None else least, fan_in + 1).astype(np.int32)


def network_from_checkpoint(path: str | Path) -> tuple[Network, int]:
    """The network of a checkpoint, after its check set was replayed without any difference, and the number of frames in it.

    Raises:
        UserError: the file is damaged, or the golden model differs from what the training framework computed.
        OSError: the file cannot be read.
    """
    tensors, header = read_tensors(path)
    try:
        network = _network(tensors, header)
        return network, _replay(network, tensors)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _network(tensors: dict[str, np.ndarray], header: dict[str, Any]) -> Network:
    if header.get("format") == SOURCE_FORMAT:
        raise UserError("must be a checkpoint of single spikes, not of the method 'conversion': export it with python -m model convert")
    check_format(header, CHECKPOINT_FORMAT, CHECKPOINT_VERSION)
    layers = read_layers(tensors, header)
    names = read_class_names(header)
    return Network(tuple(layers), get(header, "steps", int), read_encoder(header), names, get(header, "provenance", dict))


def read_layers(tensors: dict[str, np.ndarray], header: dict[str, Any]) -> list[Layer]:
    """The layers of a checkpoint, binarized; ``layers`` of the header says what they are if not all are dense, without a pool.

    Raises:
        UserError: they are not whole, or do not follow one another.
    """
    entries = get(header, "layers", list) if "layers" in header else None
    inputs = _tensor(tensors, "check.inputs").shape[-1:]
    layers: list[Layer] = []
    while f"layers.{len(layers)}.weights" in tensors:
        index = len(layers)
        latent = tensors[f"layers.{index}.weights"]
        thresholds = _tensor(tensors, f"layers.{index}.thresholds")
        if latent.ndim != 2 or thresholds.ndim != 1 or not (np.isfinite(latent).all() and np.isfinite(thresholds).all()):
            raise UserError(f"layers.{index}: weights must be a finite matrix and thresholds a finite vector")
        with prefixed(f"layers.{index}"):
            connection, pool = _synapses(binarize(latent), entries, index, layers[-1].outputs if layers else math.prod(inputs))
        least = None if connection.output_map is None else 1  # [S15]
        layers.append(Layer(connection, Single(round_thresholds(thresholds, connection.fan_in, least)), pool))
    return layers


def _synapses(weights: np.ndarray, entries: list[Any] | None, index: int, before: int) -> tuple[Connection, Pool2d | None]:
    """Connection and pool of a layer; ``before`` is the number of what comes in."""
    if entries is None:
        return Dense(weights), None
    entry = entries[index] if index < len(entries) else None
    if not isinstance(entry, dict) or entry.get("connection") not in layer_files.FIELDS:
        raise UserError(f"must be described by an object with a known connection, not {entry!r:.60}")

    def checked(columns: int) -> np.ndarray:
        if weights.shape[1] != columns:
            raise UserError(f"weights must have {columns} columns, not {weights.shape[1]}")
        return weights

    return layer_files.read_synapses(entry, checked, before)


def _replay(network: Network, tensors: dict[str, np.ndarray]) -> int:
    inputs = network.check_spike_times(_tensor(tensors, "check.inputs"))
    if len(inputs) == 0:
        raise UserError("check set must have at least one frame, not 0")
    golden = reference.run(network, inputs)
    for index, times in enumerate(golden.spike_times):
        name = f"check.spike_times.{index}"
        if not (kept := len(_tensor(tensors, name))):
            raise UserError(f"{name} must have at least one frame, not 0")
        _compare(name, times[:kept], tensors)
    for name in reference.DECISION_FIELDS:
        _compare(f"check.{name}", getattr(golden.decisions, name), tensors)
    return len(inputs)


def _compare(name: str, golden: np.ndarray, tensors: dict[str, np.ndarray]) -> None:
    trained = _tensor(tensors, name)
    if trained.shape != golden.shape:
        raise UserError(f"{name} must have shape {golden.shape}, not {trained.shape}")
    different = trained != golden
    if different.any():
        place = tuple(int(k) for k in np.argwhere(different)[0])
        where = f"frame {place[0]}" + (f", neuron {place[1]}" if len(place) > 1 else "")
        raise UserError(
            f"the golden model must equal the trained network, but {name} differs in {int(different.sum())} places, "
            f"first at {where}: trained {int(trained[place])}, golden {int(golden[place])}"
        )


def _tensor(tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in tensors:
        raise UserError(f"tensor '{name}' must be there, but is missing")
    return tensors[name]
