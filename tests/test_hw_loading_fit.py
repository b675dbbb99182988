"""hw.loading.fit: a network enlarged for a circuit decides and spikes as before."""

import itertools

import numpy as np
import pytest

from export import Conv2d, Dense, Encoder, Layer, Network, Single, UserError, reference
from hw import Folding
from hw.loading.fit import Capacity, fit, fit_into, membrane_bits
from tests.networks import random_network, random_spike_times

SHAPES = [((6, 5, 3), (6, 5, 3)), ((6, 5, 3), (9, 5, 3)), ((6, 5, 3), (6, 8, 3)), ((6, 5, 3), (6, 5, 7)), ((6, 5, 3), (8, 9, 6))]
SHAPES += [((4, 2), (7, 5)), ((1, 1), (3, 2)), ((5, 4, 3, 2), (7, 7, 7, 7))]


def added_never(spike_times, inputs, steps):
    return np.pad(spike_times, ((0, 0), (0, inputs - spike_times.shape[1])), constant_values=steps)


@pytest.mark.parametrize(("own", "shape"), SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_decides_and_spikes_as_before(own, shape, seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng, own, 4, spread=(0.3, 1.0, 2.0, 9.0)[seed])  # the last: many that always or never fire
    times = random_spike_times(rng, 300, own[0], 4)
    golden = reference.run(network, times)
    larger = fit_into(network, shape)
    assert larger.shape == shape
    result = reference.run(larger, added_never(times, shape[0], 4))
    for name in reference.DECISION_FIELDS:
        assert np.array_equal(getattr(result.decisions, name), getattr(golden.decisions, name)), name
    for layer, (seen, expected) in enumerate(zip(result.spike_times, golden.spike_times, strict=True)):
        assert np.array_equal(seen[:, : expected.shape[1]], expected)
        added = seen[:, expected.shape[1] :]
        assert (added == (4 if layer < len(golden.spike_times) - 1 else expected[:, :1])).all()


def test_ties_among_all_outputs():
    """All outputs alike, silent or not: index 0 wins over its copies."""
    layer = Layer(Dense(np.ones((3, 4))), Single(np.full(3, 2)))
    times = np.array([[0, 0, 0, 0], [1, 1, 3, 3], [3, 4, 4, 4], [4, 4, 4, 4]])
    for thresholds in (2, 5):
        layer = Layer(Dense(np.ones((3, 4))), Single(np.full(3, thresholds)))
        decisions = reference.run(fit_into(Network((layer,), 4), (4, 8)), times).decisions
        assert decisions.class_index.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("own", "shape"), SHAPES)
def test_margins_need_no_more_bits_than_said(own, shape):
    """Over all subsets of the network's own inputs; and, where nothing is added, as many as the circuit's own."""
    network = random_network(np.random.default_rng(8), own, 3)
    bits = membrane_bits(network, shape)
    for layer, width, inputs in zip(fit_into(network, shape).layers, bits, own, strict=False):
        subsets = np.array(list(itertools.product([0, 1], repeat=inputs)))
        margins = subsets @ layer.connection.weights[:, :inputs].T.astype(int) - layer.neuron.thresholds
        assert -(1 << width - 1) <= margins.min()
        assert margins.max() < 1 << width - 1
    if own == shape:
        plans = Folding(own[:-1], own[1:], ("delta",) * len(bits)).plans(network)
        assert bits == tuple(plan.membrane_bits for plan in plans)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3, 3), (5, 5, 3), (6, 4, 3), (6, 5, 2)])
def test_does_not_fit(shape):
    network = random_network(np.random.default_rng(0), (6, 5, 3), 4)
    sizes = "-".join(map(str, shape))
    with pytest.raises(UserError, match=rf"^a network of 6-5-3 does not fit into a circuit of {sizes}: no size may be greater$"):
        fit_into(network, shape)


def test_inputs_that_always_spike():
    network = random_network(np.random.default_rng(0), (6, 3), 4)
    network = Network(network.layers, 4, Encoder("latency", 0))
    assert fit_into(network, (6, 5)).shape == (6, 5)
    with pytest.raises(UserError, match=r"^a network whose p_min is 0 must have the circuit's 7 inputs, not 6: all of them spike$"):
        fit_into(network, (7, 3))


def test_keeps_what_it_is():
    network = random_network(np.random.default_rng(0), (6, 3), 4)
    network = Network(network.layers, 4, Encoder("latency"), ("a", "b", "c"), {"seed": 1})
    larger = fit_into(network, (6, 5))
    assert larger.encoder == network.encoder
    assert larger.class_names == ("a", "b", "c", "added 3", "added 4")
    assert larger.provenance == {"seed": 1}


def test_maps_in_a_circuit_for_dense_layers():
    """What is different is named, and no larger circuit is made of a convolution."""
    layers = Layer(Conv2d([[[[1]]]], (2, 2)), Single([1])), Layer(Dense([[1, 1, 1, 1]]), Single([1]))
    capacity = Capacity(shape=(4, 4, 1), steps=4, p_min=None, folding=Folding((1, 1), (1, 1), ("delta", "delta")), membrane_bits=(4, 4))
    with pytest.raises(UserError) as caught:
        fit(Network(layers, 4), capacity)
    assert str(caught.value) == "the network's layers must be the circuit's, dense, not with maps"
    with pytest.raises(UserError) as caught:
        fit_into(Network(layers, 4), (4, 5, 1))
    assert str(caught.value) == "only dense layers of neurons that spike once can be loaded into a larger circuit"
