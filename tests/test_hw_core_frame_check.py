"""hw.core.frame_check: every rule broken one by one, at random, alone and in the accelerator."""

import dataclasses
import random

import numpy as np
import pytest

from export.reference import run as golden_run
from hw import Accelerator, Folding
from hw.core.frame_check import LATENCY, FrameCheck
from hw.core.words import WordFormat
from tests.accelerators import simulate
from tests.circuit import Sink, Source, run
from tests.networks import random_network, random_spike_times
from tests.payloads import word_payloads

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


def first_wrong(words, form=FORM):
    """Place of the first word that breaks a rule, or None: the rules, read from the documentation."""
    closed, before, last_index = True, None, None
    padding = -(-form.inputs // form.simd) * form.simd - form.inputs
    for place, (time, index, bits, last_of_step, last_of_frame, error) in enumerate(words):
        if any(
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
                form.ascending and before is not None and not closed and index <= last_index,
            )
        ):
            return place
        before, closed, last_index = time, bool(last_of_step), index
    return None


def checked(words, form=FORM):
    """What must come out for one frame's words: those before the first wrong one, then an empty last one that is flagged."""
    wrong = first_wrong(words, form)
    if wrong is None:
        return words
    return [*words[:wrong], (words[wrong - 1][0] if wrong else 0, 0, 0, 1, 1, 1)]


def run_check(frames, form=FORM, *, gaps=0.0, stalls=0.0):
    dut = FrameCheck(form)

    def start():
        source = Source(dut.i.stream, [payloads(words) for words in frames], gaps=gaps)
        return Sink(dut.o.stream, len(frames), ends="last_of_frame", stalls=stalls), source

    sink = run(dut, start, watch=lambda: [dut.o.stream])[0]
    return [[tuple(word[name] for name in NAMES) for word in words] for words in sink.received]


RIGHT = [(0, 0, 9, 0, 0, 0), (0, 2, 7, 1, 0, 0), (1, 1, 15, 1, 0, 0), (4, 0, 1, 1, 1, 0)]


@pytest.mark.parametrize("name", BROKEN)
def test_of_a_broken_frame_nothing_passes_from_the_first_wrong_word_on_but_a_flagged_end(name):
    words, wrong = BROKEN[name]
    assert first_wrong(words) == wrong
    end = (words[wrong - 1][0] if wrong else 0, 0, 0, 1, 1, 1)
    assert run_check([RIGHT, words, RIGHT]) == [RIGHT, [*words[:wrong], end], RIGHT]


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name):
    assert run_check([ALLOWED[name], ALLOWED[name]]) == [ALLOWED[name]] * 2


EVERY_STEP = [(0, 0, 9, 0, 0, 0), (0, 2, 7, 1, 0, 0), (1, 0, 0, 1, 0, 0), (2, 0, 0, 1, 0, 0), (3, 1, 15, 1, 0, 0), (4, 0, 0, 1, 1, 0)]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ([(0, 0, 1, 1, 0, 0), (2, 0, 1, 1, 0, 0), (3, 0, 1, 1, 0, 0), (4, 0, 1, 1, 1, 0)], 1),
        ([(0, 0, 1, 1, 0, 0), (1, 0, 1, 1, 0, 0), (4, 0, 1, 1, 1, 0)], 2),
        ([(0, 0, 1, 1, 0, 0), (1, 0, 1, 1, 1, 0)], 1),
        ([(0, 0, 0, 1, 1, 0)], 0),
    ],
)
def test_where_no_step_may_be_skipped(words, wrong):
    form = dataclasses.replace(FORM, skips_empty_steps=False)
    end = (words[wrong - 1][0] if wrong else 0, 0, 0, 1, 1, 1)
    assert run_check([EVERY_STEP, words, EVERY_STEP], form) == [EVERY_STEP, [*words[:wrong], end], EVERY_STEP]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ([(0, 0, 1, 0, 0, 0), (0, 2, 7, 0, 0, 0), (0, 1, 1, 1, 0, 0), (1, 0, 1, 1, 1, 0)], 2),
        ([(0, 1, 1, 0, 0, 0), (0, 1, 2, 1, 1, 0)], 1),
        ([(0, 1, 1, 1, 0, 0), (1, 2, 1, 0, 0, 0), (1, 0, 0, 1, 1, 0)], 2),
    ],
    ids=["goes back", "comes twice", "an empty word goes back"],
)
def test_where_indices_ascend(words, wrong):
    form = dataclasses.replace(FORM, ascending=True)
    end = (words[wrong - 1][0], 0, 0, 1, 1, 1)
    assert run_check([RIGHT, words, RIGHT], form) == [RIGHT, [*words[:wrong], end], RIGHT]
    ends_empty = [(0, 2, 5, 1, 0, 0), (0, 0, 0, 1, 1, 0)]
    assert run_check([ends_empty, words], form) == [ends_empty, [*words[:wrong], end]]


