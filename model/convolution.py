"""Convolutions of single-spike neurons, and the pools behind them, by the rule of `model.bstdg`.

A map of B frames is (B, positions, channels) [S15]: a convolution is a dense layer of its channels, at each position on the inputs under
the kernel there. A position is worked on in the steps in which one of these spikes, and in no other: without a spike its potentials stay,
and thresholds are at least 1, so that nothing fires. So only these steps count for ``τ``, too, and a position that nothing reaches by the
decision has no gradient. What a step reaches is a row of a matrix here, and the inputs under its kernel a patch.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from export import Pool2d
from export.maps import Map
from model.bstdg import normalised, windowed
from model.layers import SingleSpikeLayer, State
from model.synapses import Conv2d


class Rows(NamedTuple):
    """What the spikes of a step reach; R positions, in the order of frames and positions."""

    frames: Tensor  # int64 (R,), which of the frames that are worked on
    positions: Tensor  # int64 (R,)
    patches: Tensor  # float (R, weights of a kernel), 1 where an input spikes


class Patches:
    """What lies under the kernels of a convolution where spikes are.

    Parameters:
        synapses: the convolution.
    """

    def __init__(self, synapses: Conv2d) -> None:
        self.kernel, self.stride, self.padding = synapses.kernel, synapses.stride, synapses.padding
        self.map, self.outputs = cast("Map", synapses.taken), cast("Map", synapses.outputs)
        self.positions, self.weights = self.outputs[0] * self.outputs[1], synapses.fan_in
        height, width, _ = self.map
        self.padded = height + 2 * self.padding, width + 2 * self.padding
        y, x = (torch.arange(length) * self.stride for length in self.outputs[:2])
        self.corners = (y[:, None] * self.padded[1] + x).flatten()  # of the patches, in a padded map

    def of(self, spikes: Tensor) -> Rows:
        """The rows of a step's spikes, bool (frames, inputs)."""
        frames, (height, width, channels), size = len(spikes), self.map, math.prod(self.padded)
        values = torch.zeros(frames * size + self.kernel, channels, device=spikes.device)  # the last patches end behind the last map
        inside = values[: frames * size].view(frames, *self.padded, channels)
        inside[:, self.padding : self.padding + height, self.padding : self.padding + width] = spikes.view(torch.uint8).view(-1, *self.map)
        active = values @ values.new_ones(channels) if channels > 1 else values[:, 0]
        reached = self._reached(active[: frames * size].view(frames, *self.padded))
        frame, position = reached.view(frames, self.positions).nonzero(as_tuple=True)
        corners = frame * size + self.corners.to(spikes.device)[position]
        lines = corners[:, None] + torch.arange(self.kernel, device=spikes.device) * self.padded[1]
        length = self.kernel * channels
        patches = values.as_strided((frames * size, length), (channels, 1)).index_select(0, lines.flatten())
        return Rows(frame, position, patches.view(len(frame), self.weights))

    def _reached(self, active: Tensor) -> Tensor:
        """The greatest value under the kernel, float (frames, rows, columns) of float (frames, *padded)."""
        for dimension, positions in ((1, self.outputs[0]), (2, self.outputs[1])):
            ends = (positions - 1) * self.stride + 1
            parts = [active.narrow(dimension, place, ends) for place in range(self.kernel)]
            if self.stride > 1:
                parts = [part[:, :: self.stride] if dimension == 1 else part[:, :, :: self.stride] for part in parts]
            active = functools.reduce(torch.maximum, parts)
        return active


