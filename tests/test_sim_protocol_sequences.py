import random
from collections import Counter
from dataclasses import replace

import pytest

from hw.core.words import WordFormat, bits_for
from sim.protocol.rules import judge
from sim.protocol.sequences import KINDS, good, kinds, random_frame, sequence
from sim.stimuli import HABITS

FORM = WordFormat(13, 5, 3)
CODED = WordFormat(13, 5, 3, skips_empty_steps=False, coefficients=(0, 3))
ALWAYS_BAD = (
    "index out of range",
    "time out of range",
    "padding spikes",
    "step 0 is missing",
    "end leaves its step open",
    "index does not ascend",
    "sender says so",
    "step is skipped",
)


FORMS = {"bits": FORM, "counts": CODED, "ascending": replace(FORM, ascending=True)}


@pytest.mark.parametrize("coefficients", [(0, 1), (0, 3), (0, 5)])
@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("numbers", [(13, 5, 3), (13, 5, 4), (8, 4, 2), (1, 1, 1), (1, 2, 1), (5, 3, 5)])
def test_good(numbers, skips, coefficients):
    form, draw = WordFormat(*numbers, skips_empty_steps=skips, coefficients=coefficients), random.Random(1)
    for _ in range(300):
        words = good(draw, form)
        verdict = judge(words, form)
        assert (verdict.breach, verdict.unchecked) == (None, False)
        assert [word.last_of_frame for word in words] == [False] * (len(words) - 1) + [True]


@pytest.mark.parametrize(
    ("form", "kind"),
    [pytest.param(form, kind, id=f"{name}, {kind}") for name, form in FORMS.items() for kind in kinds(form)],
)
def test_kind(form, kind):
    """Each does what it is called, most of the time; all end with the only last word."""
    draw, bad, unchecked = random.Random(2), 0, 0
    for _ in range(400):
        words = KINDS[kind](draw, form, good(draw, form))
        assert [word.last_of_frame for word in words] == [False] * (len(words) - 1) + [True]
        verdict = judge(words, form)
        bad += verdict.breach is not None
        unchecked += verdict.unchecked and verdict.breach is None
        if kind == "step 0 is missing":
            assert words[0].time > 0
    if kind == "inputs spike twice" and not form.ascending:
        assert unchecked > 150
    else:
        assert bad == 400 if kind in ALWAYS_BAD else bad > 150


@pytest.mark.parametrize("numbers", [(8, 4, 2), (13, 5, 4), (1, 1, 1), (5, 3, 5)])
def test_kinds_that_a_format_does_not_have(numbers):
    form, draw = WordFormat(*numbers), random.Random(3)
    assert ("index out of range" in kinds(form)) == (form.words < 1 << bits_for(form.words))
    assert ("time out of range" in kinds(form)) == (form.steps < 1 << bits_for(form.steps))
    assert ("padding spikes" in kinds(form)) == (form.words * form.simd > form.inputs)
    assert "step is skipped" not in kinds(form)
    for _ in range(300):
        for word in random_frame(draw, form).words:
            assert word.time < 1 << bits_for(form.steps)
            assert word.index < 1 << bits_for(form.words)
            assert word.bits < 1 << form.simd


def test_sequences():
    seen = Counter()
    for number in range(400):
        runs = sequence(FORM, 5, number)
        assert [run.cut > 0 for run in runs] == [True] * (len(runs) - 1) + [False]
        assert runs[-1].frames[-1].kind == "good"
        seen.update(frame.kind for run in runs for frame in run.frames)
        seen.update(HABITS[run.habit] for run in runs)
        seen["resets"] += len(runs) > 1
    assert set(seen) == {*kinds(FORM), *HABITS, "good", "resets"}
    assert min(seen.values()) > 20


def test_a_sequence_is_made_of_its_number_and_the_seed():
    def words(seed, number):
        return [(run.seed, [(frame.kind, frame.words) for frame in run.frames]) for run in sequence(FORM, seed, number)]

    assert words(0, 17) == words(0, 17)
    assert words(0, 17) != words(0, 18)
    assert words(0, 17) != words(1, 17)
