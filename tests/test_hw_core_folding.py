"""hw.core.folding: what is refused, the derived numbers, and the memories against plain loops."""

import numpy as np
import pytest

from export import Dense, Layer, Network, Single, UserError
from hw import Folding, default_folding
from hw.core.dense import DensePlan
from tests.maps import Shape, map_network
from tests.networks import random_layer, random_network

NETWORK = random_network(np.random.default_rng(0), (6, 5, 3), 4)


@pytest.mark.parametrize(("name", "value"), [("simd", 1), ("pe", None), ("form", "delta"), ("loop_order", "event"), ("swap", 2)])
def test_what_is_per_layer_is_a_tuple(name, value):
    one_layer = {"simd": (1,), "pe": (1,), "form": ("delta",)}
    with pytest.raises(UserError, match=f"^{name} must be a tuple, one entry per layer, not {value!r}$"):
        Folding(**one_layer | {name: value})
    assert Folding([1], [1], ["delta"]) == Folding(**one_layer)


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
    ("form", "order", "swap", "contexts", "message"),
    [
        ("dd", "e", "", 1, "loop_order must have 2 entries, one per layer, not 1"),
        ("dd", "ee", "111", 1, "swap must have 2 entries, one per layer, not 3"),
        ("dd", "e?", "", 1, "loop_order of layer 1 must be one of event, step, not '?'"),
        ("dx", "ee", "", 1, "loop_order of layer 1 must be step, because its form is xnor, not 'event'"),
        ("dd", "se", "01", 1, "swap of layer 0 must be an integer from 1 to its PE, 2, not 0"),
        ("dd", "es", "14", 1, "swap of layer 1 must be an integer from 1 to its PE, 3, not 4"),
        ("dd", "se", "12", 1, "swap of layer 1 must be 1, because its form and loop order are delta and event, not 2"),
        ("xd", "se", "21", 2, "swap of layer 0 must be 1, because its form and loop order are xnor and step, not 2"),
        ("dd", "ss", "13", 1, "swap of layer 1 must be 1, because it has one fold of neurons and one context, not 3"),
        ("dd", "ss", "13", 3, "contexts must be one of 1, 2, 4, 8, 16, not 3"),
        ("dd", "ss", "13", 0, "contexts must be one of 1, 2, 4, 8, 16, not 0"),
        ("dd", "ss", "13", 2.0, "contexts must be one of 1, 2, 4, 8, 16, not 2.0"),
        ("dd", "ss", "13", True, "contexts must be one of 1, 2, 4, 8, 16, not True"),
    ],
)
def test_order_swap_and_contexts_that_cannot_be(form, order, swap, contexts, message):
    """In short: form delta or xnor, order event or step, swap a digit per layer; PE 2 of 5 neurons and 3 of 3."""
    names = {"d": "delta", "x": "xnor", "e": "event", "s": "step", "?": "?"}
    form, order = (tuple(names[letter] for letter in word) for word in (form, order))
    with pytest.raises(UserError) as caught:
        Folding((1, 1), (2, 3), form, order, tuple(map(int, swap)), contexts).plans(NETWORK)
    assert str(caught.value) == message


@pytest.mark.parametrize("pixels", [0, 7, 2.0, True])
def test_pixels_that_cannot_be(pixels):
    with pytest.raises(UserError) as caught:
        Folding((1, 1), (2, 3), ("delta", "delta"), pixels=pixels).plans(NETWORK)
    assert str(caught.value) == f"pixels must be an integer from 1 to the 6 inputs, not {pixels}"


def test_what_is_left_out():
    folding = Folding((1, 1), (2, 3), ("delta", "xnor"))
    assert (folding.loop_order, folding.swap, folding.contexts) == (("event", "step"), (1, 1), 1)
    folding = Folding((1, 1), (2, 3), ("delta", "delta"), loop_order=("step", "event"), contexts=2)
    assert (folding.loop_order, folding.swap) == (("step", "event"), (1, 1))
    Folding((1, 1), (2, 3), ("delta", "delta"), ("step", "step"), (2, 3), 2).plans(NETWORK)


