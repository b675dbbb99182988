import numpy as np
import pytest
import torch

from export import Dense, Layer, Network, Single, reference, scores
from model import evaluation
from model.evaluation import OperatingPoint
from tests.networks import random_network, random_spike_times
from tests.small_data import twin


@pytest.mark.parametrize("frames", [1, 499, 500, 501])
def test_batches_do_not_show(frames):
    rng = np.random.default_rng(frames)
    network, times = random_network(rng, (10, 8, 3), 5), random_spike_times(rng, frames, 10, 5)
    result, margins = evaluation.run(twin(network), torch.from_numpy(times))
    golden = reference.run(network, times)
    assert margins.shape == (5, frames, 3)
    for name in ("class_index", "step", "margin", "silent"):
        mine, expected = getattr(result.decisions, name), getattr(golden.decisions, name)
        assert mine.dtype == expected.dtype
        assert (mine == expected).all()
    assert [times.dtype for times in result.spike_times] == [np.dtype(np.int32)] * 2


@pytest.mark.parametrize("threshold", [0, 9, -9])  # at the ends of the range a shifted threshold is clipped
def test_curve_equals_networks_with_shifted_thresholds(threshold):
    rng = np.random.default_rng(1)
    network, times = random_network(rng, (12, 9, 3), 6), random_spike_times(rng, 60, 12, 6)
    hidden, last = network.layers
    last = Layer(Dense(last.connection.weights), Single(np.clip(last.neuron.thresholds + threshold, -9, 10)))
    labels = rng.integers(0, 3, 60)
    result, margins = evaluation.run(twin(Network((hidden, last), 6)), torch.from_numpy(times))
    curve = evaluation.shift_curve(result, margins, last.neuron.thresholds, 9, labels)
    assert [point.shift for point in curve] == list(range(-6, 7))
    for point in curve:
        shifted = Layer(Dense(last.connection.weights), Single(np.clip(last.neuron.thresholds + point.shift, -9, 10)))
        golden = reference.run(Network((hidden, shifted), 6), times)
        decisions = golden.decisions
        assert point.hidden_spikes_by_decision_mean == scores.score(golden, labels).hidden_spikes_by_decision_mean
        assert point.strict == 100 * (decisions.class_index == labels).mean()
        assert point.silent_share == 100 * decisions.silent.mean()
        assert point.steps_mean == (decisions.step + 1).mean()


CURVE = [
    OperatingPoint(-2, 90, 0, 1.0, 7),
    OperatingPoint(-1, 95, 2, 1.5, 8),
    OperatingPoint(0, 95, 5, 2.0, 9),
    OperatingPoint(1, 97, 5.1, 3.0, 10),
]


@pytest.mark.parametrize(("max_silent", "shift"), [(5, -1), (5.1, 1), (1, -2), (100, 1)])
def test_most_accurate_allowed_then_fastest(max_silent, shift):
    assert evaluation.choose_shift(CURVE, max_silent).shift == shift


def test_least_silent_when_nothing_is_allowed():
    assert evaluation.choose_shift(CURVE[1:], 1).shift == -1
