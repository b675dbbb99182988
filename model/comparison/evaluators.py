"""Evaluation of a single-spike network step by step; the types shared with the event-driven evaluator.

The same code runs both sides of a comparison: what differs is only the number of steps, the delay and the thresholds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export import Network, UserError
from export.reference import Decisions, Result

CHUNK = 250  # frames worked on at a time: their potentials stay in the cache


@dataclass(frozen=True)
class TimedNetwork:
    """A fully connected single-spike network as the evaluators take it.

    A neuron of layer ``l`` crosses its threshold at the first step ``t`` at whose close ``V ≥ θ``, and spikes at ``t + delay``. The layer
    after it sees that spike at that step. A spike that would come at step ``T`` or later never comes.

    Attributes:
        weights: per layer, ±1, float32 (inputs, outputs), contiguous.
        thresholds: per layer, integer-valued, float32 (outputs,); at least 1 where there is a delay.
        steps: ``T``, the number of time steps.
        delay: steps from crossing to spike: 0 in this project [S3], 1 in BS4NN.
    """

    weights: tuple[Tensor, ...]
    thresholds: tuple[Tensor, ...]
    steps: int
    delay: int

    @classmethod
    def of(cls, network: Network) -> "TimedNetwork":
        """This project's networks of dense layers: without delay.

        Raises:
            UserError: a layer is another.
        """
        for index, layer in enumerate(network.layers):
            if not (layer.is_dense and layer.neuron.spikes_once):
                kinds = f"{layer.connection.kind}, {layer.neuron.kind}"
                raise UserError(f"layer {index} must be dense, of neurons that spike once, without a pool, not {kinds}")
        weights = tuple(torch.from_numpy(layer.connection.weights.T.astype(np.float32)).contiguous() for layer in network.layers)
        thresholds = tuple(torch.from_numpy(layer.neuron.thresholds.astype(np.float32)) for layer in network.layers)
        return cls(weights, thresholds, network.steps, 0)


class Record:
    """The results of a batch of frames; rows are filled as frames finish."""

    def __init__(self, network: TimedNetwork, frames: int) -> None:
        self.steps = network.steps
        self.spike_times = [torch.full((frames, len(theta)), network.steps, dtype=torch.int32) for theta in network.thresholds]
        self.margins = torch.empty(frames, len(network.thresholds[-1]))  # V - θ of the outputs at the decision
        self.step = torch.full((frames,), network.steps - 1)
        self.silent = torch.ones(frames, dtype=torch.bool)

    def drop_late_spikes(self, delay: int) -> None:
        """Leave out the hidden spikes that were still on their way to the outputs at the decision; without a delay there are none."""
        if delay:
            last = len(self.spike_times) - 1
            for layer, times in enumerate(self.spike_times[:-1]):
                times.masked_fill_(times > (self.step - (last - 1 - layer) * delay)[:, None], self.steps)

    def result(self) -> Result:
        """As the golden model gives it."""
        margin, class_index = self.margins.max(1)  # the lowest index on a tie
        decisions = Decisions(
            class_index.numpy().astype(np.int32),
            self.step.numpy().astype(np.int32),
            margin.numpy().astype(np.int32),
            self.silent.numpy(),
        )
        return Result.from_spike_times([times.numpy() for times in self.spike_times], decisions, self.steps)


Evaluator = Callable[[TimedNetwork, Tensor], Record]


def evaluate(evaluator: Evaluator, network: TimedNetwork, times: Tensor) -> Result:
    """Run frames (frames, inputs) in chunks."""
    return Result.concatenate([evaluator(network, chunk).result() for chunk in times.split(CHUNK)])


@torch.inference_mode()
def dense(network: TimedNetwork, times: Tensor, *, to_the_end: bool = False) -> Record:
    """Step by step: at every step the whole product of 0/1 spikes and weights, in every layer; a frame leaves when it is decided.

    Parameters:
        network: the network.
        times: spike times (frames, inputs); ``T`` and more is never.
        to_the_end: take all ``T`` steps with all frames, and record every spike. Decisions are the same.
    """
    steps, delay, last = network.steps, network.delay, len(network.weights) - 1
    record = Record(network, len(times))
    frames = torch.arange(len(times))
    margins = [(-theta).repeat(len(times), 1) for theta in network.thresholds]
    spike_times = [torch.full_like(margin, steps, dtype=torch.int32) for margin in margins]
    waiting = [torch.zeros_like(margin) for margin in margins]  # spikes on their way, where there is a delay
    undecided = torch.ones(len(times), dtype=torch.bool)
    for step in range(steps):
        spikes = (times == step).to(torch.float32)
        for layer, weights in enumerate(network.weights):
            margin = margins[layer].addmm_(spikes, weights)
            fires = (margin >= 0) & (spike_times[layer] == steps)
            if step + delay < steps:
                spike_times[layer].masked_fill_(fires, step + delay)
            else:
                fires.zero_()
            spikes = fires.to(torch.float32)
            if delay:
                spikes, waiting[layer] = waiting[layer], spikes
        fired = fires.any(1)
        leaving = undecided & (fired | (step == steps - 1))
        rows = leaving.nonzero()[:, 0]
        if not len(rows):
            continue
        gone = frames[rows]
        for whole, part in zip(record.spike_times, spike_times, strict=True):
            whole[gone] = part[rows]
        record.margins[gone], record.step[gone], record.silent[gone] = margins[last][rows], step, ~fired[rows]
        if to_the_end:
            undecided &= ~leaving
            continue
        rows = (~leaving).nonzero()[:, 0]
        if not len(rows):
            break
        frames, times, undecided = frames[rows], times[rows], undecided[rows]
        margins, spike_times, waiting = ([part[rows] for part in parts] for parts in (margins, spike_times, waiting))
    if to_the_end:
        record.spike_times = spike_times
    else:
        record.drop_late_spikes(delay)
    return record
