"""hw.core.readout alone: decisions against plain loops, in both modes, frames in turn, with gaps, stalls and resets."""

import dataclasses
import itertools
import random

import numpy as np
import pytest

from export import Dense, Layer, Single
from hw.core.dense import DensePlan
from hw.core.readout import VECTOR_TO_STEP_DONE, Readout, vector_to_result
from tests.circuit import Part, Sink, run
from tests.neuron_vectors import Step, VectorSource
from tests.pairwise import pairwise

STEPS = 6


def plan_of(outputs, pe, *, steps=STEPS, contexts=1):
    """Margins from -7 to 8."""
    layer = Layer(Dense(np.ones((outputs, 7), int)), Single(np.array([7, -1] * outputs)[:outputs]))
    return DensePlan(layer, steps, 1, pe, "delta", contexts=contexts)


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


class FrameSource(VectorSource):
    """Lets the steps of frames in as the circuit does: of several contexts in turn, drawn; a new frame when its result has a place.

    In early mode, no step before the frame's last one has been done, and none after the decision. Sets the mode, each cycle anew.
    """

    def __init__(self, dut, plan, frames, early, *, gaps=0.0, seed=0):
        super().__init__(dut.i, plan, [], gaps=gaps, seed=seed)
        self._dut, self._plan, self._modes, self._early = dut, plan, early, 0
        self._frames = [
            [dataclasses.replace(step, first=int(k == 0), last_of_frame=int(k == len(steps) - 1)) for k, step in enumerate(steps)]
            for steps in frames
        ]
        self._numbers = list(range(plan.contexts))  # each context's frame
        self._at = [0] * plan.contexts
        self._waits = [False] * plan.contexts
        self._in_flight: list[int] = []  # frames of the steps that have not been done
        self._left = 0  # frames whose results have left
        self.sent: list[tuple[int, int]] = []  # (frame, place) of each step
        self.decided_cycles: dict[int, int] = {}  # per frame, in early mode

    @property
    def done(self):
        return self._step is None and not self._in_flight and all(number >= len(self._frames) for number in self._numbers)

    def drive(self, ctx):
        self._early = next(self._modes)
        ctx.set(self._dut.early, self._early)
        super().drive(ctx)

    def next_step(self, ctx):
        self._left += (ctx.get(self._dut.oldest) - self._left) % (2 * self._plan.frames)
        ready = []
        for context, number in enumerate(self._numbers):
            if number < len(self._frames) and not self._waits[context] and (self._at[context] or number < self._left + self._plan.frames):
                ready.append(context)
        if not ready:
            return None
        context = self._random.choice(ready)
        frame, place = self._numbers[context], self._at[context]
        step = dataclasses.replace(self._frames[frame][place], frame=frame % self._plan.frames)
        self._in_flight.append(frame)
        self._waits[context] = bool(self._early)
        self._at[context] += 1
        if step.last_of_frame:
            self._next_frame(context)
        self.sent.append((frame, place))
        return step

    def look(self, ctx, cycle):
        super().look(ctx, cycle)
        step_done = self._dut.step_done
        if ctx.get(step_done.valid):
            frame, context = self._in_flight.pop(0), ctx.get(step_done.frame) % self._plan.contexts
            assert ctx.get(step_done.frame) == frame % self._plan.frames
            if frame == self._numbers[context]:
                self._waits[context] = False
            if ctx.get(step_done.decided):
                assert frame not in self.decided_cycles
                self.decided_cycles[frame] = cycle
                if frame == self._numbers[context]:
                    self._next_frame(context)

    def _next_frame(self, context):
        self._numbers[context] += self._plan.contexts
        self._at[context], self._waits[context] = 0, False


def run_readout(plan, frames, *, early, gaps=0.0, stalls=0.0, reset_at=None, seed=0):
    dut = Readout(plan)
    modes = early if callable(early) else lambda: itertools.repeat(early)

    def start():
        return Sink(dut.o, len(frames), stalls=stalls), FrameSource(dut, plan, frames, modes(), gaps=gaps, seed=seed)

    return run(dut, start, watch=lambda: [dut.o], reset_at=reset_at)


SIZES = [(1, 1), (2, 1), (8, 8), (7, 4), (9, 4), (10, 3), (5, 5)]
STRESS = [(1, 0, 0), (1, 0.5, 0.6), (2, 0, 0), (2, 0.4, 0.9), (4, 0, 0.5)]


@pytest.mark.parametrize(("size", "stress", "early"), pairwise(SIZES, STRESS, [0, 1]))
def test_decisions(size, stress, early):
    (outputs, pe), (contexts, gaps, stalls) = size, stress
    frames = random_frames(outputs, 24, seed=outputs)
    sink, source = run_readout(plan_of(outputs, pe, contexts=contexts), frames, early=early, gaps=gaps, stalls=stalls, seed=pe)
    assert sink.received == [decision(frame) | {"error": 0} for frame in frames]
    fires = {k for k, frame in enumerate(frames) if any(any(step.fire) for step in frame)}
    if early:  # a silent frame is decided by its end
        assert set(source.decided_cycles) == set(range(len(frames)))
        last = dict(source.sent)  # of each frame, the last step that was let in
        assert all(frames[k][last[k]].time == decision(frames[k])["step"] for k in fires)
    else:
        assert not source.decided_cycles
        assert len(source.sent) == sum(map(len, frames))


