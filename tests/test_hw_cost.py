"""hw.cost: predicted cycles equal to measured ones; the limit against plain loops."""

import numpy as np
import pytest

from export.reference import run as golden_run
from hw import Accelerator, Folding, cost, default_folding
from tests.circuit import simulate, word_payloads
from tests.networks import random_network, random_spike_times


def measured(network, folding, times, *, early):
    accelerator = Accelerator(network, folding)
    return simulate(accelerator, word_payloads(accelerator.input_format.from_spike_times(times)), early=early)


def assert_predicted(network, folding, times):
    golden = golden_run(network, times)
    for early in (False, True):
        cycles = cost.predict(network, folding, times, golden, early=early)
        record = measured(network, folding, times, early=early)
        assert cycles.first_word.tolist() == record.first_word_cycles, f"early={early}"
        assert cycles.result.tolist() == record.result_cycles, f"early={early}"
        assert cycles.intervals.tolist() == np.diff(record.result_cycles).tolist()
        latencies = zip(record.first_word_cycles, record.result_cycles, strict=True)
        assert cycles.latencies.tolist() == [result - first for first, result in latencies]


@pytest.mark.parametrize("seed", range(60))
def test_predicted_cycles_are_the_measured_ones(seed):
    """One to three layers; the forms take turns, so that every pair of them occurs often."""
    rng = np.random.default_rng(1000 + seed)
    depth = [2, 2, 3, 1][seed // 8 % 4]
    shape = tuple(int(n) for n in rng.integers(1, 18, depth + 1))
    steps = int(rng.choice([1, 2, 3, 5, 8]))
    network = random_network(rng, shape, steps, spread=rng.choice([0.4, 1]))
    simd = tuple(int(rng.integers(1, n + 1)) for n in shape[:-1])
    pe = tuple(int(rng.integers(1, m + 1)) for m in shape[1:])
    form = tuple(("delta", "xnor")[seed >> layer & 1] for layer in range(depth))
    assert_predicted(network, Folding(simd, pe, form), random_spike_times(rng, 10, shape[0], steps))


@pytest.mark.parametrize(
    "form", [("delta", "delta"), ("delta", "xnor"), ("xnor", "delta"), ("xnor", "xnor")], ids=lambda form: "-".join(form)
)
@pytest.mark.parametrize(("simd", "pe"), [((1, 8), (16, 4)), ((16, 16), (16, 4)), ((1, 1), (1, 1)), ((3, 5), (3, 3))])
@pytest.mark.parametrize("late", [False, True])
def test_slow_and_fast_layers(simd, pe, form, late):
    """Either layer is the bottleneck; decisions fall early or late."""
    rng = np.random.default_rng(4)
    network = random_network(rng, (16, 16, 4), 6, spread=0.8)
    times = random_spike_times(rng, 8, 16, 6)
    assert_predicted(network, Folding(simd, pe, form), np.where(rng.random(times.shape) < 0.8, 5, times) if late else times)


def test_default_folding_of_a_larger_network():
    rng = np.random.default_rng(5)
    network = random_network(rng, (64, 32, 10), 8)
    assert_predicted(network, default_folding(network), random_spike_times(rng, 10, 64, 8))


@pytest.mark.parametrize("seed", range(5))
def test_limit(seed):
    rng = np.random.default_rng(seed)
    shape = (11, 9, 5)
    network = random_network(rng, shape, 6)
    folding = Folding((3, 2), (int(rng.integers(1, 10)), int(rng.integers(1, 6))), ("delta", "xnor"))
    times = random_spike_times(rng, 12, 11, 6)
    golden = golden_run(network, times)
    expected = []
    for frame in range(len(times)):
        work = []
        for layer, layer_times in enumerate((times, golden.spike_times[0])):
            words = {
                (int(t), j // folding.simd[layer]) for j, t in enumerate(layer_times[frame]) if t < 6 and t <= golden.decisions.step[frame]
            }
            work.append(len(words) * -(-shape[layer + 1] // folding.pe[layer]))
        expected.append(max(work))
    assert cost.limit(network, folding, times, golden).tolist() == expected


def test_no_frames():
    network = random_network(np.random.default_rng(0), (4, 3), 2)
    times = np.zeros((0, 4), np.int32)
    golden = golden_run(network, times)
    folding = default_folding(network)
    cycles = cost.predict(network, folding, times, golden, early=True)
    assert (len(cycles.result), len(cycles.first_word), len(cost.limit(network, folding, times, golden))) == (0, 0, 0)
