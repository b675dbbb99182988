"""Pooling: several neurons of a map share an address [S16]."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export.arrays import frozen, is_integer
from export.connections import Totals
from export.errors import UserError
from export.events import Events
from export.maps import MAX_NEURONS, Map, checked_map, pair
from export.maps import size as size_of
from export.text import one_of

POOLS = ("max", "sum")


@dataclass(frozen=True)
class Pool2d:
    """Windows without overlap, in front of a layer's connection: which spikes of a map come in, and under which address [S16].

    Parameters:
        map_shape: height and width of the map that is pooled.
        channels: channels of that map, each pooled by itself.
        size: height and width of a window: an integer, or (height, width). Rows and columns behind the last whole window are left out.
        kind: ``"max"``, for neurons that spike once: a window spikes when its first neuron does; or ``"sum"``: the coefficients of a
            step are added up.

    Raises:
        UserError: a parameter is not as said.
    """

    map_shape: tuple[int, int]
    channels: int
    size: int | tuple[int, int]
    kind: str = "max"

    def __post_init__(self) -> None:
        if self.kind not in POOLS:
            raise UserError(f"pool kind must be {one_of(POOLS)}, not {self.kind!r:.60}")
        if not (is_integer(self.channels) and 1 <= self.channels <= MAX_NEURONS):
            raise UserError(f"channels must be an integer from 1 to {MAX_NEURONS}, not {self.channels!r:.60}")
        shape = pair("map_shape", self.map_shape, 1)
        object.__setattr__(self, "map_shape", shape)
        object.__setattr__(self, "channels", int(self.channels))
        object.__setattr__(self, "size", pair("pool size", self.size, 1, shape, f", the map's {shape[0]} x {shape[1]}"))
        checked_map("the map that is pooled", self.input_map)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of a window."""
        assert isinstance(self.size, tuple)
        return self.size

    @property
    def input_map(self) -> Map:
        return (*self.map_shape, self.channels)

    @property
    def output_map(self) -> Map:
        (height, width), (down, across) = self.map_shape, self.window
        return height // down, width // across, self.channels

    @property
    def inputs(self) -> int:
        return size_of(self.input_map)

    @property
    def outputs(self) -> int:
        return size_of(self.output_map)

    @cached_property
    def address(self) -> np.ndarray:
        """The window of each neuron of the map, or -1 where it is left out: int32 (inputs,)."""
        height, width, channels = self.output_map
        y, x = (np.arange(length) // step for length, step in zip(self.map_shape, self.window, strict=True))
        position = np.where((y[:, None] < height) & (x < width), y[:, None] * width + x, -1)
        channel = np.where(position[..., None] < 0, -1, position[..., None] * channels + np.arange(channels))
        return frozen(channel.ravel(), np.int32)

    def range_of(self, bounds: Totals) -> Totals:
        """Least and greatest that a window can have, of what each of its neurons can: coefficients, or sums of them over a frame."""
        number = 1 if self.kind == "max" else self.window[0] * self.window[1]
        return number * bounds[0], number * bounds[1]

    def apply(self, events: Events) -> Events:
        """The spikes of the windows."""
        frames, steps, _ = events.shape
        address = self.address[events.neuron]
        if (inside := address >= 0).all():
            moved = events
        else:
            moved, address = events.select(inside), address[inside]
        pooled = Events((frames, steps, self.outputs), moved.frame, moved.step, address, moved.coefficient)
        if self.kind == "max":
            return Events.from_spike_times(pooled.spike_times(), steps)
        place, of_place = np.unique(pooled.place, return_inverse=True)
        coefficient = np.bincount(of_place, pooled.coefficient, len(place)).astype(np.int16)
        place, coefficient = place[coefficient != 0], coefficient[coefficient != 0]
        cell, neuron = np.divmod(place, self.outputs)
        frame, step = np.divmod(cell, steps)
        return Events(pooled.shape, frame, step.astype(np.int32), neuron.astype(np.int32), coefficient)