class Pooling:
    """A pool `max` [S16] of spike times, flattened maps: the first one of a window.

    Parameters:
        pool: the pool.
        reach: a bound of ``|V - θ|`` of its neurons.
    """

    def __init__(self, pool: Pool2d, reach: int = 0) -> None:
        self.later = 2 * reach + 1  # by so much, a spike a step later counts less than any difference of margins
        self.map, self.windows = pool.input_map, pool.output_map
        self.inputs, self.outputs = pool.inputs, pool.outputs
        (down, across), (height, width, _), columns = pool.window, self.windows, self.map[1]
        self.places = [(y, x) for y in range(down) for x in range(across)]
        self.window = pool.window
        self.beside = [y * columns + x for y, x in self.places]  # of a window's positions, from its corner
        self.corners = (torch.arange(height)[:, None] * down * columns + torch.arange(width) * across).flatten()
        self.window_of = torch.full((self.map[0] * columns,), height * width)  # of each position; those left out: behind the last window
        for place in self.beside:
            self.window_of[self.corners + place] = torch.arange(height * width)

    def parts(self, maps: Tensor) -> list[Tensor]:
        """Of each window its first position, its second, …, (B, rows, columns, channels) each, of a map (B, neurons)."""
        (height, width, _), (down, across) = self.windows, self.window
        whole = maps.view(len(maps), *self.map)[:, : height * down, : width * across]
        return [whole[:, y::down, x::across] for y, x in self.places]

    def first(self, times: Tensor) -> Tensor:
        """Spike times (B, windows) of spike times (B, neurons)."""
        return functools.reduce(torch.minimum, self.parts(times)).reshape(len(times), self.outputs)

    def spikes(self, fired_at: Tensor, frames: Tensor, rows: Rows, step: int) -> Tensor:
        """Which windows spike in a step, bool (frames, windows).

        Parameters:
            fired_at: spike times (B, neurons).
            frames: int64 (frames,), those that are worked on.
            rows: where neurons can have spiked in this step.
        """
        channels, windows = self.map[2], len(self.corners)
        hit = torch.zeros(len(frames), windows + 1, dtype=torch.bool, device=fired_at.device)
        hit[rows.frames, self.window_of.to(fired_at.device)[rows.positions]] = True
        frame, window = hit[:, :-1].nonzero(as_tuple=True)
        corner, flat = frames[frame] * len(self.window_of) + self.corners.to(fired_at.device)[window], fired_at.view(-1, channels)
        first = functools.reduce(torch.minimum, (flat.index_select(0, corner + place) for place in self.beside))
        found = torch.zeros(len(frames) * windows, channels, dtype=torch.bool, device=fired_at.device)
        return found.index_copy_(0, frame * windows + window, first == step).view(len(frames), self.outputs)

    def chosen(self, state: State) -> Tensor:
        """Of each window the neuron that its gradient goes to, int64 (B, windows).

        The first that spikes; of equals, or if none does, that of the greatest ``V(τ) - θ``; of equals the first on the map.
        """
        channels = self.map[2]
        best, *parts = self.parts(torch.add(state.best_margin, state.fired_at, alpha=-self.later))
        which = torch.zeros(best.shape, dtype=torch.int32, device=best.device)
        for part, place in zip(parts, self.beside[1:], strict=True):
            torch.maximum(which, (part > best).view(torch.uint8).to(which.dtype) * (place * channels), out=which)
            best = torch.maximum(best, part)
        corners = self.corners.to(best.device)[:, None] * channels + torch.arange(channels, device=best.device)
        return (which.view(len(best), len(corners), channels) + corners).view(len(best), self.outputs)


class MapTimes(torch.autograd.Function):
    """Attach the rule to the spike times of a convolution, or of the windows of the pool behind it.

    `model.bstdg.SpikeTimes` for each neuron, or that which a window's gradient goes to, summed over positions.
    """

    @staticmethod
    def forward(
        context: Any,
        times: Tensor,  # (B, N) spike times of the inputs
        latent: Tensor,  # (channels, weights of a kernel)
        thresholds: Tensor,  # (channels,)
        fired_at: Tensor,  # (B, W) spike times of the windows, or of all neurons
        margin: Tensor,  # (B, W) V(τ) - θ
        chosen: Tensor | None,  # int64 (B, W), the neuron of each window
        step: Tensor,  # (B, M) τ of all neurons
        last: Tensor,  # (B,) the last step
        layer: "ConvolutionLayer",
    ) -> Tensor:
        context.save_for_backward(times, latent, margin, step, last)
        context.chosen, context.layer, context.normalise = chosen, layer, layer.normalising
        return fired_at.to(latent.dtype)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        times, latent, margin, step, last = context.saved_tensors
        layer = context.layer
        delta = windowed(margin, gradients[0], layer.window)
        thresholds = -delta.view(-1, layer.outputs).sum(0)
        if context.normalise:
            delta = normalised(delta.view(-1, layer.outputs), margin.view(-1, layer.outputs)).view(delta.shape)
        if context.chosen is not None:
            delta = torch.zeros(step.shape, dtype=delta.dtype, device=delta.device).scatter_(1, context.chosen, delta)
        weights = layer.weight_gradient(times, delta, step, last).mul_(latent.abs() <= 1) if context.needs_input_grad[1] else None
        inputs = -layer.input_gradient(delta) if context.needs_input_grad[0] else None
        return inputs, weights, thresholds, *(None,) * 6


