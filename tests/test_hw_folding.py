"""hw.folding: what is refused, the derived numbers, and the memories against plain loops."""

import numpy as np
import pytest

from export import Layer, Network, UserError
from hw import Folding, default_folding
from hw.folding import LayerPlan
from tests.networks import random_layer, random_network

NETWORK = random_network(np.random.default_rng(0), (6, 5, 3), 4)


@pytest.mark.parametrize(
    ("simd", "pe", "form", "message"),
    [
        ((1,), (1, 1), ("delta", "delta"), "simd must have 2 entries, one per layer, not 1"),
        ((1, 1), (1, 1, 1), ("delta", "delta"), "pe must have 2 entries, one per layer, not 3"),
        ((1, 1), (1, 1), (), "form must have 2 entries, one per layer, not 0"),
        ((0, 1), (1, 1), ("delta", "delta"), "simd of layer 0 must be an integer from 1 to its 6 inputs, not 0"),
        ((7, 1), (1, 1), ("delta", "delta"), "simd of layer 0 must be an integer from 1 to its 6 inputs, not 7"),
        ((1, -1), (1, 1), ("delta", "delta"), "simd of layer 1 must be an integer from 1 to its 5 inputs, not -1"),
        ((1, 1), (0, 1), ("delta", "delta"), "pe of layer 0 must be an integer from 1 to its 5 outputs, not 0"),
        ((1, 1), (1, 4), ("delta", "delta"), "pe of layer 1 must be an integer from 1 to its 3 outputs, not 4"),
        ((1, 1.0), (1, 1), ("delta", "delta"), "simd of layer 1 must be an integer from 1 to its 5 inputs, not 1.0"),
        ((1, 1), (True, 1), ("delta", "delta"), "pe of layer 0 must be an integer from 1 to its 5 outputs, not True"),
        ((1, 1), (1, 1), ("delta", "sum"), "form of layer 1 must be one of delta, xnor, not 'sum'"),
    ],
)
def test_folding_that_cannot_be(simd, pe, form, message):
    with pytest.raises(UserError) as caught:
        Folding(simd, pe, form).plans(NETWORK)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shape", "folding"),
    [
        ((784, 600, 10), Folding((1, 60), (600, 10), ("delta", "delta"))),
        ((64, 128, 10), Folding((8, 13), (128, 10), ("xnor", "delta"))),
        ((65, 3), Folding((8,), (3,), ("delta",))),
        ((129, 700, 4, 2), Folding((1, 70, 1), (600, 4, 2), ("delta", "delta", "delta"))),
        ((1, 1), Folding((1,), (1,), ("xnor",))),
    ],
)
def test_default_folding(shape, folding):
    network = random_network(np.random.default_rng(0), shape, 2)
    assert default_folding(network) == folding
    folding.plans(network)


def test_as_dict():
    assert Folding((1, 2), (3, 4), ("delta", "xnor")).as_dict() == {"simd": [1, 2], "pe": [3, 4], "form": ["delta", "xnor"]}


@pytest.mark.parametrize(
    ("inputs", "outputs", "simd", "pe", "words", "groups", "last_group_size"),
    [
        (1, 1, 1, 1, 1, 1, 1),
        (8, 8, 4, 4, 2, 2, 4),
        (9, 9, 4, 4, 3, 3, 1),
        (7, 7, 4, 4, 2, 2, 3),
        (5, 3, 5, 3, 1, 1, 3),
        (5, 3, 1, 1, 5, 3, 1),
    ],
)
def test_words_and_groups(inputs, outputs, simd, pe, words, groups, last_group_size):
    plan = LayerPlan(random_layer(np.random.default_rng(0), inputs, outputs), 3, simd, pe, "delta")
    assert (plan.words, plan.groups, plan.last_group_size) == (words, groups, last_group_size)


@pytest.mark.parametrize(
    ("weights", "threshold", "bits"),
    [
        ([1], 0, 2),  # 0 … 1
        ([-1], 1, 2),  # -2 … -1
        ([-1], 2, 3),  # -3 … -2
        ([1], -1, 3),  # 1 … 2
        ([1] * 7, 0, 4),  # 0 … 7
        ([1] * 8, 0, 5),  # 0 … 8
        ([-1] * 8, 0, 4),  # -8 … 0
        ([-1] * 8, 1, 5),  # -9 … -1
    ],
)
def test_margin_bits_hold_every_margin_and_no_more(weights, threshold, bits):
    plan = LayerPlan(Layer(np.array([weights]), np.array([threshold])), 1, 1, 1, "delta")
    assert plan.margin_bits == bits


@pytest.mark.parametrize("form", ["delta", "xnor"])
@pytest.mark.parametrize(("inputs", "outputs", "simd", "pe"), [(1, 1, 1, 1), (8, 4, 4, 2), (7, 5, 3, 2), (9, 3, 9, 3), (3, 9, 1, 4)])
def test_memories_against_plain_loops(inputs, outputs, simd, pe, form):
    layer = random_layer(np.random.default_rng(inputs), inputs, outputs)
    plan = LayerPlan(layer, 2, simd, pe, form)
    assert len(plan.weight_rows) == plan.groups * plan.words
    for group in range(plan.groups):
        for word in range(plan.words):
            row = plan.weight_rows[group * plan.words + word]
            for p in range(pe):
                for s in range(simd):
                    neuron, number = group * pe + p, word * simd + s
                    padding = neuron >= outputs or number >= inputs
                    expected = form == "xnor" if padding else layer.weights[neuron, number] > 0
                    assert row >> (p * simd + s) & 1 == expected
    assert len(plan.initial_rows) == plan.groups
    for group, row in enumerate(plan.initial_rows):
        for p in range(pe):
            value = row >> (p * plan.margin_bits) & ((1 << plan.margin_bits) - 1)
            value -= value >> (plan.margin_bits - 1) << plan.margin_bits
            neuron = group * pe + p
            if neuron < outputs:
                negatives = sum(w < 0 for w in layer.weights[neuron].tolist())
                assert value == -int(layer.thresholds[neuron]) - (negatives if form == "xnor" else 0)
        assert row >> (pe * plan.margin_bits) == 0


def test_folding_is_checked_against_its_own_network():
    folding = Folding((6, 5), (5, 3), ("delta", "xnor"))
    assert [plan.words for plan in folding.plans(NETWORK)] == [1, 1]
    smaller = Network(NETWORK.layers[1:], 4)
    with pytest.raises(UserError, match="simd must have 1 entries"):
        folding.plans(smaller)
