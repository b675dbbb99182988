"""How many cycles a frame takes, computed from its spike times alone.

A recurrence over the steps of each frame, with a few cycle numbers per component as its state; nothing of the circuit is replayed. It is
exact for the ``words`` input when the senders always have the next word ready and go to a frame's end when it is cancelled, and results
are taken at once.
"""

from dataclasses import dataclass

import numpy as np

from export import Network
from export.reference import Result
from hw.folding import Folding, LayerPlan
from hw.frame_check import LATENCY as CHECK
from hw.pipeline import Pipeline
from hw.readout import row_to_result


@dataclass(frozen=True, eq=False)
class Cycles:
    """Cycle numbers of frames sent back to back, counted from the first cycle in which a word can be taken.

    Attributes:
        first_word: int64 (frames,), when the frame's first word was taken.
        result: int64 (frames,), when the frame's result was there.
    """

    first_word: np.ndarray
    result: np.ndarray

    @property
    def intervals(self) -> np.ndarray:
        """Cycles from one result to the next, int64 (frames - 1,)."""
        return np.diff(self.result)

    @property
    def latencies(self) -> np.ndarray:
        """Cycles from a frame's first word to its result, int64 (frames,)."""
        return self.result - self.first_word


def predict(network: Network, folding: Folding, spike_times: np.ndarray, golden: Result, *, early: bool) -> Cycles:
    """The cycles of every frame.

    Parameters:
        network, folding: what the circuit was made of.
        spike_times: integers (frames, inputs), 0 … T.
        golden: what `export.reference.run` gives for them.
        early: the mode.
    """
    plans = folding.plans(network)
    inputs = word_counts(plans, spike_times, golden)[0]
    rows = [row_word_counts(plan, times) for plan, times in zip(plans, golden.spike_times[:-1], strict=False)]
    frames = [
        _Frame(inputs[k], [layer[k] for layer in rows], int(step) if early and not silent else None)
        for k, (step, silent) in enumerate(zip(golden.decisions.step, golden.decisions.silent, strict=True))
    ]
    gate = _Gate(plans, frames, early=early)
    gate.run()
    return Cycles(np.array(gate.first_word, np.int64), np.array(gate.result, np.int64))


def limit(network: Network, folding: Folding, spike_times: np.ndarray, golden: Result) -> np.ndarray:
    """The bound that no folding of this kind beats, in cycles, int64 (frames,).

    The largest over all layers of (words with spikes up to the decision) × ⌈M / PE⌉.
    """
    plans = folding.plans(network)
    upto = np.arange(network.steps) <= golden.decisions.step[:, None]
    work = [(n * upto).sum(axis=1) * plan.groups for n, plan in zip(word_counts(plans, spike_times, golden), plans, strict=True)]
    return np.max(work, axis=0)


def word_counts(plans: tuple[LayerPlan, ...], spike_times: np.ndarray, golden: Result) -> list[np.ndarray]:
    """Words with spikes on each layer's input: int64 (frames, steps) per layer."""
    counts = []
    for plan, times in zip(plans, (spike_times, *golden.spike_times[:-1]), strict=True):
        frames, inputs = times.shape
        padded = np.full((frames, plan.words * plan.simd), plan.steps, np.int32)
        padded[:, :inputs] = times
        words = padded.reshape(frames, plan.words, plan.simd)
        counts.append(np.stack([(words == t).any(axis=2).sum(axis=1) for t in range(plan.steps)], axis=1))
    return counts


