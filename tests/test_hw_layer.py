"""hw.layer alone: every row that it sends, against plain sums, with gaps, slow releases, cancels and resets."""

import numpy as np
import pytest

from export import Layer
from hw.folding import LayerPlan
from hw.layer import ISSUE_TO_ROW, IFLayer
from hw.streams import input_format
from tests.circuit import Source, run, word_payloads
from tests.networks import random_layer, random_spike_times
from tests.oracle import potential
from tests.rows import RowSink, Step

FORMS = ["delta", "xnor"]


def golden_steps(layer, times, steps):
    """The steps that the layer closes for one frame: those with input spikes, and step 0."""
    fired = [False] * layer.outputs
    closed = []
    for t in sorted({0, *(time for time in times if time < steps)}):
        margin = [
            potential(row, times, t) - threshold for row, threshold in zip(layer.weights.tolist(), layer.thresholds.tolist(), strict=True)
        ]
        fire = [int(m >= 0 and not f) for m, f in zip(margin, fired, strict=True)]
        fired = [f or s for f, s in zip(fired, fire, strict=True)]
        closed.append(Step(t, fire, margin))
    return closed


def run_layer(plan, times, *, gaps=0.0, stalls=0.0, cancels=0.0, seed=0, reset_at=None):
    dut = IFLayer(plan)
    frames = word_payloads(input_format(plan).from_spike_times(times))

    def start():
        sink = RowSink(dut.o, plan, len(frames), stalls=stalls, cancels=cancels, seed=seed)
        return sink, Source(dut.i.stream, frames, gaps=gaps, cancel=dut.i.cancel, seed=seed)

    return run(dut, start, watch=lambda: [dut.i.stream], reset_at=reset_at)[0]


def assert_golden(plan, times, sink):
    for frame, row in enumerate(times.tolist()):
        expected = golden_steps(plan.layer, row, plan.steps)
        if frame in sink.cancelled:
            expected = expected[: len(sink.frames[frame])]
        assert sink.frames[frame] == expected, f"frame {frame}"


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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("inputs", "outputs", "simd", "pe", "steps"), SIZES)
@pytest.mark.parametrize(("gaps", "stalls", "cancels"), [(0, 0, 0), (0.4, 0.6, 0), (0, 0.5, 0.05), (0.5, 0, 0.2)])
def test_random_layers(inputs, outputs, simd, pe, steps, form, gaps, stalls, cancels):
    rng = np.random.default_rng(inputs * outputs + steps)
    plan = LayerPlan(random_layer(rng, inputs, outputs), steps, simd, pe, form)
    times = random_spike_times(rng, 10, inputs, steps)
    times[3], times[4], times[5] = steps, 0, times[6]  # no spike; all at once; twice the same
    sink = run_layer(plan, times, gaps=gaps, stalls=stalls, cancels=cancels, seed=outputs)
    assert_golden(plan, times, sink)
    assert bool(sink.cancelled) == bool(cancels and steps > 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pe", [1, 2, 5])
@pytest.mark.parametrize("sign", [-1, 1])
def test_thresholds_from_end_to_end(form, pe, sign):
    """All weights alike; every threshold from -N to N + 1: equality fires, one more does not, N + 1 is dead."""
    inputs = 4
    thresholds = np.arange(-inputs, inputs + 2)
    plan = LayerPlan(Layer(np.full((len(thresholds), inputs), sign), thresholds), 4, 3, pe, form)
    times = np.array([[0, 1, 2, 3], [3, 3, 3, 3], [0, 0, 0, 0], [4, 4, 4, 4], [1, 1, 4, 2]])
    sink = run_layer(plan, times)
    assert_golden(plan, times, sink)
    dead = [step.fire[-1] for frame in sink.frames for step in frame]
    assert not any(dead)


@pytest.mark.parametrize("form", FORMS)
def test_error_in_one_word_flags_the_rest_of_its_frame(form):
    plan = LayerPlan(random_layer(np.random.default_rng(0), 6, 4), 4, 2, 3, form)
    frames = word_payloads(input_format(plan).from_spike_times(np.tile([0, 0, 1, 1, 2, 3], (3, 1))))
    wrong = next(word for word in frames[1] if word["time"] == 1)
    wrong["error"] = 1
    dut = IFLayer(plan)
    sink, _ = run(dut, lambda: (RowSink(dut.o, plan, 3), Source(dut.i.stream, frames)))
    assert [[step.error for step in frame] for frame in sink.frames] == [[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reset_at", [0, 1, 2, 5, 11, 23])
def test_reset_in_the_middle(form, reset_at):
    rng = np.random.default_rng(3)
    plan = LayerPlan(random_layer(rng, 7, 5), 4, 2, 2, form)
    times = random_spike_times(rng, 4, 7, 4)
    sink = run_layer(plan, times, reset_at=reset_at)
    assert_golden(plan, times, sink)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("simd", "pe"), [(1, 1), (2, 3), (6, 6), (4, 4)])
def test_cycles(form, simd, pe):
    """Two frames with all inputs at step 0: when the rows come."""
    plan = LayerPlan(random_layer(np.random.default_rng(0), 6, 6), 2, simd, pe, form)
    sink = run_layer(plan, np.zeros((2, 6), int))
    groups, words = plan.groups, plan.words
    if form == "delta":
        per_frame, closes = words * groups, (words - 1) * groups
        rows = [closes + ISSUE_TO_ROW + group for group in range(groups)]
    else:
        per_frame, closes = words + groups * words, words - 1
        rows = [closes + (group + 1) * words + ISSUE_TO_ROW for group in range(groups)]
    closes_again = max(closes + per_frame, rows[-1] + 2)  # the release comes a cycle after the last row
    assert sink.row_cycles == rows + [cycle + closes_again - closes for cycle in rows]
