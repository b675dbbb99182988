"""What convolutions, pools, layers and networks of them are, and what they refuse."""

import numpy as np
import pytest

import export
from export import Conv2d, Dense, Encoder, Graded, Layer, Network, Pool2d, Rate, Readout, Single, Ternary, UserError
from export.maps import MAX_NEURONS
from tests.maps import signs

ONES = np.ones((2, 3, 3, 2))


def refused(make):
    with pytest.raises(UserError) as caught:
        make()
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestConv2d:
    def test_geometry(self):
        convolution = Conv2d(ONES, (7, 6), stride=(2, 1), padding=(2, 1))
        assert (convolution.input_map, convolution.output_map) == ((7, 6, 3), (5, 7, 2))
        assert (convolution.inputs, convolution.outputs, convolution.channels) == (126, 70, 2)
        assert (convolution.kernel_shape, convolution.fan_in) == ((3, 2), 18)
        assert (convolution.stride, convolution.padding) == ((2, 1), (2, 1))

    def test_numbers_of_numpy(self):
        convolution = Conv2d(ONES, (np.int8(7), np.int64(6)), np.int16(2), np.uint8(1))
        assert (convolution.map_shape, convolution.stride, convolution.padding) == ((7, 6), (2, 2), (1, 1))
        assert all(type(number) is int for number in (*convolution.map_shape, *convolution.stride, *convolution.padding))

    def test_weights_are_rows_of_places(self):
        kernels = signs(np.random.default_rng(1), 2, 3, 4, 5)
        weights = Conv2d(kernels, (4, 5)).weights
        for o, i, k, m in np.ndindex(kernels.shape):
            assert weights[o, (k * 5 + m) * 3 + i] == kernels[o, i, k, m]
        assert weights.dtype == np.int8
        assert not weights.flags.writeable

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                (np.ones((2, 3, 3)), (4, 4)),
                "kernels must have shape (channels, input channels, height, width), all at least 1, not (2, 3, 3)",
            ),
            (
                (np.ones((2, 0, 3, 3)), (4, 4)),
                "kernels must have shape (channels, input channels, height, width), all at least 1, not (2, 0, 3, 3)",
            ),
            ((np.ones((1, 1, 2, 2), bool), (4, 4)), "kernels must be numbers, not bool"),
            (([[[[1, 1]], [[1]]]], (4, 4)), "kernels must be an array, all rows of one length"),
            (([[[[1, -1], [0, 1]]]], (4, 4)), "kernels must be -1 or +1, but kernels[0, 0, 1, 0] is 0"),
            (([[[[1, np.nan]]]], (4, 4)), "kernels must be -1 or +1, but kernels[0, 0, 0, 1] is nan"),
            ((np.ones((1, 1, 1024, 1025)), (9, 9)), "a kernel must have at most 1048576 weights, not 1049600"),
            ((ONES, (2, 4)), "kernels must be at most as large as the map with its padding, 2 x 4, not 3 x 2"),
            ((ONES, (1, 1), 1, (1, 0)), "kernels must be at most as large as the map with its padding, 3 x 1, not 3 x 2"),
            ((ONES, (4, 0)), "map_shape must be an integer from 1 to 4194304, or two of them, not (4, 0)"),
            ((ONES, (4, 4, 3)), "map_shape must be an integer from 1 to 4194304, or two of them, not (4, 4, 3)"),
            ((ONES, "44"), "map_shape must be an integer from 1 to 4194304, or two of them, not '44'"),
            ((ONES, (4, 4), 0), "stride must be an integer from 1 to 4194304, or two of them, not 0"),
            ((ONES, (4, 4), (1, 0)), "stride must be an integer from 1 to 4194304, or two of them, not (1, 0)"),
            ((ONES, (4, 4), True), "stride must be an integer from 1 to 4194304, or two of them, not True"),
            ((ONES, (4, 4), 1.0), "stride must be an integer from 1 to 4194304, or two of them, not 1.0"),
            ((ONES, (4, 4), 10**30), f"stride must be an integer from 1 to 4194304, or two of them, not {10**30}"),
            (
                (ONES, (4, 4), 1, -1),
                "padding must be an integer from 0 to (2, 1), less than the kernel's 3 x 2, or two of them, not -1",
            ),
            ((ONES, (4, 4), 1, 2), "padding must be an integer from 0 to (2, 1), less than the kernel's 3 x 2, or two of them, not 2"),
            (
                (np.ones((1, 1, 2, 2)), (4, 4), 1, (0, 2)),
                "padding must be an integer from 0 to 1, less than the kernel's 2 x 2, or two of them, not (0, 2)",
            ),
            ((ONES, (2048, 1024)), f"the map that comes in must have at most {MAX_NEURONS} neurons, not 2048 x 1024 x 3"),
            ((np.ones((5, 1, 1, 1)), (1024, 1024)), f"the map must have at most {MAX_NEURONS} neurons, not 1024 x 1024 x 5"),
        ],
    )
    def test_wrong_values_are_refused(self, arguments, message):
        assert refused(lambda: Conv2d(*arguments)) == message


