"""Convolutions by the rule, against its formulas as loops over neurons, with powers of two, so that equality is exact."""

import numpy as np
import pytest
import torch

from export import Conv2d, Pool2d, reference
from export.network import Network
from model.bstdg import normalised, windowed
from model.convolution import ConvolutionLayer, Patches, Pooling
from model.layers import State
from model.map_network import MapNetwork, network_of
from model.structure import parse
from model.synapses import chain
from tests.networks import random_spike_times

STRUCTURES = {
    "valid": ("4C3-P2-6C2-3", (9, 8, 1), 4),
    "strides and padding": ("P2-4C3s2p1-5C2p1-P2-7-3", (14, 13, 2), 8),
    "kernel beyond the map": ("3C5s3p4-3", (4, 7, 2), 5),
    "no convolution": ("P2-4", (6, 6, 1), 3),
    "many steps": ("2C1-3C1-P3-4-2", (3, 4, 2), 260),
}  # fmt: skip


def made(name, **options):
    structure, shape, steps = STRUCTURES[name]
    network = network_of(parse(structure), shape, steps, generator=torch.Generator().manual_seed(1), **options)
    times = random_spike_times(np.random.default_rng(2), 30, int(np.prod(shape)), steps)
    tensor = torch.from_numpy(times.astype(np.uint8 if steps <= 255 else np.int32))
    network.initialize_thresholds(tensor, 0.3, 0.1)
    return network, times, tensor


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_spike_and_decision_is_the_golden_models(name):
    network, times, tensor = made(name)
    golden = reference.run(Network(tuple(network.exported()), network.steps), times)
    fired_at, margins = network.run(tensor)
    for layer, expected in zip(fired_at, golden.spike_times, strict=True):
        assert np.array_equal(layer.numpy(), expected)
        assert 0 < (expected < network.steps).mean() < 1
    decisions = network(tensor)
    for name in ("class_index", "step", "silent"):
        assert np.array_equal(getattr(decisions, name).numpy(), getattr(golden.decisions, name))
    assert np.array_equal(decisions.margins.detach().max(1).values.numpy(), golden.decisions.margin)
    assert torch.equal(margins[decisions.step, torch.arange(len(times))], decisions.margins)


def synapses_of(connection):
    """The input of each synapse, or -1 beyond the border: int (neurons, weights of a kernel)."""
    height, width, channels = connection.input_map
    rows, columns, _ = connection.output_map
    (above, left), (down, across) = connection.paddings, connection.strides
    found = []
    for y in range(rows):
        for x in range(columns):
            places = []
            for k in range(connection.kernel_shape[0]):
                for m in range(connection.kernel_shape[1]):
                    row, column = y * down + k - above, x * across + m - left
                    inside = 0 <= row < height and 0 <= column < width
                    places += [(row * width + column) * channels + i if inside else -1 for i in range(channels)]
            found += [places] * connection.channels
    return np.array(found)


def by_loops(layer, connection, pool, times, last, upstream, gradient_at):
    """The rule from its definition: gradients of latent weights, thresholds and input spike times, and the spike times."""
    synapses, weights = synapses_of(connection), layer.binary_weights().numpy()
    thresholds, channels, steps = layer.integer_thresholds().numpy(), layer.outputs, layer.steps
    gradients = [np.zeros(weights.shape), np.zeros(channels), np.zeros(times.shape)]
    windows = np.arange(len(synapses)) if pool is None else pool.address
    sent = []
    for f in range(len(times)):
        seen = []  # of each neuron: spike time, τ, margin
        for j, inputs in enumerate(synapses):
            potential = [sum(weights[j % channels, k] for k, i in enumerate(inputs) if i >= 0 and times[f, i] <= t) for t in range(steps)]
            margins = [value - thresholds[j % channels] for value in potential]
            fired = next((t for t in range(last[f] + 1) if margins[t] >= 0), steps)
            reached = [t for t in range(last[f] + 1) if any(i >= 0 and times[f, i] == t for i in inputs)]
            if gradient_at == "spike":
                reached = [t for t in reached if t <= fired]
            best = max(reached, key=lambda t: margins[t], default=None)
            if gradient_at == "end":
                chosen = None if best is None else (int(last[f]), margins[last[f]])
            else:
                chosen = None if best is None else (best, margins[best])
            seen.append((fired, chosen, -np.inf if best is None else margins[best]))
        row = []
        for window in range(max(windows) + 1):
            members = [j for j in range(len(synapses)) if windows[j] == window]
            j = min(members, key=lambda j: (seen[j][0], -seen[j][2], j))
            row.append(seen[j][0])
            if seen[j][1] is None:
                continue
            step, margin = seen[j][1]
            delta = -upstream[f, window] * max(0.0, 1 - abs(margin) / layer.window) / layer.window
            gradients[1][j % channels] -= delta
            for k, i in enumerate(synapses[j]):
                if i >= 0:
                    gradients[0][j % channels, k] += delta * (times[f, i] <= step)
                    gradients[2][f, i] -= delta * weights[j % channels, k]
        sent.append(row)
    return [*gradients, np.array(sent)]


