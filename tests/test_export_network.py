import dataclasses

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Single, UserError
from export.connections import MAX_FAN_IN
from export.network import MAX_STEPS
from tests import oracle


def layer(outputs=2, inputs=3, threshold=1):
    return Layer(Dense(np.ones((outputs, inputs))), Single(np.full(outputs, threshold)))


class TestEncoder:
    def test_table_for_eight_steps(self):
        """[S2] The whole default table for T = 8, as ranges of intensities."""
        times = Encoder("latency").encode(np.arange(256, dtype=np.uint8)[None], 8)[0]
        for step in range(8):
            low, high = 255 - (32 * (step + 1) - 1), 255 - 32 * step
            expected = 8 if step == 7 else step  # p_min = 32: the faintest bin is background
            assert (times[low : high + 1] == expected).all()

    @pytest.mark.parametrize("steps", [1, 2, 3, 7, 8, 9, 16, 100, 255, 256, 257, 1000, MAX_STEPS])
    @pytest.mark.parametrize("p_min", [None, 0, 1, 32, 255, 256])
    def test_equals_oracle(self, steps, p_min):
        times = Encoder("latency", p_min).encode(np.arange(256, dtype=np.uint8).reshape(2, 128), steps)
        assert times.dtype == np.int32
        assert times.ravel().tolist() == [oracle.latency(p, steps, p_min) for p in range(256)]
        assert times.min() >= 0
        assert times.max() <= steps

    @pytest.mark.parametrize(
        ("steps", "p_min"), [(1, 256), (2, 128), (3, 85), (8, 32), (16, 16), (128, 2), (255, 1), (256, 1), (257, 1), (1000, 1)]
    )
    def test_default_p_min(self, steps, p_min):
        assert Encoder("latency").resolved(steps) == Encoder("latency", p_min)

    def test_none_stays_none(self):
        assert Encoder().resolved(8) == Encoder("none", None)

    def test_brighter_is_earlier(self):
        times = Encoder("latency", 0).encode(np.arange(256, dtype=np.uint8)[None], 13)[0]
        assert (np.diff(times) <= 0).all()
        assert times[255] == 0

    def test_images_are_flattened_row_by_row(self):
        images = np.array([[[255, 0], [128, 64]]], np.uint8)
        assert Encoder("latency").encode(images, 4).tolist() == [[0, 4, 1, 2]]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("rate",), "encoder kind must be one of latency, spread, none, not 'rate'"),
            (("none", 3), "encoder 'none' takes no p_min, not 3"),
            (("latency", -1), "encoder p_min must be an integer from 0 to 256, not -1"),
            (("latency", 257), "encoder p_min must be an integer from 0 to 256, not 257"),
            (("latency", 1.0), "encoder p_min must be an integer from 0 to 256, not 1.0"),
            (("latency", True), "encoder p_min must be an integer from 0 to 256, not True"),
        ],
    )
    def test_wrong_parameters_are_refused(self, arguments, message):
        with pytest.raises(UserError) as caught:
            Encoder(*arguments)
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("images", "came"),
        [
            (np.zeros((1, 4)), "float64 (1, 4)"),
            (np.zeros((1, 4), np.int8), "int8 (1, 4)"),
            (np.zeros(4, np.uint8), "uint8 (4,)"),
        ],
    )
    def test_wrong_images_are_refused(self, images, came):
        with pytest.raises(UserError) as caught:
            Encoder("latency").encode(images, 8)
        assert str(caught.value) == f"intensities must be uint8 of shape (frames, inputs), not {came}"

    def test_none_encodes_nothing(self):
        with pytest.raises(UserError) as caught:
            Encoder().encode(np.zeros((1, 4), np.uint8), 8)
        assert str(caught.value) == "encoder must be 'latency' or 'spread' to encode intensities, not 'none': spikes come from outside"


