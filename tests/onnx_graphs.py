"""Small QONNX graphs, node by node, as an exporter writes them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"
QUANTIZERS = ("BipolarQuant", "Quant", "IntQuant", "MultiThreshold")
FLOATS = np.float32


class Graph:
    """A graph that grows by `add`: each node takes what the one before gives, and constants."""

    def __init__(self, *shape, kind=TensorProto.FLOAT, opset=17, domain=DOMAIN):
        self.input = helper.make_tensor_value_info("image", kind, shape)
        self.nodes, self.constants, self.opset, self.domain, self.current = [], [], opset, domain, "image"

    def constant(self, value):
        """The name of an initializer; integers stay such, other numbers become float32."""
        array = np.asarray(value)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array if array.dtype == np.int64 else array.astype(FLOATS), name))
        return name

    def free(self, kind, *inputs, **attributes):
        """A node that is not on the image's way: the name of what it gives."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = f"tensor_{len(self.nodes)}"
        domain = self.domain if kind in QUANTIZERS else ""
        self.nodes.append(helper.make_node(kind, names, [output], name=f"{kind}_{len(self.nodes)}", domain=domain, **attributes))
        return output

    def add(self, kind, *constants, **attributes):
        self.current = self.free(kind, self.current, *constants, **attributes)
        return self

    def bipolar(self, scale=1.0):
        return self.add("BipolarQuant", scale)

    def quant(self, bits, *, scale=1.0, signed=0, narrow=0, **attributes):
        return self.add("Quant", scale, 0.0, bits * 1.0, signed=signed, narrow=narrow, **attributes)

    def dense(self, weights, scale=1.0):
        """``weights`` (outputs, inputs) through a quantiser, as Brevitas writes them."""
        quantized = self.free("BipolarQuant", weights, scale)
        return self.add("MatMul", self.free("Transpose", quantized, perm=[1, 0]))

    def conv(self, kernels, scale=1.0, **attributes):
        return self.add("Conv", self.free("BipolarQuant", kernels, scale), **attributes)

    def norm(self, rng, channels, spread=3.0):
        """A normalisation with scales of both signs."""
        scale, bias = rng.normal(0, 1, channels), rng.normal(0, 0.5, channels)
        return self.add("BatchNormalization", scale, bias, rng.normal(0, spread, channels), rng.uniform(0.5, 9, channels))

    def model(self, *outputs):
        """The model; its output is the last tensor, or those that are named."""
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or (self.current,)]
        graph = helper.make_graph(self.nodes, "graph", [self.input], ends, self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(self.domain, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path, *outputs):
        onnx.save(self.model(*outputs), path)
        return path


def signs(rng, *shape):
    return rng.choice([-1.0, 1.0], shape)


def halved(graph):
    """What becomes of intensities from 0 to 1 first: from -1 to 1."""
    return graph.add("Mul", 2.0).add("Sub", 1.0)
