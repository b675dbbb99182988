"""Synapses in PyTorch: what ±1 weights sum up, of a dense layer or of a convolution, behind a pool or not; and what they are in an export.

A map is (…, height, width, channels): flattened, it is in the order of [S15], and what belongs to a channel is the last axis, as it is of a
dense layer's neurons. With whole inputs all sums are whole, and exact in float32 below 2^24, in any order; so they are what the golden
model has.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
from torch import Tensor
from torch.nn import functional

import export
from export import Pool2d, UserError
from export.connections import Connection
from export.errors import prefixed
from export.layer import Layer
from export.maps import Map, crossed
from model.structure import Stage

Shape = tuple[int, ...]
"""(neurons,), or (height, width, channels)."""


@dataclass(frozen=True)
class Synapses(ABC):
    """The synapses of a layer.

    Parameters:
        inputs: shape of what comes in, before it is pooled; an integer is that of a row.
        channels: outputs with weights of their own.
        pool: height and width of a window; 1: no pool.
        pool_kind: what a window sends [S16]: ``sum``, or ``max`` for spikes once.

    Raises:
        UserError: a number is not as said, or the inputs are too small, or no map.
    """

    inputs: Shape
    channels: int
    pool: int = 1
    pool_kind: str = field(default="sum", kw_only=True)

    def __post_init__(self) -> None:
        shape = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        for name, sizes in (("inputs", shape), ("outputs", (self.channels,))):
            for size in sizes:
                if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                    raise UserError(f"a layer's {name} must be a positive integer, not {size!r}")
        object.__setattr__(self, "inputs", shape)
        if len(shape) != 3 and self.pool > 1:
            raise UserError(f"a pool of {self.pool} x {self.pool} must be behind a map, not behind {shape[0]} inputs")
        assert self.pooling is None or self.pooling.outputs

    @cached_property
    def pooling(self) -> Pool2d | None:
        """The pool in front, if any."""
        height, width, channels = self.inputs if len(self.inputs) == 3 else (0, 0, 0)
        return Pool2d((height, width), channels, self.pool, self.pool_kind) if self.pool > 1 else None

    @property
    def summed(self) -> int:
        """The most inputs that a window of the pool adds up; 1 where there is none, or it takes the greatest."""
        return self.pool**2 if self.pool_kind == "sum" else 1

    @property
    def taken(self) -> Shape:
        """The shape of what comes in, behind the pool."""
        return self.inputs if self.pooling is None else self.pooling.output_map

    @property
    @abstractmethod
    def outputs(self) -> Shape:
        """The shape of the sums."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """The shape of the weights; the first axis is that of the channels."""

    @property
    def fan_in(self) -> int:
        """The most synapses of one neuron, each from a window if there is a pool."""
        return math.prod(self.shape[1:])

    @abstractmethod
    def sums(self, inputs: Tensor, weights: Tensor) -> Tensor:
        """``Σ_i w_ij · a_i``, float (frames, *outputs).

        Parameters:
            inputs: float (frames, …): as ``inputs`` has it, or flattened.
            weights: float, as ``shape`` has it.
        """

    @abstractmethod
    def connection(self, weights: np.ndarray) -> Connection:
        """The connection to export."""

    def _pooled(self, inputs: Tensor) -> Tensor:
        """What comes in behind the pool, float (frames, *taken)."""
        inputs = inputs.reshape(-1, *self.inputs)
        if self.pooling is None:
            return inputs
        planes = inputs.permute(0, 3, 1, 2)
        if self.pool_kind == "max":
            return functional.max_pool2d(planes, self.pool).permute(0, 2, 3, 1)
        return functional.avg_pool2d(planes, self.pool, divisor_override=1).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Dense(Synapses):
    """Every output has a synapse with every input: weights (outputs, inputs)."""

    @property
    def outputs(self) -> Shape:
        return (self.channels,)

    @property
    def shape(self) -> Shape:
        return self.channels, math.prod(self.taken)

    def sums(self, inputs: Tensor, weights: Tensor) -> Tensor:
        return self._pooled(inputs).flatten(1) @ weights.T

    def connection(self, weights: np.ndarray) -> Connection:
        return export.Dense(weights)


@dataclass(frozen=True)
class Conv2d(Synapses):
    """A convolution, square kernels (channels, input channels, kernel, kernel).

    Parameters:
        kernel, stride, padding: as in `export.Conv2d`, the same in both directions.
    """

    kernel: int = 1
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.inputs) != 3:
            raise UserError(f"a convolution must be behind a map, not behind {self.inputs[0]} inputs")
        assert self.outputs

    @property
    def shape(self) -> Shape:
        return self.channels, self.taken[2], self.kernel, self.kernel

    @cached_property
    def outputs(self) -> Shape:
        return cast("Map", self.connection(np.ones(self.shape, np.int8)).output_map)

    def sums(self, inputs: Tensor, weights: Tensor) -> Tensor:
        planes = self._pooled(inputs).permute(0, 3, 1, 2)
        return functional.conv2d(planes, weights, stride=self.stride, padding=self.padding).permute(0, 2, 3, 1)

    def connection(self, weights: np.ndarray) -> Connection:
        height, width, _ = self.taken
        return export.Conv2d(weights, (height, width), self.stride, self.padding)


class Weighted(NamedTuple):
    """Synapses with their weights, ±1, float as ``synapses.shape`` has it."""

    synapses: Synapses
    weights: Tensor

    def sums(self, inputs: Tensor) -> Tensor:
        """Sums float (T, frames, *outputs), of coefficients float (T, frames, …)."""
        return self.synapses.sums(inputs.flatten(0, 1), self.weights).unflatten(0, inputs.shape[:2])

    def exported(self) -> tuple[Connection, Pool2d | None]:
        """Connection and pool of an `export.Layer`."""
        return self.synapses.connection(self.weights.numpy()), self.synapses.pooling


def chain(stages: Iterable[Stage], inputs: Shape | int, pool_kind: str = "sum") -> list[Synapses]:
    """The synapses of layers, one after the other.

    Parameters:
        stages: at least one.
        inputs: shape of the network's inputs; an integer is that of a row.
        pool_kind: of all pools.

    Raises:
        UserError: a layer does not fit what comes in.
    """
    found: list[Synapses] = []
    for stage in stages:
        with prefixed(f"{stage} of the structure"):
            before = found[-1].outputs if found else inputs if isinstance(inputs, tuple) else (inputs,)
            if stage.kernel:
                found.append(Conv2d(before, stage.channels, stage.pool, stage.kernel, stage.stride, stage.padding, pool_kind=pool_kind))
            else:
                found.append(Dense(before, stage.channels, stage.pool, pool_kind=pool_kind))
    return found


def inputs_of(stages: Iterable[Stage], pixels: int, image_shape: tuple[int, ...] | None) -> Shape:
    """The shape of a network's inputs: a map, if its layers want one and the data are images.

    Parameters:
        image_shape: (height, width) or (planes, height, width); None where the data are none.
    """
    if image_shape is None or not any(stage.kernel or stage.pool > 1 for stage in stages):
        return (pixels,)
    planes, height, width = (1, *image_shape)[-3:]
    return height, width, planes


def synapses_of(layer: Layer) -> Synapses:
    """The synapses of an exported layer, with a pool of the kind ``max`` if it has one.

    Raises:
        UserError: a kernel, stride, padding or pool is not square, or the pool adds up.
    """
    connection, pool = layer.connection, layer.pool
    if pool is not None and pool.kind != "max":
        raise UserError(f"a pool must be of kind max to be trained on, not {pool.kind}")
    window = 1 if pool is None else _side("a pool", pool.window)
    inputs = layer.input_map or (layer.inputs,)
    if not isinstance(connection, export.Conv2d):
        return Dense(inputs, connection.channels, window, pool_kind="max")
    sides = (
        _side(name, sizes)
        for name, sizes in (("a kernel", connection.kernel_shape), ("a stride", connection.strides), ("a padding", connection.paddings))
    )
    return Conv2d(inputs, connection.channels, window, *sides, pool_kind="max")


def _side(name: str, sizes: tuple[int, int]) -> int:
    if sizes[0] != sizes[1]:
        raise UserError(f"{name} must be square to be trained on, not {crossed(sizes)}")
    return sizes[0]
