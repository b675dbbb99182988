"""hw.cost.pipeline: steps worked out by hand. That whole frames agree with the circuit is in test_hw_cost.py."""

import numpy as np
import pytest

from hw.core.emitter import HEAD_TO_STEP_DONE, HEAD_TO_WORD, VECTOR_TO_HEAD
from hw.core.folding import Folding
from hw.core.readout import VECTOR_TO_STEP_DONE
from hw.core.sequencer import ISSUE_TO_VECTOR
from hw.core.step import FETCH_TO_ISSUE
from hw.cost.pipeline import Pipeline
from tests.networks import random_network


def pipeline(shape, simd, pe, form, order, *, swap=(), contexts=1):
    network = random_network(np.random.default_rng(0), shape, 4)
    return Pipeline(Folding(simd, pe, form, order, swap, contexts).plans(network))


def vectors(*words):
    """So many words with spikes in each vector of the first layer."""
    return [{fold: [0] * count for fold, count in enumerate(words)}]


@pytest.mark.parametrize(
    ("form", "order", "pe", "swap", "taken", "tested"),
    [
        ("delta", "event", 6, 1, 3, 3),  # three words, a cycle each
        ("delta", "event", 2, 1, 9, 9),  # three folds
        ("delta", "step", 2, 1, 3, 9 + FETCH_TO_ISSUE),  # taken for the first fold, replayed for two
        ("delta", "step", 2, 2, 5, 15 + FETCH_TO_ISSUE),  # two cycles more per fold
        ("xnor", "step", 2, 1, 3, 3 + 3 * 4),  # three folds walk four words
    ],
)
def test_one_layer(form, order, pe, swap, taken, tested):
    """A step of three words from cycle 10 on: when the last is taken, and the last fold tested."""
    one = pipeline((8, 6), (2,), (pe,), (form,), (order,), swap=(swap,))
    vector = 10 + tested - 1 + ISSUE_TO_VECTOR
    assert one.step(10, [0] * 3, [], 0, 0, ends=True) == (10 + taken - 1, vector + VECTOR_TO_STEP_DONE, vector)
    free = 10 + (tested - FETCH_TO_ISSUE if order == "step" and form == "delta" else tested)
    last, _, _ = one.step(0, [0] * 1, [], 1, 0, ends=True)  # the next step's word waits until then
    alone = {"event": 6 // pe, "step": swap if swap > 1 else 0}[order] + (order == "step")
    assert last == free + alone - 1


def two_layers(*, pe=(6, 4), order=("event", "event")):
    return pipeline((8, 6, 4), (2, 2), pe, ("delta", "delta"), order)


def test_words_of_a_vector_follow_one_another():
    head = 10 + ISSUE_TO_VECTOR + VECTOR_TO_HEAD
    vector = head + HEAD_TO_WORD + 2 + ISSUE_TO_VECTOR  # three words
    assert two_layers().step(10, [0] * 1, vectors(3), 0, 0, ends=False) == (10, vector + VECTOR_TO_STEP_DONE, vector)


def test_slow_second_layer():
    """Four folds, so that each of three words takes four cycles."""
    head = 10 + ISSUE_TO_VECTOR + VECTOR_TO_HEAD
    vector = head + HEAD_TO_WORD + 3 * 4 - 1 + ISSUE_TO_VECTOR
    assert two_layers(pe=(6, 1)).step(10, [0] * 1, vectors(3), 0, 0, ends=False) == (10, vector + VECTOR_TO_STEP_DONE, vector)


@pytest.mark.parametrize("t", [0, 2])
@pytest.mark.parametrize("ends", [False, True])
def test_step_without_hidden_spikes(t, ends):
    head = 10 + ISSUE_TO_VECTOR + VECTOR_TO_HEAD
    vector = head + HEAD_TO_WORD + ISSUE_TO_VECTOR
    expected = (10, vector + VECTOR_TO_STEP_DONE, vector) if t == 0 or ends else (10, head + HEAD_TO_STEP_DONE, None)
    assert two_layers().step(10, [0] * 1, vectors(0), 0, t, ends=ends) == expected


def test_word_waits_for_the_end_of_its_step():
    """Three vectors; only the first has a word, which leaves when the last is at the head."""
    circuit = two_layers(pe=(2, 4))
    head = 10 + 2 + ISSUE_TO_VECTOR + VECTOR_TO_HEAD
    vector = head + HEAD_TO_WORD + ISSUE_TO_VECTOR
    assert circuit.step(10, [0] * 1, vectors(1, 0, 0), 0, 0, ends=False) == (12, vector + VECTOR_TO_STEP_DONE, vector)


def test_place_for_a_vector():
    """Vectors of six words: one at the head, one waiting; the third step's test waits until the first vector is done, and so on."""
    circuit = pipeline((8, 6, 4), (2, 1), (6, 4), ("delta", "delta"), ("event", "event"))
    taken = [circuit.step(k, [0] * 1, vectors(6), k, 0, ends=True)[0] for k in range(4)]
    head = ISSUE_TO_VECTOR + VECTOR_TO_HEAD
    assert taken == [0, head, head + 6, head + 12]
