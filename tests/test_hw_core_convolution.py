# amaranth: UnusedElaboratable=no

"""Whole accelerators with convolutions and pools, against the golden model and the cost model."""

import numpy as np
import pytest

from export import Events
from hw import Folding
from tests.accelerators import assert_right
from tests.maps import CODES, Shape, map_network, random_inputs, random_map_network


def divisors(number):
    return [size for size in range(1, number + 1) if number % size == 0]


def random_map_folding(rng, network):
    """Any folding that the network's maps allow."""
    simd, pe = [], []
    comes = None
    for layer in network.layers:
        comes = layer.input_map or comes
        simd.append(int(rng.choice(divisors(comes[2]))))
        pe.append(int(rng.integers(1, layer.connection.channels + 1)))
        comes = layer.output_map
    return Folding(tuple(simd), tuple(pe), ("delta",) * len(simd), contexts=int(rng.choice([1, 2, 4])))


def test_one_convolution_and_a_dense_layer():
    rng = np.random.default_rng(1)
    network = map_network(rng, (5, 4, 2), [Shape(4, (3, 2))], 3, 4, "single")
    inputs = Events.from_dense(random_inputs(rng, network, 8))
    assert_right(network, Folding((1, 2), (3, 2), ("delta", "delta")), inputs)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("seed", range(6))
def test_random_networks(seed, code):
    """Kernels, strides, paddings and pools of any size, any neurons, any folding."""
    rng = np.random.default_rng([seed, CODES.index(code)])
    network = random_map_network(rng, code, int(rng.integers(1, 5)))
    assert_right(network, random_map_folding(rng, network), Events.from_dense(random_inputs(rng, network, 8)))
