from dataclasses import replace

import numpy as np
import pytest

from export import reference
from export.events import Events
from sim.compare import Difference, Found, compare, compare_spikes, join
from sim.frames import Spikes
from sim.simulate import Recording
from tests.networks import random_network, random_spike_times

STEPS = 5
NETWORK = random_network(np.random.default_rng(5), (12, 9, 4), STEPS, spread=0.6)
TIMES = random_spike_times(np.random.default_rng(6), 20, 12, STEPS)
GOLDEN = reference.run(NETWORK, TIMES)


def perfect(mode="full"):
    """What a circuit without faults would have given."""
    ended = len(TIMES) if mode == "full" else 3  # a frame that is decided just stops
    layers = []
    for events in GOLDEN.events:
        shown = events.select(events.step <= GOLDEN.decisions.step[events.frame]) if mode == "early" else events
        layers.append(Spikes(shown, np.arange(len(TIMES)), ended))
    decisions = {name: getattr(GOLDEN.decisions, name).astype(np.int64) for name in ("class_index", "step", "margin", "silent")}
    cycles = np.arange(len(TIMES))
    return Recording(tuple(layers), decisions | {"error": np.zeros(len(TIMES), np.int64)}, cycles, cycles + 9, False, 1.0)


def with_layer(recording, layer, **arrays):
    layers = list(recording.layers)
    layers[layer] = replace(layers[layer], **arrays)
    return replace(recording, layers=tuple(layers))


def with_events(recording, layer, **changes):
    """Spikes of a layer changed, and sorted as a recording has them."""
    events = replace(recording.layers[layer].events, **changes)
    shape = (GOLDEN.events[0].shape[0] + 1, STEPS + 1, events.shape[2] + 1)  # as of a circuit with faults
    events = Events.sort(shape, events.frame, events.step, events.neuron, events.coefficient)
    return with_layer(recording, layer, events=events)


def with_spike(recording, layer, frame, step, neuron):
    """One spike more."""
    events = recording.layers[layer].events
    more = {"frame": frame, "step": step, "neuron": neuron, "coefficient": 1}
    return with_events(recording, layer, **{name: np.append(getattr(events, name), value) for name, value in more.items()})


def without(recording, layer, kept):
    return with_layer(recording, layer, events=recording.layers[layer].events.select(kept))


def with_result(recording, name, frame, value):
    changed = recording.results[name].copy()
    changed[frame] = value
    return replace(recording, results=recording.results | {name: changed})


@pytest.mark.parametrize("mode", ["full", "early"])
def test_equal(mode):
    result = compare(mode, perfect(mode), GOLDEN, NETWORK)
    assert result.passed
    assert result.equal.all()
    assert (result.differences, result.first) == (0, None)
    assert result.spikes_compared == result.spikes_received > 0
    assert result.spike_times_compared == 20 * (9 + 4)


def test_early_mode_must_not_see_what_comes_after_the_decision():
    """Even if it is golden: it shows that something was computed in vain."""
    late = [(times < STEPS) & (times > GOLDEN.decisions.step[:, None]) for times in GOLDEN.spike_times]
    result = compare("early", perfect("full"), GOLDEN, NETWORK)
    assert (result.differences, result.passed) == (sum(array.sum() for array in late), False)
    frame = int(np.nonzero(late[0])[0][0])
    times = np.where(late[0][frame], GOLDEN.spike_times[0][frame], STEPS)
    assert not late[1][: frame + 1].any()
    expected = Difference("early", frame, 0, int(times.argmin()), "spike after the decision", None, int(times.min()))
    assert result.first == expected
    assert np.array_equal(result.equal, ~np.any([array.any(axis=1) for array in late], axis=0))


def test_full_mode_must_see_what_comes_after_the_decision():
    assert len(perfect("early").layers[0]) < len(perfect("full").layers[0])
    assert not compare("full", perfect("early"), GOLDEN, NETWORK).passed


@pytest.mark.parametrize("mode", ["full", "early"])
@pytest.mark.parametrize("layer", [0, 1])
def test_late_spike(mode, layer):
    recording = perfect(mode)
    spikes = recording.layers[layer].events
    step = spikes.step.copy()
    at = int(np.flatnonzero(step < STEPS - 1)[0])
    step[at] += 1
    result = compare(mode, with_events(recording, layer, step=step), GOLDEN, NETWORK)
    expected = Difference(mode, int(spikes.frame[at]), layer, int(spikes.neuron[at]), "step", int(step[at]) - 1, int(step[at]))
    assert (result.first, result.differences, result.passed) == (expected, 1, False)
    assert np.flatnonzero(~result.equal).tolist() == [spikes.frame[at]]
    assert str(result.first) == (
        f"{mode} mode, frame {expected.frame}, layer {layer}, neuron {expected.neuron}: step expected {step[at] - 1}, seen {step[at]}"
    )


