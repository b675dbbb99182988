"""hw.encoder.encoder alone and in the accelerator: words against the latency code, frames of wrong length, cancels, cycles."""

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog

from export import Encoder, Events, Network, UserError
from export.reference import run as golden_run
from hw import Accelerator, Folding
from hw.core.words import WordFormat
from hw.encoder.codes import LatencyCode
from hw.encoder.cost import EncoderCost
from hw.encoder.encoder import LAST_BEAT_TO_WORD, PixelEncoder, pixel_layout
from hw.encoder.plan import EncoderPlan
from tests.accelerators import simulate
from tests.circuit import Sink, Source, run
from tests.networks import random_layer
from tests.oracle import latency
from tests.pairwise import pairwise, zipped
from tests.payloads import pixel_payloads, word_payloads

PAGE = Path(__file__).parent.parent / "docs/encoder.md"
NAMES = ("time", "index", "bits", "last_of_step", "last_of_frame", "error")
# inputs, steps, inputs per word; pixels per beat; pixels per block
SHAPES = [
    ((1, 1, 1), 1, None),
    ((1, 5, 1), 3, None),
    ((8, 8, 4), 1, None),
    ((7, 3, 4), 2, None),
    ((9, 5, 8), 1, None),
    ((5, 8, 5), 8, None),
    ((16, 30, 3), 1, None),
    ((17, 16, 1), 1, 4),
    ((33, 8, 1), 1, None),
    ((65, 8, 1), 4, 16),
    ((64, 8, 1), 8, 16),
    ((63, 8, 2), 4, 4),
    ((24, 10, 2), 2, 8),  # in the last memory, fewer lists than in the others
    ((31, 7, 4), 8, None),
    ((34, 9, 1), 8, 32),
    ((29, 6, 2), 3, 6),
    ((40, 20, 4), 2, 40),
    ((40, 4, 8), 5, None),
    ((17, 3, 2), 16, None),
    ((30, 5, 3), 10, 30),
]


