import numpy as np
import pytest
import torch

from export import Dense, Layer, Network, Single, UserError, reference
from model import evaluation
from model.layers import SingleSpikeLayer, SingleSpikeNetwork
from model.spikes import ROWS
from tests.networks import assert_equal_to_oracle, random_network, random_spike_times
from tests.small_data import tensor, twin

SHAPES = [(1, 1), (3, 2), (8, 1, 4), (7, 9, 3), (17, 16, 15, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 2, 8, 300])
def test_equal_to_golden_model_and_oracle(shape, steps):
    rng = np.random.default_rng(sum(shape) + steps)
    network, times = random_network(rng, shape, steps), random_spike_times(rng, 12, shape[0], steps)
    golden = assert_equal_to_oracle(network, times)
    result, _ = evaluation.run(twin(network), torch.from_numpy(times))
    for mine, expected in zip(result.spike_times, golden.spike_times, strict=True):
        assert mine.tolist() == expected.tolist()
    decisions = twin(network)(torch.from_numpy(times))  # with early exit
    for found in (result.decisions, decisions):
        assert found.class_index.tolist() == golden.decisions.class_index.tolist()
        assert found.step.tolist() == golden.decisions.step.tolist()
        assert found.silent.tolist() == golden.decisions.silent.tolist()
    assert decisions.margins.max(1).values.tolist() == golden.decisions.margin.tolist()


def test_random_networks_cover_every_kind_of_frame():
    rng = np.random.default_rng(0)
    found = [twin(random_network(rng, (12, 9, 3), 4))(torch.from_numpy(random_spike_times(rng, 20, 12, 4))) for _ in range(20)]
    silent, step = torch.cat([f.silent for f in found]), torch.cat([f.step for f in found])
    assert silent.any()
    assert set(step[~silent].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("rows", [1, 50, ROWS])
def test_late_decisions(rows, monkeypatch):
    """A step at a time, and several at once, in some of which frames are decided."""
    monkeypatch.setattr("model.layers.ROWS", rows)
    rng = np.random.default_rng(7)
    *hidden, last = random_network(rng, (40, 30, 20, 3), 70, spread=0.6).layers
    network = Network((*hidden, Layer(last.connection, Single(np.array([3, 3, 3])))), 70)
    times = rng.integers(0, 71, (30, 40))
    golden, decisions = reference.run(network, times).decisions, twin(network)(torch.from_numpy(times))
    assert len(set(golden.step.tolist())) > 8
    assert golden.silent.any()
    assert decisions.step.tolist() == golden.step.tolist()
    assert decisions.silent.tolist() == golden.silent.tolist()
    assert decisions.margins.max(1).values.tolist() == golden.margin.tolist()


@pytest.mark.parametrize("rows", [1, ROWS])
@pytest.mark.parametrize("gradient_at", ["peak", "spike", "end"])
@pytest.mark.parametrize("steps", [1, 3, 8, 40, 300])
def test_where_the_gradient_is_taken(gradient_at, steps, rows, monkeypatch):
    """A step at a time, and several at once."""
    monkeypatch.setattr("model.layers.ROWS", rows)
    taken = []

    class Recorded:
        @staticmethod
        def apply(times, weights, thresholds, fired_at, best_step, best_margin, *options):
            taken.append((fired_at, best_step, best_margin))
            return fired_at.to(torch.float32)

    monkeypatch.setattr("model.layers.SpikeTimes", Recorded)
    rng = np.random.default_rng(steps)
    network = SingleSpikeNetwork((20, 9, 4), steps, gradient_at=gradient_at, generator=torch.Generator().manual_seed(steps))
    with torch.no_grad():
        for part in network.layers:
            part.thresholds.copy_(torch.from_numpy(rng.integers(-1, 4, part.outputs)))
    times = torch.from_numpy(random_spike_times(rng, 40, 20, steps))
    decisions = network(times)
    fired_at, best_step, best_margin = taken[0]
    weights, thresholds = network.layers[0].binary_weights(), network.layers[0].integer_thresholds()
    margins = torch.stack([(times <= step).float() @ weights.T - thresholds for step in range(steps)])  # (T, B, M)
    for frame, neuron in np.ndindex(40, 9):
        last = int(decisions.step[frame])
        until = margins[: last + 1, frame, neuron].tolist()
        spike = next((step for step, margin in enumerate(until) if margin >= 0), steps)
        considered = until[: spike + 1] if gradient_at == "spike" else until
        expected = last if gradient_at == "end" else considered.index(max(considered))
        assert (fired_at[frame, neuron], best_step[frame, neuron]) == (spike, expected)
        assert best_margin[frame, neuron] == until[expected]


def layer(weights, thresholds, steps):
    made = SingleSpikeLayer(len(weights[0]), len(weights), steps)
    with torch.no_grad():
        made.weights.copy_(torch.tensor(weights))
        made.thresholds.copy_(torch.tensor(thresholds))
    return made


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(-1, 0), (0, 0), (0.5, 1), (1, 1), (1.01, 3), (2, 3), (2.5, 4), (3, 4), (9, 4), (-9, 0)],
)  # V = 0, 1, 1, 2 at the close of steps 0 … 3; 4 = never; rounded up
def test_equality_at_the_threshold(threshold, expected):
    times = tensor([[1, 3, 4]])
    assert layer([[1.0, 0.5, 1.0]], [threshold], 4)(times).tolist() == [[expected]]


def test_zero_is_positive():
    assert layer([[0.0]], [1], 2)(tensor([[1]])).tolist() == [[1]]
    assert layer([[-0.0]], [1], 2)(tensor([[1]])).tolist() == [[1]]


