"""hw.frame_check: every rule broken one by one, at random, alone and in the accelerator."""

import random

import numpy as np
import pytest

from export.reference import run as golden_run
from hw import Accelerator, Folding
from hw.frame_check import FrameCheck
from hw.words import WordFormat
from tests.circuit import Sink, Source, run, simulate, word_payloads
from tests.networks import random_network, random_spike_times

FORM = WordFormat(inputs=11, steps=5, simd=4)  # 3 words, one padding input: index 3, times 5 … 7 and bit 3 of word 2 must not be
NAMES = ("time", "index", "bits", "last_of_step", "last_of_frame", "error")

BROKEN = {  # words as (time, index, bits, last_of_step, last_of_frame, error), and the first that is wrong
    "begins after step 0": ([(1, 0, 1, 1, 0, 0), (2, 0, 1, 1, 1, 0)], 0),
    "begins after step 0, at its end": ([(4, 0, 0, 1, 1, 0)], 0),
    "time goes back": ([(0, 0, 1, 1, 0, 0), (3, 1, 1, 1, 0, 0), (2, 0, 3, 1, 0, 0), (4, 0, 3, 1, 1, 0)], 2),
    "time goes back to step 0": ([(0, 0, 1, 1, 0, 0), (3, 1, 1, 1, 0, 0), (0, 0, 3, 1, 1, 0)], 2),
    "step not closed before the next": ([(0, 0, 1, 0, 0, 0), (1, 1, 1, 1, 1, 0)], 1),
    "later step not closed": ([(0, 0, 1, 1, 0, 0), (1, 1, 1, 0, 0, 0), (2, 2, 1, 1, 1, 0)], 2),
    "step goes on after its close": ([(0, 0, 1, 1, 0, 0), (0, 1, 1, 1, 1, 0)], 1),
    "step closed twice": ([(0, 0, 1, 1, 0, 0), (0, 0, 0, 1, 0, 0), (1, 0, 1, 1, 1, 0)], 1),
    "end does not close its step": ([(0, 0, 1, 1, 0, 0), (1, 1, 1, 0, 1, 0)], 1),
    "index out of range": ([(0, 0, 1, 0, 0, 0), (0, 3, 1, 1, 0, 0), (1, 0, 1, 1, 1, 0)], 1),
    "index out of range without spikes": ([(0, 3, 0, 1, 1, 0)], 0),
    "time T": ([(0, 0, 1, 1, 0, 0), (5, 0, 1, 1, 1, 0)], 1),
    "time beyond T": ([(0, 0, 1, 1, 0, 0), (7, 0, 0, 1, 1, 0)], 1),
    "padding input spikes": ([(0, 2, 8, 1, 0, 0), (1, 0, 7, 1, 1, 0)], 0),
    "sender says so": ([(0, 0, 1, 1, 0, 0), (1, 0, 1, 1, 0, 1), (2, 0, 1, 1, 1, 0)], 1),
}
ALLOWED = {
    "one empty word": [(0, 0, 0, 1, 1, 0)],
    "ends with an empty word": [(0, 0, 5, 1, 0, 0), (3, 0, 0, 1, 1, 0)],
    "ends with an empty word of the step before": [(0, 0, 5, 1, 0, 0), (2, 0, 5, 1, 0, 0), (2, 0, 0, 1, 1, 0)],
    "empty steps": [(0, 0, 0, 1, 0, 0), (1, 0, 0, 1, 0, 0), (4, 2, 7, 1, 1, 0)],
    "indices in any order": [(0, 2, 7, 0, 0, 0), (0, 0, 1, 0, 0, 0), (0, 1, 15, 1, 1, 0)],
}


def payloads(words):
    return [dict(zip(NAMES, word, strict=True)) for word in words]