class TimedSink(Sink):
    """Notes when payloads are taken."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.taken: list[int] = []

    def look(self, ctx, cycle):
        if ctx.get(self._stream.valid) and ctx.get(self._stream.ready):
            self.taken.append(cycle)
        super().look(ctx, cycle)


def random_images(frames, pixels, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (frames, pixels)) * (rng.random((frames, pixels)) < rng.random((frames, 1)))


def spike_times(images, steps, p_min):
    return np.array([[latency(p, steps, p_min) for p in image] for image in images.tolist()])


def golden_words(images, form, p_min):
    return word_payloads(form.from_spike_times(spike_times(images, form.steps, p_min)))


def run_encoder(form, p_min, images, *, pixels=1, block=None, gaps=0.0, stalls=0.0, cancels=0.0, seed=0, reset_at=None):
    dut = PixelEncoder(form, LatencyCode(form.steps, p_min), pixels=pixels, block=block)
    stream, cancel, frames = dut.o.stream, dut.o.cancel, pixel_payloads(images, pixels)

    def start():
        sink = TimedSink(stream, len(frames), ends="last_of_frame", stalls=stalls, cancel=cancel, cancels=cancels, seed=seed)
        return sink, Source(dut.i, frames, gaps=gaps, seed=seed)

    return run(dut, start, watch=lambda: [stream], reset_at=reset_at)


def kept(words):
    return [{name: word[name] for name in NAMES} for word in words if not word["dropped"]]


@pytest.mark.parametrize(("shape", "stress"), zipped(SHAPES, [(0.6, 0), (0.3, 0.6)]))
def test_words_in_order_and_merged(shape, stress):
    (numbers, pixels, block), (gaps, stalls) = shape, stress
    form = WordFormat(*numbers)
    images = random_images(8, form.inputs)
    images[0], images[1], images[2] = 0, 255, 255  # nothing; all at once, twice
    sink, _ = run_encoder(form, 1, images, pixels=pixels, block=block, gaps=gaps, stalls=stalls)
    assert [kept(words) for words in sink.received] == golden_words(images, form, 1)


@pytest.mark.parametrize(
    ("steps", "p_min"),
    [(1, None), (1, 256), (2, None), (3, 0), (3, None), (8, 0), (8, 31), (8, None), (8, 256), (255, None), (256, None), (257, 0)],
)
def test_every_intensity(steps, p_min):
    """[S2] with the default smallest intensity, with smaller ones, and with one that none reaches."""
    form, images = WordFormat(32, steps, 2), np.arange(256).reshape(8, 32)
    p_min = Encoder("latency", p_min).resolved(steps).p_min
    sink, _ = run_encoder(form, p_min, images)
    assert [kept(words) for words in sink.received] == golden_words(images, form, p_min)


@pytest.mark.parametrize(
    ("inputs", "simd", "pixels", "block"),
    [
        (1, 1, 1, None),
        (6, 2, 1, None),
        (7, 4, 1, 4),
        (9, 3, 1, 3),
        (8, 8, 1, 8),
        (9, 3, 2, 6),
        (20, 2, 4, 8),
        (16, 1, 4, None),
        (8, 2, 8, None),
    ],
)
def test_frames_too_short_or_too_long_are_flagged_and_the_next_is_right(inputs, simd, pixels, block):
    form = WordFormat(inputs, 6, simd)
    draw = np.random.default_rng(inputs)
    right = -(-inputs // pixels)
    sizes = [
        right,
        right - 1,
        right,
        1,
        right,
        right + 1,
        right,
        2 * right,
        right + 1,
        4 * right + 1,
        right,
        right,
        1,
        1,
        right,
        1,
        right + 1,
        right,
    ]
    images = [draw.integers(1, 256, inputs if size == right else size * pixels) for size in sizes if size]
    bad = {"time": 0, "index": 0, "bits": 0, "last_of_step": 1, "last_of_frame": 1, "error": 1}
    expected = [golden_words(image[None], form, 1)[0] if len(image) == inputs else [bad] for image in images]
    for gaps, stalls in ((0, 0), (0.5, 0), (0, 0.5)):
        sink, _ = run_encoder(form, 1, images, pixels=pixels, block=block, gaps=gaps, stalls=stalls)
        assert [kept(words) for words in sink.received] == expected


CANCEL_SHAPES = [
    ((1, 5, 1), 1, None),
    ((9, 5, 4), 1, 4),
    ((16, 3, 3), 2, 6),
    ((24, 8, 1), 1, 4),
    ((32, 8, 1), 4, 16),
    ((32, 8, 2), 8, None),
]


@pytest.mark.parametrize(("numbers", "pixels", "block"), CANCEL_SHAPES)
@pytest.mark.parametrize(("gaps", "stalls", "cancels"), [(0, 0, 0.1), (0, 0.6, 0.3), (0.3, 0, 0.5)])
def test_cancel_at_any_time(numbers, pixels, block, gaps, stalls, cancels):
    form = WordFormat(*numbers)
    images = random_images(24, form.inputs)
    images[::4] |= 3
    sink, _ = run_encoder(form, 1, images, pixels=pixels, block=block, gaps=gaps, stalls=stalls, cancels=cancels)
    expected = golden_words(images, form, 1)
    for frame, words in enumerate(sink.received):
        right = kept(words)
        assert right == (expected[frame][: len(right)] if frame in sink.cancelled else expected[frame]), f"frame {frame}"
        assert len(words) <= len(right) + 2, "it does not go to the frame's end"
    assert sink.cancelled


def test_cancel_between_frames_is_ignored():
    form = WordFormat(6, 4, 2)
    images = random_images(3, 6)
    dut = PixelEncoder(form, LatencyCode(form.steps, 1))

    class Canceller(Sink):
        """Cancels, and takes nothing, whenever no word of a frame has been taken, until one has waited for a while."""

        waited = 0

        def drive(self, ctx):
            between = not self.received[-1] and self.waited < 8
            self.waited = self.waited + 1 if between and ctx.get(self._stream.valid) else 0 if not between else self.waited
            ctx.set(dut.o.cancel, between)
            ctx.set(self._stream.ready, not between)

    sink, _ = run(dut, lambda: (Canceller(dut.o.stream, 3, ends="last_of_frame"), Source(dut.i, pixel_payloads(images))))
    assert [kept(words) for words in sink.received] == golden_words(images, form, 1)


@pytest.mark.parametrize(("reset_at", "shape"), zipped([0, 1, 3, 8, 9, 10, 11, 12, 13, 14, 15, 21, 29], [(1, 3), (3, None), (2, 6)]))
def test_reset_in_the_middle(reset_at, shape):
    pixels, block = shape
    form = WordFormat(8, 4, 3)
    images = random_images(5, 8)
    sink, _ = run_encoder(form, 1, images, pixels=pixels, block=block, reset_at=reset_at)
    assert [kept(words) for words in sink.received] == golden_words(images, form, 1)


@pytest.mark.parametrize(("numbers", "pixels", "block"), SHAPES)
def test_a_beat_and_a_word_per_cycle(numbers, pixels, block):
    """Without gaps between words, blocks, steps and frames: as fast as the beats, or as the words, whichever are more."""
    form = WordFormat(*numbers)
    plan = EncoderPlan(form, LatencyCode(form.steps, 1), pixels, block)
    images = random_images(12, form.inputs, seed=1)
    sink, source = run_encoder(form, 1, images, pixels=pixels, block=block)
    first = plan.beats - 1 + plan.drain + LAST_BEAT_TO_WORD
    assert [kept(words) for words in sink.received] == golden_words(images, form, 1)
    assert source.last_cycles[:2] == [plan.beats - 1, 2 * plan.beats - 1]
    assert sink.taken[0] == first
    at = 0
    for words in sink.received:
        assert np.diff(sink.taken[at : at + len(words)]).tolist() == [1] * (len(words) - 1)
        at += len(words)

    images[:] = np.linspace(40, 255, form.inputs)  # the same again and again
    words = len(golden_words(images[:1], form, 1)[0])
    sink, _ = run_encoder(form, 1, images, pixels=pixels, block=block)
    if words >= plan.beats + LAST_BEAT_TO_WORD + plan.drain:
        assert np.diff(sink.taken).tolist() == [1] * (12 * words - 1)
    elif words <= plan.beats - LAST_BEAT_TO_WORD - plan.drain:
        assert sink.taken[::words] == [first + plan.beats * frame for frame in range(12)]


@pytest.mark.parametrize(("shape", "stress"), zipped(SHAPES[1:] + CANCEL_SHAPES + SHAPES[1:2], [(0.5, 0), (0, 0.03), (0.3, 0.2)]))
def test_cost(shape, stress):
    """Every cycle in which a beat is taken or a word is there, as computed; only when words are taken is given."""
    (numbers, pixels, block), (stalls, cancels) = shape, stress
    form = WordFormat(*numbers)
    images = random_images(16, form.inputs, seed=2)
    images[::4] |= 3
    sink, source = run_encoder(form, 1, images, pixels=pixels, block=block, stalls=stalls, cancels=cancels)
    events = Events.from_spike_times(spike_times(images, form.steps, 1), form.steps)
    cost = EncoderCost(EncoderPlan(form, LatencyCode(form.steps, 1), pixels, block), events)
    there, taken = iter(sink.cycles), iter(sink.taken)
    for frame, words in enumerate(sink.received):
        assert cost.last_beat(frame) == source.last_cycles[frame], f"frame {frame}"
        expected, cancelled = cost.first_word(frame), False
        for k, word in enumerate(words):
            assert next(there) == expected, f"frame {frame}, word {k}"
            cycle = next(taken)
            expected = cycle + 1
            if word["dropped"] and not cancelled:
                cancelled = True
                expected = cost.cancel(frame, k + 1, cycle)
        assert cancelled or len(words) == cost.words(frame)
        cost.end(frame, cycle)


@pytest.mark.parametrize(("numbers", "pixels", "block"), [SHAPES[0], SHAPES[1], SHAPES[10], SHAPES[11], SHAPES[14]])
def test_verilog_has_no_signal_without_bits(numbers, pixels, block):
    form = WordFormat(*numbers)
    text = verilog.convert(PixelEncoder(form, LatencyCode(form.steps, 1), pixels=pixels, block=block), emit_src=False)
    assert "[-1:0]" not in text  # it would be two bits wide


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pixels": 0}, "pixels per beat must be an integer of at least 1, not 0"),
        ({"pixels": 2.0}, "pixels per beat must be an integer of at least 1, not 2.0"),
        ({"pixels": True}, "pixels per beat must be an integer of at least 1, not True"),
        (
            {"pixels": 2, "block": 8},
            "pixels per block must be a multiple of 2 per beat and of 3 per word, or all 20, not 8",
        ),
        ({"block": 0}, "pixels per block must be a multiple of 1 per beat and of 3 per word, or all 20, not 0"),
    ],
)
def test_encoder_that_cannot_be(arguments, message):
    with pytest.raises(UserError) as caught:
        EncoderPlan(WordFormat(20, 4, 3), LatencyCode(4, 1), **arguments)
    assert str(caught.value) == message


def test_plan_by_hand():
    """784 pixels, eight steps: the faintest bin never spikes, so seven steps, and three bits per pixel."""
    form = WordFormat(784, 8, 1)
    one = EncoderPlan(form, LatencyCode(form.steps, 32))
    assert (one.active_steps, one.code_bits, one.beats, one.block_beats, one.blocks, one.ways, one.drain) == (7, 3, 784, 8, 98, 1, 0)
    eight = EncoderPlan(form, LatencyCode(form.steps, 32), 8, 32)  # the last block has two beats: two steps per memory
    assert (eight.beats, eight.block_beats, eight.last_block_beats, eight.blocks) == (98, 4, 2, 25)
    assert (eight.block_words, eight.list_steps, eight.ways, eight.drain) == (32, 2, 4, 2)
    assert pixel_layout(8).size == 65


def test_page_prints_what_it_says(capsys):
    program, printed = re.search(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", PAGE.read_text(), re.DOTALL).groups()
    exec(program, {})
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("circuit", "steps", "stress", "early"),
    pairwise([("delta", 1, 1), ("xnor", 2, 1), ("delta", 4, 3)], [1, 4, 9], [(0, 0), (0.5, 0.5), (0, 0.9)], [False, True]),
)
def test_in_the_accelerator(circuit, steps, stress, early):
    """Random images, among them frames of wrong length: those are flagged in both modes, all others right."""
    (form, contexts, pixels), (gaps, stalls) = circuit, stress
    rng = np.random.default_rng(steps)
    inputs = 11
    layers = (random_layer(rng, inputs, 6, spread=0.6), random_layer(rng, 6, 4, spread=0.6))
    network = Network(layers, steps, Encoder("latency", 1))
    folding = Folding((4, 2), (3, 4), (form, form), contexts=contexts, pixels=pixels)
    accelerator = Accelerator(network, folding, frames_in="pixels")
    images = random_images(9, inputs, seed=steps).astype(np.uint8)
    golden = golden_run(network, network.encode(images)).decisions
    frames = pixel_payloads(images, pixels)
    beats = len(frames[0])
    wrong = {2: beats - 1, 5: beats + 3, 6: beats + 1}
    for frame, size in sorted(wrong.items()):
        frames[frame:frame] = pixel_payloads([np.arange(size * pixels)], pixels)
    results = simulate(accelerator, frames, early=early, gaps=gaps, stalls=stalls).results
    assert all(results[frame]["error"] for frame in wrong)
    right = [result for frame, result in enumerate(results) if frame not in wrong]
    for frame, result in enumerate(right):
        expected = {field: getattr(golden, field)[frame] for field in ("class_index", "step", "margin", "silent")}
        assert result == expected | {"error": 0}
