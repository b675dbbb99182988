"""The circuit's half of `export.Dense`: a full matrix of ±1 weights."""

from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Value

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

    def word_counts(self, spike_times: np.ndarray) -> np.ndarray:
        frames, inputs = spike_times.shape
        padded = np.full((frames, self.synapse_folds * self.simd), self.steps, np.int32)
        padded[:, :inputs] = spike_times
        words = padded.reshape(frames, self.synapse_folds, self.simd)
        return np.stack([(words == t).any(axis=2).sum(axis=1) for t in range(self.steps)], axis=1)

    def vector_word_counts(self, spike_times: np.ndarray) -> np.ndarray:
        simd = self.following_simd
        assert simd is not None
        counts = np.zeros((len(spike_times), self.steps, self.neuron_folds), np.int64)
        for fold in range(self.neuron_folds):
            begin, end = fold * self.pe, min((fold + 1) * self.pe, self.layer.outputs)
            for word in range(begin // simd, -(-end // simd)):
                times = spike_times[:, max(begin, word * simd) : min(end, (word + 1) * simd)]
                for t in range(self.steps):
                    counts[:, t, fold] += (times == t).any(axis=1)
        return counts

    def work(self, words: np.ndarray) -> np.ndarray:
        return words * self.neuron_folds