class TestPool2d:
    def test_geometry(self):
        pool = Pool2d((5, 7), 3, (2, 3), "sum")
        assert (pool.input_map, pool.output_map, pool.inputs, pool.outputs) == ((5, 7, 3), (2, 2, 3), 105, 12)
        assert pool.range_of((-2, 5)) == (-12, 30)
        assert Pool2d((5, 7), 3, 2).range_of((0, 1)) == (0, 1)
        assert Pool2d((5, 7), 3, 2) == Pool2d((np.int8(5), 7), np.int64(3), (2, 2), "max")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (((4, 4), 1, 2, "mean"), "pool kind must be one of max, sum, not 'mean'"),
            (((4, 4), 1, 2, ["max"]), "pool kind must be one of max, sum, not ['max']"),
            (((4, 4), 0, 2), "channels must be an integer from 1 to 4194304, not 0"),
            (((4, 4), 1.0, 2), "channels must be an integer from 1 to 4194304, not 1.0"),
            (((4, -4), 1, 2), "map_shape must be an integer from 1 to 4194304, or two of them, not (4, -4)"),
            (((4, 4), 1, 0), "pool size must be an integer from 1 to 4, the map's 4 x 4, or two of them, not 0"),
            (((4, 4), 1, 5), "pool size must be an integer from 1 to 4, the map's 4 x 4, or two of them, not 5"),
            (((3, 5), 1, 4), "pool size must be an integer from 1 to (3, 5), the map's 3 x 5, or two of them, not 4"),
            (((4, 4), MAX_NEURONS, 2), f"the map that is pooled must have at most {MAX_NEURONS} neurons, not 4 x 4 x {MAX_NEURONS}"),
        ],
    )
    def test_wrong_values_are_refused(self, arguments, message):
        assert refused(lambda: Pool2d(*arguments)) == message


CONVOLUTION = Conv2d(ONES, (4, 4))  # to 2 x 3 x 2


class TestLayer:
    def test_sizes(self):
        layer = Layer(CONVOLUTION, Single([1, 19]), Pool2d((8, 9), 3, 2))
        assert (layer.inputs, layer.outputs, layer.input_map, layer.output_map) == (216, 12, (8, 9, 3), (2, 3, 2))
        assert not layer.is_dense
        assert Layer(Dense([[1]]), Single([1])).is_dense
        assert not Layer(Dense([[1]]), Single([1]), Pool2d((2, 2), 1, 2)).is_dense

    @pytest.mark.parametrize(
        ("neuron", "message"),
        [
            (lambda: Single([1] * 12), "thresholds must have shape (2,), one per channel, not (12,)"),
            (lambda: Single([1, 0]), "thresholds must be from 1 to 19 for 18 inputs, but thresholds[1] is 0"),
            (lambda: Single([20, 1]), "thresholds must be from 1 to 19 for 18 inputs, but thresholds[0] is 20"),
            (lambda: Rate([1, 2, 3]), "thresholds must have shape (2,), one per channel, not (3,)"),
        ],
    )
    def test_neurons_that_do_not_fit_are_refused(self, neuron, message):
        assert refused(lambda: Layer(CONVOLUTION, neuron())) == message

    def test_other_neurons_may_have_any_threshold(self):
        assert Layer(CONVOLUTION, Readout([-5, 0])).margin_range((0, 1), 1) == (0, 23)

    @pytest.mark.parametrize(
        ("connection", "pool", "message"),
        [
            (CONVOLUTION, Pool2d((8, 8), 2, 2), "connection must take the pooled map, 4 x 4 x 2, not one of 4 x 4 x 3"),
            (Dense([[1] * 9, [1] * 9]), Pool2d((4, 4), 2, 2), "connection must take the 8 windows of the pool, but has 9 inputs"),
            (CONVOLUTION, 2, "pool must be a Pool2d or None, not int"),
        ],
    )
    def test_pools_that_do_not_fit_are_refused(self, connection, pool, message):
        assert refused(lambda: Layer(connection, Single([1, 1]), pool)) == message


def dense(inputs, pool=None):
    return Layer(Dense(np.ones((2, inputs))), Readout([1, 2]), pool)


