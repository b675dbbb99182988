"""What an encoder is made of: every number that its circuit and its cost model share."""

from dataclasses import dataclass
from functools import cached_property
from math import lcm

from amaranth.lib import data

from export import UserError
from hw.core.words import WordFormat, bits_for
from hw.encoder.codes import PixelCode

SMALLEST_BLOCK = 8  # pixels: where the logic is smallest; shorter blocks take more memory, longer ones more comparators
MOST_STEPS_PER_LIST = 16


def pixel_layout(pixels: int) -> data.StructLayout:
    """A beat: ``pixels`` neighbouring pixels of 8 bits, the first one least significant, and a flag for the frame's last beat."""
    return data.StructLayout({"intensity": 8 * pixels, "last_of_frame": 1})


@dataclass(frozen=True)
class EncoderPlan:
    """The geometry of an encoder.

    Pixels are kept as *blocks*, in which whole beats and whole words fit. For each step there is a *list* of the blocks that have a spike
    in it. Some steps' lists share a memory, which takes one entry per cycle: so many that a block's entries are written before the next
    block's come.

    Parameters:
        form: words to send; ``form.inputs`` is the number of pixels of a frame.
        code: what is kept of a pixel.
        pixels: pixels per beat.
        block: pixels per block, a multiple of ``pixels`` and of ``form.simd``, or at least a frame. By default the smallest such multiple
            by a power of two that is not less than 8.

    Raises:
        UserError: ``pixels`` or ``block`` cannot be.
    """

    form: WordFormat
    code: PixelCode
    pixels: int = 1
    block: int | None = None

    def __post_init__(self):
        if type(self.pixels) is not int or self.pixels < 1:
            raise UserError(f"pixels per beat must be an integer of at least 1, not {self.pixels!r}")
        if self.block is None:
            return
        fits = self.block % lcm(self.pixels, self.form.simd) == 0 or self.block >= self.form.inputs
        if self.block < 1 or not fits:
            raise UserError(
                f"pixels per block must be a multiple of {self.pixels} per beat and of {self.form.simd} per word, "
                f"or all {self.form.inputs}, not {self.block}"
            )

    @property
    def active_steps(self) -> int:
        """Steps in which a pixel can spike; all of them are before the others."""
        return self.code.active_steps

    @property
    def walked_steps(self) -> int:
        """Steps that are sent: where none may be skipped, those in which no pixel can spike, too."""
        return self.active_steps if self.form.skips_empty_steps else self.form.steps

    @property
    def code_bits(self) -> int:
        """Width of what is kept of a pixel."""
        return self.code.bits

    @property
    def empty_block(self) -> int:
        """A block without spikes."""
        return sum(self.code.never << place * self.code_bits for place in range(self.block_beats * self.pixels))

    @property
    def block_address(self) -> int:
        """Width of the number of a block."""
        return bits_for(self.blocks)

    @property
    def step_address(self) -> int:
        """Width of a step's number among those whose lists share a memory; may be 0."""
        return self.list_steps.bit_length() - 1

    @property
    def list_address(self) -> int:
        """Width of the address of an entry of a list memory: place in the list, step, bank."""
        return self.block_address + self.step_address + 1

    @property
    def count_bits(self) -> int:
        """Width of the number of a list's entries."""
        return self.blocks.bit_length()

    @property
    def beats(self) -> int:
        """Beats of a frame; the last one may be used in part."""
        return -(-self.form.inputs // self.pixels)

    @cached_property
    def block_beats(self) -> int:
        """Beats of a block; the last block may have fewer."""
        together = lcm(self.pixels, self.form.simd)
        block = self.block or together
        while self.block is None and block < SMALLEST_BLOCK:
            block += block
        return self.beats if block >= self.form.inputs else block // self.pixels

    @property
    def last_block_beats(self) -> int:
        """Beats of the last block."""
        return self.beats - (self.blocks - 1) * self.block_beats

    @property
    def blocks(self) -> int:
        """Blocks of a frame."""
        return -(-self.beats // self.block_beats)

    @property
    def block_bits(self) -> int:
        """Width of a block."""
        return self.block_beats * self.pixels * self.code_bits

    @property
    def block_words(self) -> int:
        """Words that cover a block."""
        return self.form.words if self.blocks == 1 else self.block_beats * self.pixels // self.form.simd

    @cached_property
    def list_steps(self) -> int:
        """Steps whose lists share a memory, a power of two: a block's entries are written in as many cycles."""
        least = bits_for(self.active_steps)
        if self.single_entries:
            return 1 << least
        cycles = min(self.block_beats, self.last_block_beats, MOST_STEPS_PER_LIST)
        return 1 << min(least, cycles.bit_length() - 1)

    @property
    def single_entries(self) -> bool:
        """A beat makes one entry at most, which is written at once."""
        return self.pixels == 1 and self.code.is_step

    @property
    def ways(self) -> int:
        """Memories for lists."""
        return -(-self.active_steps // self.list_steps)

    @property
    def drain(self) -> int:
        """Cycles from a block's last beat to the last one in which its entries are written."""
        return 0 if self.single_entries else self.list_steps
