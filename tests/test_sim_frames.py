from dataclasses import replace

import numpy as np
import pytest

from export import Events
from hw.core.words import WordFormat, bit_columns, pack_bits, unpack_bits
from sim import frames
from sim.ports import Field, Payload
from tests.networks import random_spike_times

TAG = 3  # bits


def payload_of(form):
    fields = {name: Field(field.offset, field.width) for name, field in form.layout}
    return Payload(form.layout.size + TAG, fields | {"frame": Field(form.layout.size, TAG)})


def emitted(words, form):
    """The records as a circuit emits them, with tags."""
    frame = np.repeat(np.arange(len(words.counts)), words.counts)
    return pack_bits(np.concatenate([unpack_bits(words.records)[:, : form.layout.size], bit_columns(frame % (1 << TAG), TAG)], axis=1))


def spikes(words, form):
    """What is seen of words that a circuit emits."""
    records, payload = emitted(words, form), payload_of(form)
    return frames.spikes(records, payload, frames.frame_numbers(records, payload, 1))


def units(file):
    return np.frombuffer(file, ">u4").tolist()


def test_file_by_hand():
    # Three inputs one by one, four steps. A word: time in bits 0-1, index in 2-3, the spike in 4, last_of_step in 5, last_of_frame in 6.
    form = WordFormat(3, 4, 1)
    words = frames.pack(Events.from_spike_times(np.array([[4, 4, 4], [1, 0, 1]]), form.steps), form)
    assert words.counts.tolist() == [1, 3]
    empty = 0b1100000
    assert units(words.file()) == [2, 1, empty, 3, 0b0110100, 0b0010001, 0b1111001]


def test_file_of_wide_words_has_the_most_significant_unit_first():
    form = WordFormat(40, 1, 40)
    words = frames.pack(Events.from_spike_times(np.array([[0] + [1] * 39]), form.steps), form)
    assert words.records.tolist() == [[0b100, 0b11 << 10]]  # time and index one bit each, 40 spikes, the two flags
    assert units(words.file()) == [1, 1, 0b11 << 10, 0b100]


@pytest.mark.parametrize("simd", [1, 2, 3, 8, 31, 32, 33])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_round_trip(simd, steps):
    rng = np.random.default_rng(simd * 10 + steps)
    form = WordFormat(33, steps, simd)
    times = random_spike_times(rng, 50, 33, steps)
    times[0], times[1] = steps, 0
    words = frames.pack(Events.from_spike_times(times, form.steps), form)
    seen = spikes(words, form)
    assert seen.begun.tolist() == list(range(50))
    assert seen.ended == 50
    assert len(seen) == (times < steps).sum() > 0
    assert np.array_equal(replace(seen.events, shape=(50, steps, 33)).spike_times(), times)


def test_many_frames_in_chunks(monkeypatch):
    form = WordFormat(7, 3, 2)
    times = random_spike_times(np.random.default_rng(3), 100, 7, 3)
    whole = frames.pack(Events.from_spike_times(times, form.steps), form)
    monkeypatch.setattr(frames, "PACKED", 7 * 7)
    monkeypatch.setattr(frames, "CHUNK", 11)
    parts = frames.pack(Events.from_spike_times(times, form.steps), form)
    assert parts.file() == whole.file()
    seen = [spikes(words, form) for words in (parts, whole)]
    assert seen[0].events.equals(seen[1].events)


def test_no_frames():
    form = WordFormat(3, 4, 1)
    words = frames.pack(Events.from_spike_times(np.empty((0, 3), np.int32), form.steps), form)
    assert units(words.file()) == [0]
    seen = spikes(words, form)
    assert (len(seen), seen.begun.tolist(), seen.ended) == (0, [], 0)


def test_streams_take_frames_in_turn():
    form = WordFormat(9, 4, 2)
    times = random_spike_times(np.random.default_rng(4), 7, 9, 4)
    words = frames.pack(Events.from_spike_times(times, form.steps), form)
    for place in range(3):
        assert words.stream(place, 3).file() == frames.pack(Events.from_spike_times(times[place::3], form.steps), form).file()
    assert words.stream(0, 1).file() == words.file()
    assert units(words.stream(7, 8).file()) == [0]


def numbers(tags, contexts, starts=None):
    payload = Payload(3, {"frame": Field(0, 3)})
    return frames.frame_numbers(np.array(tags, np.uint32).reshape(-1, 1), payload, contexts, starts).tolist()


@pytest.mark.parametrize(
    ("contexts", "seen"),
    [
        (1, [0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 9, 10]),
        (2, [0, 1, 0, 2, 4, 1, 6, 3, 5, 6, 7, 8, 10, 9]),  # one context waits for its sender, as far as tags allow
        (2, [1, 3, 0, 2, 1 + 4, 2, 4]),
        (4, [3, 1, 0, 2, 4, 7, 3 + 8, 1, 5, 6, 8]),
    ],
)
def test_frame_numbers(contexts, seen):
    assert numbers([number % 8 for number in seen], contexts) == seen


def test_frame_numbers_begin_anew_after_a_reset():
    assert numbers([0, 1, 2, 3, 0, 2, 1, 0, 1], 2, np.array([0, 4, 7, 7])) == [0, 1, 2, 3, 0, 2, 1, 0, 1]
    assert numbers([], 2) == numbers([], 2, np.array([0, 0])) == []


def test_frame_numbers_of_a_circuit_with_faults():
    """Any numbers, but none below 0: a tag that goes back stands for a frame that is far ahead."""
    assert numbers([0, 3, 1], 1) == [0, 3, 9]


def test_pixels_by_hand():
    words = frames.pack_pixels(np.array([[0, 255], [3, 4]], np.uint8))
    assert units(words.file()) == [2, 2, 0, 0x1FF, 2, 3, 0x104]


def test_beats_by_hand():
    words = frames.pack_pixels(np.array([[1, 2, 3], [4, 5, 255]], np.uint8), 2)
    assert units(words.file()) == [2, 2, 0x0201, 0x10003, 2, 0x0504, 0x100FF]
    words = frames.pack_pixels(np.array([[1, 2, 3, 4, 5]], np.uint8), 4)
    assert units(words.file()) == [1, 2, 0, 0x04030201, 1, 0x00000005]
