"""hw.encoder alone and in the accelerator: words against the latency code, frames of wrong length, cancels, cycles."""

import itertools

import numpy as np
import pytest

from export import Encoder, Network
from export.reference import run as golden_run
from hw import Accelerator, Folding
from hw.encoder import LatencyEncoder
from hw.words import WordFormat
from tests.circuit import Sink, Source, pixel_payloads, run, simulate, word_payloads
from tests.networks import random_layer
from tests.oracle import latency

NAMES = ("time", "index", "bits", "last_of_step", "last_of_frame", "error")
FORMS = [(1, 1, 1), (1, 5, 1), (8, 8, 4), (7, 3, 4), (9, 5, 8), (5, 8, 5), (16, 300, 3), (17, 256, 1)]


def random_images(frames, pixels, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (frames, pixels)) * (rng.random((frames, pixels)) < rng.random((frames, 1)))


def spike_times(images, steps, p_min):
    return np.array([[latency(p, steps, p_min) for p in image] for image in images.tolist()])


def golden_words(images, form, p_min):
    return word_payloads(form.from_spike_times(spike_times(images, form.steps, p_min)))


def run_encoder(form, p_min, frames, *, gaps=0.0, stalls=0.0, cancels=0.0, seed=0, reset_at=None):
    dut = LatencyEncoder(form, p_min=p_min)
    stream, cancel = dut.o.stream, dut.o.cancel

    def start():
        sink = Sink(stream, len(frames), ends="last_of_frame", stalls=stalls, cancel=cancel, cancels=cancels, seed=seed)
        return sink, Source(dut.i, frames, gaps=gaps, seed=seed)

    return run(dut, start, watch=lambda: [stream], reset_at=reset_at)


def kept(words):
    return [{name: word[name] for name in NAMES} for word in words if not word["dropped"]]


@pytest.mark.parametrize("numbers", FORMS)
@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.6, 0), (0, 0.7), (0.4, 0.4)])
def test_words_in_order_and_merged(numbers, gaps, stalls):
    form = WordFormat(*numbers)
    images = random_images(8, form.inputs)
    images[0], images[1], images[2] = 0, 255, 255  # nothing; all at once, twice
    sink, _ = run_encoder(form, 1, pixel_payloads(images), gaps=gaps, stalls=stalls)
    assert [kept(words) for words in sink.received] == golden_words(images, form, 1)


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 255, 256, 257])
def test_every_intensity(steps):
    """One pixel per frame, 256 frames [S2]; with the default smallest intensity, and without one."""
    form, images = WordFormat(1, steps, 1), np.arange(256)[:, None]
    for p_min in (0, Encoder("latency").resolved(steps).p_min, 256):
        sink, _ = run_encoder(form, p_min, pixel_payloads(images))
        assert [kept(words) for words in sink.received] == golden_words(images, form, p_min)


@pytest.mark.parametrize(("inputs", "simd"), [(1, 1), (6, 2), (7, 4), (9, 3), (8, 8)])
def test_frames_too_short_or_too_long_are_flagged_and_the_next_is_right(inputs, simd):
    form = WordFormat(inputs, 6, simd)
    draw = np.random.default_rng(inputs)
    sizes = [inputs, inputs - 1, inputs, 1, inputs, inputs + 1, inputs, 2 * inputs, inputs + 1, 4 * inputs + 1, inputs, inputs]
    rows = [draw.integers(1, 256, size) for size in sizes if size]
    frames = [[{"intensity": int(p), "last_of_frame": int(k == len(row) - 1)} for k, p in enumerate(row)] for row in rows]
    sink, _ = run_encoder(form, 1, frames)
    whole = np.array([np.pad(row[:inputs], (0, max(0, inputs - len(row)))) for row in rows])  # what is missing does not spike
    expected = golden_words(whole, form, 1)
    for row, words in zip(rows, expected, strict=True):
        for word in words:
            word["error"] = int(len(row) != inputs)
    assert [kept(words) for words in sink.received] == expected