def checked(words, form=FORM):
    """What must come out for one frame's words: the rules, read from the documentation."""
    found, failed, closed, before = [], False, True, None
    padding = -(-form.inputs // form.simd) * form.simd - form.inputs
    for time, index, bits, last_of_step, last_of_frame, error in words:
        failed = failed or any(
            (
                error,
                index >= -(-form.inputs // form.simd),
                time >= form.steps,
                before is None and time != 0,
                before is not None and time < before,
                before is not None and not closed and time != before,
                before is not None and closed and time == before and (bits or not last_of_frame),
                last_of_frame and not last_of_step,
                index == form.words - 1 and bits >> (form.simd - padding),
            )
        )
        last_of_step_out = last_of_step | last_of_frame
        found.append(
            (time, 0, 0, last_of_step_out, last_of_frame, 1) if failed else (time, index, bits, last_of_step_out, last_of_frame, 0)
        )
        before, closed = time, bool(last_of_step)
    return found


def run_check(frames, form=FORM, *, gaps=0.0, stalls=0.0):
    dut = FrameCheck(form)

    def start():
        source = Source(dut.i.stream, [payloads(words) for words in frames], gaps=gaps)
        return Sink(dut.o.stream, len(frames), ends="last_of_frame", stalls=stalls), source

    sink = run(dut, start, watch=lambda: [dut.o.stream])[0]
    return [[tuple(word[name] for name in NAMES) for word in words] for words in sink.received]


RIGHT = [(0, 0, 9, 0, 0, 0), (0, 2, 7, 1, 0, 0), (1, 1, 15, 1, 0, 0), (4, 0, 1, 1, 1, 0)]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_frame_is_flagged_from_the_first_wrong_word_and_the_next_is_right(name):
    words, wrong = BROKEN[name]
    flagged = [(time, 0, 0, int(step or frame), frame, 1) for time, _, _, step, frame, _ in words[wrong:]]
    assert run_check([RIGHT, words, RIGHT]) == [RIGHT, words[:wrong] + flagged, RIGHT]


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name):
    assert run_check([ALLOWED[name], ALLOWED[name]]) == [ALLOWED[name]] * 2


@pytest.mark.parametrize("numbers", [(11, 5, 4), (12, 8, 4), (1, 1, 1), (3, 3, 2), (4, 2, 1)])
def test_anything(numbers):
    """Words at random, most of them wrong, among right ones."""
    form = WordFormat(*numbers)
    draw = random.Random(form.inputs)
    good = form.from_spike_times(random_spike_times(np.random.default_rng(0), 60, form.inputs, form.steps))
    frames = [[tuple(word[name] for name in NAMES) for word in words] for words in word_payloads(good)]
    widths = [form.layout[name].width for name in ("time", "index", "bits")]
    for words in frames[::2]:
        for _ in range(draw.randint(1, 2)):
            place = draw.randrange(len(words))
            word = list(words[place])
            field = draw.randrange(4)
            word[field] = draw.getrandbits(widths[field]) if field < 3 else 1 - word[3]
            words[place] = tuple(word)
    expected = [checked(words, form) for words in frames]
    assert any(word[5] for words in expected for word in words)
    assert run_check(frames, form, gaps=0.2, stalls=0.2) == expected


def test_cancel_passes_through():
    dut = FrameCheck(FORM)

    def start():
        source = Source(dut.i.stream, [payloads(RIGHT)] * 30, cancel=dut.i.cancel)
        return Sink(dut.o.stream, 30, ends="last_of_frame", cancel=dut.o.cancel, cancels=0.3), source

    sink = run(dut, start)[0]
    assert sink.cancelled
    for frame, words in enumerate(sink.received):
        kept = [tuple(word[name] for name in NAMES) for word in words if not word["dropped"]]
        assert kept == (RIGHT[: len(kept)] if frame in sink.cancelled else RIGHT)
        assert len(words) <= len(kept) + 2  # the word that was offered, and the end


@pytest.mark.parametrize("form", [("delta", "delta"), ("xnor", "xnor")])
@pytest.mark.parametrize("name", BROKEN)
def test_in_the_accelerator(name, form):
    """In full mode the broken frame's result, and no other, is flagged; in both modes the others are right."""
    rng = np.random.default_rng(8)
    network = random_network(rng, (FORM.inputs, 6, 4), FORM.steps)
    accelerator = Accelerator(network, Folding((FORM.simd, 4), (4, 3), form))
    times = random_spike_times(rng, 3, FORM.inputs, FORM.steps)
    golden = golden_run(network, times).decisions
    frames = word_payloads(FORM.from_spike_times(times))
    frames.insert(1, payloads(BROKEN[name][0]))
    for early in (False, True):
        results = simulate(accelerator, frames, early=early).results
        if not early:
            assert results[1]["error"] == 1
        del results[1]
        for frame, result in enumerate(results):
            expected = {field: getattr(golden, field)[frame] for field in ("class_index", "step", "margin", "silent")}
            assert result == expected | {"error": 0}
