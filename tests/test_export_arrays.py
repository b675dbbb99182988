import math

import numpy as np
import pytest
import torch

from export import Conv2d, Dense, Encoder, Events, Layer, Network, Single, UserError, reference
from export.arrays import array, exceeded, first_spikes, from_bits, outputs_first, reached, spike_times

WEIGHTS = np.array([[1, -1, 1], [1, 1, -1]])


def refused(function, *arguments):
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


class TestTensors:
    """What PyTorch has, numpy takes without any change of a number."""

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int8])
    def test_every_dtype(self, dtype):
        assert Dense(torch.tensor(WEIGHTS).to(dtype)).weights.tolist() == WEIGHTS.tolist()

    def test_with_a_gradient(self):
        weights = torch.tensor(WEIGHTS, dtype=torch.float32, requires_grad=True)
        assert Dense(weights).weights.tolist() == Dense(torch.nn.Parameter(weights)).weights.tolist() == WEIGHTS.tolist()
        assert weights.requires_grad

    @pytest.mark.parametrize(
        "wrong", [torch.zeros((2, 3), device="meta"), torch.ones((2, 3)).to_sparse(), [torch.ones(2, requires_grad=True)]]
    )
    def test_what_is_no_array(self, wrong):
        assert refused(Dense, wrong).startswith("weights must be something that numpy makes an array of: ")

    def test_rounding_is_not_hidden(self):
        """bfloat16 has no 257."""
        assert refused(Single, torch.tensor([257.0]).bfloat16()) == "thresholds must be integers, not float32"


def masked(values):
    values = np.asarray(values)
    return np.ma.masked_array(values, np.arange(values.size).reshape(values.shape) == 1)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda: Dense(masked(WEIGHTS)), "weights"),
        (lambda: Conv2d(masked(np.ones((2, 1, 2, 2))), (3, 3)), "kernels"),
        (lambda: Single(masked([1, 2])), "thresholds"),
        (lambda: network().check_spike_times(masked(np.zeros((2, 3), int))), "spike times"),
        (lambda: network().encode(masked(np.zeros((2, 3), np.uint8))), "images"),
        (lambda: Encoder("latency").encode(masked(np.zeros((2, 3), np.uint8)), 4), "intensities"),
        (lambda: Events.from_dense(masked(np.zeros((1, 2, 3), int))), "coefficients"),
    ],
)
def test_masks_are_not_dropped(function, name):
    assert refused(function) == f"{name} must have no masked entries, but has 1"


def test_masked_events():
    events = Events((1, 4, 3), masked([0, 0]), *np.array([[0, 1], [0, 1], [1, 1]], np.int32))
    assert refused(network().check_inputs, events) == "frame of events must be signed integers of shape (events,), not masked int64 (2,)"


def test_an_array_without_masked_entries_is_one():
    assert array("weights", np.ma.masked_array(WEIGHTS)).tolist() == WEIGHTS.tolist()


def network(encoder=None):
    return Network((Layer(Dense(WEIGHTS), Single([1, 2])),), 4, encoder or Encoder("latency"))


@pytest.mark.parametrize("wrong", [[], None, 3, "images", [[1], [1, 2]]])
def test_no_images(wrong):
    assert refused(network().encode, wrong).startswith("images must ")
    assert refused(network().check_spike_times, wrong).startswith("spike times must ")


@pytest.mark.parametrize("shape", [(0, 16), (0, 4, 4), (0, 1, 4, 4)])
def test_encoding_no_frames(shape):
    conv = Layer(Conv2d(np.ones((2, 1, 4, 4)), (4, 4)), Single([1, 2]))
    times = Network((conv,), 4, Encoder("latency")).encode(np.zeros(shape, np.uint8))
    assert (times.shape, times.dtype) == ((0, 16), np.int32)


class TestConverters:
    def test_weights_of_bits(self):
        for bits in (WEIGHTS > 0, (WEIGHTS > 0).astype(np.uint8), (WEIGHTS > 0).astype(float), torch.tensor(WEIGHTS > 0)):
            assert from_bits(bits).tolist() == WEIGHTS.tolist()
            assert from_bits(bits).dtype == np.int8
        assert refused(from_bits, WEIGHTS) == "bits of weights must be 0 or 1, but that at (0, 1) is -1"
        assert refused(from_bits, [["a"]]) == "bits of weights must be numbers, not <U1"
        assert refused(from_bits, [[0, math.nan]]) == "bits of weights must be 0 or 1, but that at (0, 1) is nan"

    def test_weights_by_input(self):
        assert Dense(outputs_first(WEIGHTS.T)).weights.tolist() == WEIGHTS.tolist()
        assert refused(outputs_first, [1, -1]) == "weights must have shape (inputs, outputs), not (2,)"

    @pytest.mark.parametrize("exceeds", [False, True])
    def test_thresholds(self, exceeds):
        """A potential reaches, or exceeds, the integer one if and only if it does so with the real one."""
        fan_in = 3
        real = np.array([-math.inf, -9.5, -3, -1.5, -1, -0.5, -0.0, 0.1, 1, 1.5, 2.999, 3, 3.1, 77, 3e9, math.inf])
        whole = (exceeded if exceeds else reached)(real, fan_in)
        assert whole.dtype == np.int32
        for potential in range(-fan_in, fan_in + 1):
            assert (potential >= whole).tolist() == (potential > real if exceeds else potential >= real).tolist()
        layer = Layer(Dense(np.ones((len(real), fan_in))), Single(whole))
        assert layer.neuron.never(*layer.sum_range(), 4).ravel().tolist() == (whole > fan_in).tolist()

    def test_thresholds_without_bounds(self):
        assert reached([1.5, -70000.5, 1e9]).tolist() == [2, -70000, 10**9]
        assert exceeded([1.5, 2]).tolist() == [2, 3]
        assert refused(reached, [1, math.inf]) == "thresholds must fit into 32 bits, but that at (1,) is inf"
        assert refused(reached, [math.nan], 3) == "thresholds must be numbers, but that at (0,) is nan"

    @pytest.mark.parametrize("never", [-1, 4, 99, math.inf, math.nan])
    def test_spike_times(self, never):
        times = spike_times(np.array([[0, 3, never], [never, 1, 2]]), 4, never)
        assert times.dtype == np.int32
        assert times.tolist() == [[0, 3, 4], [4, 1, 2]]
        assert network().check_spike_times(times) is times

    @pytest.mark.parametrize("wrong", [-2.0, 1.5, 4.0, math.inf, math.nan])
    def test_wrong_spike_times(self, wrong):
        message = f"spike times must be whole numbers from 0 to 3, or -1 for never, but that at (0, 1) is {wrong}"
        assert refused(spike_times, [[0, wrong]], 4, -1) == message

    def test_spike_train(self):
        times = np.array([[0, 3, 4], [4, 1, 2]])
        train = np.arange(4)[:, None, None] == times
        for dtype in (bool, np.uint8, np.float32):
            assert first_spikes(train.astype(dtype)).tolist() == times.tolist()
        assert first_spikes(train).dtype == np.int32
        expected = reference.run(network(), times).spike_times[0]
        assert np.array_equal(reference.run(network(), first_spikes(train)).spike_times[0], expected)
        train[3, 0, 0] = True
        assert refused(first_spikes, train) == "an input must spike at most once in a frame, but spikes[frame, input] at (0, 0) is 2"
        assert refused(first_spikes, train[0]) == "a spike train must have shape (steps, frames, inputs), not (2, 3)"
        assert refused(first_spikes, train * 2) == "spikes of a train must be 0 or 1, but that at (0, 0, 0) is 2"