@pytest.mark.parametrize(
    ("shape", "folding"),
    [
        ((784, 600, 10), Folding((1, 60), (600, 10), ("delta", "delta"), contexts=2)),
        ((64, 128, 10), Folding((8, 13), (128, 10), ("delta", "delta"), contexts=2)),
        ((65, 3), Folding((8,), (3,), ("delta",), contexts=1)),
        ((129, 1200, 4, 2), Folding((1, 120, 1), (600, 4, 2), ("delta", "delta", "delta"), contexts=2)),
        ((129, 1201, 4, 2), Folding((1, 121, 1), (600, 4, 2), ("delta", "delta", "delta"), contexts=1)),
        ((1, 1), Folding((1,), (1,), ("delta",), contexts=1)),
    ],
)
def test_default_folding(shape, folding):
    network = random_network(np.random.default_rng(0), shape, 2)
    assert default_folding(network) == folding
    folding.plans(network)


@pytest.mark.parametrize(("channels", "simd", "pe"), [(64, 32, 64), (96, 32, 32), (128, 32, 64), (300, 30, 60), (101, 1, 101)])
def test_default_folding_of_large_maps(channels, simd, pe):
    """Behind a map there are at most 6,000 synapses per cycle; those of a map are of whole words that divide its channels."""
    kernel = Shape(channels, kernel=(3, 3), padding=(1, 1))
    network = map_network(np.random.default_rng(0), (6, 6, 3), [kernel, kernel, kernel], 2, 1, "graded")
    folding = default_folding(network)
    assert (folding.simd, folding.pe) == ((3, simd, simd, simd), (channels, pe, pe, 1))
    assert sum(simd * each for simd, each in zip(folding.simd[1:], folding.pe[1:], strict=True)) <= 6000


def test_as_dict():
    assert Folding((1, 2), (3, 4), ("delta", "xnor"), swap=(3, 1), contexts=2).as_dict() == {
        "simd": [1, 2],
        "pe": [3, 4],
        "form": ["delta", "xnor"],
        "loop_order": ["event", "step"],
        "swap": [3, 1],
        "contexts": 2,
        "pixels": 1,
    }


def test_the_loop_order_is_read_under_its_former_name():
    folding = Folding((1, 2), (3, 4), ("delta", "delta"), ("step", "event"))
    content = folding.as_dict()
    assert Folding.from_dict(content) == folding
    content["order"] = content.pop("loop_order")
    assert Folding.from_dict(content) == folding


@pytest.mark.parametrize(
    ("inputs", "outputs", "simd", "pe", "words", "folds", "last_fold_size"),
    [
        (1, 1, 1, 1, 1, 1, 1),
        (8, 8, 4, 4, 2, 2, 4),
        (9, 9, 4, 4, 3, 3, 1),
        (7, 7, 4, 4, 2, 2, 3),
        (5, 3, 5, 3, 1, 1, 3),
        (5, 3, 1, 1, 5, 3, 1),
    ],
)
def test_words_and_groups(inputs, outputs, simd, pe, words, folds, last_fold_size):
    plan = DensePlan(random_layer(np.random.default_rng(0), inputs, outputs), 3, simd, pe, "delta")
    assert (plan.synapse_folds, plan.neuron_folds, plan.last_fold_size) == (words, folds, last_fold_size)


@pytest.mark.parametrize(("contexts", "frames"), [(1, 4), (2, 4), (4, 8), (8, 16), (16, 32)])
def test_contexts(contexts, frames):
    plan = DensePlan(random_layer(np.random.default_rng(0), 3, 5), 3, 1, 2, "delta", contexts=contexts)
    assert (plan.frames, plan.state_rows) == (frames, 4 * contexts)


@pytest.mark.parametrize(
    ("form", "order", "pe", "swap", "contexts", "replays"),
    [
        ("delta", "event", 2, 1, 1, False),
        ("delta", "step", 2, 1, 1, True),
        ("delta", "step", 5, 1, 4, False),  # one fold, swapped at once: nothing to replay, nothing to wait for
        ("delta", "step", 5, 2, 2, True),
        ("xnor", "step", 2, 1, 1, False),
    ],
)
def test_replays(form, order, pe, swap, contexts, replays):
    assert DensePlan(random_layer(np.random.default_rng(0), 3, 5), 3, 1, pe, form, order, swap, contexts).replays == replays


@pytest.mark.parametrize(
    ("order", "pe", "following_simd", "slots"),
    [
        ("event", 3, 9, 3),
        ("event", 2, 4, 5),
        ("step", 3, 9, 1),
        ("event", 9, 4, 1),
        ("event", 9, 9, 4),
        ("step", 9, 9, 4),
    ],
)
def test_row_slots(order, pe, following_simd, slots):
    plan = DensePlan(random_layer(np.random.default_rng(0), 3, 9), 3, 1, pe, "delta", order, following_simd=following_simd)
    assert plan.vector_slots == slots