def test_potential_is_tested_when_the_step_closes():
    times = tensor([[0, 0, 0]])  # +1 +1 -1 in one step: V passes 2 on the way, and closes at 1
    assert layer([[1.0, 1.0, -1.0]], [2], 3)(times).tolist() == [[3]]


@pytest.mark.parametrize("value", [0, 8])
def test_all_inputs_alike(value):
    net = layer([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]], [2, 1, 1], 8)
    assert net(tensor([[value, value]])).tolist() == [[0 if value == 0 else 8, 8, 8]]


def test_layers_stack_and_pass_gradients():
    generator = torch.Generator().manual_seed(1)
    first, second = (SingleSpikeLayer(n, m, 8, window=4.0, generator=generator) for n, m in ((20, 10), (10, 5)))
    times = torch.from_numpy(random_spike_times(np.random.default_rng(2), 30, 20, 8))
    (second(first(times)) - 3).square().sum().backward()
    for parameter in (*first.parameters(), *second.parameters()):
        assert parameter.grad.abs().sum() > 0


def test_same_start_from_the_same_generator():
    weights = [SingleSpikeLayer(5, 4, 8, generator=torch.Generator().manual_seed(3)).weights for _ in range(2)]
    assert torch.equal(*weights)


def test_settling_makes_at_least_the_share_fire():  # more where many frames tie at the threshold

    rng = np.random.default_rng(4)
    network = SingleSpikeNetwork((30, 20, 4), 8, generator=torch.Generator().manual_seed(0))
    times = torch.from_numpy(random_spike_times(rng, 400, 30, 8))
    network.initialize_thresholds(times, 0.25, 0.1)
    hidden, outputs = (((fired < 8).float().mean().item()) for fired in network.run(times)[0])
    assert 0.2 < hidden < 0.4
    assert 0.05 < outputs < 0.25


def test_ties_go_to_the_lowest_index():
    network = Network((Layer(Dense(np.ones((3, 2))), Single(np.array([1, 0, 0]))),), 2)
    decisions = twin(network)(tensor([[0, 0], [2, 2]]))
    assert decisions.class_index.tolist() == [1, 1]
    assert reference.run(network, np.array([[0, 0], [2, 2]])).decisions.class_index.tolist() == [1, 1]


def test_no_frames():
    assert SingleSpikeNetwork((4, 3, 2), 8)(torch.empty(0, 4, dtype=torch.uint8)).margins.shape == (0, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SingleSpikeLayer(0, 3, 8), "a layer's inputs must be a positive integer, not 0"),
        (lambda: SingleSpikeLayer(3, 2.0, 8), "a layer's outputs must be a positive integer, not 2.0"),
        (lambda: SingleSpikeLayer(3, 2, 0), "steps (T) must be an integer from 1 to 32768, not 0"),
        (lambda: SingleSpikeLayer(3, 2, 8, gradient_at="start"), "gradient_at must be one of peak, spike, end, not 'start'"),
        (lambda: SingleSpikeNetwork((4,), 8), "a network's sizes must be at least two, inputs and outputs, not [4]"),
        (lambda: SingleSpikeLayer(3, 2, 8)(torch.zeros(2, 4)), "spike times must have shape (frames, 3), not (2, 4)"),
        (lambda: SingleSpikeNetwork((3, 2), 8)(torch.zeros(3)), "spike times must have shape (frames, 3), not (3,)"),
        (lambda: SingleSpikeNetwork((3, 2), 8).run(torch.zeros(1, 2)), "spike times must have shape (frames, 3), not (1, 2)"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_thresholds_follow_the_running_mean_of_potentials():
    """A tenth of the way with each batch but the first; the outputs' do not."""
    rng, generator = np.random.default_rng(6), torch.Generator().manual_seed(6)
    network = SingleSpikeNetwork((20, 9, 4), 8, normalise=True, generator=generator)
    layer, means, thresholds = network.layers[0], [], []
    start, outputs = layer.thresholds.detach().clone(), network.layers[-1].thresholds.detach().clone()
    for _ in range(3):
        times = torch.from_numpy(random_spike_times(rng, 40, 20, 8))
        states, _, _ = network._run_to_decision(times)
        means.append(states[0].best_margin.mean(0) + layer.integer_thresholds())
        network(times)
        thresholds.append(layer.thresholds.detach().clone())
    running = means[0].clone()
    assert torch.equal(thresholds[0], start)
    for mean, before, after in zip(means[1:], thresholds, thresholds[1:], strict=False):
        moved = (mean - running) * 0.1
        assert torch.equal(after, before + moved)
        running += moved
    assert torch.equal(layer.mean, running)
    assert torch.equal(network.layers[-1].thresholds, outputs)
    layer._follow(torch.full((40, 9), -torch.inf))  # of no potential: nothing
    assert torch.equal(layer.thresholds, thresholds[-1])
    assert torch.equal(layer.mean, running)


def test_in_evaluation_mode_nothing_is_normalised():
    rng, gradients = np.random.default_rng(6), []
    times = torch.from_numpy(random_spike_times(rng, 40, 20, 8))
    for normalise in (False, True):
        generator = torch.Generator().manual_seed(6)
        network = SingleSpikeNetwork((20, 9, 4), 8, normalise=normalise, generator=generator).eval()
        before = network.layers[0].thresholds.detach().clone()
        network(times).margins.square().sum().backward()
        gradients.append(network.layers[0].weights.grad)
        assert torch.equal(network.layers[0].thresholds, before)
    assert torch.equal(*gradients)
    assert gradients[0].any()
