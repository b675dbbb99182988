"""Both evaluators against the golden model and, with a delay, against brute force; to the bit."""

import numpy as np
import pytest
import torch

from export import Conv2d, Dense, Layer, Network, Pool2d, Single, UserError, reference, scores
from model.comparison import evaluators
from model.comparison.evaluators import TimedNetwork, dense, evaluate
from model.comparison.event_driven import Events, event_driven
from tests.networks import random_network, random_spike_times
from tests.oracle import potential, spike_time

EVALUATORS = [dense, event_driven]
SHAPES = [((1, 1), 1), ((9, 4), 4), ((20, 30, 5), 8), ((20, 30, 5), 1), ((7, 9, 8, 3), 5)]


def case(shape, steps, frames=120):
    rng = np.random.default_rng([*shape, steps])
    return random_network(rng, shape, steps, spread=0.7), random_spike_times(rng, frames, shape[0], steps)


def assert_same_decisions(seen, expected):
    for field in reference.DECISION_FIELDS:
        assert getattr(seen, field).tolist() == getattr(expected, field).tolist(), field


def up_to_decision(result, steps):
    return [np.where(times <= result.decisions.step[:, None], times, steps).tolist() for times in result.spike_times]


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize(("shape", "steps"), SHAPES)
def test_equal_to_golden_model(evaluator, shape, steps):
    network, times = case(shape, steps)
    golden = reference.run(network, times)
    seen = evaluate(evaluator, TimedNetwork.of(network), torch.from_numpy(times))
    assert_same_decisions(seen.decisions, golden.decisions)
    assert [times.tolist() for times in seen.spike_times] == up_to_decision(golden, steps)
    labels = np.arange(len(times)) % shape[-1]
    assert scores.score(seen, labels) == scores.score(golden, labels)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize(("shape", "steps"), SHAPES)
def test_to_the_end(evaluator, shape, steps):
    network, times = case(shape, steps)
    golden = reference.run(network, times)
    seen = evaluator(TimedNetwork.of(network), torch.from_numpy(times), to_the_end=True).result()
    assert_same_decisions(seen.decisions, golden.decisions)
    assert [times.tolist() for times in seen.spike_times] == [times.tolist() for times in golden.spike_times]


def delayed_case(shape, steps, frames=60):
    """A network with thresholds of 1 and more, the same for the evaluators with a step of delay, and frames."""
    network, times = case(shape, steps, frames)
    layers = tuple(Layer(Dense(layer.connection.weights), Single(np.maximum(layer.neuron.thresholds, 1))) for layer in network.layers)
    network = Network(layers, steps)
    timed = TimedNetwork.of(network)
    return network, TimedNetwork(timed.weights, timed.thresholds, steps, 1), times


def run_delayed(network, times):
    """Brute force: spike times of every layer, each a step after the crossing, and the decision (class, step, margin, silent)."""
    steps, spike_times = network.steps, []
    for layer in network.layers:
        inputs = times
        crossings = [
            spike_time(row, theta, inputs, steps)
            for row, theta in zip(layer.connection.weights.tolist(), layer.neuron.thresholds.tolist(), strict=True)
        ]
        times = [min(crossing + 1, steps) for crossing in crossings]
        spike_times.append(times)
    first = min(times)
    step = first - 1
    margins = [
        potential(row, inputs, step) - theta
        for row, theta in zip(layer.connection.weights.tolist(), layer.neuron.thresholds.tolist(), strict=True)
    ]
    return spike_times, (margins.index(max(margins)), step, max(margins), first == steps)


@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize(
    ("shape", "steps"), [((9, 4), 4), ((20, 30, 5), 12), ((20, 30, 5), 2), ((7, 9, 8, 3), 9), ((7, 9, 8, 3), 3), ((2, 2), 1)]
)
def test_delay(evaluator, shape, steps):
    network, delayed, times = delayed_case(shape, steps)
    times[0], times[1] = steps - 1, steps  # all at the last step; none
    expected = [run_delayed(network, frame) for frame in times.tolist()]
    for to_the_end in (False, True):
        seen = evaluator(delayed, torch.from_numpy(times), to_the_end=to_the_end).result()
        decisions = zip(*(getattr(seen.decisions, field).tolist() for field in reference.DECISION_FIELDS), strict=True)
        assert list(decisions) == [decision for _, decision in expected]
        for layer, spikes in enumerate(seen.spike_times):
            for frame, (all_times, (_, step, _, _)) in enumerate(expected):
                latest = steps if to_the_end else step - (len(shape) - 3 - layer)
                assert spikes[frame].tolist() == [time if time <= latest else steps for time in all_times[layer]], (frame, layer)


def test_delay_is_a_shift():
    """Two layers with a delay decide as they do without, one step later, in two steps more; the golden model needs to know no delay."""
    network, _, times = delayed_case((20, 30, 5), 8)
    golden = reference.run(network, times).decisions
    timed = TimedNetwork.of(network)
    times[times == 8] = 10
    seen = event_driven(TimedNetwork(timed.weights, timed.thresholds, 10, 1), torch.from_numpy(times)).result().decisions
    fired = ~golden.silent
    assert 0 < fired.sum() < len(fired)
    assert seen.silent.tolist() == golden.silent.tolist()
    assert seen.step[fired].tolist() == (golden.step[fired] + 1).tolist()
    assert seen.class_index[fired].tolist() == golden.class_index[fired].tolist()


def test_chunks_and_no_frames(monkeypatch):
    network, times = case((20, 30, 5), 8)
    monkeypatch.setattr(evaluators, "CHUNK", 7)
    seen = evaluate(event_driven, TimedNetwork.of(network), torch.from_numpy(times))
    assert_same_decisions(seen.decisions, reference.run(network, times).decisions)
    for evaluator in EVALUATORS:
        assert len(evaluate(evaluator, TimedNetwork.of(network), torch.from_numpy(times[:0])).decisions.step) == 0


def test_events():
    events = Events(torch.tensor([[2, 0, 2], [3, 3, 3], [1, 3, 0]]), 3)
    assert events.inputs.tolist() == [1, 0, 2, 2, 0]
    assert events.time[:-1].tolist() == [0, 2, 0, 1]
    assert events.first.tolist() == [0, 2, 2, 4]
    inputs, offsets = events.of(torch.tensor([1, 2, 3]), torch.tensor([True, False, True]))
    assert (inputs.tolist(), offsets.tolist()) == ([0, 2, 0], [0, 2, 2])


@pytest.mark.parametrize("layer", [Layer(Conv2d([[[[1]]]], (2, 2)), Single([1])), Layer(Dense([[1]]), Single([1]), Pool2d((2, 2), 1, 2))])
def test_other_layers_are_refused(layer):
    with pytest.raises(UserError) as caught:
        TimedNetwork.of(Network((layer,), 4))
    assert str(caught.value) == f"layer 0 must be dense, of neurons that spike once, without a pool, not {layer.connection.kind}, single"
