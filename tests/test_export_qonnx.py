"""QONNX graphs as networks: every supported node, against onnx's reference evaluator; every refusal; planted differences; the command."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import export
from export import Dense, Encoder, Layer, UserError
from export.__main__ import main
from export.qonnx.command import images_of, read
from export.qonnx.proof import prove
from tests.command_line import in_process
from tests.networks import random_network
from tests.onnx_graphs import DOMAIN, Graph, halved, signs

DATA = Path(os.environ.get("FIRSTSPIKE_DATA", "nowhere"))
NETWORKS = DATA.parent / "networks"
WINDOW = {"kernel_shape": [2, 2], "strides": [2, 2]}


@pytest.fixture
def rng():
    return np.random.default_rng(21)


@pytest.fixture
def command(capfd, monkeypatch):
    return in_process(main, capfd, monkeypatch)


def imported(graph, path, *outputs):
    return read(graph.save(path / "model.onnx", *outputs))


def equal(graph, path, *kinds, images=40, outputs=()):
    """The graph as a network with neurons of these kinds, after both were found equal, with some of each level and several classes."""
    found = imported(graph, path, *outputs)
    compared = prove(found, images_of(found.network, "random", images)[0])
    assert compared.images == images
    assert len(set(compared.classes.tolist())) > 1
    assert [layer.neuron.kind for layer in found.network.layers] == list(kinds)
    return found


def dense_graph(rng, *, domain=DOMAIN):
    return (
        halved(Graph(1, 1, 4, 4, domain=domain).add("Flatten"))
        .bipolar()
        .dense(signs(rng, 9, 16), 0.5)
        .norm(rng, 9)
        .bipolar()
        .dense(signs(rng, 3, 9))
    )


class TestDense:
    @pytest.mark.parametrize("domain", ["onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general"])
    def test_bipolar(self, tmp_path, rng, domain):
        found = equal(dense_graph(rng, domain=domain), tmp_path, "single", "single")
        network = found.network
        assert (network.shape, network.steps, network.encoder) == ((16, 9, 3), 1, Encoder("latency", p_min=128))
        assert found.rounded == ()
        assert network.provenance["source"] == "model.onnx"

    def test_ternary(self, tmp_path, rng):
        graph = halved(Graph(1, 12)).quant(2, signed=1, narrow=1)
        for shape in ((8, 12), (7, 8)):
            graph.dense(signs(rng, *shape)).norm(rng, shape[0]).quant(2, signed=1, narrow=1)
        found = equal(graph.dense(signs(rng, 3, 7)), tmp_path, "ternary", "ternary", "readout")
        assert found.network.encoder == Encoder("spread", thresholds=(64, 192))
        assert found.network.totals == ((0, 2), (-1, 1), (-1, 1), (0, 1))

    @pytest.mark.parametrize("scale", [0.25, 0.3])
    def test_several_levels(self, tmp_path, rng, scale):
        """With scales that float32 adds exactly, and others."""
        graph = Graph(1, 12).quant(4, scale=1 / 15).dense(signs(rng, 8, 12), scale).norm(rng, 8, scale).add("Relu").quant(2, scale=scale)
        graph.dense(signs(rng, 7, 8), scale).norm(rng, 7, scale).quant(3, signed=1, narrow=1, scale=scale)
        found = equal(graph.dense(signs(rng, 6, 7)).add("Mul", 0.1).add("Add", -3.0), tmp_path, "graded", "graded", "readout", images=200)
        assert found.network.totals[1:3] == ((0, 3), (-3, 3))
        assert found.rounded[1:] == (() if scale == 0.25 else ("node MatMul_9 (MatMul)", "node MatMul_14 (MatMul)"))

    def test_levels_that_are_not_symmetrical(self, tmp_path, rng):
        graph = Graph(1, 12).quant(3, scale=1 / 7).dense(signs(rng, 8, 12)).norm(rng, 8).quant(2, signed=1, narrow=0, scale=0.5)
        assert equal(graph.dense(signs(rng, 3, 8)), tmp_path, "graded", "readout").network.totals[1] == (0, 3)

    def test_multi_thresholds(self, tmp_path, rng):
        graph = Graph(1, 12).add("MultiThreshold", [[0.1, 0.5]], out_bias=-1.0).dense(signs(rng, 8, 12))
        graph.add("MultiThreshold", rng.integers(-6, 6, (8, 1)) + np.array([[0, 2, 4]]), out_scale=0.5, out_dtype="UINT2")
        assert equal(graph.dense(signs(rng, 3, 8)), tmp_path, "graded", "readout").network.encoder.thresholds == (26, 128)

    def test_signs_of_odd_and_of_even_sums(self, tmp_path, rng):
        """The sign of 0 is 0: a third level, unless no sum is 0."""
        graph = halved(Graph(1, 12)).bipolar().dense(signs(rng, 8, 12)).add("Sign").dense(signs(rng, 3, 8))
        equal(graph, tmp_path, "ternary", "readout")
        graph = halved(Graph(1, 11)).bipolar().dense(signs(rng, 8, 11)).add("Sign").dense(signs(rng, 3, 8))
        equal(graph, tmp_path, "single", "single")

    def test_a_level_per_grey(self, tmp_path, rng):
        graph = Graph(1, 6).dense(signs(rng, 8, 6)).norm(rng, 8, 0.5).bipolar().dense(signs(rng, 3, 8))
        assert equal(graph, tmp_path, "rate", "single").network.encoder == Encoder("spread", bits=8)

    def test_bytes_as_input(self, tmp_path, rng):
        graph = Graph(1, 6, kind=TensorProto.UINT8).add("Cast", to=TensorProto.FLOAT).add("Div", 64.0).quant(2, rounding_mode="FLOOR")
        graph.dense(signs(rng, 8, 6)).norm(rng, 8).bipolar().dense(signs(rng, 3, 8))
        assert equal(graph, tmp_path, "rate", "single").network.encoder == Encoder("spread", bits=2)

    def test_gemm(self, tmp_path, rng):
        graph = halved(Graph(1, 12)).bipolar().add("Gemm", signs(rng, 8, 12) * 0.3, rng.normal(size=8), transB=1, alpha=2.0, beta=0.5)
        graph = graph.add("Sign").add("Gemm", signs(rng, 8, 3), np.array([0.25, 0.5, -1.3]))
        assert equal(graph, tmp_path, "single", "readout").network.layers[1].neuron.fraction == 2

    def test_weights_of_one_bit(self, tmp_path, rng):
        graph = halved(Graph(1, 8)).bipolar()
        weights = graph.free("Quant", rng.normal(size=(8, 5)), np.abs(rng.normal(size=5)) + 1, 0.0, 1.0, signed=1, narrow=0)
        graph.add("MatMul", weights).norm(rng, 5).quant(1, signed=1).dense(signs(rng, 3, 5))
        equal(graph, tmp_path, "single", "single")

    def test_all_that_is_folded(self, tmp_path, rng):
        """A scalar or one number per channel, of either sign, on either side of an activation."""
        graph = halved(Graph(1, 8)).bipolar().add("Mul", -0.5).dense(signs(rng, 6, 8), 2.0)
        graph.add("Sub", rng.integers(-3, 3, 6) * 1.0).add("Div", np.array([2, -2, 1, -1, 4, 0.5])).add("Add", [0.25]).add("Neg").add(
            "Identity"
        )
        graph.add("Clip", -3.0, 3.0).add("Dropout").bipolar(0.25).add("Mul", 4.0).add("Add", 1.0).dense(signs(rng, 3, 6)).add("Mul", -2.0)
        equal(graph, tmp_path, "single", "single")

    def test_a_constant_before_what_it_is_added_to(self, tmp_path, rng):
        graph = Graph(1, 8)
        graph.current = graph.free("Mul", 2.0, graph.current)
        graph.add("Sub", 1.0).bipolar().dense(signs(rng, 3, 8))
        equal(graph, tmp_path, "single")


class TestMaps:
    @pytest.mark.parametrize("first", ["activation", "pool"])
    def test_bipolar_with_pools(self, tmp_path, rng, first):
        """The pool before or after the activation, with normalisations that turn it round: the greatest is then the least."""
        graph = halved(Graph(1, 3, 8, 8)).bipolar().conv(signs(rng, 6, 3, 3, 3))
        if first == "pool":
            graph.add("MaxPool", **WINDOW).norm(rng, 6).bipolar()
        else:
            graph.norm(rng, 6).bipolar().add("MaxPool", **WINDOW)
        graph.conv(signs(rng, 5, 6, 2, 2)).norm(rng, 5).bipolar().add("Flatten").dense(signs(rng, 3, 20))
        network = equal(graph, tmp_path, "rate", "rate", "single").network
        assert network.maps[:3] == ((8, 8, 3), (6, 6, 6), (2, 2, 5))

    def test_zeros_beyond_the_border(self, tmp_path, rng):
        """Bipolar activations are counts of ±1 there, so that 0 is none."""
        graph = Graph(1, 2, 6, 6).conv(signs(rng, 6, 2, 3, 3), pads=[1, 1, 1, 1]).norm(rng, 6, 0.5).bipolar(0.5)
        graph.conv(signs(rng, 5, 6, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]).norm(rng, 5).quant(2, signed=1, narrow=1)
        graph.conv(signs(rng, 4, 5, 2, 3), pads=[0, 1, 0, 1]).norm(rng, 4).quant(2, scale=2.0).add("Flatten").dense(signs(rng, 3, 24))
        network = equal(graph, tmp_path, "ternary", "ternary", "graded", "readout").network
        assert [layer.neuron.fraction for layer in network.layers[:2]] == [1, 0]

    def test_a_constant_reshape_of_one_image(self, tmp_path, rng):
        """Exporters write the shape of one image into the graph: images are then run one by one."""
        graph = halved(Graph(1, 16)).add("Reshape", np.array([1, 1, 4, 4])).bipolar().conv(signs(rng, 4, 1, 2, 2)).norm(rng, 4).bipolar()
        found = equal(graph.add("Reshape", np.array([1, 36])).dense(signs(rng, 3, 36)), tmp_path, "rate", "single", images=9)
        assert found.network.maps[0] == (4, 4, 1)

    def test_the_shape_arithmetic_of_exporters(self, tmp_path, rng):
        graph = halved(Graph(1, 2, 3, 3))
        first = graph.free("Gather", graph.free("Shape", graph.current), np.array(0))
        sizes = graph.free("Concat", graph.free("Unsqueeze", first, np.array([0])), np.array([-1]), axis=0)
        equal(graph.add("Reshape", sizes).bipolar().dense(signs(rng, 3, 18)), tmp_path, "single")

    def test_bias_of_a_convolution(self, tmp_path, rng):
        graph = halved(Graph(1, 1, 4, 4)).bipolar().add("Conv", signs(rng, 4, 1, 2, 2), rng.normal(size=4)).bipolar()
        graph = graph.add("Conv", signs(rng, 3, 4, 3, 3)).add("Flatten")
        assert equal(graph, tmp_path, "rate", "readout").network.maps[-1] == (1, 1, 3)

    def test_a_pool_of_the_image(self, tmp_path, rng):
        graph = halved(Graph(1, 3, 4, 4)).add("MaxPool", **WINDOW).bipolar().add("Flatten").dense(signs(rng, 3, 12))
        assert equal(graph, tmp_path, "single").network.layers[0].pool == export.Pool2d((4, 4), 3, 2)


class TestDecisions:
    @pytest.mark.parametrize("kind", ["ArgMax", "TopK"])
    def test_the_graph_may_decide_itself(self, tmp_path, rng, kind):
        graph = dense_graph(rng)
        if kind == "ArgMax":
            graph.add("ArgMax", axis=1)
            outputs = (graph.current,)
        else:
            graph.free("TopK", graph.current, np.array([1]), axis=-1)
            graph.nodes[-1].output.append("indices")
            outputs = tuple(graph.nodes[-1].output)
        found = equal(graph, tmp_path, "single", "single", outputs=outputs)
        assert found.decision == outputs[-1]


def changed(found, layer, **arrays):
    """The same with another neuron in a layer."""
    layers = list(found.network.layers)
    layers[layer] = replace(layers[layer], neuron=replace(layers[layer].neuron, **arrays))
    return replace(found, network=replace(found.network, layers=tuple(layers)))


class TestDifferences:
    def compare(self, found):
        with pytest.raises(UserError) as caught:
            prove(found, images_of(found.network, "random", 300)[0])
        return str(caught.value)

    def test_a_threshold(self, tmp_path, rng):
        found = imported(dense_graph(rng), tmp_path)
        thresholds = found.network.layers[0].neuron.thresholds.copy()
        thresholds[4] += 1
        message = self.compare(changed(found, 0, thresholds=thresholds))
        assert message.startswith("the golden model must equal the graph, but activation 'tensor_8' differs in ")
        assert ", place 4: graph " in message

    def test_the_encoder(self, tmp_path, rng):
        found = imported(dense_graph(rng), tmp_path)
        message = self.compare(replace(found, network=replace(found.network, encoder=Encoder("latency", p_min=127))))
        assert "activation 'tensor_3' differs" in message
        assert message.endswith("graph -1, golden 1")

    def test_the_decision(self, tmp_path, rng):
        found = imported(dense_graph(rng), tmp_path)
        message = self.compare(changed(found, 1, thresholds=found.network.layers[1].neuron.thresholds + np.array([0, 1, 0])))
        assert "the class differs" in message

    def test_one_weight(self, tmp_path, rng):
        found = imported(dense_graph(rng), tmp_path)
        first, last = found.network.layers
        weights = first.connection.weights.copy()
        weights[2, 3] *= -1
        message = self.compare(replace(found, network=replace(found.network, layers=(Layer(Dense(weights), first.neuron), last))))
        assert "activation 'tensor_8' differs" in message
        assert ", place 2: graph " in message


SUPPORTED = (
    "MatMul, Gemm, Conv, BatchNormalization, Mul, Add, Sub, Div, Neg, Sign, Relu, Clip, Identity, Dropout, Cast, BipolarQuant, Quant, "
    "IntQuant, MultiThreshold, MaxPool, Flatten, Reshape, Squeeze, Unsqueeze, ArgMax, TopK"
)


def bipolar(*shape):
    return halved(Graph(*shape)).bipolar()


def maps(rng):
    return bipolar(1, 2, 6, 6).conv(signs(rng, 3, 2, 2, 2))


REFUSED = [
    (lambda rng: dense_graph(rng).add("Softmax"), f"node Softmax_12 (Softmax): type must be one of {SUPPORTED}"),
    (
        lambda rng: bipolar(1, 6).add("MatMul", rng.normal(size=(6, 2)).round(1)),
        "node MatMul_3 (MatMul): weights 'constant_3' must be -s or +s, …",
    ),
    (
        lambda rng: bipolar(1, 6).add("MatMul", np.array([[1.0, 0.0]] * 6)),
        "node MatMul_3 (MatMul): weights 'constant_3' must be -s or +s, one scale s per output, but those of output 1 are 0",
    ),
    (
        lambda rng: Graph(1, 6).dense(signs(rng, 3, 6)).norm(rng, 3).dense(signs(rng, 2, 3)),
        "node BatchNormalization_3 (BatchNormalization): must come after a quantiser, of at most 256 levels",
    ),
    (
        lambda rng: bipolar(1, 6).dense(signs(rng, 3, 6)).add("MultiThreshold", [[-3, -2, 6]]).dense(signs(rng, 2, 3)),
        "node MultiThreshold_6 (MultiThreshold): thresholds must be evenly spaced, but those of channel 0, …",
    ),
    (
        lambda rng: bipolar(1, 6).dense(signs(rng, 3, 6)).quant(2).add("Mul", [1.0, 2.0, 1.0]).dense(signs(rng, 2, 3)),
        "node Mul_7 (Mul): …",
    ),
    (
        lambda rng: bipolar(1, 6).add("Mul", rng.normal(size=6)).dense(signs(rng, 2, 6)),
        "node Mul_3 (Mul): constants must be the same at all positions of a channel",
    ),
    (
        lambda rng: bipolar(1, 1, 2, 3).add("Mul", np.ones((2, 3))).add("Flatten").dense(signs(rng, 2, 6)),
        "node Mul_3 (Mul): constants must be scalars, or one per channel",
    ),
    (
        lambda rng: bipolar(1, 6).dense(signs(rng, 3, 6)).add("Mul", [1.0, 2.0, 1.0]),
        "node Mul_6 (Mul): scores must be one scale times the sums, the same for all classes, and offsets, at most 256 fractions",
    ),
    (
        lambda rng: bipolar(1, 6).dense(signs(rng, 3, 6)).bipolar(),
        "node BipolarQuant_6 (BipolarQuant): scores must rise with the sum, or fall, for all classes, and …",
    ),
    (
        lambda rng: bipolar(1, 6),
        "node BipolarQuant_2 (BipolarQuant): scores must be those of a connection, MatMul, Gemm, Conv, with one number per class",
    ),
    (lambda rng: maps(rng), "node Conv_4 (Conv): scores must be one number per class, not a map of (5, 5, 3)"),
    (
        lambda rng: maps(rng).norm(rng, 3).bipolar().conv(signs(rng, 2, 3, 2, 2)).add("MaxPool", **WINDOW).add("Flatten"),
        "node Flatten_10 (Flatten): scores must be …",
    ),
    (
        lambda rng: bipolar(1, 2, 6, 6).conv(signs(rng, 3, 2, 3, 3), pads=[1, 1, 1, 1]),
        "node BipolarQuant_2 (BipolarQuant): zeros can only be added to an activation with levels from 0, not from -1 to 1",
    ),
    (
        lambda rng: Graph(1, 2, 6, 6).conv(signs(rng, 3, 2, 3, 3), pads=[0, 0, 1, 1]),
        "node Conv_1 (Conv): pads must be the same on both sides, not [0, 0, 1, 1]",
    ),
    (
        lambda rng: Graph(1, 2, 6, 6).add("Conv", signs(rng, 4, 1, 2, 2), group=2),
        "node Conv_0 (Conv): transA must be 0, group and dilations 1, and auto_pad NOTSET",
    ),
    (
        lambda rng: Graph(1, 2, 6, 6).add("Conv", signs(rng, 4, 2, 2, 2), dilations=[2, 2]),
        "node Conv_0 (Conv): transA must be 0, group and dilations 1, and auto_pad NOTSET",
    ),
    (
        lambda rng: Graph(1, 2, 6).add("MatMul", signs(rng, 6, 3)),
        "node MatMul_0 (MatMul): must take vectors with weights of as many axes, not (1, 2, 6) with (6, 3)",
    ),
    (
        lambda rng: maps(rng).norm(rng, 3).quant(2).add("MaxPool", **WINDOW).add("Flatten").dense(signs(rng, 2, 12)),
        "node Flatten_8 (Flatten): counts of activations must be 0 or 1 where MaxPool takes them, not from 0 to 3",
    ),
    (
        lambda rng: maps(rng).add("MaxPool", kernel_shape=[3, 3], strides=[2, 2]),
        "node MaxPool_5 (MaxPool): windows must be of two axes, without overlap and padding",
    ),
    (
        lambda rng: maps(rng).norm(rng, 3).bipolar().add("MaxPool", **WINDOW).conv(signs(rng, 2, 3, 2, 2), pads=[1, 1, 1, 1]),
        "node MaxPool_7 (MaxPool): counts of activations must be 0 or 1 where MaxPool takes them, not from -1 to 1",
    ),
    (
        lambda rng: maps(rng).add("MaxPool", **WINDOW, ceil_mode=1),
        "node MaxPool_5 (MaxPool): dilations must be 1, ceil_mode 0 and auto_pad NOTSET",
    ),
    (
        lambda rng: maps(rng).add("MaxPool", **WINDOW).add("MaxPool", **WINDOW),
        "node MaxPool_6 (MaxPool): must be the only pool between two connections",
    ),
    (
        lambda rng: Graph(1, 1, 4, 4).add("Neg").add("MaxPool", **WINDOW).add("Flatten").dense(signs(rng, 2, 4)),
        "node Flatten_2 (Flatten): values that are pooled must rise with the pixels",
    ),
    (
        lambda rng: bipolar(1, 6).dense(signs(rng, 8, 6)).bipolar().add("Reshape", np.array([1, 2, 2, 2])).conv(signs(rng, 2, 2, 1, 1)),
        "node Reshape_7 (Reshape): must make a vector of each image, but makes (1, 2, 2, 2) of (1, 8)",
    ),
    (
        lambda rng: Graph(1, 2, 6).add("Reshape", np.array([2, 6])),
        "node Reshape_0 (Reshape): must keep images apart, as a first axis of 1, but makes (2, 6) of (1, 2, 6)",
    ),
    (
        lambda rng: Graph(1, 2, 6).add("Reshape", np.array([1, 3, 4])),
        "node Reshape_0 (Reshape): must not mix channels, but makes (1, 3, 4) of (1, 2, 6)",
    ),
    (lambda rng: dense_graph(rng).add("ArgMax", axis=0), "node ArgMax_12 (ArgMax): must be along the classes, the second of two axes"),
    (
        lambda rng: dense_graph(rng).add("ArgMax", axis=1, select_last_index=1),
        "node ArgMax_12 (ArgMax): must take the first of the greatest",
    ),
    (lambda rng: dense_graph(rng).add("ArgMax", axis=1).add("Neg"), "node Neg_13 (Neg): must not come behind ArgMax or TopK"),
    (
        lambda rng: Graph(1, 6).quant(2, rounding_mode="HALF_UP"),
        "node Quant_0 (Quant): rounding_mode must be one of ROUND, CEIL, FLOOR, not 'HALF_UP'",
    ),
    (
        lambda rng: Graph(1, 6).add("MultiThreshold", [[1]], data_layout="NHWC"),
        "node MultiThreshold_0 (MultiThreshold): data_layout must be NCHW, not 'NHWC'",
    ),
    (lambda rng: Graph(2, 6).bipolar(), "input 'image' must have a shape with 1 image, or any number, of fixed size, not [2, 6]"),
    (lambda rng: Graph(1, 0).bipolar(), "input 'image' must have a shape with 1 image, or any number, of fixed size, not [1, 0]"),
    (lambda rng: Graph(1, 6, kind=TensorProto.DOUBLE).bipolar(), "input 'image' must be float32 or uint8, not DOUBLE"),
    (lambda rng: bipolar(1, 6).add("MatMul", signs(rng, 5, 2)), "must be a graph that onnx's reference evaluator can run: …"),
    (
        lambda rng: Graph(1, 6).add("Add", "lost"),
        "node Add_0 (Add): input 'lost' must be the input, a constant or made by a node before, but is not",
    ),
    (lambda rng: Graph(1, 6), "must be an ONNX file with a graph, whose nodes all give something"),
]


@pytest.mark.parametrize(("graph", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_refused(tmp_path, rng, graph, message):
    with pytest.raises(UserError) as caught:
        imported(graph(rng), tmp_path)
    said = str(caught.value)
    expected = f"{tmp_path / 'model.onnx'}: {message}"
    assert said == expected if "…" not in message else said.startswith(expected.rstrip("…"))


def test_branches_are_refused(tmp_path, rng):
    graph = bipolar(1, 6).dense(signs(rng, 6, 6)).bipolar()
    graph.add("Add", "tensor_2")
    with pytest.raises(
        UserError, match=r"node Add_7 \(Add\): must take 'tensor_6', from the node before, as its first input, and else constants$"
    ):
        imported(graph.dense(signs(rng, 2, 6)), tmp_path)
    graph = bipolar(1, 6).dense(signs(rng, 6, 6))
    with pytest.raises(
        UserError, match=r"outputs must be what the last node gives that an image passes through, 'tensor_5', not \['tensor_2'\]$"
    ):
        imported(graph, tmp_path, "tensor_2")


def test_several_inputs_are_refused(tmp_path):
    model = Graph(1, 6).bipolar().model()
    model.graph.input.append(onnx.helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"must have one input, the image, and an output, not 2 inputs and 1 outputs$"):
        read(tmp_path / "model.onnx")


class TestCommand:
    def test_random_images(self, command, tmp_path, rng):
        model = dense_graph(rng).save(tmp_path / "model.onnx")
        out = tmp_path / "new" / "network.safetensors"
        done = command("import", model, "--out", out, "--check-images", 70)
        assert (done.returncode, done.stderr) == (0, "")
        network = export.load(out)
        assert done.stdout.splitlines() == [
            "golden model equal to the graph on 70 random images: 1,750 activations, and all decisions",
            f"{out}: 16-9-3, T = 1, {out.stat().st_size} bytes, sha256 {export.digest(network)}",
        ]
        assert "dataset" not in network.provenance
        done = command("inspect", out)
        assert "encoder     latency (p_min 128)\n" in done.stdout

    def test_images_of_a_data_set(self, command, tmp_path, rng):
        model = (
            halved(Graph(1, 2, 3, 2))
            .quant(2, signed=1, narrow=1)
            .conv(signs(rng, 3, 2, 3, 2), 0.3)
            .add("Flatten")
            .save(tmp_path / "model.onnx")
        )
        data = tmp_path / "set.npz"
        images, labels = rng.integers(0, 256, (30, 12)).astype(np.uint8), rng.integers(0, 3, 30)
        np.savez(data, x_test=images, y_test=labels)
        out = tmp_path / "network.safetensors"
        done = command("import", model, "--out", out, "--dataset", data)
        assert (done.returncode, done.stderr) == (0, "")
        network = export.load(out)
        classes = export.reference.run(network, network.encode(images)).decisions.class_index
        assert done.stdout.splitlines()[:3] == [
            f"golden model equal to the graph on 30 test images of {data}: 360 activations, and all decisions",
            f"decided right: {100 * np.mean(classes == labels):.2f} %",
            "float32 rounds the sums of node Conv_4 (Conv); thresholds are those of real sums, rounded once",
        ]
        assert network.provenance["dataset"] == str(data)
        assert "encoder     spread (thresholds 64, 192)\n" in command("inspect", out).stdout

    def test_a_pipe(self, command, tmp_path):
        os.mkfifo(tmp_path / "pipe.onnx")
        done = command("import", tmp_path / "pipe.onnx", "--out", tmp_path / "out")
        assert done == (2, "", f"error: {tmp_path}/pipe.onnx: must be a file, but is a pipe, a device or a socket\n")

    def test_more_random_images_than_are_made_at_once(self):
        network = random_network(np.random.default_rng(0), (6, 3), 1)
        with pytest.raises(UserError, match=r"^check-images must be at most 44739242 random frames of 6 inputs, not 44739243$"):
            images_of(network, "random", 44739243)

    def test_images_that_do_not_fit(self, command, tmp_path, rng):
        model = dense_graph(rng).save(tmp_path / "model.onnx")
        done = command("import", model, "--out", tmp_path / "n", "--dataset", "digits")
        assert done == (2, "", "error: the network takes 16 inputs, but the images of digits have 64 pixels\n")
        assert not (tmp_path / "n").exists()

    @pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x06"])
    def test_other_files(self, command, tmp_path, content):
        model = tmp_path / "model.onnx"
        model.write_bytes(content)
        done = command("import", model, "--out", tmp_path / "n")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {model}: must be an ONNX file")
        done = command("import", tmp_path / "missing.onnx", "--out", tmp_path / "n")
        assert done == (2, "", f"error: {tmp_path / 'missing.onnx'}: No such file or directory\n")

    def test_the_model_is_not_overwritten(self, command, tmp_path, rng):
        model = dense_graph(rng).save(tmp_path / "model.onnx")
        done = command("import", model, "--out", model)
        assert done == (2, "", f"error: --out must be another file than {model}, which it would overwrite\n")


@pytest.mark.skipif(not (NETWORKS.is_dir() and (DATA / "mnist").is_dir()), reason="beside FIRSTSPIKE_DATA there is no folder 'networks'")
class TestPublished:
    @pytest.mark.parametrize(("name", "percent"), [("TFC_1W1A", 92.96), ("TFC_1W2A", 94.74)])
    def test_all_images(self, name, percent):
        found = read(NETWORKS / f"{name}.onnx", "mnist")
        images, labels = images_of(found.network, "mnist", 10_000)
        compared = prove(found, images)
        assert (compared.images, compared.activations) == (10_000, 9_760_000)
        assert round(100 * np.mean(compared.classes == labels), 2) == percent
        assert found.rounded == ()

    def test_weights_of_two_bits(self):
        with pytest.raises(UserError) as caught:
            read(NETWORKS / "TFC_2W2A.onnx")
        assert str(caught.value) == (
            f"{NETWORKS / 'TFC_2W2A.onnx'}: node MatMul_20 (MatMul): weights '41' must be -s or +s, one scale s per output, "
            "but those of output 0 are -1, 0, 1"
        )