class TestLayer:
    @pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
    def test_any_number_dtype(self, dtype):
        made = Layer(Dense(np.array([[1, -1]], dtype)), Single(np.array([1], np.int64)))
        assert made.connection.weights.tolist() == [[1, -1]]
        assert (made.connection.weights.dtype, made.neuron.thresholds.dtype) == (np.int8, np.int32)

    def test_plain_lists(self):
        made = Layer(Dense([[1, -1, 1], [-1, -1, -1]]), Single([0, 4]))
        assert (made.outputs, made.inputs) == (2, 3)
        assert made.connection.negatives.tolist() == [1, 3]

    def test_arrays_are_copied_and_frozen(self):
        weights, thresholds = np.ones((1, 2), np.int8), np.ones(1, np.int32)
        made = Layer(Dense(weights), Single(thresholds))
        weights[:], thresholds[:] = -1, 2
        assert made.connection.weights.tolist() == [[1, 1]]
        assert made.neuron.thresholds.tolist() == [1]
        with pytest.raises(ValueError, match="read-only"):
            made.connection.weights[0, 0] = -1
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.neuron = made.neuron

    @pytest.mark.parametrize("inputs", [1, 2, 7, 8, 9])
    def test_every_threshold_in_range(self, inputs):
        thresholds = np.arange(-inputs, inputs + 2)
        made = Layer(Dense(np.ones((len(thresholds), inputs))), Single(thresholds))
        assert made.neuron.thresholds.tolist() == thresholds.tolist()
        for wrong in (-inputs - 1, inputs + 2):
            with pytest.raises(UserError) as caught:
                Layer(Dense(np.ones((2, inputs))), Single(np.array([0, wrong])))
            assert str(caught.value) == (
                f"thresholds must be from {-inputs} to {inputs + 1} for {inputs} inputs, but thresholds[1] is {wrong}"
            )

    def test_threshold_range_whatever_the_dtype(self):
        for dtype in (np.int8, np.uint8, np.uint64, np.int64):
            assert Layer(Dense(np.ones((1, 300))), Single(np.array([100], dtype))).neuron.thresholds.tolist() == [100]
        with pytest.raises(UserError, match="thresholds"):
            Layer(Dense(np.ones((1, 3))), Single(np.array([2**64 - 1], np.uint64)))

    def test_margin_range_holds_every_margin(self):
        made = Layer(Dense(np.array([[1, 1, -1], [-1, -1, -1]])), Single(np.array([2, -1])))
        subsets = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1)
        margins = made.connection.weights @ subsets - made.neuron.thresholds[:, None]
        assert made.margin_range((0, 1), 4) == (margins.min(), margins.max())
        twice = 2 * made.connection.weights @ subsets - made.neuron.thresholds[:, None]
        assert made.margin_range((0, 2), 4) == (twice.min(), twice.max())

    @pytest.mark.parametrize(
        ("weights", "thresholds", "message"),
        [
            (np.ones(3), [1], "weights must have shape (outputs, inputs), both at least 1, not (3,)"),
            (np.ones((0, 3)), [], "weights must have shape (outputs, inputs), both at least 1, not (0, 3)"),
            (np.ones((3, 0)), [1, 1, 1], "weights must have shape (outputs, inputs), both at least 1, not (3, 0)"),
            (np.ones((1, 2, 3)), [1], "weights must have shape (outputs, inputs), both at least 1, not (1, 2, 3)"),
            (np.ones((1, 3), bool), [1], "weights must be numbers, not bool"),
            ([[1, 1], [1]], [1, 1], "weights must be an array, all rows of one length"),
            ([[1, 1], [1, 0]], [1, 1], "weights must be -1 or +1, but weights[1, 1] is 0"),
            ([[1, 0.5]], [1], "weights must be -1 or +1, but weights[0, 1] is 0.5"),
            ([[1, np.nan]], [1], "weights must be -1 or +1, but weights[0, 1] is nan"),
            (np.array([[255, 1]], np.uint8), [1], "weights must be -1 or +1, but weights[0, 0] is 255"),
            (np.ones((2, 3)), [1], "thresholds must have shape (2,), one per output, not (1,)"),
            (np.ones((2, 3)), [[1], [1]], "thresholds must have shape (outputs,), one per output, not (2, 1)"),
            (np.ones((2, 3)), [1.0, 2.0], "thresholds must be integers, not float64"),
            (np.ones((1, 3)), [5], "thresholds must be from -3 to 4 for 3 inputs, but thresholds[0] is 5"),
        ],
    )
    def test_wrong_arrays_are_refused(self, weights, thresholds, message):
        with pytest.raises(UserError) as caught:
            Layer(Dense(weights), Single(thresholds))
        assert str(caught.value) == message

    def test_too_many_inputs_are_refused(self):
        with pytest.raises(UserError) as caught:
            Layer(Dense(np.ones((1, MAX_FAN_IN + 1), np.int8)), Single([1]))
        assert str(caught.value) == f"a layer must have at most {MAX_FAN_IN} inputs, not {MAX_FAN_IN + 1}"

    def test_unknown_kind_is_refused(self):
        with pytest.raises(UserError) as caught:
            Layer(Dense([[1]]), np.array([1]))
        assert str(caught.value) == "neuron must be one of single, readout, rate, ternary, graded, not ndarray"
        with pytest.raises(UserError) as caught:
            Layer(np.array([[1]]), Single([1]))
        assert str(caught.value) == "connection must be one of dense, conv2d, not ndarray"


