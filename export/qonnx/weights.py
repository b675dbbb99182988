"""The weights of a graph's connection, as ±1 and what they are worth."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from onnx import NodeProto

from export.connections import Connection, Dense
from export.convolution import Conv2d
from export.errors import UserError
from export.qonnx.fold import Code
from export.qonnx.graph import Graph
from export.qonnx.table import Step

FLOAT32 = 1 << 24
"""Up to which float32 has all integers."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What a connection of a graph is in a network.

    Attributes:
        connect: makes the connection, with the weights of some channels flipped: ±1 (channels,).
        channels: channels that come out.
        values: the graph's sums, float32 (sums, channels), of the network's.
        bias: what becomes of these in the same node; None if nothing does.
        exact: all that the graph adds, in whatever order, is exact in float32.
    """

    connect: Callable[[np.ndarray], Connection]
    channels: int
    values: Step
    bias: Step | None
    exact: bool


def read_weights(graph: Graph, node: NodeProto, code: Code, shape: tuple[int, ...], planes: int) -> Weights:
    """The weights of a connection.

    With counts ``n``, what comes in is ``zero + n * worth``, and the graph's sum ``Σ ω (zero + n * worth)``: the weights' ``ω * worth``
    must be ± one scale per output, which is what the network's sum ``Σ w n`` is worth; ``Σ ω * zero`` is a constant.

    Parameters:
        graph: the graph.
        node: the connection.
        code: of what comes in.
        shape: of what comes in, for one image.
        planes: channels of the map that comes in, or 1: the graph numbers it plane by plane, the network position by position [S15].

    Raises:
        UserError: the weights are none that a network can have.
    """
    has, name = graph.attributes(node), node.input[1]
    weights = graph.constants[name].astype(np.float64)
    convolves = node.op_type == "Conv"
    if len(shape) != (4 if convolves else 2) or weights.ndim != len(shape):
        raise UserError(f"must take {'maps' if convolves else 'vectors'} with weights of as many axes, not {shape} with {weights.shape}")
    if node.op_type == "MatMul" or (node.op_type == "Gemm" and not has.get("transB")):
        weights = weights.T
    if has.get("transA") or has.get("group", 1) != 1 or set(has.get("dilations", (1,))) != {1} or has.get("auto_pad", "NOTSET") != "NOTSET":
        raise UserError("transA must be 0, group and dilations 1, and auto_pad NOTSET")
    inputs = weights.shape[1]
    zero, worth = (np.repeat(of, inputs // len(of)).reshape(-1, *(1,) * (weights.ndim - 2)) for of in (code.zero, code.worth))
    scaled = (weights * worth).reshape(len(weights), -1)
    scale = np.abs(scaled[:, 0])
    if (wrong := (np.abs(scaled) != scale[:, None]).any(axis=1) | (scale == 0)).any():
        j = int(np.argmax(wrong))
        found = ", ".join(f"{value:g}" for value in np.unique(weights[j])[:4])
        raise UserError(f"weights '{graph.origin(name)}' must be -s or +s, one scale s per output, but those of output {j} are {found}")
    signs = np.sign(scaled).astype(np.int8).reshape(weights.shape)
    offset = (weights * zero).reshape(len(weights), -1).sum(axis=1)

    connect: Callable[[np.ndarray], Connection]
    if convolves:
        padding = has.get("pads", (0, 0, 0, 0))
        if tuple(padding[:2]) != tuple(padding[2:]):
            raise UserError(f"pads must be the same on both sides, not {padding}")
        connect = partial(_conv2d, signs, (shape[2], shape[3]), tuple(has.get("strides", (1, 1))), tuple(padding[:2]))
    else:
        connect = partial(_dense, signs.reshape(len(signs), planes, -1).transpose(0, 2, 1).reshape(len(signs), -1))
    levels = code.values[~np.isnan(code.values)]
    return Weights(connect, len(weights), partial(_values, scale, offset), _bias(graph, node), _exact(weights, levels))


def _dense(signs: np.ndarray, flips: np.ndarray) -> Connection:
    return Dense(signs * flips[:, None])


def _conv2d(signs: np.ndarray, shape: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], flips: np.ndarray) -> Connection:
    return Conv2d(signs * flips[:, None, None, None], shape, stride, padding)


def _values(scale: np.ndarray, offset: np.ndarray, sums: np.ndarray) -> np.ndarray:
    return (sums[:, None] * scale + offset).astype(np.float32)


def _bias(graph: Graph, node: NodeProto) -> Step | None:
    """What ``Gemm`` and ``Conv`` do with a sum, in float32 as the evaluator does it."""
    has = graph.attributes(node)
    alpha, beta = has.get("alpha", 1.0), has.get("beta", 1.0)
    added = graph.constants[node.input[2]].reshape(-1) * np.float32(beta) if len(node.input) > 2 and node.input[2] else np.float32(0)
    if alpha == 1 and not np.any(added):
        return None
    return lambda values: values * np.float32(alpha) + added


def _exact(weights: np.ndarray, levels: np.ndarray) -> bool:
    """Whether all sums of products are multiples of a power of two that float32 can count with."""
    rows = np.abs(weights).reshape(len(weights), -1)
    products = np.outer(np.unique(rows), np.unique(np.abs(levels[levels != 0]).astype(np.float64)))
    fraction, exponent = np.frexp(products)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    unit = np.ldexp((mantissa & -mantissa).astype(np.float64), exponent - 53).min()
    return bool(rows.sum(axis=1).max() * np.abs(levels).max() < FLOAT32 * unit)
