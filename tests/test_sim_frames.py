import numpy as np
import pytest

from hw.words import WordFormat
from sim import frames
from sim.ports import Field, Payload
from tests.networks import random_spike_times


def payload_of(form):
    return Payload(form.layout.size, {name: Field(field.offset, field.width) for name, field in form.layout})


def units(file):
    return np.frombuffer(file, ">u4").tolist()


def test_file_by_hand():
    # Three inputs one by one, four steps. A word: time in bits 0-1, index in 2-3, the spike in 4, last_of_step in 5, last_of_frame in 6.
    form = WordFormat(3, 4, 1)
    words = frames.pack(np.array([[4, 4, 4], [1, 0, 1]]), form)
    assert words.counts.tolist() == [1, 3]
    empty = 0b1100000
    assert units(words.file()) == [2, 1, empty, 3, 0b0110100, 0b0010001, 0b1111001]


def test_file_of_wide_words_has_the_most_significant_unit_first():
    form = WordFormat(40, 1, 40)
    words = frames.pack(np.array([[0] + [1] * 39]), form)
    assert words.records.tolist() == [[0b100, 0b11 << 10]]  # time and index one bit each, 40 spikes, the two flags
    assert units(words.file()) == [1, 1, 0b11 << 10, 0b100]


@pytest.mark.parametrize("simd", [1, 2, 3, 8, 31, 32, 33])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_round_trip(simd, steps):
    rng = np.random.default_rng(simd * 10 + steps)
    form = WordFormat(33, steps, simd)
    times = random_spike_times(rng, 50, 33, steps)
    times[0], times[1] = steps, 0
    words = frames.pack(times, form)
    seen = frames.spikes(words.records, payload_of(form))
    assert seen.frames == 50
    assert len(seen) == (times < steps).sum() > 0
    found = np.full_like(times, steps)
    found[seen.frame, seen.neuron] = seen.step
    assert np.array_equal(found, times)


def test_many_frames_in_chunks(monkeypatch):
    form = WordFormat(7, 3, 2)
    times = random_spike_times(np.random.default_rng(3), 100, 7, 3)
    whole = frames.pack(times, form)
    monkeypatch.setattr(frames, "FRAMES", 7)
    monkeypatch.setattr(frames, "CHUNK", 11)
    parts = frames.pack(times, form)
    assert parts.file() == whole.file()
    assert np.array_equal(frames.spikes(parts.records, payload_of(form)).neuron, frames.spikes(whole.records, payload_of(form)).neuron)


def test_no_frames():
    form = WordFormat(3, 4, 1)
    words = frames.pack(np.empty((0, 3), np.int32), form)
    assert units(words.file()) == [0]
    assert frames.spikes(words.records, payload_of(form)).frames == 0


def test_pixels_by_hand():
    words = frames.pack_pixels(np.array([[0, 255], [3, 4]], np.uint8))
    assert units(words.file()) == [2, 2, 0, 0x1FF, 2, 3, 0x104]


def test_beats_by_hand():
    words = frames.pack_pixels(np.array([[1, 2, 3], [4, 5, 255]], np.uint8), 2)
    assert units(words.file()) == [2, 2, 0x0201, 0x10003, 2, 0x0504, 0x100FF]
    words = frames.pack_pixels(np.array([[1, 2, 3, 4, 5]], np.uint8), 4)
    assert units(words.file()) == [1, 2, 0, 0x04030201, 1, 0x00000005]


def test_read_leaves_out_a_record_that_was_cut_short(tmp_path):
    path = tmp_path / "records"
    np.array([1, 2, 3, 4, 5], "<u4").tofile(path)
    assert frames.read(str(path), Payload(40, {})).tolist() == [[1, 2], [3, 4]]