class TestNetwork:
    def test_shape_and_defaults(self):
        network = Network([layer(4, 3), layer(2, 4)], 8, Encoder("latency"))
        assert network.shape == (3, 4, 2)
        assert (network.inputs, network.outputs) == (3, 2)
        assert network.class_names == ("0", "1")
        assert network.encoder == Encoder("latency", 32)
        assert network.provenance == {}
        assert isinstance(network.layers, tuple)

    def test_numpy_steps(self):
        assert type(Network((layer(),), np.int64(3)).steps) is int

    def test_encode(self):
        network = Network((layer(2, 4),), 4, Encoder("latency"))
        assert network.encode(np.array([[[255, 0], [128, 64]]], np.uint8)).tolist() == [[0, 4, 1, 2]]
        with pytest.raises(UserError) as caught:
            network.encode(np.zeros((2, 5), np.uint8))
        assert str(caught.value) == "the network takes 4 inputs, but the images have 5 pixels"

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
    def test_check_spike_times_gives_int32(self, dtype):
        checked = Network((layer(),), 4).check_spike_times(np.array([[0, 4, 2]], dtype))
        assert checked.dtype == np.int32
        assert checked.tolist() == [[0, 4, 2]]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (((), 8), "a network must have at least one layer, not 0"),
            (((layer(4, 3), layer(2, 5)), 8), "layer 1 must take the 4 outputs of layer 0, but has 5 inputs"),
            (((layer(),), 0), "steps (T) must be an integer from 1 to 32768, not 0"),
            (((layer(),), -1), "steps (T) must be an integer from 1 to 32768, not -1"),
            (((layer(),), 32769), "steps (T) must be an integer from 1 to 32768, not 32769"),
            (((layer(),), 8.0), "steps (T) must be an integer from 1 to 32768, not 8.0"),
            (((layer(),), True), "steps (T) must be an integer from 1 to 32768, not True"),
            (((layer(),), 8, Encoder(), ("a",)), "class_names must be 2, one per output, not 1"),
            (((layer(),), 8, Encoder(), "ab"), "class_names must be a sequence of names, not str"),
            (((layer(),), 8, Encoder(), 2), "class_names must be a sequence of names, not int"),
            (((layer(),), 8, Encoder(), {"a", "b"}), "class_names must be a sequence of names, not set"),
            ((layer(), 8), "layers must be a sequence of Layer, not Layer"),
            ((None, 8), "layers must be a sequence of Layer, not NoneType"),
            (({layer()}, 8), "layers must be a sequence of Layer, not set"),
            ((([[1]],), 8), "layers must be a sequence of Layer, not of list"),
            (((layer(),), 8, "latency"), "encoder must be an Encoder, not 'latency'"),
            (((layer(),), 8, Encoder(), None, []), "provenance must be a dictionary, not list"),
            (((layer(),), 8, Encoder(), None, None), "provenance must be a dictionary, not NoneType"),
        ],
    )
    def test_wrong_parameters_are_refused(self, arguments, message):
        with pytest.raises(UserError) as caught:
            Network(*arguments)
        assert str(caught.value) == message

    def test_layers_and_names_of_iterators_and_arrays(self):
        network = Network((part for part in [layer(4, 3), layer(2, 4)]), 8, class_names=np.array(["a", "b"]))
        assert (network.shape, network.class_names) == ((3, 4, 2), ("a", "b"))
        assert Network([layer()], 8, class_names=(3, 4)).class_names == ("3", "4")

    def test_a_spike_train_is_told_from_spike_times(self):
        message = (
            r"^spike times must have shape \(frames, 3\), not \(8, 5, 3\): of a spike train .* export\.arrays\.first_spikes makes them$"
        )
        with pytest.raises(UserError, match=message):
            Network((layer(),), 8).check_spike_times(np.zeros((8, 5, 3), int))
