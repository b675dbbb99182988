"""An ONNX graph that takes images: its constants, and the nodes that an image passes through, one after another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.errors import UserError
from export.qonnx.operators import DOMAINS, OPERATORS, QUANTIZERS, ROUNDING

CONNECTIONS = ("MatMul", "Gemm", "Conv")
SHAPES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
DECISIONS = ("ArgMax", "TopK")
ELEMENTWISE = ("BatchNormalization", "Mul", "Add", "Sub", "Div", "Neg", "Sign", "Relu", "Clip", "Identity", "Dropout", "Cast")
SUPPORTED = (*CONNECTIONS, *ELEMENTWISE, *QUANTIZERS, "MaxPool", *SHAPES, *DECISIONS)
INPUTS = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.UINT8: np.uint8}
CHUNK = 256  # images that are run at a time


class Graph:
    """A graph with one input, an image, that passes through ``nodes``.

    Attributes:
        name: of the file.
        input: name of the input.
        nodes: those that an image passes through, in order; each takes what the one before gives, and constants.
        constants: all that does not depend on the image, by name.
        shapes: of all tensors for one image, by name.
        dtype: of the input: float32 for intensities from 0 to 1, uint8 for those from 0 to 255.

    Raises:
        UserError: the file is no such graph; the message names the node, its type, and what is supported.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path):
        self.name = path.name
        try:
            self._model = onnx.load_model_from_string(path.read_bytes())
        except DecodeError:
            raise UserError("must be an ONNX file, but cannot be decoded") from None
        named = {opset.domain for opset in self._model.opset_import}
        self._model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in DOMAINS if domain not in named)  # not all exporters do
        graph = self._model.graph
        if not graph.node or not all(node.output for node in graph.node):
            raise UserError("must be an ONNX file with a graph, whose nodes all give something")
        initializers = {tensor.name for tensor in graph.initializer}
        inputs = [given for given in graph.input if given.name not in initializers]
        if len(inputs) != 1 or not graph.output:
            raise UserError(f"must have one input, the image, and an output, not {len(inputs)} inputs and {len(graph.output)} outputs")
        self.input = inputs[0].name
        kind = inputs[0].type.tensor_type
        if kind.elem_type not in INPUTS:
            raise UserError(f"input '{self.input}' must be float32 or uint8, not {onnx.TensorProto.DataType.Name(kind.elem_type)}")
        self.dtype = INPUTS[kind.elem_type]
        first, *sizes = [axis.dim_value for axis in kind.shape.dim] or [0]
        if first > 1 or not sizes or min(sizes) < 1:
            raise UserError(f"input '{self.input}' must have a shape with 1 image, or any number, of fixed size, not {[first, *sizes]}")
        self._label = {node.output[0]: f"node {node.name or number} ({node.op_type})" for number, node in enumerate(graph.node)}
        self._producer = {name: node for node in graph.node for name in node.output}
        self._single: dict[str, ReferenceEvaluator] = {}
        known = {self.input, "", *initializers}
        for node in graph.node:
            self._check(node)
            if missing := [name for name in node.input if name not in known]:
                raise UserError(
                    f"{self.label(node)}: input '{missing[0]}' must be the input, a constant or made by a node before, but is not"
                )
            known.update(node.output)
        self.nodes = self._passed()
        self._evaluator = self._made(self._model)
        names = [self.input, *initializers, *(name for node in graph.node for name in node.output if name)]
        values = dict(zip(names, self._evaluated(np.zeros((1, *sizes), self.dtype), names), strict=True))
        passed = {self.input} | {name for node in self.nodes for name in node.output}
        self.constants = {name: np.asarray(value) for name, value in values.items() if name not in passed}
        self.shapes = {name: np.shape(value) for name, value in values.items()}
        self.input_shape = self.shapes[self.input]

    def label(self, node: NodeProto) -> str:
        """A node's name, or else its number, and its type."""
        return self._label[node.output[0]]

    def run(self, images: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """Tensors for images (frames, …) of `dtype` and the input's shape; one by one where the graph is for one image only.

        Raises:
            UserError: the evaluator fails.
        """
        return [np.concatenate(parts) for parts in zip(*self._parts(images, names), strict=True)]

    def apply(self, node: NodeProto, values: np.ndarray) -> np.ndarray:
        """What a node that only has constants beside it makes of values, (frames, channels, …).

        Raises:
            UserError: the evaluator fails.
        """
        name = node.output[0]
        if name not in self._single:
            known = [numpy_helper.from_array(self.constants[other], other) for other in dict.fromkeys(node.input[1:]) if other]
            ends = [helper.make_empty_tensor_value_info(end) for end in (node.input[0], name)]
            graph = helper.make_graph([node], "node", ends[:1], ends[1:], known)
            self._single[name] = self._made(helper.make_model(graph, opset_imports=self._model.opset_import))
        try:
            (found,) = self._single[name].run(None, {node.input[0]: values})
        except Exception as error:  # of whatever kind the operators of the evaluator raise
            raise UserError(f"must be a node that onnx's reference evaluator can run: {error}") from None
        return np.asarray(found)

    def origin(self, name: str) -> str:
        """The first tensor that a constant was made of."""
        while name in self._producer and self._producer[name].input:
            name = self._producer[name].input[0]
        return name

    def attributes(self, node: NodeProto) -> dict[str, Any]:
        """A node's attributes, by name."""
        found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        return {name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in found.items()}

    def _parts(self, images: np.ndarray, names: Sequence[str]) -> list[list[np.ndarray]]:
        chunk = CHUNK if len(images) > 1 and self._takes_several(images[:2], names) else 1
        return [self._evaluated(images[at : at + chunk], names) for at in range(0, len(images), chunk)]

    def _takes_several(self, two: np.ndarray, names: Sequence[str]) -> bool:
        """Whether the graph keeps two images apart: nodes that an exporter made for one image need not."""
        try:
            together = self._evaluated(two, names)
        except UserError:
            return False
        return all(np.shape(tensor) == (2, *self.shapes[name][1:]) for tensor, name in zip(together, names, strict=True))

    def _evaluated(self, images: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused by name
                return [np.asarray(tensor) for tensor in self._evaluator.run(list(names), {self.input: images})]
        except Exception as error:  # of whatever kind the operators of the evaluator raise
            raise UserError(f"must be a graph that onnx's reference evaluator can run: {error}") from None

    def _made(self, model: onnx.ModelProto) -> ReferenceEvaluator:
        try:
            return ReferenceEvaluator(model, new_ops=OPERATORS)
        except Exception as error:  # as above, and an operator that it does not know
            raise UserError(f"must be a graph that onnx's reference evaluator can run: {error}") from None

    def _passed(self) -> list[NodeProto]:
        """The nodes that an image passes through; what depends on its shape alone is a constant."""
        current, passed = self.input, []
        depends = {self.input}
        for node in self._model.graph.node:
            taken = depends.intersection(node.input)
            if not taken or node.op_type == "Shape":
                continue
            known = node.domain in DOMAINS if node.op_type in QUANTIZERS else node.domain in ("", "ai.onnx")
            if not known or node.op_type not in SUPPORTED:
                raise UserError(f"{self.label(node)}: type must be one of {', '.join(SUPPORTED)}")
            swapped = node.op_type in ("Mul", "Add") and node.input[1] == current
            if swapped:
                node.input[0], node.input[1] = node.input[1], node.input[0]
            if node.input[0] != current or depends.intersection(node.input[1:]):
                raise UserError(f"{self.label(node)}: must take '{current}', from the node before, as its first input, and else constants")
            passed.append(node)
            current = node.output[0]
            depends.update(node.output)
        outputs = {found.name for found in self._model.graph.output}
        if not passed or not outputs <= set(passed[-1].output):
            raise UserError(f"outputs must be what the last node gives that an image passes through, '{current}', not {sorted(outputs)}")
        return passed

    def _check(self, node: NodeProto) -> None:
        """Refuse modes that the operators here do not have."""
        has = self.attributes(node)
        if node.op_type in ("Quant", "IntQuant") and (mode := has.get("rounding_mode", "ROUND")) not in ROUNDING:
            raise UserError(f"{self.label(node)}: rounding_mode must be one of {', '.join(ROUNDING)}, not {mode!r}")
        if (layout := has.get("data_layout", "NCHW")) not in ("NCHW", "NC"):
            raise UserError(f"{self.label(node)}: data_layout must be NCHW, not {layout!r}")
        if has.get("training_mode"):
            raise UserError(f"{self.label(node)}: training_mode must be 0")
