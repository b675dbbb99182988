"""hw.core.scheduler: whole steps of several frames in turn, none too early, none too much; gaps, stalls, slow verdicts, resets."""

import itertools
import random

import numpy as np
import pytest

from hw.core.dense import DensePlan
from hw.core.scheduler import StepScheduler
from hw.core.words import WordFormat
from tests.circuit import Part, Source, fields, run
from tests.networks import random_layer, random_spike_times
from tests.pairwise import pairwise
from tests.payloads import word_payloads

INPUTS, STEPS, SIMD, VERDICTS = 7, 5, 3, 3
FORM = WordFormat(INPUTS, STEPS, SIMD)


def gate_of(contexts):
    plan = DensePlan(random_layer(np.random.default_rng(0), INPUTS, 4), STEPS, SIMD, 2, "delta", contexts=contexts)
    return plan, StepScheduler(plan, FORM, done_ports=VERDICTS)


def random_frames(count, seed=0):
    return word_payloads(FORM.from_spike_times(random_spike_times(np.random.default_rng(seed), count, INPUTS, STEPS)))


def steps_of(frame):
    """The words of each step of a frame."""
    ends = [place for place, word in enumerate(frame) if word["last_of_step"]]
    return [frame[begin + 1 : end + 1] for begin, end in itertools.pairwise([-1, *ends])]


class Judge(Part):
    """The rest of the circuit: sees words pass, judges steps in order a while later, on any of the ports, and lets results leave.

    Every cycle it checks what must hold of the words so far. Sets the mode.

    Parameters:
        decisions: per frame, the step that decides it, None for none.
        early: modes, cycle by cycle; with one that never changes, nothing passes that should wait.
        slow: share of cycles in which no step is done, and no result leaves.
    """

    def __init__(self, dut, plan, frames, decisions, *, early, slow, seed=0):
        self._dut, self._plan, self._decisions, self._slow = dut, plan, decisions, slow
        self._modes = itertools.repeat(early) if isinstance(early, int) else early()
        self._checks_waiting = isinstance(early, int)
        self._random = random.Random(seed)
        self._frames = [steps_of(frame) for frame in frames]
        self._early = 0
        self._in_flight: list[tuple[int, int, bool]] = []  # (frame, step, its frame's last) of steps that have not been done
        self._current = [context - plan.contexts for context in range(plan.contexts)]  # frame of each context's last word
        self._open: int | None = None  # the frame whose step is not complete
        self._offered = False
        self._finished: set[int] = set()
        self._decided: set[int] = set()
        self.left = 0
        self.passed: list[list[dict]] = [[] for _ in frames]
        self.order: list[int] = []  # frame of each step
        self.begin_cycles: list[int] = []

    @property
    def done(self):
        return self.left == len(self._frames)

    def drive(self, ctx):
        self._early = next(self._modes)
        ctx.set(self._dut.early, self._early)
        for k in range(VERDICTS):
            port = getattr(self._dut, f"step_done_{k}")
            ctx.set(port.valid, 0)
            ctx.set(port.frame, self._random.randrange(self._plan.frames))
            ctx.set(port.decided, self._random.getrandbits(1))
        if self._in_flight and self._random.random() >= self._slow:
            frame, step, last = self._in_flight.pop(0)
            decided = bool(self._early and frame not in self._finished and (last or self._decisions[frame] == step))
            port = getattr(self._dut, f"step_done_{self._random.randrange(VERDICTS)}")
            ctx.set(port.valid, 1)
            ctx.set(port.frame, frame % self._plan.frames)
            ctx.set(port.decided, decided)
            if decided or last:
                self._finished.add(frame)
            if decided:
                self._decided.add(frame)
        if self.left in self._finished and self._random.random() >= self._slow:
            self.left += 1
        ctx.set(self._dut.oldest, self.left % (2 * self._plan.frames))

    def look(self, ctx, cycle):
        port = self._dut.o
        if not ctx.get(port.valid):
            return
        word = fields(ctx, port.payload)
        frame = self._frame_of(word)
        if not self._offered:
            self._check_offer(frame)
        self._offered = not ctx.get(port.ready)
        if self._offered:
            return
        self._current[word["frame"] % self._plan.contexts] = frame
        if self._open is None:
            self.order.append(frame)
            self.begin_cycles.append(cycle)
        self.passed[frame].append({name: value for name, value in word.items() if name not in ("first", "frame")})
        self._open = None if word["last_of_step"] else frame
        if word["last_of_step"]:
            step = sum(before["last_of_step"] for before in self.passed[frame]) - 1
            self._in_flight.append((frame, step, bool(word["last_of_frame"])))

    def _frame_of(self, word):
        """The word's frame, told by its tag and by whether it is a first word."""
        context = word["frame"] % self._plan.contexts
        frame = self._current[context] + (self._plan.contexts if word["first"] else 0)
        assert word["frame"] == frame % self._plan.frames
        assert bool(word["first"]) == (not self.passed[frame])
        return frame

    def _check_offer(self, frame):
        """In the first cycle of an offer: may it be?"""
        assert self._open in (None, frame), "a step of another frame begins inside a step"
        assert frame < self.left + self._plan.frames, "no place for its result"
        if self._open is None:
            assert frame not in self._decided, "a step after the decision"
            if self._early and self._checks_waiting:
                assert frame not in [waiting for waiting, _, _ in self._in_flight], "its last step has not been done"