@pytest.mark.parametrize(("outputs", "pe"), [(2, 2), (6, 6), (6, 2), (7, 3)])
def test_every_tie_goes_to_the_lowest_index(outputs, pe):
    frames = []
    for low, high in itertools.combinations(range(outputs), 2):
        margin = [3 if j in (low, high) else 2 for j in range(outputs)]
        frames.append([Step(0, [1] * outputs, margin)])
    sink, _ = run_readout(plan_of(outputs, pe), frames, early=0)
    assert [result["class_index"] for result in sink.received] == [low for low, _ in itertools.combinations(range(outputs), 2)]


def test_one_step():
    frames = random_frames(4, 8, steps=1)
    sink, _ = run_readout(plan_of(4, 3, steps=1), frames, early=1)
    assert sink.received == [decision(frame, 1) | {"error": 0} for frame in frames]


@pytest.mark.parametrize("stalls", [0, 0.7])
@pytest.mark.parametrize("contexts", [1, 2, 4])
def test_mode_changes_at_any_time(stalls, contexts):
    """The mode is looked at when a decision falls: results are right, one per frame, however it wavers."""
    frames = random_frames(5, 40, seed=3)
    draw = random.Random(1)
    plan = plan_of(5, 2, contexts=contexts)
    sink, source = run_readout(plan, frames, early=lambda: iter(lambda: draw.getrandbits(1), None), stalls=stalls)
    assert sink.received == [decision(frame) | {"error": 0} for frame in frames]
    assert 5 < len(source.decided_cycles) < 40


@pytest.mark.parametrize("contexts", [1, 2])
def test_error_at_the_frame_s_end_in_full_mode_and_at_the_decision_in_early_mode(contexts):
    silent, fires = Step(0, [0, 0], [-1, -2]), Step(1, [0, 1], [-1, 0])
    wrong_end = Step(2, [1, 0], [0, 0], error=1)
    wrong_decision = Step(1, [0, 1], [-1, 0], error=1)
    frames = [[silent, fires, wrong_end], [silent, wrong_decision, wrong_end], [silent, fires]]
    for early, errors in ((0, [1, 1, 0]), (1, [0, 1, 0])):
        sink, _ = run_readout(plan_of(2, 2, contexts=contexts), frames, early=early)
        assert [result["error"] for result in sink.received] == errors


@pytest.mark.parametrize(("reset_at", "early", "contexts"), pairwise([0, 1, 3, 6, 10], [0, 1], [1, 2]))
def test_reset_in_the_middle(reset_at, early, contexts):
    frames = random_frames(5, 5, seed=4)
    sink, _ = run_readout(plan_of(5, 2, contexts=contexts), frames, early=early, reset_at=reset_at, stalls=0.5)
    assert sink.received == [decision(frame) | {"error": 0} for frame in frames]


class JudgedCycles(Part):
    def __init__(self, dut):
        self._dut = dut
        self.cycles = []

    def look(self, ctx, cycle):
        if ctx.get(self._dut.step_done.valid):
            self.cycles.append(cycle)


@pytest.mark.parametrize(("outputs", "pe"), [(3, 2), (1, 1), (5, 5), (9, 9), (4, 1)])
@pytest.mark.parametrize("early", [0, 1])
def test_cycles(outputs, pe, early):
    """Steps are done, and results come, a number of cycles after a vector; in full mode, vectors come without a gap."""
    plan = plan_of(outputs, pe)
    nothing, fires = [0] * outputs, [0] * (outputs - 1) + [1]
    frames = [[Step(0, nothing, nothing), Step(1, fires, nothing), Step(3, nothing, nothing), Step(5, nothing, nothing)]] * 2
    dut = Readout(plan)
    sink, source, step_done = run(dut, lambda: (Sink(dut.o, 2), FrameSource(dut, plan, frames, itertools.repeat(early)), JudgedCycles(dut)))
    vectors = source.last_vector_cycles
    assert step_done.cycles == [cycle + VECTOR_TO_STEP_DONE for cycle in vectors]
    if early:
        assert [place for _, place in source.sent] == [0, 1, 0, 1]
        assert list(source.decided_cycles.values()) == [step_done.cycles[1], step_done.cycles[3]]
        finishes = [vectors[1], vectors[3]]
    else:
        assert vectors == [(k + 1) * plan.neuron_folds - 1 for k in range(8)]
        finishes = [vectors[3], vectors[7]]
    assert sink.cycles == [cycle + vector_to_result(plan) for cycle in finishes]
