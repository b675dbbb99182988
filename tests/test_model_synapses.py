import numpy as np
import pytest
import torch

import export
from export import UserError
from model.structure import Stage, parse
from model.synapses import Conv2d, Dense, Weighted, chain
from tests import oracle_maps

CONVOLUTIONS = [
    Conv2d((6, 5, 1), 3, kernel=3),
    Conv2d((6, 5, 2), 4, kernel=3, stride=2, padding=1),
    Conv2d((5, 6, 3), 2, kernel=2, stride=2),
    Conv2d((4, 7, 2), 3, kernel=4, padding=3),
    Conv2d((9, 8, 2), 3, pool=2, kernel=3, padding=2),
    Conv2d((7, 7, 1), 5, pool=3, kernel=1),
]


def case(synapses, frames=4):
    rng = np.random.default_rng(2)
    return rng.choice([-1, 1], synapses.shape), rng.integers(0, 16, (frames, *synapses.inputs))


def oracle(synapses, weights, inputs):
    """Sums in plain loops, integers (frames, outputs)."""
    if synapses.pool > 1:
        window = synapses.pool, synapses.pool
        inputs = np.array([oracle_maps.pool("sum", synapses.inputs, window, [frame.ravel().tolist()])[0] for frame in inputs])
    else:
        inputs = inputs.reshape(len(inputs), -1)
    stride, padding = (synapses.stride, synapses.stride), (synapses.padding, synapses.padding)
    reached = oracle_maps.synapses(weights.tolist(), synapses.taken, stride, padding)
    return np.array([[sum(frame[i] * w for i, w in synapse) for synapse, _ in reached] for frame in inputs.tolist()])


@pytest.mark.parametrize("synapses", CONVOLUTIONS)
def test_convolution(synapses):
    weights, inputs = case(synapses)
    found = synapses.sums(torch.from_numpy(inputs).float(), torch.from_numpy(weights).float())
    assert found.shape == (4, *synapses.outputs)
    assert np.array_equal(found.flatten(1).numpy(), oracle(synapses, weights, inputs))
    flat = synapses.sums(torch.from_numpy(inputs).float().flatten(1), torch.from_numpy(weights).float())
    assert torch.equal(flat, found)


@pytest.mark.parametrize("synapses", [*CONVOLUTIONS, Dense(12, 5), Dense((4, 5, 3), 7), Dense((4, 5, 3), 7, pool=2)])
def test_the_export_has_the_same_sums(synapses):
    weights, inputs = case(synapses, frames=6)
    weighted = Weighted(synapses, torch.from_numpy(weights).float())
    found = weighted.sums(torch.from_numpy(inputs).float().unflatten(0, (2, 3)))
    assert found.shape == (2, 3, *synapses.outputs)
    connection, pool = weighted.exported()
    events = export.Events.from_dense(inputs.reshape(6, 1, -1))
    spikes = np.zeros((6, connection.inputs), np.float32)
    pooled = events if pool is None else pool.apply(events)
    spikes[pooled.frame, pooled.neuron] = pooled.coefficient
    assert np.array_equal(found.flatten(0, 1).flatten(1).numpy(), connection.sums(spikes))
    assert synapses.fan_in == connection.weights.shape[1]


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_exact_up_to_2_to_the_24(kernel):
    """Odd numbers of eight digits, which a sum of rounded ones would not hit."""
    synapses = Conv2d((9, 9, 4), 8, kernel=kernel)
    weights = torch.ones(synapses.shape)
    most = ((1 << 24) - 1) // synapses.fan_in
    inputs = torch.full((3, 9, 9, 4), float(most))
    found = synapses.sums(inputs, weights)
    assert (found.double() == float(most * synapses.fan_in)).all()


def test_gradients_are_those_of_the_sums():
    synapses = CONVOLUTIONS[4]
    weights, inputs = (torch.from_numpy(part).double().requires_grad_() for part in case(synapses))
    assert torch.autograd.gradcheck(synapses.sums, (inputs, weights))


def test_chain():
    found = chain(parse("4C3s2-P2-6C2p1-P2-8-3"), (11, 12, 2))
    assert [each.inputs for each in found] == [(11, 12, 2), (5, 5, 4), (3, 3, 6), (8,)]
    assert [each.outputs for each in found] == [(5, 5, 4), (3, 3, 6), (8,), (3,)]
    assert [each.shape for each in found] == [(4, 2, 3, 3), (6, 4, 2, 2), (8, 6), (3, 8)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(parse("8C3-10"), 36), "8C3 of the structure: a convolution must be behind a map, not behind 36 inputs"),
        (lambda: chain(parse("P2-10"), 36), "10 of the structure: a pool of 2 x 2 must be behind a map, not behind 36 inputs"),
        (
            lambda: chain(parse("8C3-8C5-10"), (6, 6, 1)),
            "8C5 of the structure: kernels must be at most as large as the map with its padding, 4 x 4, not 5 x 5",
        ),
        (
            lambda: chain(parse("8C3-P5-10"), (6, 6, 1)),
            "10 of the structure: pool size must be an integer from 1 to 4, the map's 4 x 4, or two of them, not 5",
        ),
        (lambda: chain(parse("4194304C1-10"), (2, 2, 1)), "4194304C1 of the structure: the map must have at most 4194304 neurons, not "),
        (lambda: chain([Stage(0)], 3), "0 of the structure: a layer's outputs must be a positive integer, not 0"),
        (lambda: Dense((2, 0, 1), 3), "a layer's inputs must be a positive integer, not 0"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value).startswith(message)