class TestNetwork:
    def test_shape_and_maps(self):
        network = Network((Layer(CONVOLUTION, Single([1, 1])), dense(2, Pool2d((2, 3), 2, (2, 3)))), 4, Encoder("latency"))
        assert network.shape == (48, 12, 2)
        assert network.maps == ((4, 4, 3), (2, 3, 2), None)
        assert Network((dense(3),), 4).maps == (None, None)

    @pytest.mark.parametrize(
        ("following", "message"),
        [
            (
                Layer(Conv2d(np.ones((2, 3, 1, 1)), (2, 2)), Single([1, 1])),
                "layer 1 must take the map of layer 0, 2 x 3 x 2, not one of 2 x 2 x 3",
            ),
            (dense(2, Pool2d((3, 2), 2, (3, 2))), "layer 1 must take the map of layer 0, 2 x 3 x 2, not one of 3 x 2 x 2"),
            (dense(11), "layer 1 must take the 12 outputs of layer 0, but has 11 inputs"),
        ],
    )
    def test_layers_that_do_not_follow_are_refused(self, following, message):
        assert refused(lambda: Network((Layer(CONVOLUTION, Single([1, 1])), following), 4)) == message

    def test_a_map_of_another_size_behind_a_dense_layer_is_refused(self):
        assert refused(lambda: Network((dense(3), Layer(CONVOLUTION, Single([1, 1]))), 4)) == (
            "layer 1 must take the 2 outputs of layer 0, but has 48 inputs"
        )

    def test_max_of_coefficients_is_refused(self):
        pool = Pool2d((2, 3), 2, 2)
        assert refused(lambda: Network((Layer(CONVOLUTION, Rate([1, 1])), dense(2, pool)), 4)) == (
            "layer 1 must pool by sum, not by max, because neurons of layer 0 are of kind rate and may spike often"
        )
        assert refused(lambda: Network((dense(2, pool),), 4, Encoder("spread", bits=2))) == (
            "layer 0 must pool by sum, not by max, because inputs are of kind spread and may spike often"
        )

    def test_max_of_neurons_that_spike_once_in_one_step(self):
        pool = Pool2d((2, 3), 2, 2)
        assert Network((Layer(CONVOLUTION, Rate([1, 1])), dense(2, pool)), 1).coefficients[1] == (0, 1)
        for neuron in (Graded([1, 1], levels=1), Ternary([1, 1], levels=1, signed=True)):
            message = f"layer 1 must pool by sum, not by max, because neurons of layer 0 are of kind {neuron.kind} and may spike often"
            assert refused(lambda neuron=neuron: Network((Layer(CONVOLUTION, neuron), dense(2, pool)), 1)) == message

    def test_sums_of_more_than_16_bits_are_refused(self):
        def network(height):
            convolution = Layer(Conv2d(np.ones((1, 1, 1, 1)), (height, 1)), Graded([1], levels=127, signed=True))
            return Network((convolution, dense(1, Pool2d((height, 1), 1, (height, 1), "sum"))), 4)

        assert network(129).coefficients[1] == (-254, 254)
        assert refused(lambda: network(130)) == "coefficients in a window of layer 1 must add up to less than 32768, but can reach 33020"

    def test_potentials_behind_sums_are_bounded(self):
        layer = Layer(Dense(np.ones((1, 16384))), Readout([0]), Pool2d((2, 2), 16384, 2, "sum"))
        assert refused(lambda: Network((layer,), 1, Encoder("none", bits=8))) == (
            "potentials of layer 0 must stay below 8388608, but can reach 16711680"
        )

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((3, 4, 3, 4), "images must have shape (frames, 3, 4, 4) or (frames, 48), not (3, 4, 3, 4)"),
            ((3, 4, 4, 3), "images must have shape (frames, 3, 4, 4) or (frames, 48), not (3, 4, 4, 3)"),
            ((3, 12, 4), "images must have shape (frames, 3, 4, 4) or (frames, 48), not (3, 12, 4)"),
            ((3, 4, 4), "the network takes 48 inputs, but the images have 16 pixels"),
        ],
    )
    def test_images_of_another_size_are_refused(self, shape, message):
        network = Network((Layer(CONVOLUTION, Single([1, 1])),), 4, Encoder("latency"))
        assert refused(lambda: network.encode(np.zeros(shape, np.uint8))) == message

    def test_one_plane_of_another_size_is_refused(self):
        network = Network((Layer(Conv2d([[[[1]]]], (2, 8)), Single([1])),), 4, Encoder("latency"))
        assert refused(lambda: network.encode(np.zeros((3, 4, 4), np.uint8))) == (
            "images must have shape (frames, 2, 8) or (frames, 16), not (3, 4, 4)"
        )


def test_public_names():
    assert export.Conv2d is Conv2d
    assert export.Pool2d is Pool2d
