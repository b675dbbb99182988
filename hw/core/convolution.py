"""The circuit's half of `export.Conv2d`: the same weights at each position of a map. Its sequence is in `hw.core.walk`."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from amaranth.hdl import Cat, Value
from amaranth.lib import data

from export.convolution import Conv2d
from hw.core.plan import LayerPlan
from hw.core.words import bits_for

VECTOR_SLOTS = 1024
"""Neuron vectors that wait at most: those of a whole step of most maps, so that a layer goes on with the next one while these walk."""
ROW_SLOTS = 512
"""The same by rows: those of some rows of most maps, since some have more spikes than others; a block RAM of 36 bits has as many places."""


class Reach(NamedTuple):
    """Of each row (or column) of the map that comes in, the rows (columns) of positions that it reaches: int64 arrays.

    Attributes:
        first: the first of them; they are neighbours.
        number: how many.
        kernel: the row (column) of the kernel at the first; at the next one it is less by the stride.
    """

    first: np.ndarray
    number: np.ndarray
    kernel: np.ndarray


class ConvPlan(LayerPlan):
    """A convolution: a weight row per neuron fold, kernel place and channel word; a row of membranes per position, context and fold, or, by
    rows, per fold of those positions that can have been reached and not tested."""

    @property
    def addressed(self) -> bool:
        """By rows, all vectors come in order, and need no address if their neurons follow each other."""
        return not self.by_rows or self.connection.channels % self.pe != 0

    @property
    def by_rows(self) -> bool:
        """In the only step of a frame, a position is tested once, and its membranes are not needed any more (see `hw.core.rows`)."""
        return self.steps == 1

    @property
    def tag_bits(self) -> int:
        return 0 if self.by_rows else bits_for(self.positions)

    @property
    def ring(self) -> int:
        """By rows, positions whose membranes are kept: those of as many rows as a word can reach. Those of contexts are the same, since
        words of one step come together."""
        return int(self.reach[0].number.max()) * self.connection.output_map[1]

    @property
    def state_rows(self) -> int:
        return self.ring << (self.neuron_folds - 1).bit_length() if self.by_rows else super().state_rows

    def state_row(self, fold: Value, frame: Value, position: Value | None = None) -> Value:
        if not self.by_rows:
            return super().state_row(fold, frame, position)
        assert position is not None
        return Cat(fold[: (self.neuron_folds - 1).bit_length()], position[: bits_for(self.ring)])

    @property
    def connection(self) -> Conv2d:
        assert isinstance(self.layer.connection, Conv2d)
        return self.layer.connection

    @property
    def channel_words(self) -> int:
        """Words of a position of the map that comes in."""
        return self.connection.input_map[2] // self.simd

    @property
    def vector_slots(self) -> int:
        return min(ROW_SLOTS if self.by_rows else VECTOR_SLOTS, self.positions * self.neuron_folds)

    @property
    def tests_all_first(self) -> bool:
        """In the first step of a frame, neurons may act that no spike has reached [S4], [S11]."""
        return not self.layer.neuron.spikes_once

    @property
    def tests_all_always(self) -> bool:
        """All positions are tested in each step, in which neurons may act without input."""
        return not self.layer.neuron.skips_empty_steps

    @property
    def tells_ripe(self) -> bool:
        return not (self.tests_all_always or self.by_rows)

    @cached_property
    def reach(self) -> tuple[Reach, Reach]:
        """Downwards and across [S15]."""
        found, connection = [], self.connection
        for axis in range(2):
            at = np.arange(connection.map_shape[axis]) + connection.paddings[axis]
            kernel, stride = connection.kernel_shape[axis], connection.strides[axis]
            first = np.maximum(0, -((kernel - 1 - at) // stride))
            last = np.minimum(connection.output_map[axis] - 1, at // stride)
            found.append(Reach(first, np.maximum(0, last - first + 1), at - first * stride))
        return found[0], found[1]

    @cached_property
    def places(self) -> np.ndarray:
        """Positions that each word reaches, and so kernel places: int64 (words,)."""
        down, across = self.reach
        return np.repeat(np.outer(down.number, across.number).ravel(), self.channel_words)

    def reached(self, index: int) -> list[int]:
        """The positions that a word reaches."""
        down, across = self.reach
        y, x = divmod(index // self.channel_words, len(across.first))
        rows = range(down.first[y], down.first[y] + down.number[y])
        columns = range(across.first[x], across.first[x] + across.number[x])
        width = self.connection.output_map[1]
        return [row * width + column for row in rows for column in columns]

    def work(self, words: np.ndarray) -> np.ndarray:
        return np.where(words < 0, 0, self.places[words]) * self.neuron_folds

    def step_work(self, words: np.ndarray) -> np.ndarray:
        return np.full(words.shape, self.positions * self.neuron_folds if self.tests_all_always else 0)

    @property
    def walk_layout(self) -> data.StructLayout:
        """Where a word begins to walk: the first position, the row of its weights there for fold 0, without the bits that words of one
        position do not share (see `neighbour_bits`), how many positions follow downwards and across, and whether there are any. By rows,
        also the first row of positions, and the position is counted from its beginning."""
        down, across = self.reach
        return data.StructLayout(
            {
                "reaches": 1,
                **({"line": bits_for(self.connection.output_map[0])} if self.by_rows else {}),
                "position": bits_for(self.positions),
                "row": bits_for(self.synapse_folds >> self.neighbour_bits),
                "down": bits_for(int(down.number.max())),
                "across": bits_for(int(across.number.max())),
            }
        )

    @cached_property
    def walk_rows(self) -> list[int]:
        """The content of the memory that says so, a row for each word, or for those that share it."""
        (down, across), layout, width = self.reach, self.walk_layout, self.connection.output_map[1]
        rows = []
        for y in range(len(down.first)):
            for x in range(len(across.first)):
                for channel_word in range(0, self.channel_words, 1 << self.neighbour_bits):
                    kernel_place = down.kernel[y] * self.connection.kernel_shape[1] + across.kernel[x]
                    fields = {
                        "reaches": 1,
                        **({"line": down.first[y]} if self.by_rows else {}),
                        "position": across.first[x] + (0 if self.by_rows else down.first[y] * width),
                        "row": kernel_place * self.channel_words + channel_word >> self.neighbour_bits,
                        "down": down.number[y] - 1,
                        "across": across.number[x] - 1,
                    }
                    walks = down.number[y] and across.number[x]
                    rows.append(sum(int(value) << layout[name].offset for name, value in fields.items()) if walks else 0)
        return rows
