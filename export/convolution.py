"""Convolution: ±1 kernels that pass over a map of neurons [S15]."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from export.arrays import array, frozen
from export.connections import MAX_FAN_IN, Connection, signs
from export.errors import UserError
from export.maps import Map, checked_map, pair, size

PATCHES = 1 << 19  # numbers under the kernels' places that are worked on at a time, which bounds the memory


@dataclass(frozen=True, eq=False)
class Conv2d(Connection):
    """A convolution with ±1 kernels, the same at each position, and no spikes from beyond the border [S15].

    Parameters:
        kernels: -1 or +1, shape (channels, input channels, height, width), any integer or float dtype; kept as int8.
        map_shape: height and width of the map that comes in.
        stride: distance of neighbouring positions, at least 1: an integer, or (downwards, across).
        padding: rows and columns beyond each border, fewer than the kernel has, so that each neuron has a synapse: as ``stride``.

    Attributes:
        weights: int8 (channels, weights of a kernel), of which ``(ky * width + kx) * input channels + input channel`` is one.

    Raises:
        UserError: a shape, a dtype or a value is not as said, or the kernels are larger than the map with its padding.
    """

    kernels: np.ndarray
    map_shape: tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    weights: np.ndarray = field(init=False, repr=False)
    kind: ClassVar[str] = "conv2d"

    def __post_init__(self) -> None:
        kernels = array("kernels", self.kernels)
        if kernels.ndim != 4 or 0 in kernels.shape:
            expected = "(channels, input channels, height, width)"
            raise UserError(f"kernels must have shape {expected}, all at least 1, not {kernels.shape}")
        if (places := kernels[0].size) > MAX_FAN_IN:
            raise UserError(f"a kernel must have at most {MAX_FAN_IN} weights, not {places}")
        shape = pair("map_shape", self.map_shape, 1)
        kernel = kernels.shape[2], kernels.shape[3]
        padding = pair("padding", self.padding, 0, (kernel[0] - 1, kernel[1] - 1), f", less than the kernel's {kernel[0]} x {kernel[1]}")
        padded = shape[0] + 2 * padding[0], shape[1] + 2 * padding[1]
        if kernel[0] > padded[0] or kernel[1] > padded[1]:
            raise UserError(
                f"kernels must be at most as large as the map with its padding, {padded[0]} x {padded[1]}, not {kernel[0]} x {kernel[1]}"
            )
        object.__setattr__(self, "kernels", signs("kernels", kernels))
        object.__setattr__(self, "weights", frozen(self.kernels.transpose(0, 2, 3, 1).reshape(len(kernels), -1), np.int8))
        object.__setattr__(self, "map_shape", shape)
        object.__setattr__(self, "stride", pair("stride", self.stride, 1))
        object.__setattr__(self, "padding", padding)
        checked_map("the map that comes in", self.input_map)
        checked_map("the map", self.output_map)

    @property
    def kernel_shape(self) -> tuple[int, int]:
        """Height and width of the kernels."""
        return self.kernels.shape[2], self.kernels.shape[3]

    @property
    def strides(self) -> tuple[int, int]:
        """The stride downwards and across."""
        assert isinstance(self.stride, tuple)
        return self.stride

    @property
    def paddings(self) -> tuple[int, int]:
        """The padding of rows and of columns, on either side."""
        assert isinstance(self.padding, tuple)
        return self.padding

    @property
    def input_map(self) -> Map:
        return (*self.map_shape, self.kernels.shape[1])

    @property
    def output_map(self) -> Map:
        height, width = (
            (length + 2 * beyond - kernel) // stride + 1
            for length, beyond, kernel, stride in zip(self.map_shape, self.paddings, self.kernel_shape, self.strides, strict=True)
        )
        return height, width, len(self.kernels)

    @property
    def inputs(self) -> int:
        return size(self.input_map)

    @property
    def outputs(self) -> int:
        return size(self.output_map)

    @property
    def channels(self) -> int:
        return len(self.kernels)

    @cached_property
    def synapses(self) -> np.ndarray:
        return self._at_each_position(np.full((self.channels, *self.kernel_shape), self.kernels.shape[1]))

    @cached_property
    def negatives(self) -> np.ndarray:
        return self._at_each_position((self.kernels < 0).sum(axis=1))

    def sums(self, spikes: np.ndarray) -> np.ndarray:
        result = np.empty((len(spikes), self.outputs), np.float32)
        positions = self.outputs // self.channels
        chunk = max(1, PATCHES // (positions * self.weights.shape[1]))
        for at in range(0, len(spikes), chunk):
            patches = self._patches(spikes[at : at + chunk])
            np.matmul(patches, self._matrix, out=result[at : at + chunk].reshape(len(patches), self.channels))
        return result

    @cached_property
    def _matrix(self) -> np.ndarray:
        return np.ascontiguousarray(self.weights.T, np.float32)

    def _patches(self, spikes: np.ndarray) -> np.ndarray:
        """What lies under the kernel at each position, in the order of `weights`: float32 (frames * positions, weights)."""
        height, width, channels = self.input_map
        (above, left), (down, across) = self.paddings, self.strides
        padded = np.zeros((len(spikes), height + 2 * above, width + 2 * left, channels), np.float32)
        padded[:, above : above + height, left : left + width] = spikes.reshape(-1, height, width, channels)
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.kernel_shape, (1, 2))[:, ::down, ::across]
        return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self.weights.shape[1])

    def _at_each_position(self, counts: np.ndarray) -> np.ndarray:
        """The sum of ``counts``, (channels, height, width), over the kernel's places inside the map, int64 (outputs,)."""
        before = np.zeros((self.kernel_shape[0] + 1, self.kernel_shape[1] + 1, self.channels), np.int64)  # sums of what is above and left
        before[1:, 1:] = counts.transpose(1, 2, 0).cumsum(axis=0).cumsum(axis=1)
        ends = []
        for axis, positions in enumerate(self.output_map[:2]):
            first = np.arange(positions) * self.strides[axis] - self.paddings[axis]
            ends.append((np.maximum(0, -first), np.minimum(self.kernel_shape[axis], self.map_shape[axis] - first)))
        (top, bottom), (left, right) = ends
        sums = before[np.ix_(bottom, right)] - before[np.ix_(top, right)] - before[np.ix_(bottom, left)] + before[np.ix_(top, left)]
        return frozen(sums.ravel(), np.int64)
