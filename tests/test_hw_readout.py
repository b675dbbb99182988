"""hw.readout alone: decisions against plain loops, in both modes, with gaps, stalls and resets."""

import itertools
import random

import numpy as np
import pytest

from export import Layer
from hw.folding import LayerPlan
from hw.readout import ROW_TO_CANCEL, ROW_TO_RELEASE, Readout, row_to_load
from tests.circuit import Part, Sink, run
from tests.rows import RowSource, Step

STEPS = 6


def plan_of(outputs, pe, steps=STEPS):
    """Margins from -7 to 8."""
    return LayerPlan(Layer(np.ones((outputs, 7), int), np.array([7, -1] * outputs)[:outputs]), steps, 1, pe, "delta")


def random_frames(outputs, count, *, seed=0, steps=STEPS):
    draw = random.Random(seed)
    frames = []
    for frame in range(count):
        times = [0, *(t for t in range(1, steps) if draw.random() < 0.7)]
        share = [0, 0.05, 0.3, 1][frame % 4]
        fire = [[int(draw.random() < share) for _ in range(outputs)] for _ in times]
        least = draw.choice([-7, -1, 6])
        margin = [[draw.randint(least, least + 2) for _ in range(outputs)] for _ in times]  # ties are common
        frames.append([Step(*step) for step in zip(times, fire, margin, strict=True)])
    return frames


def decision(frame, steps=STEPS):
    """[S5] for one frame."""
    step = next((step for step in frame if any(step.fire)), frame[-1])
    silent = not any(step.fire)
    best = max(step.margin)
    time = steps - 1 if silent else step.time
    return {"class_index": step.margin.index(best), "step": time, "margin": best, "silent": int(silent)}


class Mode(Part):
    def __init__(self, dut, early):
        self._dut, self._early = dut, early

    def drive(self, ctx):
        ctx.set(self._dut.early, next(self._early))


def run_readout(plan, frames, *, early, gaps=0.0, stalls=0.0, reset_at=None):
    dut = Readout(plan)

    def start():
        sink = Sink(dut.o, len(frames), stalls=stalls)
        return sink, RowSource(dut.i, plan, frames, gaps=gaps), Mode(dut, early() if callable(early) else itertools.repeat(early))

    return run(dut, start, watch=lambda: [dut.o], reset_at=reset_at)


@pytest.mark.parametrize(("outputs", "pe"), [(1, 1), (2, 1), (8, 8), (7, 4), (9, 4), (10, 3), (5, 5)])
@pytest.mark.parametrize("early", [0, 1])
@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.5, 0), (0, 0.9), (0.4, 0.6)])
def test_decisions(outputs, pe, early, gaps, stalls):
    frames = random_frames(outputs, 24, seed=outputs)
    sink = run_readout(plan_of(outputs, pe), frames, early=early, gaps=gaps, stalls=stalls)[0]
    assert sink.received == [decision(frame) | {"error": 0} for frame in frames]


@pytest.mark.parametrize(("outputs", "pe"), [(2, 2), (6, 6), (6, 2), (7, 3)])
def test_every_tie_goes_to_the_lowest_index(outputs, pe):
    frames = []
    for low, high in itertools.combinations(range(outputs), 2):
        margin = [3 if j in (low, high) else 2 for j in range(outputs)]
        frames.append([Step(0, [1] * outputs, margin)])
    sink = run_readout(plan_of(outputs, pe), frames, early=0)[0]
    assert [result["class_index"] for result in sink.received] == [low for low, _ in itertools.combinations(range(outputs), 2)]


def test_one_step():
    frames = random_frames(4, 8, steps=1)
    sink = run_readout(plan_of(4, 3, steps=1), frames, early=1)[0]
    assert sink.received == [decision(frame, 1) | {"error": 0} for frame in frames]


@pytest.mark.parametrize("stalls", [0, 0.7])
def test_mode_changes_at_any_time(stalls):
    """The mode is looked at when a decision falls: results are right, one per frame, however it wavers."""
    frames = random_frames(5, 40, seed=3)
    draw = random.Random(1)
    sink = run_readout(plan_of(5, 2), frames, early=lambda: iter(lambda: draw.getrandbits(1), None), stalls=stalls)[0]
    assert sink.received == [decision(frame) | {"error": 0} for frame in frames]


def test_error_at_the_frame_s_end_in_full_mode_and_at_the_decision_in_early_mode():
    silent, fires = Step(0, [0, 0], [-1, -2]), Step(1, [0, 1], [-1, 0])
    wrong_end = Step(2, [1, 0], [0, 0], error=1)
    wrong_decision = Step(1, [0, 1], [-1, 0], error=1)
    frames = [[silent, fires, wrong_end], [silent, wrong_decision, wrong_end], [silent, fires]]
    for early, errors in ((0, [1, 1, 0]), (1, [0, 1, 0])):
        sink = run_readout(plan_of(2, 2), frames, early=early)[0]
        assert [result["error"] for result in sink.received] == errors


@pytest.mark.parametrize("early", [0, 1])
@pytest.mark.parametrize("reset_at", [0, 1, 3, 6, 10])
def test_reset_in_the_middle(reset_at, early):
    frames = random_frames(5, 5, seed=4)
    sink = run_readout(plan_of(5, 2), frames, early=early, reset_at=reset_at, stalls=0.5)[0]
    assert sink.received == [decision(frame) | {"error": 0} for frame in frames]


class CancelWatch(Part):
    """When the cancel came first."""

    def __init__(self, dut):
        self._dut = dut
        self.first = None

    def look(self, ctx, cycle):
        if self.first is None and ctx.get(self._dut.i.cancel):
            self.first = cycle


@pytest.mark.parametrize(("outputs", "pe"), [(3, 2), (1, 1), (5, 5), (9, 9), (4, 1)])
def test_cycles(outputs, pe):
    """From the deciding row (early) or the last row (full) to the cancel, the result and the next step."""
    plan = plan_of(outputs, pe)
    nothing, fires = [0] * outputs, [0] * (outputs - 1) + [1]
    frames = [[Step(0, nothing, nothing), Step(1, fires, nothing), Step(3, nothing, nothing), Step(5, nothing, nothing)]] * 2
    for early in (0, 1):
        dut = Readout(plan)
        mode = Mode(dut, itertools.repeat(early))
        sink, source, watch, _ = run(dut, lambda d=dut, m=mode: (Sink(d.o, 2), RowSource(d.i, plan, frames), CancelWatch(d), m))
        rows = source.last_row_cycles
        finishes = rows[0][1 if early else 3]
        assert sink.cycles[0] == finishes + row_to_load(plan) + 1
        assert watch.first == (finishes + ROW_TO_CANCEL if early else None)
        assert rows[0][1] == rows[0][0] + ROW_TO_RELEASE + plan.groups
        end_released = ROW_TO_CANCEL + ROW_TO_RELEASE if early else ROW_TO_RELEASE
        assert rows[1][0] == finishes + max(row_to_load(plan), end_released) + plan.groups
