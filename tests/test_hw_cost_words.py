"""hw.cost.words: the words on a layer's input, against plain loops over the events."""

import numpy as np
import pytest

from export import Conv2d, Dense, Events, Layer, Pool2d, Single
from hw.core.convolution import ConvPlan
from hw.core.dense import DensePlan
from hw.cost.words import StepWords
from tests.maps import signs

FRAMES, STEPS = 5, 3


def in_order(events, before, simd, pool):
    """For each frame and step, (vector, index) of each word in order, with the index at the connection, -1 where nothing passes."""
    found, seen = {}, set()
    for frame, step, neuron in zip(events.frame.tolist(), events.step.tolist(), events.neuron.tolist(), strict=True):
        position, channel = divmod(neuron, before.layer.connection.channels)
        vector = position * before.neuron_folds + channel // before.pe
        words = found.setdefault((frame, step), {})
        window = neuron if pool is None else int(pool.address[neuron])
        passes = window >= 0 and (pool is None or pool.kind == "sum" or (frame, window) not in seen)
        seen.add((frame, window))
        key = vector, neuron // simd
        words[key] = max(words.get(key, -1), window // simd if passes else -1)
    return {cell: [(vector, index) for (vector, _), index in words.items()] for cell, words in found.items()}


@pytest.mark.parametrize("kind", [None, "max", "sum"])
def test_words(kind):
    rng = np.random.default_rng(2)
    before = ConvPlan(Layer(Conv2d(signs(rng, 6, 1, 2, 2), (6, 4)), Single(np.ones(6, int))), STEPS, 1, 4, "delta")
    pool = None if kind is None else Pool2d((5, 3), 6, (2, 2), kind)
    plan = DensePlan(Layer(Dense(signs(rng, 2, 90 if pool is None else pool.outputs)), Single([1, 1]), pool), STEPS, 3, 1, "delta")
    times = np.where(rng.random((FRAMES, 90)) < 0.5, rng.integers(0, STEPS, (FRAMES, 90)), STEPS)
    times[1] = STEPS
    events = Events.from_spike_times(times, STEPS)
    words = StepWords(plan, events, before)
    expected = in_order(events, before, 3, pool)
    for frame in range(FRAMES):
        for step in range(STEPS):
            here = expected.get((frame, step), [])
            assert words.step(frame, step) == [index for _, index in here]
            of_vectors = {vector: [index for other, index in here if other == vector] for vector, _ in here}
            assert words.of_vectors(frame, step) == of_vectors
            assert words.counts[frame, step] == len(here)
            assert words.passing[frame, step] == sum(index >= 0 for _, index in here) == words.work(plan)[frame, step] / 2
    assert (words.index < 0).any() == (kind is not None)
    whole = StepWords(plan, events)
    assert whole.counts.sum() < words.counts.sum()  # some lie in two vectors
