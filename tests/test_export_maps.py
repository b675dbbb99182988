"""Convolution and pooling: the golden model against the oracle, event by event [S15], [S16]."""

import itertools

import numpy as np
import pytest

from export import Conv2d, Dense, Encoder, Events, Graded, Layer, Network, Pool2d, Readout, Single, recode, reference
from export.reference import run
from tests import oracle_codes, oracle_maps
from tests.maps import CODES, Shape, assert_equal_to_oracle, map_network, neurons, random_inputs, random_map_network, signs, synapses_of
from tests.multi_spike import dense, random_images


class TestOracle:
    def test_by_hand(self):
        """A row of three pixels, one kernel +1 -1 with padding 1: w·x over (·,a), (a,b), (b,c), (c,·)."""
        network = Network((Layer(Conv2d([[[[1, -1]]]], (1, 3), padding=(0, 1)), Single([1])),), 2)
        golden = run(network, np.array([[0, 1, 2]]))
        assert dense(golden.events[0]).tolist() == [[[0, 1, 0, 0], [0, 0, 1, 0]]]
        assert oracle_maps.run_single(synapses_of(network.layers[0].connection), [1], [[1, 0, 0], [0, 1, 0]]) == [
            [0, 1, 0, 0],
            [0, 0, 1, 0],
        ]

    def test_channels_are_neighbours(self):
        """Two channels of 1 x 1 kernels on a map of 1 x 2 x 2: the index is (y · W + x) · C + c."""
        kernels = np.array([[1, 1], [1, -1]]).reshape(2, 2, 1, 1)
        network = Network((Layer(Conv2d(kernels, (1, 2)), Single([2, 1])),), 1)
        inputs = np.array([[[1, 1, 1, 0]]])
        assert dense(run(network, Events.from_dense(inputs)).events[0]).tolist() == [[[1, 0, 0, 1]]]
        assert_equal_to_oracle(network, inputs)

    @pytest.mark.parametrize("code", CODES)
    @pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
    def test_random_networks(self, steps, code):
        rng = np.random.default_rng([1, steps, CODES.index(code)])
        spikes, seen = 0, set()
        for _ in range(8):
            network = random_map_network(rng, code, steps)
            golden = assert_equal_to_oracle(network, random_inputs(rng, network, 5))
            spikes += sum(map(len, golden.events[:-1]))
            seen |= {layer.pool.kind for layer in network.layers if layer.pool is not None}
        assert spikes > 50
        assert ("max" if code == "single" else "sum") in seen

    @pytest.mark.parametrize("kernel", [*itertools.product((1, 2, 5), (1, 3, 4))], ids=str)
    @pytest.mark.parametrize("stride", [*itertools.product((1, 2), (1, 3))], ids=str)
    def test_every_geometry(self, kernel, stride):
        """All paddings that a kernel can have, up to 2, on a map that is not square."""
        rng = np.random.default_rng([2, *kernel, *stride])
        for padding in itertools.product(range(min(3, kernel[0])), range(min(3, kernel[1]))):
            network = map_network(rng, (5, 6, 2), [Shape(2, kernel, stride, padding)], 2, 3, "single")
            assert_equal_to_oracle(network, random_inputs(rng, network, 3))

    @pytest.mark.parametrize("window", [(1, 1), (2, 2), (1, 3), (4, 2), (5, 7)], ids=str)
    @pytest.mark.parametrize("code", ["single", "graded, signed"])
    def test_windows(self, window, code):
        """Also of which some do not fit, and of the inputs."""
        rng = np.random.default_rng([3, *window])
        network = map_network(rng, (5, 7, 2), [Shape(3, (1, 1), pool=window)], 3, 4, code)
        assert network.layers[0].connection.input_map == (5 // window[0], 7 // window[1], 2)
        assert_equal_to_oracle(network, random_inputs(rng, network, 8))

    def test_a_convolution_can_be_the_last_layer(self):
        rng = np.random.default_rng(4)
        convolution = Conv2d(signs(rng, 5, 2, 4, 4), (4, 4))
        for neuron in (Readout([-3, 0, 4, 5, 6]), Single([1, 2, 3, 4, 5])):
            network = Network((Layer(convolution, neuron),), 3)
            assert (network.outputs, network.maps) == (5, ((4, 4, 2), (1, 1, 5)))
            assert_equal_to_oracle(network, random_inputs(rng, network, 10))

    def test_dense_between_maps(self):
        """A dense layer's outputs can be a map, too, if there are as many."""
        rng = np.random.default_rng(5)
        layers = [Layer(Dense(signs(rng, 18, 4)), Single(rng.integers(-2, 3, 18)))]
        convolution = Conv2d(signs(rng, 2, 2, 2, 2), (3, 3))
        layers.append(Layer(convolution, neurons(rng, "single", convolution)))
        network = Network(tuple(layers), 4)
        assert network.maps == (None, None, (2, 2, 2))
        assert_equal_to_oracle(network, random_inputs(rng, network, 10))


class TestGolden:
    def test_many_frames_as_few(self, monkeypatch):
        rng = np.random.default_rng(6)
        convolutions = [Shape(3, (3, 3), padding=(1, 1)), Shape(2, (2, 2), pool=(2, 2))]
        network = map_network(rng, (6, 5, 2), convolutions, 3, 4, "single", last_pool=(2, 1))
        inputs = Events.from_dense(random_inputs(rng, network, 23))
        whole = run(network, inputs)
        for name, most in (("convolution.PATCHES", 1), ("convolution.PATCHES", 3000), ("reference.STATES", 200), ("reference.CHUNK", 4)):
            with monkeypatch.context() as patch:
                patch.setattr(f"export.{name}", most)
                parts = run(network, inputs)
            assert all(one.equals(other) for one, other in zip(whole.events, parts.events, strict=True))
        for events in whole.events:
            events.check()
        assert len(run(network, inputs[:0])) == 0

    def test_hidden_spikes_are_those_of_neurons(self):
        """What passes through a pool is not counted once more [S16]."""
        convolution = Conv2d([[[[1]]]], (2, 2))
        outputs = Layer(Dense([[1]]), Readout([1]), Pool2d((2, 2), 1, 2))
        network = Network((Layer(convolution, Single([1])), outputs), 2)
        golden = run(network, np.array([[0, 0, 1, 2]]))
        assert golden.summary.hidden_spikes.tolist() == [2]
        assert len(golden.events[0]) == 3
        assert len(golden.events) == 2

    def test_a_large_sum_is_exact(self):
        """Sums beyond what half precision or 16 bits could hold."""
        kernels = np.ones((1, 40, 5, 5))
        bits = Encoder("none", bits=8)
        network = Network((Layer(Conv2d(kernels, (5, 5)), Readout([255_001])),), 1, bits)
        golden = run(network, Events.from_dense(np.full((1, 1, 1000), 255)))
        assert golden.decisions.margin.tolist() == [-1]


class TestExactness:
    @pytest.mark.parametrize("code", ["graded", "graded, signed"])
    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_counts_are_those_of_an_integer_network(self, steps, code):
        """[S11] After every step, for convolutions behind sums, too."""
        rng = np.random.default_rng([7, steps, CODES.index(code)])
        convolutions = [Shape(3, (3, 2), padding=(1, 0)), Shape(2, (2, 2), (2, 1), pool=(2, 2))]
        network = map_network(rng, (7, 6, 2), convolutions, 3, steps, code)
        inputs = random_inputs(rng, network, 6)
        golden = run(network, Events.from_dense(inputs))
        totals = np.cumsum(inputs, axis=1)
        counts = [np.cumsum(dense(events), axis=1) for events in golden.events[:-1]]
        for frame, step in np.ndindex(6, steps):
            values = totals[frame, step].tolist()
            for layer, count in zip(network.layers[:-1], counts, strict=True):
                if layer.pool is not None:
                    (values,) = oracle_maps.pool("sum", layer.pool.input_map, layer.pool.window, [values])
                neuron, expected = layer.neuron, []
                for reached, channel in synapses_of(layer.connection):
                    row, taken = [weight for _, weight in reached], [values[i] for i, _ in reached]
                    threshold, start, bias = ([array[channel].item()] for array in (neuron.thresholds, neuron.initial, neuron.bias))
                    drive = bias, neuron.fraction, step
                    expected += oracle_codes.integer_network([row], neuron.levels, neuron.signed, threshold, start, taken, *drive)
                values = expected
                assert count[frame, step].tolist() == values

    def test_recoded(self):
        """The same network in other codes keeps its maps, its pools and its counts."""
        rng = np.random.default_rng(8)
        convolutions = [Shape(3, (3, 3)), Shape(2, (2, 2), pool=(2, 2))]
        network = map_network(rng, (6, 6, 1), convolutions, 3, 4, "graded", encoder=Encoder("spread", bits=3))
        images = random_images(rng, 9, 36)
        other = recode.without_early_exit(recode.recode(network, "graded", 1))
        assert other.maps == network.maps
        assert [layer.pool for layer in other.layers] == [layer.pool for layer in network.layers]
        for code in ("rate", "ternary"):
            assert recode.recode(network, code, 3).maps == network.maps
        sums = [
            [dense(events).sum(axis=1).tolist() for events in run(some, some.encode(images)).events[:-1]]
            for some in (network, recode.recode(network, "graded", 7), other)
        ]
        assert sums[0] == sums[1] == sums[2]


class TestRanges:
    @pytest.mark.parametrize("padding", [(0, 0), (1, 0), (1, 1)], ids=str)
    @pytest.mark.parametrize("totals", [(0, 1), (-2, 3)], ids=str)
    def test_attained_by_brute_force(self, totals, padding):
        """Over all inputs of a tiny map."""
        rng = np.random.default_rng([9, *padding])
        convolution = Conv2d(signs(rng, 3, 1, 2, 2), (2, 2), padding=padding)
        every = np.array(list(itertools.product(range(totals[0], totals[1] + 1), repeat=4)), np.float32)
        sums = convolution.sums(every)
        least, greatest = convolution.sum_range(totals)
        assert least.dtype == greatest.dtype == np.int64
        assert least.tolist() == sums.min(axis=0).tolist()
        assert greatest.tolist() == sums.max(axis=0).tolist()

    def test_of_each_neuron(self):
        """Synapses, negatives and extremes against the oracle's lists, on borders, too."""
        rng = np.random.default_rng(10)
        for kernel, stride, padding in [((3, 3), 1, 1), ((5, 2), (2, 1), (2, 1)), ((1, 4), (1, 3), (0, 3))]:
            convolution = Conv2d(signs(rng, 3, 2, *kernel), (5, 6), stride, padding)
            lists = [[weight for _, weight in reached] for reached, _ in synapses_of(convolution)]
            assert convolution.synapses.tolist() == [len(row) for row in lists]
            assert convolution.negatives.tolist() == [row.count(-1) for row in lists]
            assert convolution.fan_in == max(map(len, lists))
            assert min(map(len, lists)) > 0
            least, greatest = convolution.sum_range((-1, 4))
            assert least.tolist() == [-row.count(1) - 4 * row.count(-1) for row in lists]
            assert greatest.tolist() == [4 * row.count(1) + row.count(-1) for row in lists]

    @pytest.mark.parametrize(("kind", "extremes"), [("max", (-2, 2)), ("sum", (-8, 8))])
    def test_of_pools(self, kind, extremes):
        """A window of four, two windows with a weight of -1 and two with +1 each."""
        pool = Pool2d((4, 4), 1, 2, kind)
        layer = Layer(Dense([[1, -1, 1, -1]]), Readout([0]), pool)
        assert layer.margin_range((0, 1), 1) == extremes
        assert [bounds.tolist() for bounds in layer.sum_range((0, 1))] == [[[extremes[0]]], [[extremes[1]]]]
        window = np.zeros((2, 1, 4, 4), int)
        window[0, :, :, :2] = window[1, :, :, 2:] = 1
        network = Network((layer,), 1)
        assert run(network, Events.from_dense(window.reshape(2, 1, 16))).decisions.margin.tolist() == [extremes[1], extremes[0]]

    def test_margins_of_each_code(self):
        """The bounds of a convolution are those of its neurons one by one, as dense layers."""
        rng = np.random.default_rng(11)
        for code in CODES:
            convolution = Conv2d(signs(rng, 2, 2, 3, 3), (4, 3), padding=1)
            neuron = neurons(rng, code, convolution)
            reached = [
                Layer(Dense([[weight for _, weight in synapses]]), _alone(neuron, channel)).margin_range((0, 3), 4)
                for synapses, channel in synapses_of(convolution)
            ]
            least, greatest = Layer(convolution, neuron).margin_range((0, 3), 4)
            assert (least, greatest) == (min(low for low, _ in reached), max(high for _, high in reached)), code


def _alone(neuron, channel):
    """A layer of one of the neurons; a threshold beyond its own synapses is kept."""
    if isinstance(neuron, Single):
        return Readout(neuron.thresholds[[channel]])
    options = {name: getattr(neuron, name) for name in ("levels", "signed") if hasattr(neuron, name)}
    return type(neuron)(neuron.thresholds[[channel]], neuron.initial[[channel]], **options)


class TestEncode:
    IMAGES = np.random.default_rng(12).integers(0, 256, (3, 2, 4, 5)).astype(np.uint8)  # (frames, planes, height, width)

    @pytest.mark.parametrize("pooled", [False, True])
    def test_planes_become_channels(self, pooled):
        pool = Pool2d((4, 5), 2, 2) if pooled else None
        convolution = Conv2d(np.ones((1, 2, 1, 1)), (2, 2) if pooled else (4, 5))
        network = Network((Layer(convolution, Single([1]), pool),), 8, Encoder("latency"))
        flat = np.array([[[[image[c, y, x] for c in range(2)] for x in range(5)] for y in range(4)] for image in self.IMAGES]).reshape(
            3, 40
        )
        assert np.array_equal(network.encode(self.IMAGES), network.encode(flat))
        assert np.array_equal(network.encode(flat), Encoder("latency").encode(flat, 8))

    def test_one_plane(self):
        network = Network((Layer(Conv2d([[[[1]]]], (4, 5)), Single([1])),), 8, Encoder("latency"))
        images = self.IMAGES[:, :1]
        for shape in ((3, 20), (3, 4, 5), (3, 1, 4, 5)):
            assert np.array_equal(network.encode(images.reshape(shape)), Encoder("latency").encode(images.reshape(3, 20), 8))

    def test_spread(self):
        layers = Layer(Conv2d(np.ones((1, 2, 1, 1)), (4, 5)), Graded([1], levels=3)), Layer(Dense(np.ones((2, 20))), Readout([1, 2]))
        network = Network(layers, 2, Encoder("spread", bits=8))
        sent = dense(network.encode(self.IMAGES)).sum(axis=1)
        assert sent.reshape(3, 4, 5, 2).transpose(0, 3, 1, 2).tolist() == self.IMAGES.tolist()


def test_a_dense_layer_takes_maps_of_the_usual_tools():
    """Weights of a layer behind a map that is flattened plane by plane, in the order of `docs/from-arrays.md`."""
    rng = np.random.default_rng(13)
    height, width, channels = 2, 3, 4
    weights, planes = signs(rng, 5, channels * height * width), rng.integers(0, 2, (channels, height, width))
    moved = weights.reshape(5, channels, height, width).transpose(0, 2, 3, 1).reshape(5, -1)
    assert (weights @ planes.ravel()).tolist() == Dense(moved).sums(planes.transpose(1, 2, 0).reshape(1, -1))[0].tolist()


def test_chunks_hold_a_bounded_number_of_states():
    network = map_network(np.random.default_rng(14), (40, 40, 1), [Shape(8, (3, 3))], 2, 2, "single")
    assert reference.chunk_of(network) == reference.STATES // (38 * 38 * 8)
