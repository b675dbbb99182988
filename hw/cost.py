"""How many cycles a frame takes, computed from its spike times alone.

A recurrence over the steps of each frame, with a few cycle numbers per layer as its state; nothing of the circuit is replayed. It is
exact for the ``words`` input when the sender always has the next word ready and goes to a frame's end when it is cancelled, and results
are taken at once.
"""

from dataclasses import dataclass

import numpy as np

from export import Network
from export.reference import Result
from hw.emitter import ROW_TO_SKIP, ROW_TO_WORD
from hw.folding import Folding, LayerPlan
from hw.layer import ISSUE_TO_ROW
from hw.readout import ROW_TO_CANCEL, ROW_TO_RELEASE, row_to_load


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
    counts = word_counts(plans, spike_times, golden)
    pipeline = _Pipeline(plans)
    frames = len(spike_times)
    first_word, result = np.zeros(frames, np.int64), np.zeros(frames, np.int64)
    for frame in range(frames):
        steps = [per_layer[frame] for per_layer in counts]
        decision = int(golden.decisions.step[frame])
        runs_to_end = not early or bool(golden.decisions.silent[frame])
        first_word[frame], result[frame] = pipeline.run(steps, None if runs_to_end else decision)
    return Cycles(first_word, result)


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


class _Layer:
    """The state of one layer, in cycle numbers.

    Attributes:
        free: from here on, a word can be issued.
        may_close: from here on, a word that closes a step can be issued.
        offered: the frame's last word is on the input from here on.
        ended: the cycle in which the last word so far was taken.
        last_issue: the issue of the last read for the step that closed last.
    """

    def __init__(self, plan: LayerPlan):
        self.groups = plan.groups
        self.walk = plan.groups * plan.words if plan.form == "xnor" else 0
        self.cycles_per_word = 1 if plan.form == "xnor" else plan.groups
        self.free = self.may_close = self.offered = self.last_issue = 0
        self.ended = -1

    def take_step(self, available: int, words: int) -> int:
        """Take a step's words, on the input from ``available`` on, one after the other; the cycle in which the first one was taken."""
        begin = max(available, self.free)
        before_last = begin + (words - 1) * self.cycles_per_word
        self.offered = available if words == 1 else before_last
        close = max(before_last, self.may_close)
        self.ended = close + self.cycles_per_word - 1
        self.last_issue = self.ended + self.walk
        self.free = self.last_issue + 1
        return self.ended if words == 1 else begin + self.cycles_per_word - 1


class _Pipeline:
    """All layers and the readout."""

    def __init__(self, plans: tuple[LayerPlan, ...]):
        self.layers = [_Layer(plan) for plan in plans]
        self.row_to_load = row_to_load(plans[-1])

    def run(self, counts: list[np.ndarray], decision: int | None) -> tuple[int, int]:
        """Advance by one frame that is cancelled at step ``decision`` (None: that runs to its end).

        Returns the cycles of its first word and of its result.
        """
        first = self.layers[0]
        first_word = deciding_row = row = 0
        present = [0, *(int(t) for t in np.flatnonzero(counts[0]) if t > 0)]
        for t in present:
            taken = first.take_step(first.ended + 1, max(1, int(counts[0][t])))
            first_word = taken if t == 0 else first_word
            row = self._pass_on(counts, t, ends=t == present[-1])
            if t == decision:
                deciding_row = row  # later steps still matter: they run until the cancel comes
        if decision is None or decision == present[-1]:
            loads = row + self.row_to_load
            self.layers[-1].may_close = loads + 1
        else:
            loads = deciding_row + self.row_to_load
            self._cancel(deciding_row + ROW_TO_CANCEL, loads)
        return first_word, loads + 1

    def _pass_on(self, counts: list[np.ndarray], t: int, *, ends: bool) -> int:
        """Carry step ``t`` from the first layer, which has taken it, as far as it goes; the cycle of its last row, if it gets there."""
        for index, layer in enumerate(self.layers[:-1]):
            words = int(counts[index + 1][t])
            row = layer.last_issue + ISSUE_TO_ROW
            if words == 0 and t > 0 and not ends:
                layer.may_close = row + ROW_TO_SKIP + 1
                return 0
            following = self.layers[index + 1]
            following.take_step(row + ROW_TO_WORD, max(1, words))
            layer.may_close = following.ended + 1
        last = self.layers[-1]
        row = last.last_issue + ISSUE_TO_ROW
        last.may_close = row + ROW_TO_RELEASE + 1
        return row

    def _cancel(self, cycle: int, loads: int) -> None:
        """Cut the frame short in ``cycle``: every layer that has not taken the frame's last word drops the rest."""
        cut_at = None  # the cycle in which the layer before took its last, dropped, word
        for index, layer in enumerate(self.layers):
            if layer.ended < cycle and cut_at is None:
                continue
            if cut_at is not None:
                end = cut_at + ROW_TO_WORD
            elif index > 0 and (arrives := self.layers[index - 1].last_issue + ISSUE_TO_ROW + ROW_TO_WORD) > cycle:
                end = arrives
            else:
                end = cycle if layer.offered <= cycle else cycle + 1
            cut_at = layer.ended = end
            layer.free = end + 1
            if index > 0:
                self.layers[index - 1].may_close = end + 1
        if cut_at is not None:
            self.layers[-1].may_close = max(cut_at + ROW_TO_RELEASE, loads) + 1
