"""The circuit's half of `export.Dense`: a full matrix of ±1 weights."""

from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Value

from export.events import Events
from hw.core.plan import LayerPlan, integers


class DensePlan(LayerPlan):
    """A dense layer: a weight row per neuron fold and input word, a row of membranes per context and neuron fold."""

    @property
    def synapse_folds(self) -> int:
        return -(-self.layer.inputs // self.simd)

    @property
    def neuron_folds(self) -> int:
        return -(-self.layer.outputs // self.pe)

    @property
    def state_rows(self) -> int:
        """Rows of one context lie a power of two apart."""
        return self.contexts << (self.neuron_folds - 1).bit_length()

    def state_row(self, fold: Value, frame: Value) -> Value:
        return Cat(fold[: (self.neuron_folds - 1).bit_length()], frame[: (self.contexts - 1).bit_length()])

    @property
    def weight_depth(self) -> int:
        return self.neuron_folds * self.synapse_folds

    @cached_property
    def weight_rows(self) -> list[int]:
        """Row ``neuron_fold * synapse_folds + synapse_fold`` holds, least significant first, ``SIMD`` bits for each of ``PE`` neurons.

        Padding inputs hold 0 in the ``delta`` form and 1 in the ``xnor`` form, where XNOR(1, 0) = 0 does not count [S8].
        """
        bits = np.full((self.neuron_folds * self.pe, self.synapse_folds * self.simd), self.counting.padding)
        bits[: self.layer.outputs, : self.layer.inputs] = self.layer.connection.weights > 0
        tiles = bits.reshape(self.neuron_folds, self.pe, self.synapse_folds, self.simd).transpose(0, 2, 1, 3)
        return integers(tiles.reshape(self.weight_depth, -1))

    def word_counts(self, events: Events) -> np.ndarray:
        return _distinct(events, (events.neuron // self.simd, self.synapse_folds)).reshape(events.shape[:2])

    def vector_word_counts(self, events: Events) -> np.ndarray:
        simd = self.following_simd
        assert simd is not None
        words = -(-self.layer.outputs // simd)
        counts = _distinct(events, (events.neuron // self.pe, self.neuron_folds), (events.neuron // simd, words))
        return counts.reshape(*events.shape[:2], self.neuron_folds)

    def work(self, words: np.ndarray) -> np.ndarray:
        return words * self.neuron_folds


def _distinct(events: Events, *parts: tuple[np.ndarray, int]) -> np.ndarray:
    """How many values of the last of some parts of the neurons' numbers there are, for each frame, step, and value of the others.

    Parameters:
        parts: the part of each event's neuron, and how many values it can have.
    """
    frames, steps, _ = events.shape
    key, places = events.frame * steps + events.step, frames * steps
    for part, size in parts:
        key, places = key * size + part, places * size
    last = parts[-1][1]
    return np.bincount(np.unique(key) // last, minlength=places // last)
