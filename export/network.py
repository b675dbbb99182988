"""A binarized single-spike network as plain arrays, and every number that follows from its geometry.

The numbered statements of ``docs/semantics.md`` define what the arrays mean; comments cite them as [S1], [S2], ….
"""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from export.arrays import is_integer
from export.connections import CONNECTIONS, Connection
from export.errors import UserError
from export.neurons import NEURONS, Neuron

MAX_STEPS = 1 << 15


def default_p_min(steps: int) -> int:
    """Smallest intensity that spikes unless the encoder says otherwise: the faintest bin is background [S2]."""
    return max(1, 256 // steps)


@dataclass(frozen=True)
class Encoder:
    """How an 8-bit intensity becomes a spike time [S2].

    Parameters:
        kind: ``"latency"``, or ``"none"`` when spike times come from outside.
        p_min: smallest intensity that spikes, 0 to 256; None stands for ``max(1, 256 // steps)``.
    """

    kind: str = "none"
    p_min: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("latency", "none"):
            raise UserError(f"encoder kind must be 'latency' or 'none', not {self.kind!r}")
        if self.kind == "none" and self.p_min is not None:
            raise UserError(f"encoder 'none' takes no p_min, not {self.p_min!r}")
        if self.p_min is not None and not (is_integer(self.p_min) and 0 <= self.p_min <= 256):
            raise UserError(f"encoder p_min must be an integer from 0 to 256, not {self.p_min!r}")

    def resolved(self, steps: int) -> "Encoder":
        """The same encoder with its default ``p_min`` made explicit."""
        if self.kind == "latency" and self.p_min is None:
            return replace(self, p_min=default_p_min(steps))
        return self

    def encode(self, images: np.ndarray, steps: int) -> np.ndarray:
        """Spike times int32 (frames, inputs), 0 … steps, of intensities uint8 (frames, …) [S2].

        Raises:
            UserError: the encoder is ``none``, or the intensities are not uint8.
        """
        if self.kind == "none":
            raise UserError("encoder must be 'latency' to encode intensities, not 'none': spike times come from outside")
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim < 2:
            raise UserError(f"intensities must be uint8 of shape (frames, inputs), not {images.dtype} {images.shape}")
        p = np.arange(256, dtype=np.int32)
        p_min = default_p_min(steps) if self.p_min is None else self.p_min
        table = np.where(p < p_min, steps, (255 - p) * steps // 256).astype(np.int32)
        return table[images.reshape(len(images), -1)]


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer: a connection and the neurons that it ends at.

    Parameters:
        connection: the synapses, such as `export.Dense`.
        neuron: the neurons, one per output of the connection, such as `export.Single`.

    Raises:
        UserError: they do not go together.
    """

    connection: Connection
    neuron: Neuron

    def __post_init__(self) -> None:
        if not isinstance(self.connection, Connection):
            raise UserError(f"connection must be one of {', '.join(CONNECTIONS)}, not {type(self.connection).__name__}")
        if not isinstance(self.neuron, Neuron):
            raise UserError(f"neuron must be one of {', '.join(NEURONS)}, not {type(self.neuron).__name__}")
        self.neuron.check(self.connection)

    @property
    def outputs(self) -> int:
        return self.connection.outputs

    @property
    def inputs(self) -> int:
        return self.connection.inputs

    def margin_range(self, input_spikes: int = 1) -> tuple[int, int]:
        """Least and greatest value that ``V_j(t) - θ_j`` can take in any neuron, over all spikes that can come in.

        Parameters:
            input_spikes: how often an input can spike in a frame (see `export.neurons.Neuron.most_spikes`).
        """
        least, greatest = self.connection.sum_range
        return self.neuron.margin_range(least * input_spikes, greatest * input_spikes)


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in a row, the number of time steps, and what the inputs and classes mean.

    Parameters:
        layers: at least one; each takes as many inputs as the one before has outputs.
        steps: ``T``, the number of time steps, at least 1 [S1].
        encoder: how intensities become spike times.
        class_names: one per output; by default "0", "1", ….
        provenance: where the network comes from; a dictionary of anything that JSON can hold.

    Raises:
        UserError: a parameter is not as said.
    """

    layers: tuple[Layer, ...]
    steps: int
    encoder: Encoder = Encoder()
    class_names: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.layers, Layer) or not all(isinstance(layer, Layer) for layer in self.layers):
            raise UserError("layers must be a sequence of Layer")
        layers = tuple(self.layers)
        if not layers:
            raise UserError("a network must have at least one layer, not 0")
        if not isinstance(self.encoder, Encoder):
            raise UserError(f"encoder must be an Encoder, not {self.encoder!r}")
        for index, (layer, following) in enumerate(itertools.pairwise(layers)):
            if layer.outputs != following.inputs:
                raise UserError(
                    f"layer {index + 1} must take the {layer.outputs} outputs of layer {index}, but has {following.inputs} inputs"
                )
        if not is_integer(self.steps) or not 1 <= self.steps <= MAX_STEPS:
            raise UserError(f"steps (T) must be an integer from 1 to {MAX_STEPS}, not {self.steps!r}")
        names = tuple(map(str, self.class_names or range(layers[-1].outputs)))
        if len(names) != layers[-1].outputs:
            raise UserError(f"class_names must be {layers[-1].outputs}, one per output, not {len(names)}")
        if not isinstance(self.provenance, dict):
            raise UserError(f"provenance must be a dictionary, not {type(self.provenance).__name__}")
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "steps", int(self.steps))
        object.__setattr__(self, "encoder", self.encoder.resolved(self.steps))
        object.__setattr__(self, "class_names", names)

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

    def check_spike_times(self, spike_times: np.ndarray) -> np.ndarray:
        """The spike times as int32 (frames, inputs), each from 0 to ``steps`` [S1].

        Raises:
            UserError: they are not that.
        """
        spike_times = np.asarray(spike_times)
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

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Spike times int32 (frames, inputs) of intensities uint8 (frames, …) [S2].

        Raises:
            UserError: the intensities do not fit the network or its encoder.
        """
        times = self.encoder.encode(images, self.steps)
        if times.shape[1] != self.inputs:
            raise UserError(f"the network takes {self.inputs} inputs, but the images have {times.shape[1]} pixels")
        return times
