"""The event-driven evaluator: its cost follows the spikes, not the steps."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from model.comparison.evaluators import Record, TimedNetwork

DEAD_SHARE = 0.25  # of the rows in work: from there on finished frames are left out


class Events:
    """The input spikes of a batch as a list, ordered by frame and time; spikes of a frame at the same time are a group.

    Attributes:
        inputs: int64 (spikes,), which input spikes.
        time, count, begin: int64 (groups + 1,), of each group: when, how many spikes, where in ``inputs``; the last one is empty.
        first: int64 (frames + 1,), each frame's first group.
    """

    def __init__(self, times: Tensor, steps: int) -> None:
        frame, inputs = (times < steps).nonzero(as_tuple=True)
        key, order = (frame * steps + times[frame, inputs]).sort()
        self.inputs = inputs[order]
        key, count = key.unique_consecutive(return_counts=True)
        self.first = torch.searchsorted(key, torch.arange(len(times) + 1) * steps)
        parts = (key % steps, count, count.cumsum(0) - count)
        self.time, self.count, self.begin = (functional.pad(part, (0, 1)) for part in parts)

    def of(self, groups: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs that spike in these groups (rows,), one after the other, and where each row's begin; not ``present``: none."""
        count = self.count[groups] * present
        offsets = count.cumsum(0) - count
        index = torch.arange(int(count.sum())) + (self.begin[groups] - offsets).repeat_interleave(count)
        return self.inputs[index], offsets


@torch.inference_mode()
def event_driven(network: TimedNetwork, times: Tensor, *, to_the_end: bool = False) -> Record:
    """Event by event: per frame, only the steps at which inputs spike, and only the weights of spikes.

    Every frame has its own clock, which jumps from one step with input spikes to the next; an iteration takes all running frames to
    their next such step. Input spikes at ``t`` reach layer ``l`` at ``t + l · delay``, alone. Step 0 is always computed, since a
    threshold may be 0 or less (not where there is a delay, since that step 0 is another for every layer).

    Parameters:
        network: the network.
        times: spike times (frames, inputs); ``T`` and more is never.
        to_the_end: go on after the decision, so that every spike of the frame is recorded. Decisions are the same.
    """
    steps, delay, last = network.steps, network.delay, len(network.weights) - 1
    record = Record(network, len(times))
    events = Events(times, steps - delay if last else steps)  # what a later spike makes a hidden neuron do comes after the end
    frames = torch.arange(len(times))
    group, end = events.first[:-1], events.first[1:]
    alive, undecided = torch.ones_like(frames, dtype=torch.bool), torch.ones_like(frames, dtype=torch.bool)
    margins = [(-theta).repeat(len(times), 1) for theta in network.thresholds]  # a neuron that has spiked is at -∞
    outputs = margins[last].clone()  # V - θ
    clock, present = torch.zeros_like(frames), (group < end) & (events.time[group] == 0)
    while len(frames):
        arriving, offsets = events.of(group, present)
        fired = torch.zeros_like(alive)
        for layer, weights in enumerate(network.weights):
            current = functional.embedding_bag(arriving, weights, offsets, mode="sum")
            margins[layer] += current
            if layer == last:
                outputs += current
            rows, neurons = (margins[layer] >= 0).nonzero(as_tuple=True)
            margins[layer][rows, neurons] = -math.inf
            spike_at = clock[rows] + (layer + 1) * delay
            if delay:
                in_time = spike_at < steps
                rows, neurons, spike_at = rows[in_time], neurons[in_time], spike_at[in_time]
            record.spike_times[layer][frames[rows], neurons] = spike_at.to(torch.int32)
            if layer == last:
                fired[rows] = True
            else:
                count = rows.bincount(minlength=len(frames))
                arriving, offsets = neurons, count.cumsum(0) - count
        group = group + present
        decided = undecided & fired
        leaving = alive & ((group == end) if to_the_end else (group == end) | decided)
        rows = (decided | (leaving & undecided)).nonzero()[:, 0]
        record.margins[frames[rows]] = outputs[rows]
        rows = decided.nonzero()[:, 0]
        record.step[frames[rows]], record.silent[frames[rows]] = clock[rows] + last * delay, False
        alive, undecided = alive & ~leaving, undecided & ~decided
        if int(alive.sum()) <= (1 - DEAD_SHARE) * len(alive):
            rows = alive.nonzero()[:, 0]
            frames, group, end, alive, undecided, outputs = (part[rows] for part in (frames, group, end, alive, undecided, outputs))
            margins = [margin[rows] for margin in margins]
        clock, present = events.time[group], alive
    if not to_the_end:
        record.drop_late_spikes(delay)
    return record