@pytest.mark.parametrize("mode", ["full", "early"])
def test_missing_spike(mode):
    recording = perfect(mode)
    spikes = recording.layers[0].events
    kept = np.ones(len(spikes), bool)
    kept[at := len(spikes) // 2] = False
    result = compare(mode, without(recording, 0, kept), GOLDEN, NETWORK)
    assert (result.differences, result.passed) == (1, False)
    assert result.spikes_received == result.spikes_compared - 1
    assert result.first == Difference(mode, int(spikes.frame[at]), 0, int(spikes.neuron[at]), "step", int(spikes.step[at]), None)
    assert str(result.first).endswith("seen none")


@pytest.mark.parametrize("mode", ["full", "early"])
def test_coefficient(mode):
    recording = perfect(mode)
    spikes = recording.layers[0].events
    coefficient = spikes.coefficient.copy()
    coefficient[at := len(spikes) // 2] = -1
    result = compare(mode, with_events(recording, 0, coefficient=coefficient), GOLDEN, NETWORK)
    frame, neuron, step = (int(array[at]) for array in (spikes.frame, spikes.neuron, spikes.step))
    assert (result.differences, result.passed) == (1, False)
    assert result.first == Difference(mode, frame, 0, neuron, "coefficient", 1, -1, step)
    assert str(result.first) == f"{mode} mode, frame {frame}, layer 0, neuron {neuron}, step {step}: coefficient expected 1, seen -1"


@pytest.mark.parametrize(
    ("frame", "neuron", "step", "what"),
    [
        (3, 9, 0, "impossible spike"),  # of no neuron
        (3, 2, STEPS, "impossible spike"),  # at a step that stands for never
        (20, 0, 0, "impossible spike"),  # of no frame
    ],
)
@pytest.mark.parametrize("mode", ["full", "early"])
def test_impossible_spike(mode, frame, neuron, step, what):
    result = compare(mode, with_spike(perfect(mode), 0, frame, step, neuron), GOLDEN, NETWORK)
    assert (result.differences, result.passed) == (1, False)
    assert result.first == Difference(mode, frame, 0, neuron, what, None, step)


@pytest.mark.parametrize("later", [0, 1])
@pytest.mark.parametrize("mode", ["full", "early"])
def test_second_spike(mode, later):
    spikes = perfect(mode).layers[1].events
    frame, neuron, step = int(spikes.frame[0]), int(spikes.neuron[0]), int(spikes.step[0]) + later
    result = compare(mode, with_spike(perfect(mode), 1, frame, step, neuron), GOLDEN, NETWORK)
    assert (result.differences, result.passed) == (1, False)
    assert result.first == Difference(mode, frame, 1, neuron, "second spike", None, step)


def test_early_mode_refuses_a_late_spike_that_is_not_golden():
    late = (GOLDEN.spike_times[0] == STEPS) & (GOLDEN.decisions.step[:, None] < STEPS - 1)
    frame, neuron = (int(k[0]) for k in np.nonzero(late))
    result = compare("early", with_spike(perfect("early"), 0, frame, STEPS - 1, neuron), GOLDEN, NETWORK)
    assert result.first == Difference("early", frame, 0, neuron, "step", None, STEPS - 1)


class TestNeuronsThatSpikeMoreThanOnce:
    """A difference is a place: a spike at another step is two of them, and only one at the same step is a second one."""

    GOLDEN = Events.sort((2, STEPS, 3), np.array([0, 0, 1]), np.array([1, 3, 2]), np.array([2, 2, 0]), np.array([1, -2, 1]))

    def found(self, *, upto=STEPS - 1, golden=GOLDEN, **seen):
        events = Events.sort((2, STEPS, 3), *(seen.get(name, getattr(golden, name)) for name in ("frame", "step", "neuron", "coefficient")))
        found = Found("full", np.ones(2, bool))
        bounds = np.full(2, upto)
        compare_spikes(found, 0, golden, events, required=bounds, allowed=bounds, once=False)
        return found.differences, [(first.what, first.frame, first.neuron, first.expected, first.seen) for first in found.firsts]

    def test_equal(self):
        assert self.found() == (0, [])

    def test_another_step(self):
        assert self.found(step=np.array([1, 4, 2])) == (2, [("coefficient", 0, 2, -2, 0), ("coefficient", 0, 2, 0, -2)])

    def test_second_at_the_same_step(self):
        assert self.found(step=np.array([1, 1, 2])) == (2, [("second spike", 0, 2, None, 1), ("coefficient", 0, 2, -2, 0)])

    def test_coefficient(self):
        assert self.found(coefficient=np.array([1, 2, 1])) == (1, [("coefficient", 0, 2, -2, 2)])

    def test_after_the_decision(self):
        assert self.found(upto=2) == (1, [("spike after the decision", 0, 2, None, 3)])


@pytest.mark.parametrize("name", ["class_index", "step", "margin", "silent", "error"])
def test_decision(name):
    value = int(perfect().results[name][7]) ^ 1
    result = compare("full", with_result(perfect(), name, 7, value), GOLDEN, NETWORK)
    assert (result.differences, result.passed) == (1, False)
    assert result.first == Difference("full", 7, "readout", None, name, value ^ 1, value)
    assert np.flatnonzero(~result.equal).tolist() == [7]


def test_missing_result():
    recording = perfect()
    fewer = {name: values[:-1] for name, values in recording.results.items()}
    result = compare("full", replace(recording, results=fewer, ends=recording.ends[:-1]), GOLDEN, NETWORK)
    assert result.first == Difference("full", 19, "readout", None, "number of results", 20, 19)
    assert result.decisions.class_index[19] == -1
    assert not result.passed


def test_result_too_many():
    recording = perfect()
    more = {name: np.append(values, 0) for name, values in recording.results.items()}
    result = compare("full", replace(recording, results=more, ends=np.append(recording.ends, 99)), GOLDEN, NETWORK)
    assert result.first == Difference("full", 20, "readout", None, "number of results", 20, 21)
    assert not result.passed


@pytest.mark.parametrize("mode", ["full", "early"])
@pytest.mark.parametrize(("begun", "at", "count"), [([*range(7), *range(8, 20)], 7, 19), ([*range(20), 22], 20, 21)])
def test_frames_of_a_layer(mode, begun, at, count):
    result = compare(mode, with_layer(perfect(mode), 1, begun=np.array(begun)), GOLDEN, NETWORK)
    assert result.first == Difference(mode, at, 1, None, "number of frames", 20, count)
    assert (result.differences, result.passed) == (1, False)
    assert np.flatnonzero(~result.equal).tolist() == ([7] if at == 7 else [])


@pytest.mark.parametrize("ended", [18, 23])
def test_frames_that_end(ended):
    result = compare("full", with_layer(perfect(), 1, ended=ended), GOLDEN, NETWORK)
    assert result.first == Difference("full", min(ended, 20), 1, None, "number of frames that end", 20, ended)
    assert (result.differences, result.passed) == (abs(ended - 20), False)
    assert compare("early", with_layer(perfect("early"), 1, ended=ended), GOLDEN, NETWORK).passed


def test_frames_that_were_not_taken():
    starts = perfect().starts.copy()
    starts[[4, 19]] = -1
    result = compare("full", replace(perfect(), starts=starts), GOLDEN, NETWORK)
    assert result.first == Difference("full", 4, "readout", None, "number of frames taken", 20, 18)
    assert (result.differences, np.flatnonzero(~result.equal).tolist()) == (2, [4, 19])


def test_a_run_without_an_end():
    """Words without spikes that never stop: nothing else is wrong."""
    result = compare("full", replace(perfect(), stuck=True), GOLDEN, NETWORK)
    assert (result.first, result.passed) == (Difference("full", 20, "readout", None, "end of the run", 1, 0), False)
    missing = {name: values[:-1] for name, values in perfect().results.items()}
    result = compare("full", replace(perfect(), results=missing, ends=perfect().ends[:-1], stuck=True), GOLDEN, NETWORK)
    assert (result.first.what, result.differences) == ("number of results", 1)


def test_first_is_the_lowest_frame_then_the_lowest_layer_then_the_earliest_step_then_the_lowest_neuron():
    recording = with_result(with_result(perfect(), "margin", 10, 99), "margin", 12, 99)
    for layer in (1, 0):  # nothing more comes from frame 10 on
        recording = without(recording, layer, recording.layers[layer].events.frame < 10)
    times = GOLDEN.spike_times[0][10]
    assert (times == times.min()).sum() > 1
    assert np.unique(times[times < STEPS]).size > 1
    result = compare("full", recording, GOLDEN, NETWORK)
    assert result.first == Difference("full", 10, 0, int(times.argmin()), "step", int(times.min()), None)
    assert result.equal.tolist() == [frame < 10 for frame in range(20)]


def test_nothing_compared_does_not_pass():
    nothing = reference.run(NETWORK, TIMES[:0])
    empty = [Spikes(events, np.empty(0, np.int64), 0) for events in nothing.events]
    results = {name: np.empty(0, np.int64) for name in perfect().results}
    recording = Recording(tuple(empty), results, np.empty(0, np.int64), np.empty(0, np.int64), False, 0.0)
    result = compare("full", recording, nothing, NETWORK)
    assert result.differences == 0
    assert not result.passed


def test_join():
    recording = with_result(perfect(), "margin", 7, 99)
    one = compare("full", recording, GOLDEN, NETWORK)
    two = join([compare("full", perfect(), GOLDEN, NETWORK), one, one])
    assert two.frames == 60
    assert two.first == replace(one.first, frame=27)
    assert np.flatnonzero(~two.equal).tolist() == [27, 47]
    assert (two.differences, two.spikes_compared) == (2, 3 * one.spikes_compared)
    assert np.array_equal(two.summary.output_times, np.concatenate([GOLDEN.spike_times[1]] * 3))
    assert np.array_equal(two.summary.hidden_spikes, np.concatenate([GOLDEN.summary.hidden_spikes] * 3))
    assert two.seen == ()  # forgotten
