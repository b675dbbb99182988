"""Sparse sums over spikes: the cost follows the number of spikes, not the number of steps."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

FEW = 32  # outputs up to which a dense product costs less than collecting the events
ROWS = 192  # rows worked on at a time from which on several steps at once gain nothing; at most 255, see `falling`


class Spikes(NamedTuple):
    """Spikes as pairs of row and neuron; S of them."""

    rows: Tensor  # int64 (S,), not falling
    neurons: Tensor  # int64 (S,)

    def sum(self, table: Tensor, rows: int) -> Tensor:
        """For each row the sum of ``table[neuron]`` over its spikes, float (rows, columns) of float (neurons, columns)."""
        offsets = torch.searchsorted(self.rows, torch.arange(rows, device=self.rows.device))
        return functional.embedding_bag(self.neurons, table, offsets, mode="sum")


class SpikeTrain(NamedTuple):
    """All spikes of a batch, in the order of steps and, within a step, of rows."""

    spikes: Spikes
    steps: Tensor  # (S,), not falling
    starts: list[int]  # T + 1 numbers: the spikes of step t are those from starts[t] to starts[t + 1]

    @classmethod
    def of(cls, times: Tensor, steps: int) -> "SpikeTrain":
        """Of spike times (rows, neurons), any real dtype; those at ``steps`` or later are none."""
        rows, neurons = (times < steps).nonzero(as_tuple=True)
        at, order = times[rows, neurons].to(time_dtype(steps)).sort(stable=True)
        counts = torch.bincount(at, minlength=steps)
        return cls(Spikes(rows[order], neurons[order]), at, [0, *counts.cumsum(0).tolist()])

    def between(self, first: int, end: int) -> "SpikeTrain":
        """The spikes of the steps from ``first`` to ``end - 1``; ``starts`` is left out."""
        part = slice(self.starts[first], self.starts[end])
        return SpikeTrain(Spikes(self.spikes.rows[part], self.spikes.neurons[part]), self.steps[part], [])


def time_dtype(steps: int) -> torch.dtype:
    """The smallest integer type that holds spike times up to ``steps``."""
    return torch.uint8 if steps <= 255 else torch.int32


def compared(compare: Callable[..., Tensor], numbers: Tensor, others: Tensor | float) -> Tensor:
    """``compare(numbers, others)``, 0 or 1, in the type and shape of ``numbers``: PyTorch vectorizes these comparisons, but not those that
    give bool."""
    return compare(numbers, others, out=torch.empty_like(numbers))


def as_bool(numbers: Tensor) -> Tensor:
    """Which of them are 1, not 0."""
    return numbers.view(torch.bool) if numbers.dtype == torch.uint8 else numbers.to(torch.bool)


def falling(count: int, like: Tensor) -> Tensor:
    """``count``, …, 1, in the type of ``like``, (count, 1, 1)."""
    return torch.arange(count, 0, -1, dtype=like.dtype, device=like.device)[:, None, None]


def drive_of(fires: Tensor, synapses: Tensor) -> Tensor:
    """Synaptic sums, float (…, outputs), of spikes bool (…, neurons) and weights by input, float (neurons, outputs)."""
    flat = fires.flatten(0, -2)
    if synapses.shape[1] <= FEW:
        ones = flat.view(torch.uint8).to(synapses.dtype)  # by way of uint8, since bool converts slowly
        drive = synapses.new_empty(synapses.shape[1], len(flat))  # transposed, the product takes little more than half of the time
        drive = torch.mm(synapses.T, ones.T, out=drive).T  # with ``out``, autocast leaves it exact
    else:
        drive = Spikes(*flat.nonzero(as_tuple=True)).sum(synapses, len(flat))
    return drive.view(*fires.shape[:-1], -1)
