"""A binarized single-spike network as plain arrays, and every number that follows from its geometry.

The numbered statements of ``docs/semantics.md`` define what the arrays mean; comments cite them as [S1], [S2], ….
"""

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from export.errors import UserError

MAX_STEPS = 1 << 15
MAX_FAN_IN = 1 << 20  # far below 2**24, up to which float32 counts exactly (the golden model multiplies in float32)


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
        if self.p_min is not None and not (_is_integer(self.p_min) and 0 <= self.p_min <= 256):
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
    """A fully connected layer of integrate-and-fire neurons without leak [S3].

    Parameters:
        weights: -1 or +1, shape (outputs, inputs), any integer or float dtype; kept as int8.
        thresholds: integers, shape (outputs,), each from ``-inputs`` to ``inputs + 1``; kept as int32.
        kind: neuron kind; ``"if"`` is the only one so far.

    Raises:
        UserError: a shape, a dtype or a value is not as said.
    """

    weights: np.ndarray
    thresholds: np.ndarray
    kind: str = "if"

    def __post_init__(self) -> None:
        weights, thresholds = _array("weights", self.weights), _array("thresholds", self.thresholds)
        if weights.ndim != 2 or 0 in weights.shape:
            raise UserError(f"weights must have shape (outputs, inputs), both at least 1, not {weights.shape}")
        if weights.shape[1] > MAX_FAN_IN:
            raise UserError(f"a layer must have at most {MAX_FAN_IN} inputs, not {weights.shape[1]}")
        if weights.dtype.kind not in "iuf":
            raise UserError(f"weights must be numbers, not {weights.dtype}")
        wrong = (weights != 1) & (weights != -1)
        if wrong.any():
            j, i = np.argwhere(wrong)[0]
            raise UserError(f"weights must be -1 or +1, but weights[{j}, {i}] is {weights[j, i]}")
        fan_in = weights.shape[1]
        if thresholds.shape != weights.shape[:1]:
            raise UserError(f"thresholds must have shape ({len(weights)},), one per output, not {thresholds.shape}")
        if thresholds.dtype.kind not in "iu":
            raise UserError(f"thresholds must be integers, not {thresholds.dtype}")
        wrong = (thresholds < -fan_in) | (thresholds > fan_in + 1)
        if wrong.any():
            j = np.argmax(wrong)
            raise UserError(
                f"thresholds must be from {-fan_in} to {fan_in + 1} for {fan_in} inputs, but thresholds[{j}] is {thresholds[j]}"
            )
        if self.kind != "if":
            raise UserError(f"neuron kind must be 'if', not {self.kind!r}")
        object.__setattr__(self, "weights", _frozen(weights, np.int8))
        object.__setattr__(self, "thresholds", _frozen(thresholds, np.int32))

    @property
    def outputs(self) -> int:
        return self.weights.shape[0]

    @property
    def inputs(self) -> int:
        return self.weights.shape[1]

    @cached_property
    def negatives(self) -> np.ndarray:
        """``K_j``: the number of -1 weights of each neuron, int32 (outputs,) [S7]."""
        return _frozen((self.weights < 0).sum(axis=1), np.int32)

    @cached_property
    def margin_range(self) -> tuple[int, int]:
        """Least and greatest value that ``V_j(t) - θ_j`` can take in any neuron, over all subsets of the inputs."""
        least = -self.negatives - self.thresholds
        return int(least.min()), int((least + self.inputs).max())


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
        if not _is_integer(self.steps) or not 1 <= self.steps <= MAX_STEPS:
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


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        raise UserError(f"{name} must be an array, all rows of one length") from None


def _is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _frozen(array: np.ndarray, dtype: type) -> np.ndarray:
    array = np.array(array, dtype=dtype, order="C")
    array.flags.writeable = False
    return array
