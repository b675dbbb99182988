"""What a file says of a layer's synapses: the entries of a header, and rows of packed weights."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from export.connections import Connection, Dense
from export.convolution import Conv2d
from export.errors import UserError
from export.layer import Layer
from export.maps import Map, crossed, pair
from export.packing import unpack_weights
from export.pooling import Pool2d

FIELDS = {"dense": (), "conv2d": ("map", "kernel", "stride", "padding")}
"""What the header has of each kind of connection, beside its kind and sizes."""
POOL_FIELDS = ("kind", "map", "size")


def describe(layer: Layer) -> dict[str, Any]:
    """The entries of a layer's connection and pool, as JSON gives them back."""
    connection = layer.connection
    entries: dict[str, Any] = {"connection": connection.kind}
    if isinstance(connection, Conv2d):
        values = (connection.input_map, connection.kernel_shape, connection.strides, connection.paddings)
        entries |= dict(zip(FIELDS["conv2d"], map(list, values), strict=True))
    if layer.pool is not None:
        entries["pool"] = dict(zip(POOL_FIELDS, (layer.pool.kind, list(layer.pool.input_map), list(layer.pool.window)), strict=True))
    return entries


def read(description: Mapping[str, Any], packed: np.ndarray, inputs: int, outputs: int) -> tuple[Connection, Pool2d | None]:
    """The inverse of `describe`.

    Parameters:
        description: the entries, with a known ``connection``.
        packed: the weights, uint8 (channels, bytes of a row).
        inputs, outputs: the sizes that the header says.

    Raises:
        UserError: the entries are no connection and pool, or of other sizes.
    """
    connection, pool = read_synapses(description, partial(unpack_weights, packed), inputs)
    if connection.output_map is not None and connection.outputs != outputs:
        raise UserError(f"outputs must be {connection.outputs}, those of the map {crossed(connection.output_map)}, not {outputs}")
    if connection.outputs != outputs:
        raise UserError(f"weights must have {outputs} rows, one per output, not {len(packed)}")
    return connection, pool


def read_synapses(description: Mapping[str, Any], weights: Callable[[int], np.ndarray], inputs: int) -> tuple[Connection, Pool2d | None]:
    """The inverse of `describe`, whatever the weights are read from.

    Parameters:
        description: the entries, with a known ``connection``.
        weights: gives ±1 weights int8 (channels, weights of each), if these are so many.
        inputs: the number of what comes in, before it is pooled.

    Raises:
        UserError: the entries are no connection and pool, or of other sizes.
    """
    pool = _pool(description["pool"]) if "pool" in description else None
    if pool is not None and pool.inputs != inputs:
        raise UserError(f"inputs must be {pool.inputs}, those of the pooled map {crossed(pool.input_map)}, not {inputs}")
    taken = inputs if pool is None else pool.outputs
    convolves = description["connection"] == Conv2d.kind
    return _convolution(description, weights, taken) if convolves else Dense(weights(taken)), pool


def _pool(entry: object) -> Pool2d:
    if not isinstance(entry, dict) or set(entry) != set(POOL_FIELDS):
        raise UserError(f"pool must be an object of {', '.join(POOL_FIELDS)}, not {entry!r:.60}")
    *shape, channels = _map(entry["map"])
    return Pool2d((shape[0], shape[1]), channels, _two("pool size", entry["size"], 1), entry["kind"])


def _convolution(description: Mapping[str, Any], weights: Callable[[int], np.ndarray], inputs: int) -> Conv2d:
    height, width, channels = _map(description.get("map"))
    if height * width * channels != inputs:
        raise UserError(f"map must have the {inputs} inputs, not {crossed((height, width, channels))}")
    kernel = _two("kernel", description.get("kernel"), 1)
    rows = weights(kernel[0] * kernel[1] * channels)
    stride, padding = (_two(name, description.get(name), least) for name, least in (("stride", 1), ("padding", 0)))
    return Conv2d(rows.reshape(-1, *kernel, channels).transpose(0, 3, 1, 2), (height, width), stride, padding)


def _map(value: object) -> Map:
    if not isinstance(value, list) or len(value) != 3:
        raise UserError(f"map must be height, width and channels, not {value!r:.60}")
    height, width = pair("height and width of a map", value[:2], 1)
    return height, width, pair("channels of a map", value[2], 1)[0]


def _two(name: str, value: object, least: int) -> tuple[int, int]:
    if not isinstance(value, list):
        raise UserError(f"{name} must be two integers, not {value!r:.60}")
    return pair(name, value, least)
