# amaranth: UnusedElaboratable=no

"""hw.accelerator: whole circuits against the golden model, every spike and every decision, in both modes."""

import numpy as np
import pytest

from export import Encoder, Layer, Network, UserError
from export.reference import run as golden_run
from hw import Accelerator, Folding, default_folding
from tests.circuit import simulate, word_payloads
from tests.networks import random_network, random_spike_times


def assert_equal(network, folding, times, *, early, **stress):
    """Every spike on every monitor, in order, and every result, equal to the golden model's; returns the record."""
    golden = golden_run(network, times)
    accelerator = Accelerator(network, folding)
    record = simulate(accelerator, word_payloads(accelerator.input_format.from_spike_times(times)), early=early, **stress)
    decisions = golden.decisions
    for frame, result in enumerate(record.results):
        expected = {name: getattr(decisions, name)[frame] for name in ("class_index", "step", "margin", "silent")}
        assert result == expected | {"error": 0}, f"frame {frame}"
    for layer, (form, golden_times) in enumerate(zip(accelerator.monitor_formats, golden.spike_times, strict=True)):
        expected_words = word_payloads(form.from_spike_times(golden_times))
        for frame, words in enumerate(record.words[layer]):
            assert [word["last_of_frame"] for word in words] == [0] * (len(words) - 1) + [1]
            until = decisions.step[frame] if early else network.steps
            _assert_words(words, expected_words[frame], until, rows=layer == len(network.layers) - 1)
        spikes = record.spikes(layer, form.simd)
        if not early:
            assert len(spikes) == (golden_times < network.steps).sum()
    return record


def _assert_words(words, expected, until, *, rows):
    """The words with spikes are the expected ones from the first on, at least those up to step ``until``; ``rows``: groups of outputs."""

    def with_spikes(all_words):
        flags = () if rows else ("last_of_step",)  # a row has that flag in the last group, whether that one spikes or not
        return [tuple(word[name] for name in ("time", "index", "bits", *flags)) for word in all_words if word["bits"]]

    seen, golden = with_spikes(words), with_spikes(expected)
    assert len(seen) >= sum(word[0] <= until for word in golden)
    assert seen == golden[: len(seen)]
    if not rows:
        assert words[0]["time"] == 0 or not words[0]["bits"], "step 0 is not closed"
    assert not any(word["error"] for word in words)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed):
    """One to three layers of any size, any folding, either form, gaps × stalls, both modes."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 20, rng.integers(2, 5)))
    steps = int(rng.choice([1, 2, 3, 5, 8]))
    network = random_network(rng, shape, steps, spread=rng.choice([0.3, 1]))
    simd = tuple(int(rng.integers(1, n + 1)) for n in shape[:-1])
    pe = tuple(int(rng.integers(1, m + 1)) for m in shape[1:])
    folding = Folding(simd, pe, tuple(rng.choice(["delta", "xnor"], len(simd)).tolist()))
    times = random_spike_times(rng, 8, shape[0], steps)
    times[0] = 0 if seed % 2 else steps
    for early in (False, True):
        gaps, stalls = float(rng.choice([0, 0.3, 0.8])), float(rng.choice([0, 0.5, 0.9]))
        assert_equal(network, folding, times, early=early, gaps=gaps, stalls=stalls, seed=seed)


FOLDINGS = {
    "all at once": ((9, 7), (7, 5)),
    "one at a time": ((1, 1), (1, 1)),
    "nothing divides": ((4, 3), (4, 2)),
    "one left over": ((8, 6), (6, 4)),
}


@pytest.mark.parametrize(
    "form", [("delta", "delta"), ("delta", "xnor"), ("xnor", "delta"), ("xnor", "xnor")], ids=lambda form: "-".join(form)
)
@pytest.mark.parametrize("folding", FOLDINGS)
@pytest.mark.parametrize("early", [False, True])
def test_corner_frames(folding, form, early):
    """No spike, all at step 0, all at the last step, one input alone, the same twice; then the same again after silent frames."""
    network = random_network(np.random.default_rng(11), (9, 7, 5), 4, spread=0.5)
    times = np.full((9, 9), 4)
    times[1], times[2], times[3, 4], times[4] = 0, 3, 0, np.arange(9) % 4
    times[5], times[7] = times[4], 1
    assert_equal(network, Folding(*FOLDINGS[folding], form), times, early=early)


def constant_network(thresholds, steps=3):
    """Two layers of +1 weights; the second layer's thresholds are ``thresholds``."""
    return Network((Layer(np.ones((4, 5)), np.array([1, 2, 5, 6])), Layer(np.ones((len(thresholds), 4)), np.array(thresholds))), steps)