def run_gate(plan, dut, frames, decisions, *, early, gaps=0.0, stalls=0.0, slow=0.0, seed=0, reset_at=None):
    contexts = plan.contexts
    inputs = [getattr(dut, f"i_{context}") for context in range(contexts)]

    def start():
        judge = Judge(dut, plan, frames, decisions, early=early, slow=slow, seed=seed)
        sources = [
            Source(port.stream, frames[context::contexts], gaps=gaps, cancel=port.cancel, seed=seed + context)
            for context, port in enumerate(inputs)
        ]
        return [Ready(dut.o, stalls, seed), judge, *sources]

    return run(dut, start, watch=lambda: [dut.o], reset_at=reset_at)


class Ready(Part):
    """Takes words, but not always."""

    def __init__(self, stream, stalls, seed):
        self._stream, self._stalls = stream, stalls
        self._random = random.Random(seed + 1)

    def drive(self, ctx):
        ctx.set(self._stream.ready, self._random.random() >= self._stalls)


def random_decisions(frames, seed=0):
    draw = random.Random(seed)
    return [draw.choice([None, *range(len(steps_of(frame)))]) for frame in frames]


STRESS = [(0, 0, 0), (0.6, 0, 0), (0, 0.7, 0.5), (0.3, 0.3, 0.9)]


@pytest.mark.parametrize("contexts", [1, 2, 4])
@pytest.mark.parametrize(("gaps", "stalls", "slow"), STRESS)
def test_full_mode_passes_every_word(contexts, gaps, stalls, slow):
    plan, dut = gate_of(contexts)
    frames = random_frames(24, seed=contexts)
    decisions = random_decisions(frames)
    _, judge, *sources = run_gate(plan, dut, frames, decisions, early=0, gaps=gaps, stalls=stalls, slow=slow)
    assert judge.passed == frames
    assert all(source.done for source in sources)


@pytest.mark.parametrize("contexts", [1, 2, 4])
@pytest.mark.parametrize(("gaps", "stalls", "slow"), STRESS)
def test_early_mode_passes_the_steps_up_to_the_decision(contexts, gaps, stalls, slow):
    plan, dut = gate_of(contexts)
    frames = random_frames(24, seed=contexts)
    decisions = random_decisions(frames)
    _, judge, *sources = run_gate(plan, dut, frames, decisions, early=1, gaps=gaps, stalls=stalls, slow=slow)
    for frame, decision, passed in zip(frames, decisions, judge.passed, strict=True):
        steps = steps_of(frame)[: None if decision is None else decision + 1]
        assert passed == [word for step in steps for word in step]
    assert all(source.done for source in sources)


