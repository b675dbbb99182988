"""hw.core.layer alone: every row that it sends, against plain sums: all forms and orders, frames in turn, gaps, slow receivers, resets."""

import random

import numpy as np
import pytest

from export import Dense, Layer, Single
from hw.core.dense import DensePlan
from hw.core.layer import IFLayer, word_to_vector
from hw.core.sequencer import ISSUE_TO_VECTOR
from hw.core.step import StepSequencer
from hw.core.streams import input_format
from tests.circuit import Source, run
from tests.networks import random_layer, random_spike_times
from tests.neuron_vectors import Step, VectorSink
from tests.oracle import potential
from tests.pairwise import pairwise
from tests.payloads import in_turn, word_payloads

WAYS = [("delta", "event"), ("delta", "step"), ("xnor", "step")]
SIZES = [
    # inputs, outputs, simd, pe, steps
    (1, 1, 1, 1, 1),
    (1, 1, 1, 1, 3),
    (8, 8, 4, 4, 4),
    (7, 7, 4, 4, 4),
    (9, 9, 4, 4, 4),
    (5, 3, 5, 3, 2),
    (5, 3, 1, 1, 8),
    (16, 2, 3, 2, 5),
    (3, 17, 2, 8, 3),
]


def golden_steps(layer, times, steps, tag):
    """The steps that the layer closes for one frame: those with input spikes, and step 0."""
    fired = [False] * layer.outputs
    closed = []
    for t in sorted({0, *(time for time in times if time < steps)}):
        margin = [
            potential(row, times, t) - threshold
            for row, threshold in zip(layer.connection.weights.tolist(), layer.neuron.thresholds.tolist(), strict=True)
        ]
        fire = [int(m >= 0 and not f) for m, f in zip(margin, fired, strict=True)]
        fired = [f or s for f, s in zip(fired, fire, strict=True)]
        closed.append(Step(t, fire, margin, first=int(t == 0), frame=tag))
    closed[-1].last_of_frame = 1
    return closed


def run_layer(plan, steps, *, holds_vectors=True, gaps=0.0, stalls=0.0, seed=0, reset_at=None):
    """``steps``: of `in_turn`."""
    dut = IFLayer(plan, holds_vectors=holds_vectors)
    slots = plan.vector_slots if holds_vectors else None

    def start():
        sink = VectorSink(dut.o, plan, len(steps), slots=slots, stalls=stalls, seed=seed)
        return sink, Source(dut.i, [words for _, words in steps], gaps=gaps, seed=seed)

    return run(dut, start, watch=lambda: [dut.i], reset_at=reset_at)[0]


def words_of(plan, times, *, seed=0):
    """Steps of many frames in turn, words in any order, some of them in two parts, as many as the plan says."""
    draw = random.Random(seed)
    steps = in_turn(word_payloads(input_format(plan).from_spike_times(times)), plan, seed=seed)
    for _, words in steps:
        flags = {name: words[0][name] for name in ("first",)}
        bits = [(word["index"], word["bits"]) for word in words]
        for _ in range(plan.split_words):
            index, whole = bits.pop(draw.randrange(len(bits)))
            part = whole & draw.getrandbits(plan.simd)
            bits += [(index, part), (index, whole ^ part)]
        draw.shuffle(bits)
        closing = words[-1]
        words[:] = [closing | {"index": i, "bits": b, "first": 0, "last_of_step": 0, "last_of_frame": 0} for i, b in bits]
        words[0] |= flags
        words[-1] |= {name: closing[name] for name in ("last_of_step", "last_of_frame")}
    return steps


def assert_golden(plan, times, steps, sink):
    golden = [iter(golden_steps(plan.layer, row, plan.steps, k % plan.frames)) for k, row in enumerate(times.tolist())]
    for place, ((frame, _), step) in enumerate(zip(steps, sink.steps, strict=True)):
        assert step == next(golden[frame]), f"frame {frame}, place {place}"


@pytest.mark.parametrize(("size", "way", "stress"), pairwise(SIZES, WAYS, [(1, 0, 0), (1, 0.4, 0.7), (2, 0, 0.5), (4, 0.5, 0)]))
def test_random_layers(size, way, stress):
    (inputs, outputs, simd, pe, steps), (form, order), (contexts, gaps, stalls) = size, way, stress
    rng = np.random.default_rng(inputs * outputs + steps)
    split_words = 2 if gaps else 0
    plan = DensePlan(random_layer(rng, inputs, outputs), steps, simd, pe, form, order, 1, contexts, None, split_words)
    times = random_spike_times(rng, 10, inputs, steps)
    times[3], times[4], times[5] = steps, 0, times[6]  # no spike; all at once; twice the same
    words = words_of(plan, times, seed=outputs)
    assert_golden(plan, times, words, run_layer(plan, words, holds_vectors=bool(stalls), gaps=gaps, stalls=stalls, seed=outputs))


