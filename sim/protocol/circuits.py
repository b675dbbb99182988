"""The small circuits that sequences are played to: sizes that divide nothing, and all that a folding has."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

import hw.verilog
from export import Dense, Layer, Network, Single
from hw import Accelerator, Folding


def _network(seed: int, shape: tuple[int, ...], steps: int) -> Network:
    """A network with small thresholds, and without any for some neurons of the first layer, which then fire whatever comes in.

    The seeds below are such that random frames are decided at every step and never, 6 % of them or more each, and by every output.
    """
    rng = np.random.default_rng(seed)
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(shape)):
        least, greatest = (0, 3) if index == 0 else (1, 2)
        layers.append(Layer(Dense(rng.choice([-1, 1], (outputs, inputs))), Single(rng.integers(least, greatest + 1, outputs))))
    return Network(tuple(layers), steps)


TWO_LAYERS = _network(432, (13, 7, 3), 5)
THREE_LAYERS = _network(3551, (10, 9, 6, 3), 6)


@dataclass(frozen=True, eq=False)
class Circuit:
    """A network and its folding."""

    network: Network
    folding: Folding

    def verilog(self) -> tuple[str, dict[str, Any]]:
        """Text and port map."""
        accelerator = Accelerator(self.network, self.folding)
        return hw.verilog.generate(accelerator), hw.verilog.port_map(accelerator)

    def __str__(self) -> str:
        entries = self.folding.as_dict().items()
        texts = (f"{name.replace('_', ' ')} {','.join(map(str, value)) if isinstance(value, list) else value}" for name, value in entries)
        return f"{'-'.join(map(str, self.network.shape))}, T = {self.network.steps}, {'  '.join(texts)}"


CIRCUITS = (
    Circuit(TWO_LAYERS, Folding((3, 2), (7, 3), ("delta", "delta"))),
    Circuit(TWO_LAYERS, Folding((3, 2), (7, 3), ("delta", "delta"), contexts=2)),
    Circuit(TWO_LAYERS, Folding((4, 3), (3, 2), ("xnor", "delta"))),
    Circuit(TWO_LAYERS, Folding((4, 3), (3, 2), ("delta", "delta"), ("step", "step"), contexts=2)),
    Circuit(TWO_LAYERS, Folding((5, 4), (2, 1), ("delta", "xnor"), contexts=4)),
    Circuit(TWO_LAYERS, Folding((5, 4), (4, 2), ("delta", "delta"), ("step", "event"), swap=(2, 1))),
    Circuit(THREE_LAYERS, Folding((3, 2, 6), (5, 6, 1), ("delta", "xnor", "delta"), contexts=2)),
)
"""Sequences are dealt out to them in turn: number ``k`` goes to circuit ``k`` modulo their number."""