class ConvolutionLayer(SingleSpikeLayer):
    """A convolution of neurons that spike at most once, with ±1 kernels, the same at each position [S15].

    Parameters (of the module, both trained):
        weights: float (channels, weights of a kernel), latent, in the order of `export.Conv2d.weights`.
        thresholds: float (channels,); the forward pass rounds them up and clips them to ``1 … N + 1``, with the most
            synapses ``N`` that a neuron has.

    Parameters (of the constructor):
        synapses: the convolution; the pool in front of it is not the layer's.
        steps, window, gradient_at, normalise, generator: as in `SingleSpikeLayer`.
    """

    def __init__(self, synapses: Conv2d, steps: int, **options: Any) -> None:
        super().__init__(synapses.fan_in, synapses.channels, steps, **options)
        self.patches = Patches(synapses)
        self.incoming, self.positions = math.prod(synapses.taken), self.patches.positions
        self.most = synapses.connection(np.ones(synapses.shape, np.int8)).fan_in

    def integer_thresholds(self) -> Tensor:
        return super().integer_thresholds().clamp_(1, self.most + 1)

    @torch.no_grad()
    def clamp_(self) -> None:
        super().clamp_()
        self.thresholds.clamp_(0.5, self.most + 0.5)

    def take(self, state: State, spikes: Tensor, synapses: Tensor, step: int, frames: Tensor) -> Rows:
        """Advance the state of some frames by a step; the rows that its spikes reach.

        Parameters:
            spikes: bool (frames, incoming).
            synapses: as the method of that name has them.
            frames: int64 (frames,), which they are.
        """
        rows = self.patches.of(spikes)
        places = frames[rows.frames] * self.patches.positions + rows.positions
        margin, fired_at, best_margin, best_step = (tensor.view(-1, self.outputs) for tensor in state)
        now = torch.addmm(margin.index_select(0, places), rows.patches, synapses)
        margin.index_copy_(0, places, now)
        before = fired_at.index_select(0, places)
        fires = (now >= 0) & (before == self.steps)
        fired_at.index_copy_(0, places, before - fires.view(torch.uint8).to(before.dtype) * (self.steps - step))
        if self.gradient_at == "spike":
            now = now.masked_fill(before < self.steps, -math.inf)
        best = best_margin.index_select(0, places)
        later = (now > best).view(torch.uint8).to(best_step.dtype) * step
        best_margin.index_copy_(0, places, torch.maximum(now, best))
        best_step.index_copy_(0, places, torch.maximum(best_step.index_select(0, places), later))
        return rows

    def states(self, times: Tensor) -> Iterator[State]:
        synapses, state, frames = self.synapses(), self.begin(len(times)), torch.arange(len(times), device=times.device)
        for step in range(self.steps):
            self.take(state, times == step, synapses, step, frames)
            yield state

    def attach(self, times: Tensor, state: State, last: Tensor, pooling: Pooling | None = None) -> Tensor:
        """Spike times, float, of the windows of the pool behind, with the gradient attached; without one, of all neurons.

        Parameters:
            last: int64 (frames,), the last step of each.
        """
        step, margin, fired_at, chosen = state.best_step, state.best_margin, state.fired_at, None
        if self.gradient_at == "end":
            step, margin = last[:, None].expand_as(step), state.margin.masked_fill(margin == -math.inf, -math.inf)
        if pooling is not None:
            chosen = pooling.chosen(state)
            margin, fired_at = margin.gather(1, chosen), pooling.first(fired_at)
        if self.normalising:
            self._follow(margin.view(-1, self.outputs))
        return cast("Tensor", MapTimes.apply(times, self.weights, self.thresholds, fired_at, margin, chosen, step, last, self))

    def weight_gradient(self, times: Tensor, delta: Tensor, step: Tensor, last: Tensor) -> Tensor:
        """``Σ δ_j · [t_i ≤ τ_j]`` over frames and positions, float (channels, weights of a kernel).

        The spikes of each step add the ``δ`` of the neurons that they reach and whose ``τ`` is not before it.
        """
        gradient, times = delta.new_zeros(self.inputs, self.outputs), times.to(step.dtype)
        delta, step = delta.view(-1, self.outputs), step.reshape(-1, self.outputs)
        for now in range(int(last.max()) + 1 if len(last) else 0):
            frames = (last >= now).nonzero()[:, 0]
            rows = self.patches.of(times[frames] == now)
            places = frames[rows.frames] * self.patches.positions + rows.positions
            part = delta.index_select(0, places)
            if now:
                part = part.mul_((step.index_select(0, places) >= now).view(torch.uint8))
            gradient.addmm_(rows.patches.T, part)
        return gradient.T

    def input_gradient(self, delta: Tensor) -> Tensor:
        """``Σ_j δ_j · w_ji``, float (B, inputs)."""
        patches, (height, width, channels) = self.patches, self.patches.map
        kernels = self.binary_weights().view(self.outputs, patches.kernel, patches.kernel, channels).permute(0, 3, 1, 2)
        planes = delta.view(len(delta), *patches.outputs).permute(0, 3, 1, 2)
        rest = tuple(
            length + 2 * patches.padding - patches.kernel - (positions - 1) * patches.stride
            for length, positions in zip((height, width), patches.outputs, strict=False)
        )
        found = functional.conv_transpose2d(planes, kernels, None, patches.stride, patches.padding, rest)
        return found.permute(0, 2, 3, 1).reshape(len(delta), height * width * channels)
