# amaranth: UnusedElaboratable=no

"""Pixels that are counts spread over the steps [S13]: the encoder's words and cycles, and whole accelerators behind it."""

import numpy as np
import pytest

from export import Encoder, UserError
from export.reference import run as golden_run
from hw import Accelerator, Folding, cost
from hw.core.accelerator import check_frames_in
from hw.core.words import WordFormat
from hw.encoder.codes import SpreadCode, code_of
from hw.encoder.cost import EncoderCost
from hw.encoder.encoder import PixelEncoder
from tests.accelerators import simulate_modes
from tests.circuit import Source, run
from tests.multi_spike import code_network, random_images, spread
from tests.oracle_codes import spread as golden_spread
from tests.pairwise import zipped
from tests.payloads import pixel_payloads, word_payloads
from tests.test_hw_encoder_latency import TimedSink, kept

# inputs, steps, simd; bits; pixels, block
SHAPES = [((6, 3, 2), 3, 1, None), ((20, 4, 3), 8, 1, None), ((9, 1, 9), 5, 1, None), ((16, 5, 4), 4, 4, 8), ((13, 7, 2), 6, 3, 6)]


def word_format(numbers, bits):
    inputs, steps, simd = numbers
    return WordFormat(inputs, steps, simd, coefficients=Encoder("spread", bits=bits).coefficients(steps))


def run_encoder(numbers, bits, images, *, pixels, block, gaps=0.0, stalls=0.0, cancels=0.0):
    form = word_format(numbers, bits)
    dut = PixelEncoder(form, SpreadCode(form.steps, bits), pixels=pixels, block=block)
    frames = pixel_payloads(images, pixels)

    def start():
        sink = TimedSink(dut.o.stream, len(frames), ends="last_of_frame", stalls=stalls, cancel=dut.o.cancel, cancels=cancels)
        return sink, Source(dut.i, frames, gaps=gaps)

    return (*run(dut, start, watch=lambda: [dut.o.stream]), dut.plan)


@pytest.mark.parametrize(("shape", "stress"), zipped(SHAPES, [(0.6, 0), (0.3, 0.6)]))
def test_words(shape, stress):
    (numbers, bits, pixels, block), (gaps, stalls) = shape, stress
    images = random_images(np.random.default_rng(1), 8, numbers[0])
    images[1] = 255
    sink, _, plan = run_encoder(numbers, bits, images, pixels=pixels, block=block, gaps=gaps, stalls=stalls)
    events = Encoder("spread", bits=bits).encode(images, numbers[1])
    assert [kept(words) for words in sink.received] == word_payloads(plan.form.from_events(events))
    dense = np.array([[golden_spread(p, bits, numbers[1]) for p in image] for image in images.tolist()]).transpose(0, 2, 1)
    assert np.array_equal(dense[events.frame, events.step, events.neuron], events.coefficient)
    assert len(events) == np.count_nonzero(dense)


@pytest.mark.parametrize(("steps", "bits"), [(1, 8), (2, 1), (3, 8), (5, 4), (8, 8), (16, 2), (100, 7)])
def test_every_intensity(steps, bits):
    images = np.arange(256, dtype=np.uint8).reshape(8, 32)
    sink, _, plan = run_encoder((32, steps, 4), bits, images, pixels=1, block=None)
    events = Encoder("spread", bits=bits).encode(images, steps)
    assert [kept(words) for words in sink.received] == word_payloads(plan.form.from_events(events))


@pytest.mark.parametrize(("steps", "thresholds"), [(1, (64, 192)), (1, (128,)), (3, (1, 2, 2, 255)), (2, (9, 10, 200))])
def test_thresholds(steps, thresholds):
    encoder = Encoder("spread", thresholds=thresholds)
    images = np.arange(256, dtype=np.uint8).reshape(8, 32)
    form = WordFormat(32, steps, 4, coefficients=encoder.coefficients(steps))
    dut = PixelEncoder(form, code_of(encoder, steps), pixels=2)
    frames = pixel_payloads(images, 2)
    sink = run(dut, lambda: [TimedSink(dut.o.stream, 8, ends="last_of_frame", cancel=dut.o.cancel), Source(dut.i, frames)])[0]
    assert [kept(words) for words in sink.received] == word_payloads(form.from_events(encoder.encode(images, steps)))


@pytest.mark.parametrize(("shape", "stress"), zipped(SHAPES, [(0.5, 0), (0, 0.03), (0.3, 0.2)]))
def test_cost(shape, stress):
    (numbers, bits, pixels, block), (stalls, cancels) = shape, stress
    images = random_images(np.random.default_rng(2), 16, numbers[0])
    sink, source, plan = run_encoder(numbers, bits, images, pixels=pixels, block=block, stalls=stalls, cancels=cancels)
    model = EncoderCost(plan, Encoder("spread", bits=bits).encode(images, numbers[1]))
    there, taken = iter(sink.cycles), iter(sink.taken)
    for frame, words in enumerate(sink.received):
        assert model.last_beat(frame) == source.last_cycles[frame]
        expected, cancelled = model.first_word(frame), False
        for k, word in enumerate(words):
            assert next(there) == expected, f"frame {frame}, word {k}"
            cycle = next(taken)
            expected = cycle + 1
            if word["dropped"] and not cancelled:
                cancelled, expected = True, model.cancel(frame, k + 1, cycle)
        model.end(frame, cycle)


@pytest.mark.parametrize("code", ["graded", "ternary", "graded, bias"])
@pytest.mark.parametrize(("pixels", "contexts"), [(1, 1), (3, 2)])
def test_accelerator(code, pixels, contexts):
    network = code_network(np.random.default_rng(3), (7, 5, 3), 4, code, bits=4)
    images = random_images(np.random.default_rng(4), 7, 7)
    events = spread(network, images)
    golden = golden_run(network, events)
    folding = Folding((2, 3), (5, 2), ("delta", "delta"), contexts=contexts, pixels=pixels)
    accelerator = Accelerator(network, folding, frames_in="pixels")
    modes = (False, True)
    for early, record in zip(modes, simulate_modes(accelerator, pixel_payloads(images, pixels), modes), strict=True):
        assert [result["class_index"] for result in record.results] == golden.decisions.class_index.tolist()
        assert [result["margin"] for result in record.results] == golden.decisions.margin.tolist()
        cycles = cost.predict(network, folding, events, golden, early=early, frames_in="pixels")
        assert cycles.result.tolist() == record.result_cycles


def test_pixels_need_an_encoder():
    network = code_network(np.random.default_rng(5), (7, 5, 3), 4, "graded", kind="none")
    with pytest.raises(UserError, match=r"^frames_in 'pixels' needs a network with encoder 'latency' or 'spread', not 'none'$"):
        check_frames_in(network, "pixels")