@pytest.mark.parametrize(
    ("thresholds", "name"),
    [
        ([5, 5, 5], "dead outputs, all margins alike"),
        ([-4, -4, -4], "outputs that fire at once, all alike"),
        ([0, 0], "outputs that fire without input"),
        ([1, 1, 5, 1], "ties"),
        ([3], "one output"),
        ([4, 3, 2, 1, 5], "the last but one is best"),
    ],
)
@pytest.mark.parametrize("form", ["delta", "xnor"])
def test_thresholds(thresholds, name, form):
    network = constant_network(thresholds)
    times = np.array([[0, 1, 1, 2, 2], [3, 3, 3, 3, 3], [2, 2, 2, 2, 2], [0, 0, 0, 0, 0], [1, 3, 3, 3, 3]])
    for pe in (1, len(thresholds)):
        for early in (False, True):
            assert_equal(network, Folding((2, 3), (3, pe), (form, form)), times, early=early)


def test_excitation_and_inhibition_in_one_step_and_many_words_fire_nothing():
    """[S4]: the potential passes the threshold between the words of a step, and is below it again when the step closes."""
    network = Network((Layer(np.array([[1, 1, 1, -1, -1, -1]]), np.array([1])),), 2)
    times = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 1, 1], [0, 0, 1, 1, 1, 0]])
    assert golden_run(network, times).spike_times[0].ravel().tolist() == [2, 2, 0]
    for form in ("delta", "xnor"):
        assert_equal(network, Folding((1,), (1,), (form,)), times, early=False)


@pytest.mark.parametrize("form", ["delta", "xnor"])
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("reset_at", [0, 1, 4, 9, 17, 40])
def test_reset_in_the_middle(reset_at, early, form):
    rng = np.random.default_rng(5)
    network = random_network(rng, (7, 6, 4), 5)
    times = random_spike_times(rng, 4, 7, 5)
    assert_equal(network, Folding((2, 3), (4, 3), (form, form)), times, early=early, reset_at=reset_at, stalls=0.5)


def test_early_mode_drops_words():
    """Outputs fire at step 0 of frames that go on for long: nearly all of each frame need not be sent."""
    network = constant_network([0, 1], steps=40)
    times = np.tile(np.arange(5) * 9, (6, 1))
    words = {early: assert_equal(network, Folding((1, 1), (4, 2), ("delta", "delta")), times, early=early) for early in (False, True)}
    last = {early: record.last_word_cycles[-1] for early, record in words.items()}
    assert last[True] < last[False]
    long = random_network(np.random.default_rng(1), (60, 4, 2), 60, spread=0)
    times = np.tile(np.arange(60), (5, 1))
    records = [assert_equal(long, default_folding(long), times, early=early) for early in (False, True)]
    assert records[1].last_word_cycles[-1] < records[0].last_word_cycles[-1] / 2


@pytest.mark.parametrize(
    ("encoder", "frames_in", "message"),
    [
        ("latency", "bytes", "frames_in must be one of words, pixels, not 'bytes'"),
        ("none", "pixels", "frames_in 'pixels' needs a network with encoder 'latency', not 'none'"),
    ],
)
def test_input_that_cannot_be(encoder, frames_in, message):
    network = Network(random_network(np.random.default_rng(0), (4, 2), 3).layers, 3, Encoder(encoder))
    with pytest.raises(UserError) as caught:
        Accelerator(network, default_folding(network), frames_in=frames_in)
    assert str(caught.value) == message


def test_folding_that_cannot_be():
    network = random_network(np.random.default_rng(0), (4, 2), 3)
    with pytest.raises(UserError, match="simd of layer 0 must be an integer from 1 to its 4 inputs, not 5"):
        Accelerator(network, Folding((5,), (1,), ("delta",)))
