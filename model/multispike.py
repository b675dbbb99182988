"""Multi-spike neurons in PyTorch, step by step, with the rules of [S9] and [S10] and the baselines they are measured against.

Nothing here is trained. With whole thresholds and starts every number is whole and below 2^24, so that float32 is exact and the golden
model must give the same coefficients. A neuron keeps ``V = start + 2^F · S + b · (t + 1) - θ · N``: all inputs so far, and the bias of each
step, less what it has emitted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from export import UserError
from model.evaluation import frames_at_a_time
from model.synapses import Weighted


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
        """Coefficients float (frames, *outputs).

        Parameters:
            potential: ``V`` before the step's own spikes, float (frames, *outputs).
            emitted: ``N``, the sum of the coefficients so far, likewise.
            thresholds: ``θ``, float (channels,).
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
    """A hidden layer; whole numbers, fixed-point ones with ``F`` fractional bits, or real ones before rounding.

    Channels are the neurons of a dense layer; those of a map have the same numbers at all positions.
    """

    weighted: Weighted
    thresholds: Tensor  # θ > 0, float (channels,)
    start: Tensor  # float (channels,)
    rule: Rule
    greatest: int  # L
    bias: Tensor | None = None  # float (channels,): added in every step, where it is not in the start
    fraction: int = 0  # F


class Run(NamedTuple):
    """What frames give; B frames."""

    coefficients: list[Tensor]  # of each hidden layer, float (T, B, *outputs)
    sums: Tensor  # S of the output layer after each step, float (T, B, classes)

    def events(self) -> Tensor:
        """How many hidden spikes there were up to and with each step, int64 (B, T); one with a coefficient counts once."""
        steps, frames, _ = self.sums.shape
        found = torch.zeros(steps, frames, dtype=torch.int64)
        for part in self.coefficients:
            found += torch.count_nonzero(part.flatten(2), dim=2)
        return found.cumsum(0).T


def spread(counts: Tensor, steps: int) -> Tensor:
    """Counts of any shape, dealt out over ``steps``, float (T, …): ``⌊p(t+1)/T⌋ - ⌊pt/T⌋`` in step ``t`` [S13]."""
    if steps < 1:
        raise UserError(f"steps (T) must be at least 1, not {steps}")
    until = torch.stack([torch.floor(counts.to(torch.float64) * t / steps) for t in range(steps + 1)])
    return (until[1:] - until[:-1]).to(torch.float32)


@torch.no_grad()
def run(layers: Sequence[SpikingLayer], output: Weighted, inputs: Tensor, *, biased: int | None = None) -> Run:
    """Run frames through hidden layers and an output layer without reset.

    Parameters:
        inputs: coefficients, float (T, B, …).
        biased: as in `run_layer`.
    """
    found = []
    for layer in layers:
        inputs = run_layer(layer, inputs, biased=biased)
        found.append(inputs)
    return Run(found, output.sums(inputs).cumsum(0))


@torch.no_grad()
def run_layer(layer: SpikingLayer, inputs: Tensor, *, biased: int | None = None) -> Tensor:
    """The coefficients of a layer, float (T, B, *outputs), of those that come in, float (T, B, …).

    Parameters:
        biased: in how many steps the bias is added, from the first; None: in all.
    """
    drive = layer.weighted.sums(inputs) * 2**layer.fraction
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


class Spiking(NamedTuple):
    """A converted network: hidden layers, and the output layer's synapses and thresholds, float (classes,)."""

    hidden: list[SpikingLayer]
    output: Weighted
    thresholds: Tensor
    bits: int
    steps: int

    @property
    def fraction(self) -> int:
        """``F`` of the hidden layers."""
        return self.hidden[0].fraction if self.hidden else 0

    @property
    def neurons(self) -> int:
        """The number of all hidden neurons."""
        return sum(math.prod(layer.weighted.synapses.outputs) for layer in self.hidden)

    def batches(self, frames: int, further: int = 0) -> Iterator[slice]:
        """Frames to be worked on at a time, if there are so many ``further`` steps; at least one slice."""
        largest = max(math.prod(some.synapses.inputs) for some in (*(layer.weighted for layer in self.hidden), self.output))
        size = frames_at_a_time(largest * (self.steps + further))
        return (slice(at, at + size) for at in range(0, max(1, frames), size))

    def spikes(self, images: Tensor) -> Tensor:
        """The inputs' coefficients, float (T, frames, pixels), of images uint8 (frames, …)."""
        return spread(images.flatten(1) >> (8 - self.bits), self.steps)

    def run(self, images: Tensor) -> Run:
        """Run images uint8 (frames, …)."""
        parts = [run(self.hidden, self.output, self.spikes(images[part])) for part in self.batches(len(images))]
        layers = zip(*(part.coefficients for part in parts), strict=True)
        return Run([torch.cat(layer, dim=1) for layer in layers], torch.cat([part.sums for part in parts], dim=1))

    def unsettled(self, images: Tensor) -> list[int]:
        """How many hidden counts of images differ from those of graded neurons, after the last step and each further one without input or
        bias.

        As many further steps as layers times levels are enough [S11]: the last number is 0 for ternary neurons.
        """
        graded = [layer._replace(rule=RULES["graded"]) for layer in self.hidden]
        found = np.zeros(1 + sum(layer.greatest for layer in self.hidden), np.int64)
        for part in self.batches(len(images), further=len(found) - 1):
            inputs = self.spikes(images[part])
            quiet = torch.cat([inputs, inputs.new_zeros(len(found) - 1, *inputs.shape[1:])])
            wanted = run(graded, self.output, inputs).coefficients
            for counts, settled in zip(run(self.hidden, self.output, quiet, biased=self.steps).coefficients, wanted, strict=True):
                differ = counts.cumsum(0)[self.steps - 1 :] != settled.sum(0)
                found += differ.flatten(1).sum(1).numpy()
        return found.tolist()

    def margins(self, sums: Tensor) -> np.ndarray:
        """Margins of the output's sums, (T, frames, classes)."""
        return (sums - self.thresholds).numpy()
