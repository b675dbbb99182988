"""The words that a layer takes, in the order in which they come, from its inputs' events alone."""

import numpy as np

from export.events import Events
from hw.core.plan import LayerPlan
from hw.core.pool import pooled_words


class StepWords:
    """Words with spikes on a layer's input, frame by frame and step by step.

    Parameters:
        plan: the layer.
        events: of its inputs.
        before: the layer that sends them, None for words from outside.

    Attributes:
        cell: ``frame * steps + step`` of each word, ascending.
        vector: the neuron vector that gives it; 0 where they come from outside.
        index: of the word at the connection, behind the layer's pool; -1 where that lets no spike of it pass.
    """

    def __init__(self, plan: LayerPlan, events: Events, before: LayerPlan | None = None):
        self._shape = frames, steps, _ = events.shape
        vector, vectors = _vectors(before, events)
        words = plan.input_words
        key = ((events.frame * steps + events.step) * vectors + vector) * words + events.neuron // plan.simd
        keys, of_word = np.unique(key, return_inverse=True)
        passes = np.bincount(of_word, _passes(plan, events), len(keys)) > 0
        rest, index = np.divmod(keys, words)
        self.cell, self.vector = np.divmod(rest, vectors)
        pool = plan.layer.pool
        self.index = np.where(passes, index if pool is None else pooled_words(pool, plan.simd)[index], -1)
        self._starts = np.searchsorted(self.cell, np.arange(frames * steps + 1))

    @property
    def counts(self) -> np.ndarray:
        """How many words come, int64 (frames, steps)."""
        return np.diff(self._starts).reshape(self._shape[:2])

    @property
    def passing(self) -> np.ndarray:
        """How many come to the connection, int64 (frames, steps)."""
        return np.bincount(self.cell[self.index >= 0], minlength=self._shape[0] * self._shape[1]).reshape(self._shape[:2])

    def work(self, plan: LayerPlan) -> np.ndarray:
        """Cycles that they take at least, int64 (frames, steps)."""
        cells = self._shape[0] * self._shape[1]
        return np.bincount(self.cell, plan.work(self.index), cells).astype(np.int64).reshape(self._shape[:2])

    def step(self, frame: int, step: int) -> list[int]:
        """The indices of the words of a step."""
        return self.index[self._slice(frame, step)].tolist()

    def of_vectors(self, frame: int, step: int) -> dict[int, list[int]]:
        """The same for each neuron vector that gives words."""
        found: dict[int, list[int]] = {}
        part = self._slice(frame, step)
        for vector, index in zip(self.vector[part].tolist(), self.index[part].tolist(), strict=True):
            found.setdefault(vector, []).append(index)
        return found

    def _slice(self, frame: int, step: int) -> slice:
        cell = frame * self._shape[1] + step
        return slice(self._starts[cell], self._starts[cell + 1])


def _vectors(before: LayerPlan | None, events: Events) -> tuple[np.ndarray | int, int]:
    """The neuron vector that each event comes from, and how many there are."""
    if before is None:
        return 0, 1
    position, channel = np.divmod(events.neuron.astype(np.int64), before.layer.connection.channels)
    return position * before.neuron_folds + channel // before.pe, before.positions * before.neuron_folds


def _passes(plan: LayerPlan, events: Events) -> np.ndarray:
    """Which events pass the pool in front of a layer, bool (events,): of a step, lower neurons come first."""
    pool = plan.layer.pool
    if pool is None:
        return np.ones(len(events), bool)
    window = pool.address[events.neuron]
    passes = window >= 0
    if pool.kind == "max":
        inside = np.flatnonzero(passes)
        _, first = np.unique(events.frame[inside] * pool.outputs + window[inside], return_index=True)
        passes[:] = False
        passes[inside[first]] = True
    return passes
