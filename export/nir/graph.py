"""A NIR graph whose nodes follow one another."""

from pathlib import Path

import nir
import numpy as np

from export.errors import UserError
from export.text import one_of

SUPPORTED = ("Input", "Flatten", "SumPool2d", "Conv2d", "Linear", "Affine", "IF", "I", "Output")


class Chain:
    """The nodes of a graph, from its only input to its only output.

    Attributes:
        metadata: of the graph.
        graph: the graph.
        nodes: names and nodes in order, without input and output.
        shape: of the input, without an axis for frames.

    Raises:
        UserError: the graph branches, or has a node of another type; the message names it.
    """

    def __init__(self, graph: nir.NIRGraph):
        self.graph = graph
        for name, node in graph.nodes.items():
            if type(node).__name__ not in SUPPORTED:
                raise UserError(f"{label(name, node)} must be {one_of(SUPPORTED)}")
        starts = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
        if len(starts) != 1 or sum(isinstance(node, nir.Output) for node in graph.nodes.values()) != 1:
            raise UserError("graph must have one input and one output")
        following: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for before, after in graph.edges:
            following[before].append(after)
        order = starts
        while following[order[-1]]:
            name = order[-1]
            if len(following[name]) > 1 or following[name][0] in order:
                raise UserError(f"{label(name, graph.nodes[name])} must have one node behind it, not itself, another branch or a loop")
            order.append(following[name][0])
        if len(order) != len(graph.nodes):
            missing = next(name for name in graph.nodes if name not in order)
            raise UserError(f"{label(missing, graph.nodes[missing])} must be on the way from the input")
        self.nodes = [(name, graph.nodes[name]) for name in order[1:-1]]
        self.shape: tuple[int, ...] = tuple(int(size) for size in graph.nodes[order[0]].input_type["input"])
        if len(self.shape) not in (1, 3):
            raise UserError(f"input must have the shape (neurons,) or (channels, height, width), not {self.shape}")


def label(name: str, node: nir.NIRNode) -> str:
    """A node's name and type, for messages."""
    return f"node {name} ({type(node).__name__})"


def read(path: Path) -> Chain:
    """A NIR file.

    Raises:
        UserError: it is none, or holds a graph that is no chain of supported nodes.
        OSError: it cannot be read.
    """
    with path.open("rb"):  # a missing file is an OSError with its name
        pass
    try:
        graph = nir.read(path)
    except Exception as error:  # h5py and nir raise whatever their parsing meets
        raise UserError(f"must be a NIR file: {error}") from None
    return Chain(graph)


def pair(value: object) -> tuple[int, int]:
    """One integer for both axes, or two."""
    down, across = np.broadcast_to(np.asarray(value), 2)
    return int(down), int(across)
