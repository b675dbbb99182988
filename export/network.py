"""A binarized spiking network as plain arrays, and every number that follows from its geometry.

The numbered statements of ``docs/semantics.md`` define what the arrays mean; comments cite them as [S1], [S2], ….
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from export.arrays import array, is_integer, ordered
from export.connections import Totals
from export.encoder import Encoder
from export.errors import UserError
from export.events import LIMIT, Events
from export.layer import Layer
from export.maps import Map, crossed, position_major
from export.pooling import Pool2d

MAX_STEPS = 1 << 15
MAX_POTENTIAL = 1 << 23  # float32, in which the golden model adds, is exact to twice that


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in a row, the number of time steps, and what the inputs and classes mean.

    Parameters:
        layers: at least one; each takes as many inputs as the one before has outputs, and where both are maps, the same map.
        steps: ``T``, the number of time steps, at least 1 [S1].
        encoder: how intensities become spikes.
        class_names: one per output; by default "0", "1", ….
        provenance: where the network comes from; a dictionary of anything that JSON can hold.

    Raises:
        UserError: a parameter is not as said.
    """

    layers: tuple[Layer, ...]
    steps: int
    encoder: Encoder = field(default_factory=Encoder)
    class_names: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layers = ordered("layers", self.layers, "Layer")
        for layer in layers:
            if not isinstance(layer, Layer):
                raise UserError(f"layers must be a sequence of Layer, not of {type(layer).__name__}")
        if not layers:
            raise UserError("a network must have at least one layer, not 0")
        if not isinstance(self.encoder, Encoder):
            raise UserError(f"encoder must be an Encoder, not {self.encoder!r}")
        for index, (layer, following) in enumerate(itertools.pairwise(layers)):
            _check_joined(index, layer, following)
        if layers[-1].neuron.resets:
            raise UserError(f"the last layer must be of neurons that are never reset, such as readout, not {layers[-1].neuron.kind}")
        if not is_integer(self.steps) or not 1 <= self.steps <= MAX_STEPS:
            raise UserError(f"steps (T) must be an integer from 1 to {MAX_STEPS}, not {self.steps!r}")
        given = () if self.class_names is None else ordered("class_names", self.class_names, "names")
        names = tuple(map(str, given or range(layers[-1].outputs)))
        if len(names) != layers[-1].outputs:
            raise UserError(f"class_names must be {layers[-1].outputs}, one per output, not {len(names)}")
        if not isinstance(self.provenance, dict):
            raise UserError(f"provenance must be a dictionary, not {type(self.provenance).__name__}")
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "steps", int(self.steps))
        object.__setattr__(self, "encoder", self.encoder.resolved(self.steps))
        object.__setattr__(self, "class_names", names)
        for index, layer in enumerate(layers):
            if layer.pool is not None:
                self._check_pool(index, layer.pool)
        for index, (layer, totals) in enumerate(zip(layers, self.totals, strict=False)):
            if (reach := max(map(abs, layer.margin_range(totals, self.steps)))) >= MAX_POTENTIAL:
                raise UserError(f"potentials of layer {index} must stay below {MAX_POTENTIAL}, but can reach {reach}")

    @property
    def inputs(self) -> int:
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        return self.layers[-1].outputs

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes from the inputs to the outputs, such as (784, 600, 10)."""
        return (self.inputs, *(layer.outputs for layer in self.layers))

    @property
    def maps(self) -> tuple[Map | None, ...]:
        """Height, width and channels of what is a map, as `shape` has its size, such as ((28, 28, 1), (24, 24, 16), None)."""
        return (self.layers[0].input_map, *(layer.output_map for layer in self.layers))

    @property
    def totals(self) -> tuple[Totals, ...]:
        """Least and greatest sum of the coefficients that a neuron can have sent at any time of a frame: of inputs, then of each layer."""
        return (self.encoder.totals, *(layer.neuron.totals(self.steps) for layer in self.layers))

    @property
    def coefficients(self) -> tuple[Totals, ...]:
        """Least and greatest coefficient of a spike, or of none: of inputs, then of each layer."""
        return (self.encoder.coefficients(self.steps), *(layer.neuron.coefficients for layer in self.layers))

    def _check_pool(self, index: int, pool: Pool2d) -> None:
        before = self.layers[index - 1].neuron if index else self.encoder
        name = f"neurons of layer {index - 1}" if index else "inputs"
        if pool.kind == "max" and not self.totals[index] == self.coefficients[index] == (0, 1):
            raise UserError(f"layer {index} must pool by sum, not by max, because {name} are of kind {before.kind} and may spike often")
        least, greatest = pool.range_of(self.coefficients[index])
        if (reach := max(-least, greatest)) >= LIMIT:
            raise UserError(f"coefficients in a window of layer {index} must add up to less than {LIMIT}, but can reach {reach}")

    def check_inputs(self, inputs: np.ndarray | Events) -> Events:
        """The spikes of the inputs as events, from events or spike times int (frames, inputs), each from 0 to ``steps`` [S1].

        Raises:
            UserError: they do not fit the network.
        """
        if not isinstance(inputs, Events):
            return Events.from_spike_times(self.check_spike_times(inputs), self.steps)
        inputs.check()
        if inputs.shape[1:] != (self.steps, self.inputs):
            steps, neurons = inputs.shape[1:]
            raise UserError(f"input events must be of {self.steps} steps and {self.inputs} inputs, not of {steps} and {neurons}")
        greatest, most = self.encoder.coefficients(self.steps)[1], self.encoder.totals[1]
        wrong = (inputs.coefficient < 1) | (inputs.coefficient > greatest)
        if wrong.any():
            k = int(np.argmax(wrong))
            where = f"input {inputs.neuron[k]} of frame {inputs.frame[k]} has {inputs.coefficient[k]} in step {inputs.step[k]}"
            raise UserError(f"coefficients of inputs must be from 1 to {greatest}, but {where}")
        sums = np.bincount(inputs.cell, inputs.coefficient)
        if (sums > most).any():
            frame, i = divmod(int(np.argmax(sums > most)), self.inputs)
            raise UserError(
                f"coefficients of an input must add up to at most {most} in a frame, "
                f"but those of input {i} of frame {frame} to {int(sums[frame * self.inputs + i])}"
            )
        return inputs

    def check_spike_times(self, spike_times: np.ndarray) -> np.ndarray:
        """The spike times as int32 (frames, inputs), each from 0 to ``steps`` [S1].

        Raises:
            UserError: they are not that.
        """
        spike_times = array("spike times", spike_times)
        if spike_times.ndim == 3 and spike_times.shape[2] == self.inputs:
            raise UserError(
                f"spike times must have shape (frames, {self.inputs}), not {spike_times.shape}: of a spike train (steps, frames, inputs), "
                "export.arrays.first_spikes makes them"
            )
        if spike_times.ndim != 2 or spike_times.shape[1] != self.inputs:
            raise UserError(f"spike times must have shape (frames, {self.inputs}), not {spike_times.shape}")
        if spike_times.dtype.kind not in "iu":
            raise UserError(f"spike times must be integers, not {spike_times.dtype}")
        wrong = (spike_times < 0) | (spike_times > self.steps)
        if wrong.any():
            frame, i = np.argwhere(wrong)[0]
            raise UserError(
                f"spike times must be from 0 to {self.steps} ({self.steps} = never), "
                f"but input {i} of frame {frame} has {spike_times[frame, i]}"
            )
        return spike_times.astype(np.int32, copy=False)

    def encode(self, images: np.ndarray) -> np.ndarray | Events:
        """What becomes of intensities: spike times int32 (frames, inputs) [S2], or events [S13].

        Parameters:
            images: uint8 (frames, …), flattened as they stand; where the inputs are a map of several channels, position by position if they
                are (frames, inputs), and plane by plane if they are (frames, channels, height, width) [S15].

        Raises:
            UserError: the intensities do not fit the network or its encoder.
        """
        images = array("images", images)
        if images.ndim < 2:
            raise UserError(f"images must have shape (frames, …), not {images.shape}")
        if (pixels := int(np.prod(images.shape[1:]))) != self.inputs:
            raise UserError(f"the network takes {self.inputs} inputs, but the images have {pixels} pixels")
        return self.encoder.encode(position_major(images, self.layers[0].input_map), self.steps)


def _check_joined(index: int, layer: Layer, following: Layer) -> None:
    one, other = layer.output_map, following.input_map
    if one is not None and other is not None and one != other:
        raise UserError(f"layer {index + 1} must take the map of layer {index}, {crossed(one)}, not one of {crossed(other)}")
    if layer.outputs != following.inputs:
        raise UserError(f"layer {index + 1} must take the {layer.outputs} outputs of layer {index}, but has {following.inputs} inputs")
