"""hw.emitter alone: the words of each step, their order and flags, with gaps, stalls, cancels and resets."""

import random

import numpy as np
import pytest

from hw.emitter import ROW_TO_SKIP, ROW_TO_WORD, SpikeEmitter
from hw.folding import LayerPlan
from tests.circuit import Sink, run
from tests.networks import random_layer
from tests.rows import RowSource, Step

STEPS = 5


def emitter(outputs, pe, simd, steps=STEPS):
    plan = LayerPlan(random_layer(np.random.default_rng(0), 3, outputs), steps, 1, pe, "delta")
    return plan, SpikeEmitter(plan, simd=simd)


def random_frames(outputs, count, *, steps=STEPS, seed=0):
    draw = random.Random(seed)
    frames = []
    for frame in range(count):
        times = [0, *(t for t in range(1, steps) if draw.random() < 0.6)]
        share = [0, 0.1, 0.5, 1][frame % 4]
        frames.append([Step(t, [int(draw.random() < share) for _ in range(outputs)], [0] * outputs) for t in times])
    return frames


def plain_words(frame, simd):
    """(time, index, bits, last_of_step, last_of_frame, error) of one frame's words."""
    found = []
    for place, step in enumerate(frame):
        ends = place == len(frame) - 1
        bits = {}
        for j, fires in enumerate(step.fire):
            if fires:
                bits[j // simd] = bits.get(j // simd, 0) | 1 << j % simd
        if not bits and (step.time == 0 or ends):
            bits = {0: 0}
        for index in sorted(bits):
            last = index == max(bits)
            found.append((step.time, index, bits[index], int(last), int(last and ends), step.error))
    return found


def as_tuples(words):
    return [tuple(word[name] for name in ("time", "index", "bits", "last_of_step", "last_of_frame", "error")) for word in words]


def run_emitter(plan, dut, frames, *, gaps=0.0, stalls=0.0, cancels=0.0, seed=0, reset_at=None):
    stream, cancel = dut.o.stream, dut.o.cancel

    def start():
        sink = Sink(stream, len(frames), stalls=stalls, ends="last_of_frame", cancel=cancel, cancels=cancels, seed=seed)
        return sink, RowSource(dut.i, plan, frames, gaps=gaps, seed=seed)

    return run(dut, start, watch=lambda: [stream], reset_at=reset_at)


@pytest.mark.parametrize(("outputs", "pe", "simd"), [(1, 1, 1), (8, 8, 8), (8, 4, 2), (9, 4, 4), (7, 2, 3), (5, 5, 1), (17, 3, 16)])
@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.5, 0), (0, 0.7), (0.5, 0.5)])
def test_words(outputs, pe, simd, gaps, stalls):
    frames = random_frames(outputs, 12)
    sink, _ = run_emitter(*emitter(outputs, pe, simd), frames, gaps=gaps, stalls=stalls)
    assert [as_tuples(words) for words in sink.received] == [plain_words(frame, simd) for frame in frames]


@pytest.mark.parametrize(("outputs", "pe", "simd"), [(1, 1, 1), (9, 4, 4), (12, 5, 1)])
@pytest.mark.parametrize(("gaps", "stalls", "cancels"), [(0, 0, 0.2), (0.5, 0.5, 0.1), (0, 0.7, 0.3), (0.7, 0, 0.4)])
def test_cancel_at_any_time(outputs, pe, simd, gaps, stalls, cancels):
    frames = random_frames(outputs, 40)
    sink, _ = run_emitter(*emitter(outputs, pe, simd), frames, gaps=gaps, stalls=stalls, cancels=cancels)
    assert len(sink.cancelled) > 3
    for frame, words in enumerate(sink.received):
        kept = as_tuples(word for word in words if not word["dropped"])
        expected = plain_words(frames[frame], simd)
        assert kept == (expected[: len(kept)] if frame in sink.cancelled else expected), f"frame {frame}"
        assert len(words) <= len(kept) + 2, "after the word that is offered comes the end"


def test_steps_of_one_time():
    """``T`` = 1: every frame is one step."""
    frames = random_frames(6, 8, steps=1)
    sink, _ = run_emitter(*emitter(6, 4, 4, steps=1), frames)
    assert [as_tuples(words) for words in sink.received] == [plain_words(frame, 4) for frame in frames]


def test_error_of_a_step_is_that_of_its_words():
    frames = random_frames(6, 3, seed=2)
    for step in frames[1][1:]:
        step.error = 1
    sink, _ = run_emitter(*emitter(6, 6, 4), frames)
    assert [as_tuples(words) for words in sink.received] == [plain_words(frame, 4) for frame in frames]
    assert any(word["error"] for word in sink.received[1])
    assert not any(word["error"] for word in sink.received[2])


@pytest.mark.parametrize("reset_at", [0, 2, 3, 7, 12])
def test_reset_in_the_middle(reset_at):
    frames = random_frames(9, 4, seed=1)
    sink, _ = run_emitter(*emitter(9, 4, 4), frames, reset_at=reset_at, stalls=0.4)
    assert [as_tuples(words) for words in sink.received] == [plain_words(frame, 4) for frame in frames]


def test_cycles():
    """One word per cycle from `ROW_TO_WORD` cycles after the step's last row on; a step without spikes is released without one."""
    everything, nothing = [1] * 8, [0] * 8
    frames = [[Step(0, everything, nothing), Step(1, nothing, nothing), Step(2, everything, nothing)]]
    sink, source = run_emitter(*emitter(8, 8, 2), frames)
    rows = source.last_row_cycles[0]
    first, last = rows[0] + ROW_TO_WORD, rows[2] + ROW_TO_WORD
    assert sink.cycles == [*range(first, first + 4), *range(last, last + 4)]
    assert rows == [0, first + 4, first + 4 + ROW_TO_SKIP + 1]
