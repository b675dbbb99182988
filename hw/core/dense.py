"""The circuit's half of `export.Dense`: a full matrix of ±1 weights."""

import numpy as np

from hw.core.plan import LayerPlan


class DensePlan(LayerPlan):
    """A dense layer: a weight row per neuron fold and input word, a row of membranes per context and neuron fold."""

    def work(self, words: np.ndarray) -> np.ndarray:
        return np.where(words < 0, 0, self.neuron_folds)

    def step_work(self, words: np.ndarray) -> np.ndarray:
        """Where no step may be skipped, each has a word."""
        return np.where((words == 0) & (not self.skips_empty_steps), self.neuron_folds, 0)
