# amaranth: UnusedElaboratable=no

"""hw.core.accelerator: whole circuits against the golden model, every spike and every decision, in both modes."""

import random

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Single, UserError
from export.reference import run as golden_run
from hw import Accelerator, Folding, default_folding
from hw.loading.loader import load_content
from tests.accelerators import random_folding, simulate, simulate_modes
from tests.networks import random_network, random_spike_times
from tests.pairwise import pairwise, seeds, zipped
from tests.payloads import word_payloads

NAMES = ("time", "index", "bits", "last_of_step", "last_of_frame", "error", "first", "frame")


def golden_words(accelerator, times, golden, frame, *, early):
    """Per layer, `NAMES` of the words that its monitor must show for a frame, and no others: steps in order, of each the rows in order.

    Each layer sends words for those steps of the input up to the decision in which it has spikes, for step 0 and for the frame's last one;
    the last layer, rows for those steps that reach it.
    """
    steps = sorted({0, *(int(t) for t in times[frame] if t < accelerator.network.steps)})
    last = steps[-1]
    if early and not golden.decisions.silent[frame]:
        steps = [t for t in steps if t <= golden.decisions.step[frame]]
    found = []
    for plan, form, spike_times in zip(accelerator.plans, accelerator.monitor_formats, golden.spike_times, strict=True):
        is_last = plan is accelerator.plans[-1]
        words, reached = [], []
        for t in steps:
            of_step = []
            for begin in range(0, plan.layer.outputs, plan.pe):
                bits = {begin // form.simd: 0} if is_last else {}
                for j, time in list(enumerate(spike_times[frame].tolist()))[begin : begin + plan.pe]:
                    if time == t:
                        bits[j // form.simd] = bits.get(j // form.simd, 0) | 1 << j % form.simd
                of_step += sorted(bits.items())
            if not of_step and t in (0, last):
                of_step = [(0, 0)]
            for place, (index, bits) in enumerate(of_step):
                closes = place == len(of_step) - 1
                words.append((t, index, bits, int(closes), int(closes and t == last), 0, int(not words), frame % plan.frames))
            if of_step:
                reached.append(t)
        steps = reached
        found.append(words)
    return found


def expected_results(golden):
    """`hw.core.readout.result_layout` of every frame."""
    decisions = golden.decisions
    names = ("class_index", "step", "margin", "silent")
    return [{name: getattr(decisions, name)[frame] for name in names} | {"error": 0} for frame in range(len(decisions.step))]


def assert_equal(network, folding, times, *, early, **stress):
    """Every word on every monitor, in order, and every result, equal to what the golden model makes of it; returns the record."""
    golden = golden_run(network, times)
    accelerator = Accelerator(network, folding)
    record = simulate(accelerator, word_payloads(accelerator.input_format.from_spike_times(times)), early=early, **stress)
    assert record.results == expected_results(golden)
    for frame in range(len(times)):
        for layer, expected in enumerate(golden_words(accelerator, times, golden, frame, early=early)):
            seen = [tuple(word[name] for name in NAMES) for word in record.words[layer][frame]]
            assert seen == expected, f"frame {frame}, layer {layer}"
    return record


@pytest.mark.parametrize("seed", seeds(16, 40))
def test_random_networks(seed):
    """One to three layers of any size, any folding, form, order and number of contexts, gaps × stalls, either mode."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 20, rng.integers(2, 5)))
    steps = int(rng.choice([1, 2, 3, 5, 8]))
    network = random_network(rng, shape, steps, spread=rng.choice([0.3, 1]))
    folding = random_folding(rng, shape)
    times = random_spike_times(rng, 9, shape[0], steps)
    times[0] = 0 if seed % 2 else steps
    gaps, stalls = float(rng.choice([0, 0.3, 0.8])), float(rng.choice([0, 0.5, 0.9]))
    assert_equal(network, folding, times, early=bool(seed // 2 % 2), gaps=gaps, stalls=stalls, seed=seed)


@pytest.mark.parametrize("seed", seeds(4, 8))
def test_mode_changes_at_any_time(seed):
    """Even in the middle of frames: every result is right, and there once; spikes are golden, and those up to t* are all there."""
    rng = np.random.default_rng(100 + seed)
    shape = tuple(int(n) for n in rng.integers(1, 14, rng.integers(2, 5)))
    network = random_network(rng, shape, 6, spread=0.4)
    accelerator = Accelerator(network, random_folding(rng, shape))
    times = random_spike_times(rng, 24, shape[0], 6)
    golden = golden_run(network, times)
    draw = random.Random(seed)
    share = draw.choice([0.03, 0.3, 0.5])

    def wavers():
        return iter(lambda: draw.random() < share, None)

    frames = word_payloads(accelerator.input_format.from_spike_times(times))
    record = simulate(accelerator, frames, early=wavers, stalls=float(rng.choice([0, 0.5])), seed=seed)
    assert record.results == expected_results(golden)
    for frame in range(len(times)):
        least, most = (golden_words(accelerator, times, golden, frame, early=early) for early in (True, False))
        for layer, words in enumerate(record.words):
            seen = [tuple(word[name] for name in NAMES) for word in words[frame]]
            assert len(seen) >= len(least[layer])
            assert seen == most[layer][: len(seen)], f"frame {frame}, layer {layer}"


FOLDINGS = {
    "all at once": ((9, 7), (7, 5)),
    "one at a time": ((1, 1), (1, 1)),
    "nothing divides": ((4, 3), (4, 2)),
    "one left over": ((8, 6), (6, 4)),
}


WAYS = {  # form, order and contexts of two layers
    "delta-event": (("delta", "delta"), ("event", "event"), 1),
    "delta-step": (("delta", "delta"), ("step", "step"), 2),
    "mixed": (("delta", "xnor"), ("event", "step"), 4),
    "xnor": (("xnor", "xnor"), ("step", "step"), 1),
}


def folding_of(simd, pe, way):
    form, order, contexts = WAYS[way]
    return Folding(simd, pe, form, order, contexts=contexts)


@pytest.mark.parametrize(("folding", "way", "early"), pairwise([*FOLDINGS], [*WAYS], [False, True]))
def test_corner_frames(folding, way, early):
    """No spike, all at step 0, all at the last step, one input alone, the same twice; then the same again after silent frames."""
    network = random_network(np.random.default_rng(11), (9, 7, 5), 4, spread=0.5)
    times = np.full((9, 9), 4)
    times[1], times[2], times[3, 4], times[4] = 0, 3, 0, np.arange(9) % 4
    times[5], times[7] = times[4], 1
    assert_equal(network, folding_of(*FOLDINGS[folding], way), times, early=early)


def constant_network(thresholds, steps=3):
    """Two layers of +1 weights; the second layer's thresholds are ``thresholds``."""
    return Network(
        (
            Layer(Dense(np.ones((4, 5))), Single(np.array([1, 2, 5, 6]))),
            Layer(Dense(np.ones((len(thresholds), 4))), Single(np.array(thresholds))),
        ),
        steps,
    )


THRESHOLDS = {
    "dead outputs, all margins alike": [5, 5, 5],
    "outputs that fire at once, all alike": [-4, -4, -4],
    "outputs that fire without input": [0, 0],
    "ties": [1, 1, 5, 1],
    "one output": [3],
    "the last but one is best": [4, 3, 2, 1, 5],
}


@pytest.mark.parametrize(
    ("name", "way", "serial", "early"), pairwise([*THRESHOLDS], ["delta-event", "delta-step", "xnor"], [False, True], [False, True])
)
def test_thresholds(name, way, serial, early):
    thresholds = THRESHOLDS[name]
    network = constant_network(thresholds)
    times = np.array([[0, 1, 1, 2, 2], [3, 3, 3, 3, 3], [2, 2, 2, 2, 2], [0, 0, 0, 0, 0], [1, 3, 3, 3, 3]])
    assert_equal(network, folding_of((2, 3), (3, 1 if serial else len(thresholds)), way), times, early=early)


def test_excitation_and_inhibition_in_one_step_and_many_words_fire_nothing():
    """[S4]: the potential passes the threshold between the words of a step, and is below it again when the step closes."""
    network = Network((Layer(Dense(np.array([[1, 1, 1, -1, -1, -1]])), Single(np.array([1]))),), 2)
    times = np.array([[0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 1, 1], [0, 0, 1, 1, 1, 0]])
    assert golden_run(network, times).spike_times[0].ravel().tolist() == [2, 2, 0]
    for form in ("delta", "xnor"):
        assert_equal(network, Folding((1,), (1,), (form,)), times, early=False)


@pytest.mark.parametrize(("reset_at", "way", "early"), pairwise([0, 3, 9, 17, 40], [*WAYS], [False, True]))
def test_reset_in_the_middle(reset_at, early, way):
    rng = np.random.default_rng(5)
    network = random_network(rng, (7, 6, 4), 5)
    times = random_spike_times(rng, 5, 7, 5)
    assert_equal(network, folding_of((2, 3), (4, 3), way), times, early=early, reset_at=reset_at, stalls=0.5)


def repeating(words, draw):
    """A frame that keeps the rules that are checked, but whose words come again and again, some of them empty."""
    found = []
    for word in words:
        again = [word | {"bits": draw.choice([0, word["bits"]])} for _ in range(draw.choice([0, 1, 40]))]
        found += [other | {"last_of_step": 0, "last_of_frame": 0} for other in again] + [word]
    return found


@pytest.mark.parametrize("way", WAYS)
def test_inputs_that_spike_many_times_harm_no_other_frame(way):
    """It is not checked that an input spikes once. Every frame still gives one result, and those of other frames are right."""
    rng, draw = np.random.default_rng(13), random.Random(13)
    network = random_network(rng, (9, 7, 5), 4, spread=0.5)
    accelerator = Accelerator(network, folding_of((4, 3), (4, 2), way))
    times = random_spike_times(rng, 12, 9, 4)
    frames = word_payloads(accelerator.input_format.from_spike_times(times))
    frames[1::2] = [repeating(words, draw) for words in frames[1::2]]
    for record in simulate_modes(accelerator, frames, [False, True]):
        assert record.results[0::2] == expected_results(golden_run(network, times))[0::2]
        assert not any(result["error"] for result in record.results)


def test_early_mode_drops_words():
    """Outputs fire at step 0 of frames that go on for long: nearly all of each frame need not be sent."""
    network = constant_network([0, 1], steps=40)
    times = np.tile(np.arange(5) * 9, (6, 1))
    words = {early: assert_equal(network, Folding((1, 1), (1, 2), ("delta", "delta")), times, early=early) for early in (False, True)}
    last = {early: record.last_word_cycles[-1] for early, record in words.items()}
    assert last[True] < last[False]
    long = random_network(np.random.default_rng(1), (60, 4, 2), 60, spread=0)
    times = np.tile(np.arange(60), (5, 1))
    folding = Folding((1, 1), (1, 2), ("delta", "delta"), contexts=4)
    records = [assert_equal(long, folding, times, early=early) for early in (False, True)]
    assert records[1].last_word_cycles[-1] < records[0].last_word_cycles[-1] / 2


@pytest.mark.parametrize(("way", "reset", "early"), zipped([*WAYS], ["during the load", "during frames", "never"], [True, True, False]))
def test_weights_at_run_time(way, reset, early):
    """The circuit of one network runs another of its size and margins; after a reset, during the load or during frames, loaded anew."""
    rng = np.random.default_rng(17)
    folding = folding_of((4, 3), (4, 2), way)
    circuit = Accelerator(random_network(rng, (9, 7, 5), 4, spread=0.5), folding, weights="loadable")
    margins = [plan.membrane_bits for plan in circuit.plans]
    candidates = (random_network(rng, (9, 7, 5), 4, spread=0.5) for _ in range(50))
    network = next(other for other in candidates if [plan.membrane_bits for plan in folding.plans(other)] == margins)
    load = load_content(folding.plans(network))
    times = random_spike_times(rng, 8, 9, 4)
    golden = golden_run(network, times)
    frames = word_payloads(circuit.input_format.from_spike_times(times))
    reset_at = {"during the load": len(load) // 2, "during frames": len(load) + 20, "never": None}[reset]
    assert simulate(circuit, frames, early=early, load=load, reset_at=reset_at).results == expected_results(golden)


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("latency", {"frames_in": "bytes"}, "frames_in must be one of words, pixels, not 'bytes'"),
        ("none", {"frames_in": "pixels"}, "frames_in 'pixels' needs a network with encoder 'latency' or 'spread', not 'none'"),
        ("none", {"weights": "ram"}, "weights must be one of rom, loadable, not 'ram'"),
    ],
)
def test_input_and_weights_that_cannot_be(encoder, options, message):
    network = Network(random_network(np.random.default_rng(0), (4, 2), 3).layers, 3, Encoder(encoder))
    with pytest.raises(UserError) as caught:
        Accelerator(network, default_folding(network), **options)
    assert str(caught.value) == message


def test_folding_that_cannot_be():
    network = random_network(np.random.default_rng(0), (4, 2), 3)
    with pytest.raises(UserError, match="simd of layer 0 must be an integer from 1 to its 4 inputs, not 5"):
        Accelerator(network, Folding((5,), (1,), ("delta",)))
