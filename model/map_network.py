"""Networks of single-spike neurons with convolutions and pools [S15], [S16]."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from export import Layer, Single
from export.maps import Map
from model.convolution import ConvolutionLayer, Pooling
from model.layers import SingleSpikeLayer, SingleSpikeNetwork, State, check_inputs, put
from model.spikes import drive_of
from model.structure import Stage
from model.synapses import Conv2d, Dense, Shape, Synapses, chain


class MapNetwork(SingleSpikeNetwork):
    """A sequence of layers, the first of them convolutions, with pools in front of them, and the readout.

    All layers take a step before the next one begins. A decided frame gets no more spikes: its state stays, and costs no work.

    Attributes:
        synapses: of the layers, with pools of the kind ``max``.
        poolings: in front of each layer, or None.

    Parameters:
        synapses: of the layers, one after the other, at least one; the last is dense.
        steps, options: as in `SingleSpikeNetwork`.
    """

    def __init__(self, synapses: Sequence[Synapses], steps: int, **options: Any) -> None:
        nn.Module.__init__(self)
        self.steps, self.synapses = steps, list(synapses)
        *before, last = synapses
        layers = [
            ConvolutionLayer(each, steps, **options)
            if isinstance(each, Conv2d)
            else SingleSpikeLayer(each.fan_in, each.channels, steps, **options)
            for each in before
        ]
        layers.append(SingleSpikeLayer(last.fan_in, last.channels, steps, **options | {"normalise": False}))
        self.layers = cast("list[SingleSpikeLayer]", nn.ModuleList(layers))
        reaches = [1, *(2 * each.fan_in + 1 for each in synapses)]
        self.poolings = [
            None if each.pooling is None else Pooling(each.pooling, reach) for each, reach in zip(synapses, reaches, strict=False)
        ]

    @property
    def inputs(self) -> int:
        return math.prod(self.synapses[0].inputs)

    @property
    def input_map(self) -> Map | None:
        shape = self.synapses[0].inputs
        return cast("Map", shape) if len(shape) == 3 else None

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.inputs, *(math.prod(each.outputs) for each in self.synapses))

    def exported(self) -> list[Layer]:
        """The layers, binarized, as an export has them."""
        layers = []
        for layer, each in zip(self.layers, self.synapses, strict=True):
            weights = layer.binary_weights()
            if isinstance(each, Conv2d):  # from the order of `export.Conv2d.weights` to that of its kernels
                channels, inputs, *kernel = each.shape
                weights = weights.view(channels, *kernel, inputs).permute(0, 3, 1, 2)
            thresholds = layer.integer_thresholds().cpu().numpy().astype(np.int32)
            layers.append(Layer(each.connection(weights.cpu().numpy()), Single(thresholds), each.pooling))
        return layers

    def _attach(self, times: Tensor, states: list[State], step: Tensor) -> Tensor:
        carrier = self._pooled(0, times)
        for layer, state, behind in zip(self.layers[:-1], states[:-1], self.poolings[1:], strict=True):
            if isinstance(layer, ConvolutionLayer):
                carrier = layer.attach(carrier, state, step, behind)
            else:
                carrier = layer.attach(carrier, state, step)
        return carrier

    @torch.no_grad()
    def run(self, times: Tensor) -> tuple[list[Tensor], Tensor]:
        check_inputs(times, self.inputs)
        fired_at = []
        for index, layer in enumerate(self.layers[:-1]):
            times = self._settled(layer, self._pooled(index, times)).fired_at
            fired_at.append(times)
        state, margins = self.layers[-1].run(self._pooled(-1, times))
        return [*fired_at, state.fired_at], margins

    @torch.no_grad()
    def initialize_thresholds(self, times: Tensor, firing: float, firing_outputs: float) -> None:
        """Data-dependent initialization: each neuron fires in that share of the frames, a channel of the positions that spikes reach; where
        they reach none, its threshold stays."""
        for index, layer in enumerate(self.layers):
            times = self._pooled(index, times)
            share = firing_outputs if layer is self.layers[-1] else firing
            before = layer.thresholds.clone()
            layer.thresholds.fill_(layer.inputs + 1)  # none fires, so that the highest potential is that of the whole frame
            highest = self._settled(layer, times).best_margin.view(-1, layer.outputs) + layer.integer_thresholds()
            if isinstance(layer, ConvolutionLayer):
                reached = layer.patches.of(times < self.steps)
                highest = highest[reached.frames * layer.patches.positions + reached.positions]
            ordered = highest.sort(0).values
            layer.thresholds.copy_(ordered[min(len(ordered) - 1, int((1 - share) * len(ordered)))] if len(ordered) else before)
            times = self._settled(layer, times).fired_at

    def _pooled(self, index: int, times: Tensor) -> Tensor:
        """What comes in at a layer, of the spike times in front of its pool."""
        pooling = self.poolings[index]
        return times if pooling is None else pooling.first(times)

    @staticmethod
    def _settled(layer: SingleSpikeLayer, times: Tensor) -> State:
        """The state after all steps."""
        *_, state = layer.states(times)
        return state

    @torch.no_grad()
    def _run_to_decision(self, times: Tensor) -> tuple[list[State], Tensor, Tensor]:
        check_inputs(times, self.inputs)
        synapses, states = [layer.synapses() for layer in self.layers], [layer.begin(len(times)) for layer in self.layers]
        decided_at = torch.full((len(times),), self.steps - 1, device=times.device)
        silent = torch.ones_like(decided_at, dtype=torch.bool)
        inputs, frames = self._pooled(0, times), torch.arange(len(times), device=times.device)
        for step in range(self.steps):
            if not len(frames):
                break
            spikes = inputs[frames] == step
            for layer, state, weights, behind in zip(self.layers, states, synapses, [*self.poolings[1:], None], strict=True):
                spikes = _take(layer, state, spikes, weights, step, frames, behind)
            deciding = spikes.any(1)
            decided_at[frames[deciding]] = step
            silent[frames[deciding]] = False
            frames = frames[~deciding]
        return states, decided_at, silent


def _take(
    layer: SingleSpikeLayer, state: State, spikes: Tensor, synapses: Tensor, step: int, frames: Tensor, behind: Pooling | None
) -> Tensor:
    """Advance the state of some frames of a layer by a step in which inputs spike; what spikes behind its pool, bool (frames, …) both."""
    if isinstance(layer, ConvolutionLayer):
        rows = layer.take(state, spikes, synapses, step, frames)
        return state.fired_at[frames] == step if behind is None else behind.spikes(state.fired_at, frames, rows, step)
    part = state.select(frames)
    margins, fires = layer.potentials(part, drive_of(spikes, synapses)[None])
    layer.advance(part, margins, fires, step)
    put(state, frames, part)
    return fires[0]


def network_of(stages: Sequence[Stage], inputs: Shape, steps: int, **options: Any) -> SingleSpikeNetwork:
    """The network of a structure, before training.

    Parameters:
        inputs: shape of the network's inputs.
        steps, options: as in `SingleSpikeNetwork`.

    Raises:
        UserError: a layer does not fit what comes in.
    """
    synapses = chain(stages, inputs, "max")
    if all(isinstance(each, Dense) and each.pooling is None for each in synapses):
        return SingleSpikeNetwork([math.prod(inputs), *(each.channels for each in synapses)], steps, **options)
    return MapNetwork(synapses, steps, **options)
