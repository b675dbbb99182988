"""From a graph to a network: connections, and between them what is folded into an encoder or neurons."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from onnx import NodeProto

from export.connections import Connection, Totals
from export.encoder import Encoder
from export.errors import UserError, prefixed
from export.layer import Layer
from export.network import Network
from export.pooling import Pool2d
from export.qonnx.fold import Code, code_of, encoder_of, neuron_of, readout_of, single_range
from export.qonnx.graph import CONNECTIONS, DECISIONS, SHAPES, Graph
from export.qonnx.table import Step, merged, repeated, tabulate
from export.qonnx.weights import read_weights

INTENSITIES = 255


@dataclass(frozen=True, eq=False)
class Probe:
    """An activation of the graph, and what is its like in the network.

    Attributes:
        tensor: its name.
        layer: whose neurons; -1 for the inputs.
        pool: windows into which they are pooled first; None for none.
        code: which count stands for which level.
    """

    tensor: str
    layer: int
    pool: Pool2d | None
    code: Code


@dataclass(frozen=True, eq=False)
class Imported:
    """A network out of a graph.

    Attributes:
        graph: the graph.
        network: the network.
        probes: its activations, from the inputs on.
        scores: name of the tensor of scores, (frames, classes) but for axes of 1.
        decision: name of the tensor that begins with the decided class, if there is one.
        rounded: labels of the nodes whose sums float32 rounds: they are then taken as the real numbers, rounded once.
    """

    graph: Graph
    network: Network
    probes: tuple[Probe, ...]
    scores: str
    decision: str | None
    rounded: tuple[str, ...]


@dataclass
class _Stage:
    """What comes behind a connection, or the pixels, up to the next connection.

    Attributes:
        connect: makes the connection, with the weights of some channels flipped: ±1 (channels,); None for the pixels.
        begin: the graph's values of sums, or pixels.
        channels: that have thresholds of their own.
        columns: channels of the current tensor, as the graph numbers them.
        before, after: what becomes of the values before a pool and after it.
        taken: the pool in front of the connection.
        pool: the pool behind it.
        mapped: neurons are a map.
    """

    connect: Callable[[np.ndarray], Connection] | None
    begin: Step
    channels: int
    columns: int
    before: list[Step] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)
    taken: Pool2d | None = None
    pool: Pool2d | None = None
    mapped: bool = False

    def then(self, step: Step) -> None:
        """What becomes of the values next."""
        (self.before if self.pool is None else self.after).append(step)


class Reader:
    """Reads a graph node by node.

    Parameters:
        graph: the graph.
    """

    def __init__(self, graph: Graph):
        self._graph = graph
        self._layers: list[Layer] = []
        self._encoder = Encoder()
        self._probes: list[Probe] = []
        self._rounded: list[str] = []
        self._totals: Totals = (0, 1)
        columns = graph.input_shape[1]
        self._stage = _Stage(None, partial(_of_pixels, graph.dtype, columns), 1, columns)
        self._label = f"input '{graph.input}'"

    def read(self, provenance: dict[str, Any]) -> Imported:
        """The whole graph as a network with ``T`` = 1.

        Raises:
            UserError: a node is none that a network can have; the message names it, its type, and what must hold.
        """
        graph, scores, decision = self._graph, self._graph.input, None
        for node in graph.nodes:
            with prefixed(graph.label(node)):
                if decision is not None:
                    raise UserError(f"must not come behind {' or '.join(DECISIONS)}")
                if node.op_type in DECISIONS:
                    decision = self._decision(node)
                    continue
            if node.op_type in CONNECTIONS:
                self._connect(node)
            else:
                with prefixed(graph.label(node)):
                    self._pass(node)
            self._label, scores = graph.label(node), node.output[0]
        with prefixed(self._label):
            self._readout()
        network = Network(tuple(self._layers), 1, self._encoder, provenance=provenance)
        return Imported(graph, network, tuple(self._probes), scores, decision, tuple(self._rounded))

    def _pass(self, node: NodeProto) -> None:
        """A node without weights."""
        if node.op_type == "MaxPool":
            self._pool(node)
        elif node.op_type in SHAPES:
            self._reshape(node)
        else:
            step = partial(self._elementwise, node, len(self._graph.shapes[node.input[0]]))
            if step(np.zeros((1, self._stage.columns), np.float32)).size != self._stage.columns:
                raise UserError("constants must be scalars, or one per channel")
            self._stage.then(step)

    def _elementwise(self, node: NodeProto, axes: int, values: np.ndarray) -> np.ndarray:
        return self._graph.apply(node, values.reshape(*values.shape, *(1,) * (axes - 2))).reshape(len(values), -1)

    def _reshape(self, node: NodeProto) -> None:
        """Only the numbering of channels changes: a tensor's numbers stay in their order."""
        one, other = self._graph.shapes[node.input[0]], self._graph.shapes[node.output[0]]
        if len(other) < 2 or other[0] != 1:
            raise UserError(f"must keep images apart, as a first axis of 1, but makes {other} of {one}")
        if self._stage.connect is not None and len(other) > 2 and one != other:
            raise UserError(f"must make a vector of each image, but makes {other} of {one}")
        before, after = one[1], other[1]
        if after % before and before % after:
            raise UserError(f"must not mix channels, but makes {other} of {one}")
        if after > before:
            self._stage.then(repeated(after // before))
        elif after < before:
            self._stage.then(merged(before // after))
        self._stage.columns = after

    def _pool(self, node: NodeProto) -> None:
        one, other = self._graph.shapes[node.input[0]], self._graph.shapes[node.output[0]]
        has = self._graph.attributes(node)
        window = tuple(has["kernel_shape"])
        if len(window) != 2 or tuple(has.get("strides", (1, 1))) != window or any(has.get("pads", ())):
            raise UserError("windows must be of two axes, without overlap and padding")
        if (
            set(has.get("dilations", (1,))) != {1}
            or other[2:] != (one[2] // window[0], one[3] // window[1])
            or has.get("auto_pad", "NOTSET") != "NOTSET"
        ):
            raise UserError("dilations must be 1, ceil_mode 0 and auto_pad NOTSET")
        if self._stage.pool is not None:
            raise UserError("must be the only pool between two connections")
        self._stage.pool = Pool2d((one[2], one[3]), one[1], window)

    def _decision(self, node: NodeProto) -> str:
        has = self._graph.attributes(node)
        if len(self._graph.shapes[node.input[0]]) != 2 or has.get("axis", 0 if node.op_type == "ArgMax" else -1) not in (1, -1):
            raise UserError("must be along the classes, the second of two axes")
        if has.get("select_last_index", 0) or not has.get("largest", 1):
            raise UserError("must take the first of the greatest")
        return node.output[-1]  # of TopK, values and indices

    def _connect(self, node: NodeProto) -> None:
        """A connection: what comes in is complete."""
        has, label, shape = self._graph.attributes(node), self._graph.label(node), self._graph.shapes[node.input[0]]
        padded = any(has.get("pads", ()))
        with prefixed(self._label):
            code = self._complete(node.input[0], padded)
        stage = self._stage
        planes = stage.pool.channels if stage.pool is not None else stage.channels if stage.mapped else 1
        with prefixed(label):
            weights = read_weights(self._graph, node, code, shape, planes)
        if not weights.exact:
            self._rounded.append(label)
        self._stage = _Stage(
            weights.connect, weights.values, weights.channels, weights.channels, taken=stage.pool, mapped=node.op_type == "Conv"
        )
        if weights.bias is not None:
            self._stage.then(weights.bias)

    def _sums(self, connection: Connection) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest sum of each channel."""
        least, greatest = (bound.reshape(-1, connection.channels) for bound in connection.sum_range(self._totals))
        return least.min(axis=0), greatest.max(axis=0)

    def _complete(self, tensor: str, padded: bool) -> Code:
        """Make the encoder, or a layer, of what came since the last connection."""
        stage = self._stage
        if stage.columns != stage.channels:
            stage.then(merged(stage.columns // stage.channels))
        if stage.connect is None:
            first, last = 0, INTENSITIES
        else:
            least, greatest = self._sums(stage.connect(np.ones(stage.channels, np.int8)))
            first, last = int(least.min()), int(greatest.max())
        table = tabulate(first, last, stage.begin, stage.before, stage.after)
        code = code_of(table, padded=padded, neurons=stage.connect is not None)
        if stage.connect is None:
            if stage.pool is not None and table.falls_before.any():
                raise UserError("values that are pooled must rise with the pixels")
            self._encoder = encoder_of(code.reached_after[:, 0])
            self._totals = self._encoder.totals
        else:
            connection = stage.connect(np.where(code.flips, -1, 1).astype(np.int8))
            neuron = neuron_of(code, first, last, connection, self._sums(connection))
            self._layers.append(Layer(connection, neuron, stage.taken))
            self._totals = neuron.totals(1)
        if stage.pool is not None and self._totals != (0, 1):
            raise UserError(f"counts of activations must be 0 or 1 where MaxPool takes them, not from {code.least} to {code.greatest}")
        self._probes.append(Probe(tensor, len(self._layers) - 1, stage.pool, code))
        return code

    def _readout(self) -> None:
        stage = self._stage
        if stage.connect is None or stage.pool is not None or stage.columns != stage.channels:
            raise UserError(f"scores must be those of a connection, {', '.join(CONNECTIONS)}, with one number per class")
        connection = stage.connect(np.ones(stage.channels, np.int8))
        if connection.outputs != stage.channels:
            raise UserError(f"scores must be one number per class, not a map of {connection.output_map}")
        least, greatest = self._sums(connection)
        first = int(least.min())
        values = stage.begin(np.arange(first, int(greatest.max()) + 1))
        for step in stage.before:
            values = step(values)
        flips, neuron = readout_of(values, first, single_range(connection) if self._totals == (0, 1) else None)
        self._layers.append(Layer(stage.connect(np.full(stage.channels, -1 if flips else 1, np.int8)), neuron, stage.taken))


def _of_pixels(dtype: type, columns: int, pixels: np.ndarray) -> np.ndarray:
    """The graph's input where intensities are ``pixels``: (pixels, columns)."""
    values = pixels.astype(np.uint8) if dtype is np.uint8 else pixels.astype(np.float32) / np.float32(INTENSITIES)
    return np.repeat(values[:, None], columns, axis=1)
