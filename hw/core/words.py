"""Spike words: what travels between components, as a layout for the circuit and as numpy arrays for everyone else.

A word carries the spikes that ``SIMD`` neighbouring inputs have at one time: inputs ``index * SIMD`` and up, least significant bit first.
Words without spikes are not sent, with exceptions: step 0 is always closed, if need be by an empty word, as is every step where no step
may be skipped; and the circuit may end a frame with an empty word. Time never decreases; the last word of a step carries
``last_of_step``, the last of a frame both flags.
"""

from dataclasses import dataclass

import numpy as np
from amaranth.lib import data


@dataclass(frozen=True)
class WordFormat:
    """The shape of the words on one stream.

    Parameters:
        inputs: neurons (or pixels) whose spikes the stream carries.
        steps: ``T``.
        simd: inputs per word.
        frames: inside the circuit, how many frames tags tell apart; 0 outside, where there are no tags.
        skips_empty_steps: steps without spikes need not be closed, step 0 apart; else each step is, if need be by an empty word.
    """

    inputs: int
    steps: int
    simd: int
    frames: int = 0
    skips_empty_steps: bool = True

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
            "bits": self.simd,
            "last_of_step": 1,
            "last_of_frame": 1,
            "error": 1,
        }
        if self.frames:
            fields |= {"first": 1, "frame": bits_for(self.frames)}
        return data.StructLayout(fields)

    def from_spike_times(self, spike_times: np.ndarray) -> "Words":
        """The words of frames whose spike times are integers (frames, inputs), 0 … T."""
        frame, neuron = np.nonzero(spike_times < self.steps)
        time = spike_times[frame, neuron].astype(np.int64)
        frames = len(spike_times)
        key = (frame * self.steps + time) * self.words + neuron // self.simd
        empty_steps = np.ones((frames, 1 if self.skips_empty_steps else self.steps), bool)
        inside = time < empty_steps.shape[1]
        empty_steps[frame[inside], time[inside]] = False
        empty_frame, empty_time = np.nonzero(empty_steps)
        empty = (empty_frame * self.steps + empty_time) * self.words
        keys, place = np.unique(np.concatenate([key, empty]), return_inverse=True)
        bits = np.zeros((len(keys), self.simd), bool)
        bits[place[: len(key)], neuron % self.simd] = True
        step, index = np.divmod(keys, self.words)
        last_of_step = np.append(step[1:] != step[:-1], True)[: len(keys)]
        word_frame, word_time = np.divmod(step, self.steps)
        last_of_frame = np.append(word_frame[1:] != word_frame[:-1], True)[: len(keys)]
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
    """Words of many frames, in order: int64 ``frame``, ``time``, ``index``; bool ``bits`` (words, simd) and flags."""

    frame: np.ndarray
    time: np.ndarray
    index: np.ndarray
    bits: np.ndarray
    last_of_step: np.ndarray
    last_of_frame: np.ndarray


def bits_for(count: int) -> int:
    """Width of a signal that holds 0 … count - 1: at least one bit, so that no port vanishes."""
    return max(1, (count - 1).bit_length())


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