@pytest.mark.parametrize("gradient_at", ["peak", "spike", "end"])
@pytest.mark.parametrize(("stride", "padding", "pool"), [(1, 0, 2), (2, 1, 1), (1, 1, 3)])
def test_gradients_follow_the_formulas(stride, padding, pool, gradient_at):
    """Of 4 · 2 · 2 inputs: a window of 4; frames that are decided early get no more spikes."""
    rng, steps, shape = np.random.default_rng(5), 4, (5, 4, 4)
    synapses = chain(parse(f"3C2s{stride}p{padding}" + (f"-P{pool}" if pool > 1 else "") + "-2"), shape, "max")
    layer = ConvolutionLayer(synapses[0], steps, window=1.0, gradient_at=gradient_at, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        layer.thresholds.copy_(torch.tensor([1.0, 2.0, 3.0]))
    times, last = random_spike_times(rng, 4, 80, steps), np.array([3, 0, 3, 2])
    times[:2, :48] = steps  # so that nothing reaches some positions
    carrier = torch.from_numpy(times).float().requires_grad_()
    state = run_until(layer, torch.from_numpy(times.astype(np.uint8)), last)
    behind = None if pool == 1 else Pooling(synapses[1].pooling, 2 * layer.inputs + 1)
    out = layer.attach(carrier, state, torch.from_numpy(last), behind)
    upstream = rng.integers(-4, 5, out.shape).astype(np.float32)
    out.backward(torch.from_numpy(upstream))
    connection = Conv2d(np.ones(synapses[0].shape, np.int8), shape[:2], stride, padding)
    weights, thresholds, inputs, sent = by_loops(
        layer, connection, None if behind is None else synapses[1].pooling, times, last, upstream, gradient_at
    )
    assert np.array_equal(out.detach().numpy(), sent)
    assert np.array_equal(layer.weights.grad.numpy(), weights)
    assert np.array_equal(layer.thresholds.grad.numpy(), thresholds)
    assert np.array_equal(carrier.grad.numpy(), inputs)
    assert np.count_nonzero(weights) > 10


@pytest.mark.parametrize("pool", [1, 2])
def test_normalised_gradients_of_a_map(pool, monkeypatch):
    """Those of `normalised`, over frames and positions of a channel, but for the thresholds, which follow the mean."""
    rng, steps, shape = np.random.default_rng(5), 4, (5, 4, 4)
    synapses = chain(parse("3C2" + (f"-P{pool}" if pool > 1 else "") + "-2"), shape, "max")
    times, last = random_spike_times(rng, 4, 80, steps), np.array([3, 0, 3, 2])
    times[:2, :48] = steps  # so that nothing reaches some positions
    gradients, thresholds, margins = [], [], []
    for normalise in (True, False):
        layer = ConvolutionLayer(synapses[0], steps, window=1.0, normalise=normalise, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            layer.thresholds.copy_(torch.tensor([1.0, 2.0, 3.0]))
        carrier = torch.from_numpy(times).float().requires_grad_()
        behind = None if pool == 1 else Pooling(synapses[1].pooling, 2 * layer.inputs + 1)
        state = run_until(layer, torch.from_numpy(times.astype(np.uint8)), last)
        out = layer.attach(carrier, state, torch.from_numpy(last), behind)
        upstream = torch.from_numpy(np.random.default_rng(8).integers(-4, 5, out.shape).astype(np.float32))
        out.backward(upstream, retain_graph=True)
        thresholds.append(layer.thresholds.grad.clone())
        if normalise:
            mean = layer.mean
        else:
            layer.weights.grad = carrier.grad = None

            def spread(margin, gradient, window):
                margins.append(margin.view(-1, 3))
                return normalised(windowed(margin, gradient, window).view(-1, 3), margins[-1]).view(margin.shape)

            monkeypatch.setattr("model.convolution.windowed", spread)
            out.backward(upstream)
        gradients.append((layer.weights.grad, carrier.grad))
    torch.testing.assert_close(gradients[0], gradients[1])
    assert torch.equal(*thresholds)
    there = margins[0] > -np.inf
    assert 0 < there.sum() < there.numel()
    expected = [column[rows].mean() + threshold for column, rows, threshold in zip(margins[0].T, there.T, (1, 2, 3), strict=True)]
    assert torch.equal(mean, torch.stack(expected))


def run_until(layer, times, last):
    """The state of frames that get spikes up to their last step."""
    state, weights = layer.begin(len(times)), layer.synapses()
    for step in range(layer.steps):
        frames = torch.from_numpy(np.flatnonzero(last >= step))
        layer.take(state, times[frames] == step, weights, step, frames)
    return state


def test_decided_frames_leave(monkeypatch):
    """Forward and backward: each convolution sees the frames that are not decided, and no others."""
    network, _, tensor = made("valid")
    seen, of = [], Patches.of
    monkeypatch.setattr(Patches, "of", lambda patches, spikes: seen.append(len(spikes)) or of(patches, spikes))
    decisions = network(tensor)
    left = [int((decisions.step >= step).sum()) for step in range(4)]
    assert 0 < left[-1] < left[0] == 30
    assert seen == [frames for frames in left for _ in range(2)]
    seen.clear()
    decisions.margins.sum().backward()
    assert seen == left * 2


def test_nothing_kept_has_a_time_axis():
    kept = {}
    for steps in (4, 200):
        sizes = []
        network = network_of(parse("4C3-P2-6C2-3"), (9, 8, 1), steps, generator=torch.Generator().manual_seed(1))
        keep = lambda tensor, sizes=sizes: sizes.append(tuple(tensor.shape)) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            network(torch.from_numpy(random_spike_times(np.random.default_rng(1), 5, 72, steps).astype(np.uint8)))
        kept[steps] = sizes
    assert kept[4] == kept[200] != []


def test_which_neuron_a_windows_gradient_goes_to():
    pooling = Pooling(Pool2d((2, 4), 1, 2), 9)
    state = State(*(torch.tensor([values]) for values in ([0.0] * 8, [3, 3, 3, 1, 3, 3, 3, 1], [-5.0, -2, -2, 1, -9, -2, -1, 0], [0] * 8)))
    assert pooling.chosen(state).tolist() == [[1, 3]]
    assert pooling.first(state.fired_at).tolist() == [[3, 1]]


def test_no_frames():
    network, _, tensor = made("strides and padding")
    decisions = network(tensor[:0])
    decisions.margins.sum().backward()
    assert decisions.margins.shape == (0, 3)
    assert isinstance(network, MapNetwork)


def test_thresholds_stay_in_range():
    """[S15]"""
    layer = ConvolutionLayer(chain(parse("3C3p2-2"), (1, 2, 1), "max")[0], 4)
    with torch.no_grad():
        layer.thresholds.copy_(torch.tensor([-7.0, 1.2, 99.0]))
    assert layer.integer_thresholds().tolist() == [1, 2, 3]  # two inputs, whatever the kernel has
    layer.clamp_()
    assert layer.integer_thresholds().tolist() == [1, 2, 3]
    assert layer.thresholds.tolist() == [0.5, pytest.approx(1.2), 2.5]
