"""hw.cost.cycles: predicted cycles equal to measured ones; the limit against plain loops."""

import dataclasses

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Single
from export.reference import run as golden_run
from hw import Accelerator, Folding, cost, default_folding
from hw.core.folding import NEAR_LIMIT, default_contexts
from tests.accelerators import random_folding, simulate, simulate_modes
from tests.networks import random_network, random_spike_times
from tests.pairwise import pairwise, seeds
from tests.payloads import pixel_payloads, word_payloads


def measured(network, folding, times, modes):
    """A record per mode."""
    accelerator = Accelerator(network, folding)
    return simulate_modes(accelerator, word_payloads(accelerator.input_format.from_spike_times(times)), modes)


def assert_predicted(network, folding, times, modes):
    """Of each mode, early or not."""
    golden = golden_run(network, times)
    for early, record in zip(modes, measured(network, folding, times, modes), strict=True):
        cycles = cost.predict(network, folding, times, golden, early=early)
        assert cycles.first_word.tolist() == record.first_word_cycles
        assert cycles.result.tolist() == record.result_cycles
        assert cycles.intervals.tolist() == np.diff(record.result_cycles).tolist()
        latencies = zip(record.first_word_cycles, record.result_cycles, strict=True)
        assert cycles.latencies.tolist() == [result - first for first, result in latencies]


@pytest.mark.parametrize("seed", seeds(12, 40))
def test_predicted_cycles_are_the_measured_ones(seed):
    """One to three layers of any size, any folding, form, order and number of contexts, either mode."""
    rng = np.random.default_rng(1000 + seed)
    shape = tuple(int(n) for n in rng.integers(1, 18, [3, 3, 4, 2][seed % 4]))
    steps = int(rng.choice([1, 2, 3, 5, 8]))
    network = random_network(rng, shape, steps, spread=rng.choice([0.4, 1]))
    assert_predicted(network, random_folding(rng, shape), random_spike_times(rng, 10, shape[0], steps), [bool(seed // 4 % 2)])


WAYS = {  # form and order of two layers
    "event-event": (("delta", "delta"), ("event", "event")),
    "event-step": (("delta", "delta"), ("event", "step")),
    "step-event": (("delta", "delta"), ("step", "event")),
    "event-xnor": (("delta", "xnor"), ("event", "step")),
    "xnor-step": (("xnor", "delta"), ("step", "step")),
}


@pytest.mark.parametrize(
    ("pe", "order", "contexts"),
    [((24, 4), "event", 4), ((24, 4), "step", 8), ((12, 4), "event", 4), ((7, 2), "event", 2), ((12, 4), "step", 4), ((24, 4), "event", 1)],
)
def test_many_steps(pe, order, contexts):
    """Steps of one word, of which one can close in each cycle."""
    rng = np.random.default_rng(7)
    network = random_network(rng, (24, 24, 4), 30, spread=0.6)
    times = np.where(rng.random((12, 24)) < 0.8, rng.permuted(np.tile(np.arange(30), (12, 1)), axis=1)[:, :24], 30)
    folding = Folding((1, 6), pe, ("delta", "delta"), (order, "event"), contexts=contexts)
    assert_predicted(network, folding, times, [False, True])


@pytest.mark.parametrize(("pe", "contexts"), [(600, 4), (300, 4), (150, 2), (60, 2), (15, 1)])
def test_contexts_of_many_steps(pe, contexts):
    """By default as many as bring the interval close to the limit; half as many do not, if there are fewer than four folds."""
    rng = np.random.default_rng(8)
    layers = (Layer(Dense(rng.choice([-1, 1], (m, n))), Single(np.full(m, t))) for n, m, t in ((784, 600, 25), (600, 10, 12)))
    network = Network(tuple(layers), 254)
    times = rng.integers(0, 254, (40, 784))
    times[rng.random(times.shape) < 0.44] = 254
    assert default_contexts(network, (pe, 10)) == contexts
    golden = golden_run(network, times)
    folding = Folding((1, 60), (pe, 10), ("delta", "delta"), contexts=contexts)
    ratios = [cost.Speed.of(network, dataclasses.replace(folding, contexts=c), times, golden) for c in (contexts, max(1, contexts // 2))]
    near, half = (speed.interval / speed.limit for speed in ratios)
    assert near <= NEAR_LIMIT
    assert half > NEAR_LIMIT or pe < 150


FOLDINGS = [((1, 6), (12, 4)), ((12, 12), (12, 4)), ((1, 1), (2, 1)), ((3, 5), (3, 3))]


@pytest.mark.parametrize(("way", "folding", "contexts", "late", "early"), pairwise([*WAYS], FOLDINGS, [1, 2], [False, True], [False, True]))
def test_slow_and_fast_layers(way, folding, contexts, late, early):
    """Either layer is the bottleneck; decisions fall early or late."""
    rng = np.random.default_rng(4)
    network = random_network(rng, (12, 12, 4), 6, spread=0.8)
    times = random_spike_times(rng, 8, 12, 6)
    times = np.where(rng.random(times.shape) < 0.8, 5, times) if late else times
    assert_predicted(network, Folding(*folding, *WAYS[way], contexts=contexts), times, [early])


@pytest.mark.parametrize("seed", seeds(6, 12))
def test_pixels(seed):
    """One to seven pixels per cycle, encoders for one to four contexts; the slowest part is the encoder, or a layer."""
    rng = np.random.default_rng(2000 + seed)
    shape = (int(rng.integers(1, 40)), *(int(n) for n in rng.integers(1, 12, 1 + seed % 2)))
    steps = int(rng.choice([1, 2, 5, 8]))
    network = Network(random_network(rng, shape, steps, spread=0.5).layers, steps, Encoder("latency"))
    folding = dataclasses.replace(random_folding(rng, shape), pixels=int(rng.integers(1, min(shape[0], 7) + 1)))
    images = (rng.integers(0, 256, (11, shape[0])) * (rng.random((11, shape[0])) < rng.random((11, 1)))).astype(np.uint8)
    accelerator = Accelerator(network, folding, frames_in="pixels")
    golden = golden_run(network, network.encode(images))
    early = bool(seed // 2 % 2)
    cycles = cost.predict(network, folding, network.encode(images), golden, early=early, frames_in="pixels")
    record = simulate(accelerator, pixel_payloads(images, folding.pixels), early=early)
    assert cycles.first_word.tolist() == record.first_word_cycles
    assert cycles.result.tolist() == record.result_cycles


def test_fully_unrolled():
    """All inputs and all neurons at once: a cycle per step with spikes (or the empty step 0 that begins a frame), none between frames."""
    rng = np.random.default_rng(6)
    network = random_network(rng, (8, 9, 5), 7)
    times = rng.integers(0, 8, (12, 8))
    (record,) = measured(network, Folding((8, 9), (9, 5), ("delta", "delta")), times, [False])
    cycles = [len({0, *frame[frame < 7].tolist()}) for frame in times]
    assert len(set(cycles)) > 2
    assert np.diff(record.first_word_cycles).tolist() == cycles[:-1]


def test_default_folding_of_a_larger_network():
    rng = np.random.default_rng(5)
    network = random_network(rng, (64, 32, 10), 8)
    assert_predicted(network, default_folding(network), random_spike_times(rng, 10, 64, 8), [False, True])


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