@pytest.mark.parametrize("contexts", [1, 2, 4])
@pytest.mark.parametrize(("gaps", "stalls", "slow"), STRESS)
def test_mode_changes_at_any_time(contexts, gaps, stalls, slow):
    """What passes is at least what early mode passes, and whole steps of the frame in order."""
    plan, dut = gate_of(contexts)
    frames = random_frames(40, seed=contexts)
    decisions = random_decisions(frames)
    draw = random.Random(contexts)

    def wavers():
        return iter(lambda: int(draw.random() < 0.3), None)

    _, judge, *sources = run_gate(plan, dut, frames, decisions, early=wavers, gaps=gaps, stalls=stalls, slow=slow)
    for frame, decision, passed in zip(frames, decisions, judge.passed, strict=True):
        steps = steps_of(frame)[: None if decision is None else decision + 1]
        least = [word for step in steps for word in step]
        assert len(passed) >= len(least)
        assert passed == frame[: len(passed)]
        assert passed[-1]["last_of_step"]
    assert all(source.done for source in sources)


@pytest.mark.parametrize(("reset_at", "early", "contexts"), pairwise([0, 1, 3, 6, 11, 20], [0, 1], [1, 2]))
def test_reset_in_the_middle(reset_at, early, contexts):
    plan, dut = gate_of(contexts)
    frames = random_frames(6)
    decisions = random_decisions(frames)
    _, judge, *_ = run_gate(plan, dut, frames, decisions, early=early, stalls=0.2, slow=0.3, reset_at=reset_at)
    for frame, decision, passed in zip(frames, decisions, judge.passed, strict=True):
        steps = steps_of(frame)[: None if decision is None or not early else decision + 1]
        assert passed == [word for step in steps for word in step]


def test_turns():
    """All frames of one step, every word taken at once: a word per cycle, the contexts in turn, from the first one on."""
    plan, dut = gate_of(4)
    frames = word_payloads(FORM.from_spike_times(np.full((16, INPUTS), STEPS)))
    _, judge, *_ = run_gate(plan, dut, frames, [None] * 16, early=0)
    assert judge.order == list(range(16))
    assert judge.begin_cycles[:8] == list(range(8))  # then there must be places for results


def test_full_mode_waits_for_no_verdict():
    """As many frames as there are places pass word by word, though hardly a step is step_done."""
    plan, dut = gate_of(1)
    frames = random_frames(4)
    _, judge, *_ = run_gate(plan, dut, frames, [None] * 4, early=0, slow=0.99)
    sizes = [len(step) for frame in frames for step in steps_of(frame)]
    assert judge.begin_cycles == [sum(sizes[:k]) for k in range(len(sizes))]


@pytest.mark.parametrize("early", [0, 1])
def test_steps_in_turn(early):
    """In full mode, contexts whose senders have words take turns step by step; in early mode, so do those whose step has been step_done."""
    plan, dut = gate_of(2)
    frames = word_payloads(FORM.from_spike_times(np.tile(np.arange(INPUTS) % STEPS, (4, 1))))
    _, judge, *_ = run_gate(plan, dut, frames, [None] * 4, early=early)
    assert judge.order == [frame + pair for pair in (0, 2) for _ in range(STEPS) for frame in (0, 1)]


def test_a_context_without_words_is_passed_over():
    """Its frame holds up the results, so the others go on until there is no place for more."""
    plan, dut = gate_of(2)
    frames = random_frames(12)

    class Silent(Source):
        """Begins after 300 cycles."""

        waited = 0

        def drive(self, ctx):
            self.waited += 1
            if self.waited > 300:
                super().drive(ctx)

    judge, *_ = run(
        dut,
        lambda: [
            Judge(dut, plan, frames, [None] * 12, early=0, slow=0),
            Ready(dut.o, 0, 0),
            Silent(dut.i_0.stream, frames[0::2], cancel=dut.i_0.cancel),
            Source(dut.i_1.stream, frames[1::2], cancel=dut.i_1.cancel),
        ],
    )
    waiting = [frame for frame, cycle in zip(judge.order, judge.begin_cycles, strict=True) if cycle < 300]
    assert set(waiting) == {1, 3}, "as many frames as there are places"
    assert judge.passed == frames