@pytest.mark.parametrize("numbers", [(1, 5, 1), (9, 5, 4), (16, 3, 3), (8, 8, 1)])
@pytest.mark.parametrize(("gaps", "stalls", "cancels"), [(0, 0, 0.1), (0, 0.6, 0.3), (0.3, 0, 0.5)])
def test_cancel_at_any_time(numbers, gaps, stalls, cancels):
    form = WordFormat(*numbers)
    images = random_images(40, form.inputs)
    images[::4] |= 3
    sink, _ = run_encoder(form, 1, pixel_payloads(images), gaps=gaps, stalls=stalls, cancels=cancels)
    expected = golden_words(images, form, 1)
    for frame, words in enumerate(sink.received):
        right = kept(words)
        assert right == (expected[frame][: len(right)] if frame in sink.cancelled else expected[frame]), f"frame {frame}"
        assert len(words) <= len(right) + 2, "it does not go to the frame's end"
    assert sink.cancelled


@pytest.mark.parametrize("reset_at", [0, 3, 8, 9, 10, 14, 21])
def test_reset_in_the_middle(reset_at):
    form = WordFormat(8, 4, 3)
    images = random_images(5, 8)
    sink, _ = run_encoder(form, 1, pixel_payloads(images), reset_at=reset_at)
    assert [kept(words) for words in sink.received] == golden_words(images, form, 1)


@pytest.mark.parametrize(("first", "delay"), [(0, 2), (255, 3)])
@pytest.mark.parametrize("spiking", range(10))
def test_cycles(first, delay, spiking):
    """Frames of nine pixels: in at one pixel per cycle, out at one spiking pixel per cycle and two more per frame, both at once.

    The empty word that closes step 0 is there two cycles after the frame's last pixel, the first word with a spike three.
    """
    image = [9 if k < spiking else 0 for k in range(9)]
    image[0] = first if spiking else 0
    spikes = sum(p > 0 for p in image)
    sink, source = run_encoder(WordFormat(9, 4, 1), 1, pixel_payloads(np.array([image] * 6)))
    interval = max(9, spikes + 2)
    assert source.last_cycles == [8, 17, *(17 + interval * k for k in range(1, 5))]
    words = [cycle for cycle, word in zip(sink.cycles, itertools.chain(*sink.received), strict=True) if word["bits"]]
    assert sink.cycles[0] == 8 + (delay if spiking else 2)
    assert words == [8 + 3 + interval * frame + k for frame in range(6) for k in range(spikes)]


@pytest.mark.parametrize("form", ["delta", "xnor"])
@pytest.mark.parametrize("steps", [1, 4, 9])
@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.5, 0.5), (0, 0.9)])
def test_in_the_accelerator(form, steps, gaps, stalls):
    """Random images, among them frames of wrong length: those are flagged (in full mode), all others right."""
    rng = np.random.default_rng(steps)
    inputs = 11
    layers = (random_layer(rng, inputs, 6, spread=0.6), random_layer(rng, 6, 4, spread=0.6))
    network = Network(layers, steps, Encoder("latency", 1))
    accelerator = Accelerator(network, Folding((4, 2), (3, 4), (form, form)), frames_in="pixels")
    images = random_images(9, inputs, seed=steps).astype(np.uint8)
    golden = golden_run(network, network.encode(images)).decisions
    frames = pixel_payloads(images)
    wrong = {2: 3, 5: 14, 6: 12}
    for frame, size in sorted(wrong.items()):
        frames.insert(frame, [{"intensity": 200 - k, "last_of_frame": int(k == size - 1)} for k in range(size)])
    for early in (False, True):
        results = simulate(accelerator, frames, early=early, gaps=gaps, stalls=stalls).results
        assert early or all(results[frame]["error"] for frame in wrong)
        right = [result for frame, result in enumerate(results) if frame not in wrong]
        for frame, result in enumerate(right):
            expected = {field: getattr(golden, field)[frame] for field in ("class_index", "step", "margin", "silent")}
            assert result == expected | {"error": 0}