def row_word_counts(plan: LayerPlan, spike_times: np.ndarray) -> np.ndarray:
    """Words with spikes that each row of a layer's neurons gives: int64 (frames, steps, groups).

    Parameters:
        plan: the layer.
        spike_times: integers (frames, outputs) of its neurons.
    """
    simd = plan.following_simd
    assert simd is not None
    counts = np.zeros((len(spike_times), plan.steps, plan.groups), np.int64)
    for group in range(plan.groups):
        begin, end = group * plan.pe, min((group + 1) * plan.pe, plan.layer.outputs)
        for word in range(begin // simd, -(-end // simd)):
            times = spike_times[:, max(begin, word * simd) : min(end, (word + 1) * simd)]
            for t in range(plan.steps):
                counts[:, t, group] += (times == t).any(axis=1)
    return counts


@dataclass(frozen=True, eq=False)
class _Frame:
    """What a frame makes the circuit do.

    Attributes:
        inputs: words per step on the first layer's input, int64 (steps,).
        rows: words per step and row of each layer but the last, int64 (steps, groups).
        decision: the step at which the rest of the frame is cancelled; None if it runs to its end.
    """

    inputs: np.ndarray
    rows: list[np.ndarray]
    decision: int | None

    def steps(self) -> list[int]:
        """The steps that are sent: those with words, and step 0."""
        return [0, *(int(t) for t in np.flatnonzero(self.inputs) if t > 0)]


class _Context:
    """A frame that is on its way in.

    Attributes:
        frame: its number.
        steps: its steps.
        at: which of them comes next.
        ready: from here on, it may.
        offered: from here on, its first word is there.
    """

    def __init__(self, frame: int):
        self.frame, self.at = frame, 0
        self.ready = self.offered = CHECK
        self.steps: list[int] = []


class _Gate:
    """Whose turn it is, and when each frame's first word is taken and its result there."""

    def __init__(self, plans: tuple[LayerPlan, ...], frames: list[_Frame], *, early: bool):
        self.frames, self.early, self.tags = frames, early, plans[-1].frames
        self.pipeline = Pipeline(plans)
        self.row_to_result = row_to_result(plans[-1])
        self.contexts = [_Context(k) for k in range(plans[0].contexts)]
        self.first_word, self.complete = ([-1] * len(frames) for _ in range(2))
        self.result: list[int] = []
        self.free = 0  # from here on, a step can be chosen
        self.turn = len(self.contexts) - 1

    def run(self) -> None:
        while (chosen := self._choose()) is not None:
            self._let_in(chosen)

    def _choose(self) -> _Context | None:
        """The context whose step comes next."""
        candidates = []
        for context in self.contexts:
            if context.frame < len(self.frames) and (ready := self._ready(context)) is not None:
                distance = (context.frame - self.turn - 1) % len(self.contexts)
                candidates.append((max(self.free, ready), distance, context))
        if not candidates:
            return None
        begin, _, context = min(candidates, key=lambda candidate: candidate[:2])
        self.free = begin
        return context

    def _ready(self, context: _Context) -> int | None:
        """When a context may go on; a new frame needs a place for its result, None: that is not free before other frames went on."""
        if context.at or context.frame < self.tags:
            return context.ready
        left = context.frame - self.tags
        return max(context.ready, self.result[left]) if left < len(self.result) else None

    def _let_in(self, context: _Context) -> None:
        frame = self.frames[context.frame]
        if context.at == 0:
            context.steps = frame.steps()
        t = context.steps[context.at]
        words = max(1, int(frame.inputs[t]))
        ends = context.at == len(context.steps) - 1
        last, judged, row = self.pipeline.step(self.free, words, [rows[t] for rows in frame.rows], context.frame, t, ends=ends)
        if context.at == 0:
            self.first_word[context.frame] = context.offered - CHECK
        self.free = last + 1
        self.turn = context.frame
        if ends or t == frame.decision:
            assert row is not None
            self._finish(context.frame, row)
            remaining = int(frame.inputs[t + 1 :].sum())
            context.offered = context.ready = last + 1 if ends else judged + min(remaining, 2 + CHECK)
            context.frame, context.at = context.frame + len(self.contexts), 0
        else:
            context.ready = judged if self.early else last + 1
            context.at += 1

    def _finish(self, frame: int, row: int) -> None:
        """Results leave in the order of the frames, one per cycle."""
        self.complete[frame] = row + self.row_to_result
        while (at := len(self.result)) < len(self.frames) and self.complete[at] >= 0:
            self.result.append(max(self.complete[at], self.result[-1] + 1 if self.result else 0))
