"""What a latency encoder is made of: every number that its circuit and its cost model share."""

from dataclasses import dataclass
from functools import cached_property
from math import lcm

from amaranth.lib import data

from export import UserError
from hw.core.words import WordFormat, bits_for

SMALLEST_ROW = 8  # pixels: where the logic is smallest; shorter rows take more memory, longer ones more comparators
MOST_STEPS_PER_LIST = 16


def pixel_layout(pixels: int) -> data.StructLayout:
    """A beat: ``pixels`` neighbouring pixels of 8 bits, the first one least significant, and a flag for the frame's last beat."""
    return data.StructLayout({"intensity": 8 * pixels, "last_of_frame": 1})


@dataclass(frozen=True)
class EncoderPlan:
    """The geometry of a `LatencyEncoder`.

    Pixels are kept as *rows*, in which whole beats and whole words fit. For each step there is a *list* of the rows that have a spike in
    it. Some steps' lists share a memory, which takes one entry per cycle: so many that a row's entries are written before the next row's
    come.

    Parameters:
        form: words to send; ``form.inputs`` is the number of pixels of a frame.
        p_min: smallest intensity that spikes, 0 … 256.
        pixels: pixels per beat.
        row: pixels per row, a multiple of ``pixels`` and of ``form.simd``, or at least a frame. By default the smallest such multiple by a
            power of two that is not less than 8.

    Raises:
        UserError: ``pixels`` or ``row`` cannot be.
    """

    form: WordFormat
    p_min: int
    pixels: int = 1
    row: int | None = None

    def __post_init__(self):
        if type(self.pixels) is not int or self.pixels < 1:
            raise UserError(f"pixels per beat must be an integer of at least 1, not {self.pixels!r}")
        if self.row is None:
            return
        fits = self.row % lcm(self.pixels, self.form.simd) == 0 or self.row >= self.form.inputs
        if self.row < 1 or not fits:
            raise UserError(
                f"pixels per row must be a multiple of {self.pixels} per beat and of {self.form.simd} per word, "
                f"or all {self.form.inputs}, not {self.row}"
            )

    @property
    def active_steps(self) -> int:
        """Steps in which a pixel can spike; all of them are before the others."""
        return max(1, ((255 - self.p_min) * self.form.steps // 256) + 1)

    @property
    def code_bits(self) -> int:
        """Width of a spike time, or `never`."""
        return bits_for(self.active_steps + 1)

    @property
    def never(self) -> int:
        """In the place of a spike time: the pixel does not spike."""
        return (1 << self.code_bits) - 1

    @property
    def row_address(self) -> int:
        """Width of the number of a row."""
        return bits_for(self.rows)

    @property
    def step_address(self) -> int:
        """Width of a step's number among those whose lists share a memory; may be 0."""
        return self.list_steps.bit_length() - 1

    @property
    def list_address(self) -> int:
        """Width of the address of an entry of a list memory: place in the list, step, bank."""
        return self.row_address + self.step_address + 1

    @property
    def count_bits(self) -> int:
        """Width of the number of a list's entries."""
        return self.rows.bit_length()

    @property
    def beats(self) -> int:
        """Beats of a frame; the last one may be used in part."""
        return -(-self.form.inputs // self.pixels)

    @cached_property
    def row_beats(self) -> int:
        """Beats of a row; the last row may have fewer."""
        together = lcm(self.pixels, self.form.simd)
        row = self.row or together
        while self.row is None and row < SMALLEST_ROW:
            row += row
        return self.beats if row >= self.form.inputs else row // self.pixels

    @property
    def last_row_beats(self) -> int:
        """Beats of the last row."""
        return self.beats - (self.rows - 1) * self.row_beats

    @property
    def rows(self) -> int:
        """Rows of a frame."""
        return -(-self.beats // self.row_beats)

    @property
    def row_bits(self) -> int:
        """Width of a row."""
        return self.row_beats * self.pixels * self.code_bits

    @property
    def row_words(self) -> int:
        """Words that cover a row."""
        return self.form.words if self.rows == 1 else self.row_beats * self.pixels // self.form.simd

    @cached_property
    def list_steps(self) -> int:
        """Steps whose lists share a memory, a power of two: a row's entries are written in as many cycles."""
        least = bits_for(self.active_steps)
        if self.pixels == 1:  # makes one entry at most
            return 1 << least
        cycles = min(self.row_beats, self.last_row_beats, MOST_STEPS_PER_LIST)
        return 1 << min(least, cycles.bit_length() - 1)

    @property
    def ways(self) -> int:
        """Memories for lists."""
        return -(-self.active_steps // self.list_steps)

    @property
    def drain(self) -> int:
        """Cycles from a row's last beat to the last one in which its entries are written."""
        return 0 if self.pixels == 1 else self.list_steps