@pytest.mark.parametrize(("outputs", "pe", "swap", "contexts"), [(9, 4, 2, 1), (9, 4, 3, 2), (7, 7, 7, 2), (8, 8, 4, 4), (5, 1, 1, 2)])
@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.4, 0.7)])
def test_swaps_that_take_several_cycles(outputs, pe, swap, contexts, gaps, stalls):
    rng = np.random.default_rng(outputs)
    plan = DensePlan(random_layer(rng, 7, outputs), 5, 3, pe, "delta", "step", swap, contexts, None, 1)
    assert plan.replays
    times = random_spike_times(rng, 14, 7, 5)
    words = words_of(plan, times, seed=swap)
    assert_golden(plan, times, words, run_layer(plan, words, gaps=gaps, stalls=stalls, seed=pe))


@pytest.mark.parametrize(("way", "pe", "sign"), pairwise(WAYS, [1, 2, 5], [-1, 1]))
def test_thresholds_from_end_to_end(way, pe, sign):
    """All weights alike; every threshold from -N to N + 1: equality fires, one more does not, N + 1 is dead."""
    inputs = 4
    thresholds = np.arange(-inputs, inputs + 2)
    plan = DensePlan(Layer(Dense(np.full((len(thresholds), inputs), sign)), Single(thresholds)), 4, 3, pe, *way)
    times = np.array([[0, 1, 2, 3], [3, 3, 3, 3], [0, 0, 0, 0], [4, 4, 4, 4], [1, 1, 4, 2]])
    words = words_of(plan, times)
    sink = run_layer(plan, words)
    assert_golden(plan, times, words, sink)
    assert not any(step.fire[-1] for step in sink.steps)


@pytest.mark.parametrize(("form", "order"), WAYS)
@pytest.mark.parametrize("contexts", [1, 2])
def test_error_in_a_step_s_last_word_flags_its_rows_and_no_others(form, order, contexts):
    plan = DensePlan(random_layer(np.random.default_rng(0), 6, 4), 4, 2, 3, form, order, 1, contexts)
    steps = in_turn(word_payloads(input_format(plan).from_spike_times(np.tile([0, 0, 1, 1, 2, 3], (4, 1)))), plan)
    for _, words in steps[1::3]:
        words[-1]["error"] = 1
    sink = run_layer(plan, steps)
    assert [step.error for step in sink.steps] == [int(place % 3 == 1) for place in range(len(steps))]


@pytest.mark.parametrize(
    ("reset_at", "schedule", "contexts"), pairwise([0, 1, 2, 5, 11, 23], [*((*way, 1) for way in WAYS), ("delta", "step", 2)], [1, 2])
)
def test_reset_in_the_middle(reset_at, schedule, contexts):
    rng = np.random.default_rng(3)
    plan = DensePlan(random_layer(rng, 7, 5), 4, 2, 2, *schedule, contexts)
    times = random_spike_times(rng, 4, 7, 4)
    words = words_of(plan, times)
    assert_golden(plan, times, words, run_layer(plan, words, reset_at=reset_at, stalls=0.3))


@pytest.mark.parametrize(("form", "order", "swap"), [(*way, 1) for way in WAYS] + [("delta", "step", 2), ("delta", "step", 4)])
@pytest.mark.parametrize(("simd", "pe"), [(1, 1), (2, 3), (6, 6), (4, 4)])
def test_cycles(form, order, simd, pe, swap):
    """Two frames with all inputs at step 0, rows taken as they come: when they do."""
    if pe == 6:
        swap = 1
    swap = min(swap, pe)
    plan = DensePlan(random_layer(np.random.default_rng(0), 6, 6), 2, simd, pe, form, order, swap)
    sink = run_layer(plan, in_turn(word_payloads(input_format(plan).from_spike_times(np.zeros((2, 6), int))), plan), holds_vectors=False)
    folds, words = plan.neuron_folds, plan.synapse_folds
    if form == "xnor":
        per_frame = words + folds * words  # gather, then walk
        closes = [words - 1 + (fold + 1) * words for fold in range(folds)]
    elif order == "event":
        per_frame = words * folds
        closes = [(words - 1) * folds + fold for fold in range(folds)]
    else:
        swaps = swap if swap > 1 else 0
        per_frame = folds * (swaps + words)
        closes = [(fold + 1) * (swaps + words) - 1 for fold in range(folds)]
    fetch = StepSequencer.FETCH_TO_ISSUE if order == "step" and form == "delta" and folds > 1 else 0
    assert word_to_vector(plan) == ISSUE_TO_VECTOR + fetch
    rows = [cycle + word_to_vector(plan) for cycle in closes]
    assert sink.vector_cycles == rows + [cycle + per_frame for cycle in rows]
