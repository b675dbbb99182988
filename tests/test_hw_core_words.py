"""hw.core.words: words and packing against plain loops."""

import numpy as np
import pytest

from hw.core.words import WordFormat, bits_for, pack_bits, unpack_bits
from sim.ports import Field, Payload
from tests.networks import random_spike_times

FORMATS = [
    (1, 1, 1),
    (8, 8, 4),
    (7, 3, 4),
    (9, 5, 4),
    (5, 2, 5),
    (31, 4, 1),
    (65, 1, 64),
    (33, 300, 16),
]


def plain_words(times, form):
    """(frame, time, index, bits, last_of_step, last_of_frame) of each word, one at a time."""
    found = []
    for frame, row in enumerate(times.tolist()):
        steps = []
        for t in range(form.steps):
            indices = sorted({i // form.simd for i, time in enumerate(row) if time == t})
            if t == 0 and not indices:
                indices = [0]
            if indices:
                steps.append((t, indices))
        for t, indices in steps:
            for index in indices:
                bits = sum(1 << (i % form.simd) for i, time in enumerate(row) if time == t and i // form.simd == index)
                last = index == indices[-1]
                found.append((frame, t, index, bits, last, last and t == steps[-1][0]))
    return found


def frames_for(form, seed=0):
    rng = np.random.default_rng(seed)
    times = random_spike_times(rng, 6, form.inputs, form.steps)
    return np.concatenate([times, np.full((1, form.inputs), form.steps), np.zeros((1, form.inputs), int), times[:1]])


@pytest.mark.parametrize("numbers", FORMATS)
def test_words_against_plain_loops(numbers):
    form = WordFormat(*numbers)
    times = frames_for(form)
    words = form.from_spike_times(times)
    bits = [sum(1 << k for k, bit in enumerate(row) if bit) for row in words.bits.tolist()]
    columns = (words.frame, words.time, words.index, bits, words.last_of_step, words.last_of_frame)
    assert list(zip(*(np.asarray(column, object).tolist() for column in columns), strict=True)) == plain_words(times, form)


@pytest.mark.parametrize("numbers", FORMATS)
def test_packing_against_plain_loops(numbers):
    form = WordFormat(*numbers)
    times = frames_for(form, 1)
    units = form.pack(form.from_spike_times(times))
    assert units.dtype == np.uint32
    assert units.shape[1] == -(-form.layout.size // 32)
    for row, (_, time, index, bits, last_of_step, last_of_frame) in zip(units.tolist(), plain_words(times, form), strict=True):
        payload = sum(unit << (32 * k) for k, unit in enumerate(row))
        at = 0
        fields = [(time, form.steps), (index, form.words), (bits, None), (last_of_step, None), (last_of_frame, None), (0, None)]
        for place, (value, count) in enumerate(fields):
            width = form.simd if place == 2 else 1 if count is None else max(1, (count - 1).bit_length())
            assert payload >> at & ((1 << width) - 1) == value
            at += width
        assert at == form.layout.size
        assert payload >> at == 0


@pytest.mark.parametrize("numbers", FORMATS)
def test_unpack_gives_back_what_was_packed(numbers):
    form = WordFormat(*numbers)
    words = form.from_spike_times(frames_for(form, 2))
    payload = Payload(form.layout.size, {name: Field(field.offset, field.width) for name, field in form.layout})
    records = form.pack(words)
    for name in ("time", "index", "last_of_step", "last_of_frame"):
        assert np.array_equal(payload.get(records, name), getattr(words, name)), name
    assert np.array_equal(payload.get_bits(records, "bits"), words.bits)
    assert not payload.get(records, "error").any()


@pytest.mark.parametrize(("frames", "bits"), [(4, 2), (5, 3), (8, 3)])
def test_tags_inside_the_circuit(frames, bits):
    """Two fields more, behind those that words have outside."""
    outside, inside = WordFormat(9, 5, 4).layout, WordFormat(9, 5, 4, frames).layout
    assert [name for name, _ in inside] == [*(name for name, _ in outside), "first", "frame"]
    assert all(inside[name] == field for name, field in outside)
    assert (inside["first"].offset, inside["frame"].offset, inside.size) == (outside.size, outside.size + 1, outside.size + 1 + bits)


def test_no_frames_no_words():
    words = WordFormat(4, 3, 2).from_spike_times(np.zeros((0, 4), np.int32))
    assert [len(column) for column in vars(words).values()] == [0] * 6


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_bits_for(count, bits):
    assert bits_for(count) == bits


@pytest.mark.parametrize("width", [1, 7, 8, 9, 31, 32, 33, 64, 65])
def test_bits_in_units(width):
    bits = np.random.default_rng(width).random((5, width)) < 0.5
    units = pack_bits(bits)
    assert units.shape == (5, -(-width // 32))
    for row, expected in zip(units.tolist(), bits.tolist(), strict=True):
        assert [unit >> k & 1 for unit in row for k in range(32)] == expected + [False] * (32 * len(row) - width)
    unpacked = unpack_bits(units)
    assert np.array_equal(unpacked[:, :width], bits)
    assert not unpacked[:, width:].any()
