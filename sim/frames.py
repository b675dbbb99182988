"""Spikes to the words that a circuit takes, and the words that it emits back to spikes; all in numpy.

``docs/sim.md`` describes the files.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from export import UserError
from export.arrays import array
from export.events import Events
from hw.core.words import WordFormat, pack_bits
from hw.encoder.encoder import pixel_layout
from sim.ports import Payload

# What is worked on at a time bounds the memory.
PACKED = 1 << 19  # spike times, or pixels
CHUNK = 1 << 16  # words


@dataclass(frozen=True, eq=False)
class Spikes:
    """What a layer emitted.

    Attributes:
        events: the spikes; frames that were not sent, neurons and steps that do not exist can be among them.
        begun: int64 (frames,), the frames of which there was any word, sorted.
        ended: number of words that ended a frame.
    """

    events: Events
    begun: np.ndarray
    ended: int

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True, eq=False)
class Words:
    """The spike words of some frames, packed.

    Attributes:
        records: uint32 (words, units).
        counts: int64 (frames,), the number of words of each frame.
    """

    records: np.ndarray
    counts: np.ndarray

    def stream(self, place: int, streams: int) -> "Words":
        """Those of one of several streams, to which frames go in turn."""
        mine = np.arange(len(self.counts)) % streams == place
        return Words(self.records[np.repeat(mine, self.counts)], self.counts[mine])

    def file(self) -> bytes:
        """The file of a stream: the number of frames; then per frame the number of words, and the words. 32-bit units, big-endian,
        a word's most significant unit first, which is the order in which ``$fread`` fills a vector."""
        frames, units = len(self.counts), self.records.shape[1]
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        file = np.empty(1 + frames + len(self.records) * units, ">u4")
        file[0] = frames
        file[1 + np.arange(frames) + starts[:-1] * units] = self.counts
        frame_of_word = np.repeat(np.arange(frames), self.counts)
        at = 2 + frame_of_word + np.arange(len(self.records)) * units
        file[at[:, None] + np.arange(units)] = self.records[:, ::-1]
        return file.tobytes()


def pack(events: Events, word: WordFormat) -> Words:
    """The words of whole frames.

    Parameters:
        events: the spikes of the inputs.
        word: the input's format.
    """
    records, counts = [], []
    for part in _parts(*events.shape[::2]):
        words = word.from_events(events[part])
        records.append(word.pack(words))
        counts.append(np.bincount(words.frame, minlength=part.stop - part.start))
    return Words(np.concatenate(records), np.concatenate(counts))


def checked_images(images: np.ndarray) -> np.ndarray:
    """Images as uint8 (frames, inputs).

    Raises:
        UserError: they are something else.
    """
    images = array("images", images)
    if images.dtype != np.uint8 or images.ndim != 2:
        raise UserError(f"images must be uint8 of shape (frames, inputs), not {images.dtype} {images.shape}")
    return images


def pack_pixels(images: np.ndarray, pixels: int = 1) -> Words:
    """Whole frames as beats of pixels in raster order, for a circuit with its own encoder.

    Parameters:
        images: uint8 (frames, inputs).
        pixels: pixels per beat.
    """
    frames, inputs = images.shape
    beats = -(-inputs // pixels)
    return Words(np.concatenate([_beats(images[part], beats, pixels) for part in _parts(frames, inputs)]), np.full(frames, beats))


def _beats(images: np.ndarray, beats: int, pixels: int) -> np.ndarray:
    padded = np.zeros((len(images), beats * pixels), np.uint8)
    padded[:, : images.shape[1]] = images
    fields = {
        "intensity": np.unpackbits(padded.reshape(-1, pixels), axis=1, bitorder="little"),
        "last_of_frame": np.tile(np.arange(beats) == beats - 1, len(images))[:, None],
    }
    bits = [fields[name].astype(bool) for name, _ in pixel_layout(pixels)]
    return pack_bits(np.concatenate(bits, axis=1))


def _parts(frames: int, inputs: int) -> Iterator[slice]:
    """Some frames at a time, at least once."""
    count = max(1, PACKED // inputs)
    for at in range(0, max(1, frames), count):
        yield slice(at, min(at + count, frames))


def spikes(records: np.ndarray, payload: Payload, frame: np.ndarray) -> Spikes:
    """The spikes in the words that a layer emitted, given the frame of each word."""
    index, time = payload.get(records, "index"), payload.get(records, "time")
    word, lane, worth = (np.concatenate(arrays) for arrays in zip(*_coefficients(records, payload), strict=True))
    simd = payload.lanes("bits")
    shape = (int(frame.max(initial=-1)) + 1, 1 << payload["time"].width, simd << payload["index"].width)
    events = Events.sort(shape, frame[word], time[word], index[word] * simd + lane, worth)
    return Spikes(events, np.unique(frame), int(payload.get(records, "last_of_frame").sum()))


def frame_numbers(records: np.ndarray, payload: Payload, contexts: int, starts: np.ndarray | None = None) -> np.ndarray:
    """The frame of each word that a layer emitted, int64 (records,), counted from the last reset.

    A word carries its frame's number modulo a power of two. Frame ``k`` is worked on in context ``k`` modulo their number, and each context
    sends words of every one of its frames, in order. A circuit with faults can give any number, but none below 0.

    Parameters:
        records: uint32 (records, units).
        payload: of the words.
        contexts: a power of two.
        starts: indices of records with a reset before them, in order, the first 0; by default just that.
    """
    tag, modulus = payload.get(records, "frame"), 1 << payload["frame"].width
    life = np.searchsorted([0] if starts is None else starts, np.arange(len(tag)), "right")  # from reset to reset
    number = np.empty(len(tag), np.int64)
    for context in range(contexts):
        here = np.flatnonzero(tag % contexts == context)
        before = np.roll(tag[here], 1)
        begins = np.diff(life[here], prepend=0) > 0
        before[begins] = context
        change = (tag[here] - before) % modulus
        total = np.cumsum(change)
        number[here] = context + total - (total - change)[np.maximum.accumulate(np.where(begins, np.arange(len(here)), 0))]
    return number


def _coefficients(records: np.ndarray, payload: Payload) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Word, lane and coefficient of each spike."""
    for at in range(0, max(1, len(records)), CHUNK):
        part = records[at : at + CHUNK]
        lanes = payload.get_bits(part, "bits") if payload["bits"].lanes is None else payload.get_lanes(part, "bits")
        word, lane = np.nonzero(lanes)
        yield word + at, lane, lanes[word, lane].astype(np.int16)
