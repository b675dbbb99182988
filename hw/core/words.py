"""Spike words: what travels between components, as a layout for the circuit and as numpy arrays for everyone else.

A word carries the spikes that ``SIMD`` neighbouring inputs have at one time: inputs ``index * SIMD`` and up, least significant bit first,
a bit each, or a coefficient of several bits.
Words without spikes are not sent, with exceptions: step 0 is always closed, if need be by an empty word, as is every step where no step
may be skipped; and the circuit may end a frame with an empty word. Time never decreases; the last word of a step carries
``last_of_step``, the last of a frame both flags.
"""

from dataclasses import dataclass

import numpy as np
from amaranth.lib import data

from export.connections import Totals
from export.events import Events


@dataclass(frozen=True)
class WordFormat:
    """The shape of the words on one stream.

    Parameters:
        inputs: neurons (or pixels) whose spikes the stream carries.
        steps: ``T``.
        simd: inputs per word.
        frames: inside the circuit, how many frames tags tell apart; 0 outside, where there are no tags.
        skips_empty_steps: steps without spikes need not be closed, step 0 apart; else each step is, if need be by an empty word.
        coefficients: least and greatest of what a spike is worth, 0 (no spike) included.
        ascending: of a step, each word has a higher index than the one before; else they may come in any order.
    """

    inputs: int
    steps: int
    simd: int
    frames: int = 0
    skips_empty_steps: bool = True
    coefficients: Totals = (0, 1)
    ascending: bool = False

    @property
    def lane_bits(self) -> int:
        """Bits of a coefficient."""
        return coefficient_bits(self.coefficients)

    @property
    def signed(self) -> bool:
        """Coefficients are two's complement numbers."""
        return self.coefficients[0] < 0

    @property
    def words(self) -> int:
        """Words that cover the inputs."""
        return -(-self.inputs // self.simd)

    @property
    def layout(self) -> data.StructLayout:
        """Fields of a word, first field least significant.

        ``error`` says that the frame is known to be wrong; ``first``, that this is the first word of its frame; ``frame`` is the
        frame's number modulo ``frames``.
        """
        fields = {
            "time": bits_for(self.steps),
            "index": bits_for(self.words),
            "bits": self.simd * self.lane_bits,
            "last_of_step": 1,
            "last_of_frame": 1,
            "error": 1,
        }
        if self.frames:
            fields |= {"first": 1, "frame": bits_for(self.frames)}
        return data.StructLayout(fields)

    def from_spike_times(self, spike_times: np.ndarray) -> "Words":
        """The words of frames whose spike times are integers (frames, inputs), 0 … T."""
        return self.from_events(Events.from_spike_times(spike_times, self.steps))

    def from_events(self, events: Events) -> "Words":
        """The words of frames' spikes."""
        frames, frame, neuron, time = events.shape[0], events.frame, events.neuron.astype(np.int64), events.step.astype(np.int64)
        key = (frame * self.steps + time) * self.words + neuron // self.simd
        empty_steps = np.ones((frames, 1 if self.skips_empty_steps else self.steps), bool)
        inside = time < empty_steps.shape[1]
        empty_steps[frame[inside], time[inside]] = False
        empty_frame, empty_time = np.nonzero(empty_steps)
        empty = (empty_frame * self.steps + empty_time) * self.words
        keys, place = np.unique(np.concatenate([key, empty]), return_inverse=True)
        coefficients = np.zeros((len(keys), self.simd), np.int16)
        coefficients[place[: len(key)], neuron % self.simd] = events.coefficient
        step, index = np.divmod(keys, self.words)
        last_of_step = np.append(step[1:] != step[:-1], True)[: len(keys)]
        word_frame, word_time = np.divmod(step, self.steps)
        last_of_frame = np.append(word_frame[1:] != word_frame[:-1], True)[: len(keys)]
        bits = bit_columns(coefficients.reshape(-1), self.lane_bits).reshape(len(keys), self.simd * self.lane_bits)
        return Words(word_frame, word_time, index, bits, last_of_step, last_of_frame)

    def pack(self, words: "Words") -> np.ndarray:
        """Payloads as uint32 (words, ceil(width / 32)), least significant unit first."""
        columns = [
            bit_columns(words.time, bits_for(self.steps)),
            bit_columns(words.index, bits_for(self.words)),
            words.bits,
            words.last_of_step[:, None],
            words.last_of_frame[:, None],
            np.zeros((len(words.time), 1), bool),
        ]
        return pack_bits(np.concatenate(columns, axis=1))


@dataclass(frozen=True, eq=False)
class Words:
    """Words of many frames, in order: int64 ``frame``, ``time``, ``index``; bool ``bits`` (words, simd · bits of a coefficient), flags."""

    frame: np.ndarray
    time: np.ndarray
    index: np.ndarray
    bits: np.ndarray
    last_of_step: np.ndarray
    last_of_frame: np.ndarray


def bits_for(count: int) -> int:
    """Width of a signal that holds 0 … count - 1: at least one bit, so that no port vanishes."""
    return max(1, (count - 1).bit_length())


def signed_bits(least: int, greatest: int) -> int:
    """Bits of a signed number that may be from ``least`` to ``greatest``; at least two."""
    return 1 + max(greatest.bit_length(), (-1 - least).bit_length() if least < 0 else 0, 1)


def coefficient_bits(coefficients: Totals) -> int:
    """Bits of a coefficient of this range, which holds 0; two's complement if it can be below 0."""
    least, greatest = coefficients
    return greatest.bit_length() if least >= 0 else signed_bits(least, greatest)


def pack_bits(bits: np.ndarray) -> np.ndarray:
    """Bits (rows, width), least significant first, as uint32 units (rows, ceil(width / 32))."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 4)))
    return np.ascontiguousarray(packed).view("<u4")


def unpack_bits(units: np.ndarray) -> np.ndarray:
    """The inverse of `pack_bits`, padding included: bool (rows, 32 * units)."""
    return np.unpackbits(np.ascontiguousarray(units, "<u4").view(np.uint8), axis=1, bitorder="little").astype(bool)


def bit_columns(values: np.ndarray, width: int) -> np.ndarray:
    """The bits of integers (rows,), least significant first: bool (rows, width)."""
    return (values[:, None] >> np.arange(width) & 1).astype(bool)
