"""Multi-spike neurons in PyTorch, step by step, with the rules of [S9] and [S10] and the baselines they are measured against.

Nothing here is trained. With whole thresholds and starts every number is whole and below 2^24, so that float32 is exact and the golden
model must give the same coefficients. A neuron keeps ``V = start + 2^F · S + b · (t + 1) - θ · N``: all inputs so far, and the bias of each
step, less what it has emitted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from export import UserError


@dataclass(frozen=True)
class Rule:
    """What a neuron emits when a step closes.

    Attributes:
        up: the most that it can emit in a step; None: any number.
        down: the most that it can take back in a step, likewise.
        bounded: counts stay from 0 to the greatest; otherwise they may be anything.
        symmetric: a spike is taken back at ``V ≤ -θ``, not at ``V < 0`` already.
        about: in words.
    """

    about: str
    up: int | None = 1
    down: int | None = 0
    bounded: bool = True
    symmetric: bool = False

    def emit(self, potential: Tensor, emitted: Tensor, thresholds: Tensor, greatest: int) -> Tensor:
        """Coefficients float (frames, outputs).

        Parameters:
            potential: ``V`` before the step's own spikes, float (frames, outputs).
            emitted: ``N``, the sum of the coefficients so far, likewise.
            thresholds: ``θ``, float (outputs,).
            greatest: of the counts, where these are bounded.
        """
        if self.up is None:
            coefficients = torch.floor(potential / thresholds)
            coefficients = torch.clamp(emitted + coefficients, 0, greatest) - emitted
            return coefficients if self.down is None else coefficients.clamp_(min=0)
        rise = potential >= thresholds
        fall = torch.zeros_like(rise) if not self.down else potential <= -thresholds if self.symmetric else potential < 0
        if self.bounded:
            rise &= emitted < greatest
            fall &= emitted > 0
        return rise.to(potential.dtype) - fall.to(potential.dtype)


RULES = {
    "rate": Rule("V ≥ θ: 1", bounded=False),
    "ternary": Rule("V ≥ θ and N < L: +1; V < 0 and N > 0: -1", down=1),
    "graded": Rule("clip(N + ⌊V/θ⌋, 0, L) - N", up=None, down=None),
    "ungated": Rule("V ≥ θ: +1; V < 0: -1, whatever N", down=1, bounded=False),
    "symmetric": Rule("V ≥ θ and N < L: +1; V ≤ -θ and N > 0: -1", down=1, symmetric=True),
    "positive": Rule("as graded, but never below 0", up=None),
}
BASELINES = ("ungated", "symmetric", "positive")  # in PyTorch only: no circuit has them


class SpikingLayer(NamedTuple):
    """A hidden layer; whole numbers, fixed-point ones with ``F`` fractional bits, or real ones before rounding."""

    weights: Tensor  # ±1, float (outputs, inputs)
    thresholds: Tensor  # θ > 0, float (outputs,)
    start: Tensor  # float (outputs,)
    rule: Rule
    greatest: int  # L
    bias: Tensor | None = None  # float (outputs,): added in every step, where it is not in the start
    fraction: int = 0  # F


class Run(NamedTuple):
    """What frames give; B frames."""

    coefficients: list[Tensor]  # of each hidden layer, float (T, B, outputs)
    sums: Tensor  # S of the output layer after each step, float (T, B, classes)

    def events(self) -> Tensor:
        """How many hidden spikes there were up to and with each step, int64 (B, T); one with a coefficient counts once."""
        steps, frames, _ = self.sums.shape
        found = torch.zeros(steps, frames, dtype=torch.int64)
        for part in self.coefficients:
            found += torch.count_nonzero(part, dim=2)
        return found.cumsum(0).T


def spread(counts: Tensor, steps: int) -> Tensor:
    """Counts of any shape, dealt out over ``steps``, float (T, …): ``⌊p(t+1)/T⌋ - ⌊pt/T⌋`` in step ``t`` [S13]."""
    if steps < 1:
        raise UserError(f"steps (T) must be at least 1, not {steps}")
    until = torch.stack([torch.floor(counts.to(torch.float64) * t / steps) for t in range(steps + 1)])
    return (until[1:] - until[:-1]).to(torch.float32)


@torch.no_grad()
def run(layers: Sequence[SpikingLayer], output: Tensor, inputs: Tensor, *, biased: int | None = None) -> Run:
    """Run frames through hidden layers and ±1 weights (classes, inputs) of an output layer without reset.

    Parameters:
        inputs: coefficients, float (T, B, inputs).
        biased: as in `run_layer`.
    """
    found = []
    for layer in layers:
        inputs = run_layer(layer, inputs, biased=biased)
        found.append(inputs)
    return Run(found, (inputs @ output.T).cumsum(0))


@torch.no_grad()
def run_layer(layer: SpikingLayer, inputs: Tensor, *, biased: int | None = None) -> Tensor:
    """The coefficients of a layer, float (T, B, outputs), of those that come in, float (T, B, inputs).

    Parameters:
        biased: in how many steps the bias is added, from the first; None: in all.
    """
    drive = inputs @ layer.weights.T * 2**layer.fraction  # (T, B, M)
    if layer.bias is not None:
        drive[:biased] += layer.bias
    potential = layer.start.expand_as(drive[0]).clone()
    emitted = torch.zeros_like(potential)
    coefficients = torch.empty_like(drive)
    for step, part in enumerate(drive):
        potential += part
        coefficients[step] = layer.rule.emit(potential, emitted, layer.thresholds, layer.greatest)
        emitted += coefficients[step]
        potential -= coefficients[step] * layer.thresholds
    return coefficients
