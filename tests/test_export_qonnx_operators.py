"""QONNX's operators, by hand."""

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from export.qonnx.operators import DOMAINS, OPERATORS

HALVES = np.array([[-2.5, -1.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.5, 2.5, 9]], np.float32)


def evaluated(kind, x, *constants, domain=DOMAINS[1], opset=17, **attributes):
    names = ["x", *(f"c{k}" for k in range(len(constants)))]
    node = helper.make_node(kind, names, ["y"], domain=domain, **attributes)
    ends = [[helper.make_empty_tensor_value_info(name) for name in some] for some in (names, ["y"])]
    opsets = [helper.make_opsetid(name, number) for name, number in {"": opset, domain: opset if not domain else 1}.items()]
    model = helper.make_model(helper.make_graph([node], "one", *ends), opset_imports=opsets)
    (y,) = ReferenceEvaluator(model, new_ops=OPERATORS).run(None, dict(zip(names, [x, *map(np.float32, constants)], strict=True)))
    assert y.dtype == np.float32
    return y.ravel().tolist()


@pytest.mark.parametrize("domain", DOMAINS)
def test_bipolar(domain):
    x = np.array([[-3, -0.0, 0.0, 1e-9]], np.float32)
    assert evaluated("BipolarQuant", x, 0.5, domain=domain) == [-0.5, 0.5, 0.5, 0.5]
    assert evaluated("Quant", x, 0.5, 0, 1, signed=1, narrow=0, domain=domain) == [-0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("bits", "attributes", "expected"),
    [
        (2, {"signed": 1, "narrow": 1}, [-1, -1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1]),  # halves to even numbers
        (2, {"signed": 1, "narrow": 0}, [-2, -2, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1]),
        (2, {"signed": 0, "narrow": 0}, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 3]),
        (2, {"signed": 0, "narrow": 1}, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 2]),
        (3, {"signed": 1, "narrow": 1, "rounding_mode": "FLOOR"}, [-3, -2, -1, -1, -1, 0, 0, 0, 1, 1, 2, 3]),
        (3, {"signed": 1, "narrow": 1, "rounding_mode": "CEIL"}, [-2, -1, -1, 0, 0, 0, 1, 1, 1, 2, 3, 3]),
        (1, {"signed": 0, "narrow": 0}, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]),
    ],
)
def test_quant(bits, attributes, expected):
    assert evaluated("Quant", HALVES, 1, 0, bits, **attributes) == expected
    assert evaluated("IntQuant", HALVES * 4, 4, 0, bits, **attributes) == [4 * level for level in expected]


def test_zero_point():
    assert evaluated("Quant", HALVES[:, -4:], 0.5, 1, 2, signed=0, narrow=0) == [1, 1, 1, 1]
    assert evaluated("Quant", np.array([[-0.5, 0, 0.5]], np.float32), 0.5, 1, 2, signed=0, narrow=0) == [-0.5, 0, 0.5]


def test_multi_threshold():
    x = np.array([[0, 1], [1, 2], [2, 5]], np.float32)
    assert evaluated("MultiThreshold", x, [[0, 1], [2, 5]]) == [1, 0, 2, 1, 2, 2]
    assert evaluated("MultiThreshold", x, [[1]], out_scale=2.0, out_bias=-1.0, out_dtype="BIPOLAR") == [-1, 1, 1, 1, 1, 1]
    assert evaluated("MultiThreshold", x.reshape(1, 2, 3, 1), [[1], [2]]) == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("opset", [9, 14, 17])
def test_normalization_is_that_of_inference(opset):
    """With the momentum that exporters write, too."""
    given = evaluated(
        "BatchNormalization",
        np.array([[3, 3]], np.float32),
        [2, -1],
        [1, 0],
        [1, 5],
        [4, 1],
        domain="",
        opset=opset,
        epsilon=0.0,
        momentum=0.9,
    )
    assert given == [3, 2]