@pytest.mark.parametrize(
    ("numbers", "ascending"),
    [((11, 5, 4), False), ((12, 8, 4), False), ((1, 1, 1), False), ((3, 3, 2), False), ((4, 2, 1), False), ((17, 2, 2), True)],
)
def test_anything(numbers, ascending):
    """Words at random, most of them wrong, among right ones."""
    form = WordFormat(*numbers, ascending=ascending)
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
    assert any(words[-1][5] for words in expected)
    assert run_check(frames, form, gaps=0.2, stalls=0.2) == expected


class Late(Sink):
    """Takes nothing before cycle 10."""

    cycle = 0

    def drive(self, ctx):
        ctx.set(self._stream.ready, self.cycle >= 10)
        self.cycle += 1


def test_wrong_words_are_swallowed_while_nobody_takes_any():
    """Only the last word of a broken frame waits for the receiver."""
    words = BROKEN["begins after step 0"][0]
    dut = FrameCheck(FORM)
    frame = payloads([words[0]] * 5 + [words[1]])
    sink, source = run(dut, lambda: [Late(dut.o.stream, 2, ends="last_of_frame"), Source(dut.i.stream, [frame, frame])])
    assert (source.last_cycles, sink.cycles) == ([5, 11], [5 + LATENCY, 11 + LATENCY])
    assert [[word["error"] for word in words] for words in sink.received] == [[1], [1]]


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
        assert len(words) <= len(kept) + 3  # the word that was being checked, the one that was offered, and the end


def before_the_wrong_word(words, form):
    """Spike times of those steps of a frame that close before its first wrong word, and never for all other inputs; the last such step."""
    times, spikes, last = np.full(form.inputs, form.steps), [], None
    for time, index, bits, last_of_step, _, _ in words[: first_wrong(words, form)]:
        spikes += [index * form.simd + bit for bit in range(form.simd) if bits >> bit & 1]
        if last_of_step:
            times[spikes], spikes, last = time, [], time
    return times, last


@pytest.mark.parametrize(
    ("form", "order", "contexts"),
    [(("delta", "delta"), ("event", "step"), 1), (("xnor", "delta"), ("step", "event"), 2), (("delta", "xnor"), ("step", "step"), 4)],
    ids=lambda value: str(value) if isinstance(value, int) else "-".join(value),
)
@pytest.mark.parametrize(("seed", "early"), [(0, False), (1, True)])
def test_in_the_accelerator(form, order, contexts, seed, early):
    """Each broken frame between right ones.

    In full mode its result, and no other, is flagged. In early mode it is, too, unless it was decided before the first wrong word; then it
    is the decision on what came before. All other frames are right.
    """
    rng = np.random.default_rng(seed)
    network = random_network(rng, (FORM.inputs, 6, 4), FORM.steps, spread=0.6)
    accelerator = Accelerator(network, Folding((FORM.simd, 4), (4, 3), form, order, contexts=contexts))
    times = random_spike_times(rng, 2 * len(BROKEN), FORM.inputs, FORM.steps)
    frames = word_payloads(FORM.from_spike_times(times))
    reached = {}
    for place, (words, _) in enumerate(BROKEN.values()):
        frame = 2 * place + 1
        times[frame], last = before_the_wrong_word(words, FORM)
        frames[frame] = payloads(words)
        if last is not None:
            reached[frame] = last
    golden = golden_run(network, times).decisions
    decided = {frame for frame, last in reached.items() if not golden.silent[frame] and golden.step[frame] <= last}
    results = simulate(accelerator, frames, early=early, gaps=0.3 * (contexts == 2)).results
    flagged = {frame for frame, result in enumerate(results) if result["error"]}
    assert flagged == {frame for frame in range(1, len(frames), 2) if not (early and frame in decided)}
    for frame, result in enumerate(results):
        expected = {field: getattr(golden, field)[frame] for field in ("class_index", "step", "margin", "silent")}
        assert frame in flagged or result == expected | {"error": 0}, f"frame {frame}"
    assert 2 <= len(decided) <= len(BROKEN) - 2, "both kinds occur"