@pytest.mark.parametrize(
    ("order", "pe", "steps", "slots"),
    [("event", 9, 31, 1), ("event", 9, 32, 4), ("event", 3, 32, 4), ("event", 1, 32, 9), ("step", 3, 31, 1), ("step", 3, 32, 4)],
)
def test_row_slots_of_many_steps(order, pe, steps, slots):
    plan = DensePlan(random_layer(np.random.default_rng(0), 3, 9), steps, 1, pe, "delta", order, following_simd=4)
    assert plan.vector_slots == slots


@pytest.mark.parametrize("outputs", [1, 2, 7, 8, 9, 17])
def test_words_split_against_a_plain_count(outputs):
    """As many more words as rows that have a part of a word beyond the first."""
    layer = random_layer(np.random.default_rng(0), 3, outputs)
    for pe in range(1, outputs + 1):
        for simd in range(1, outputs + 1):
            parts = {(neuron // pe, neuron // simd) for neuron in range(outputs)}
            plan = DensePlan(layer, 3, 1, pe, "delta", following_simd=simd)
            assert plan.words_split == len(parts) - len({word for _, word in parts})


def test_split_words_are_those_of_the_layer_before():
    network = random_network(np.random.default_rng(0), (6, 9, 5, 2), 4)
    plans = Folding((1, 4, 2), (3, 2, 2), ("delta",) * 3).plans(network)
    assert [plan.split_words for plan in plans] == [0, 2, 0]
    assert [plan.following_simd for plan in plans] == [4, 2, None]


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
    plan = DensePlan(Layer(Dense(np.array([weights])), Single(np.array([threshold]))), 1, 1, 1, "delta")
    assert plan.membrane_bits == bits


@pytest.mark.parametrize(
    ("form", "order", "swap"), [("delta", "event", 1), ("xnor", "step", 1), ("delta", "step", 2), ("delta", "step", 4)]
)
@pytest.mark.parametrize(
    ("inputs", "outputs", "simd", "pe"), [(1, 1, 1, 1), (8, 4, 4, 2), (7, 5, 3, 2), (9, 3, 9, 3), (3, 9, 1, 4), (3, 9, 1, 7)]
)
def test_memories_against_plain_loops(inputs, outputs, simd, pe, form, order, swap):
    layer = random_layer(np.random.default_rng(inputs), inputs, outputs)
    swap = min(swap, pe)
    plan = DensePlan(layer, 2, simd, pe, form, order, swap)
    assert len(plan.weight_rows) == plan.neuron_folds * plan.synapse_folds
    assert plan.weight_width == pe * simd
    for fold in range(plan.neuron_folds):
        for word in range(plan.synapse_folds):
            row = plan.weight_rows[fold * plan.synapse_folds + word]
            for p in range(pe):
                for s in range(simd):
                    neuron, number = fold * pe + p, word * simd + s
                    padding = neuron >= outputs or number >= inputs
                    expected = form == "xnor" if padding else layer.connection.weights[neuron, number] > 0
                    assert row >> (p * simd + s) & 1 == expected
    assert len(plan.initial_potentials) == plan.neuron_folds * swap
    assert plan.beat_size == -(-pe // swap)
    assert plan.initial_width == plan.beat_size * plan.membrane_bits
    for place, row in enumerate(plan.initial_potentials):
        fold, beat = divmod(place, swap)
        assert row >> plan.initial_width == 0
        for k in range(plan.beat_size):
            value = row >> (k * plan.membrane_bits) & ((1 << plan.membrane_bits) - 1)
            value -= value >> (plan.membrane_bits - 1) << plan.membrane_bits
            p = beat * plan.beat_size + k
            if p >= pe or fold * pe + p >= outputs:
                assert value == 0
            else:
                negatives = sum(w < 0 for w in layer.connection.weights[fold * pe + p].tolist())
                assert value == -int(layer.neuron.thresholds[fold * pe + p]) - (negatives if form == "xnor" else 0)


def test_folding_is_checked_against_its_own_network():
    folding = Folding((6, 5), (5, 3), ("delta", "xnor"))
    assert [plan.synapse_folds for plan in folding.plans(NETWORK)] == [1, 1]
    smaller = Network(NETWORK.layers[1:], 4)
    with pytest.raises(UserError, match="simd must have 1 entries"):
        folding.plans(smaller)
