"""The model of the rules: written out by hand, and beside the one that the tests of the circuit's own check use."""

import random
from dataclasses import replace

import pytest

from hw.core.words import WordFormat
from sim.protocol.rules import Verdict, Word, judge
from sim.protocol.sequences import KINDS, good, kinds
from tests.test_hw_core_frame_check import ALLOWED, BROKEN, FORM, checked

CODED = WordFormat(inputs=5, steps=3, simd=2, skips_empty_steps=False, coefficients=(0, 3))


def frame(words):
    return [Word(time, index, bits, bool(step), bool(end), bool(error)) for time, index, bits, step, end, error in words]


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name):
    words, wrong = BROKEN[name]
    assert judge(frame(words), FORM).breach == wrong


@pytest.mark.parametrize("name", ALLOWED)
def test_allowed(name):
    words = frame(ALLOWED[name])
    verdict = judge(words, FORM)
    assert (verdict.breach, verdict.closed) == (None, words[-1].time)


def test_spikes_up_to_the_breach():
    """The step that is open when a rule is broken does not count."""
    words = frame([(0, 2, 0b101, 0, 0, 0), (0, 0, 0b1000, 1, 0, 0), (2, 1, 0b11, 1, 0, 0), (3, 0, 1, 0, 0, 0), (2, 1, 8, 1, 1, 0)])
    assert judge(words, FORM) == Verdict(4, 2, ((0, 8, 1), (0, 10, 1), (0, 3, 1), (2, 4, 1), (2, 5, 1)), False)


def test_frame_that_has_not_ended():
    assert judge([], FORM) == Verdict(None, -1, (), False)
    verdict = judge(frame([(0, 0, 1, 1, 0, 0), (1, 1, 1, 0, 0, 0)]), FORM)
    assert verdict == Verdict(None, 0, ((0, 0, 1),), False)


@pytest.mark.parametrize(
    "words",
    [
        [(0, 0, 1, 0, 0, 0), (0, 0, 3, 1, 1, 0)],
        [(0, 0, 1, 1, 0, 0), (1, 0, 1, 1, 1, 0)],
        [(0, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 1, 0, 1, 1, 0)],  # four words, where three cover the inputs
    ],
    ids=["in one step", "in two steps", "step too long"],
)
def test_unchecked(words):
    verdict = judge(frame(words), FORM)
    assert (verdict.breach, verdict.unchecked) == (None, True)


LAWFUL = [(0, 0, 0b1101, 0, 0, 0), (0, 2, 0b10, 1, 0, 0), (1, 1, 0, 1, 0, 0), (2, 0, 0b1000, 1, 1, 0)]
"""Two bits for each of two inputs; every step is closed."""


def test_coefficients():
    assert judge(frame(LAWFUL), CODED) == Verdict(None, 2, ((0, 0, 1), (0, 1, 3), (0, 4, 2), (2, 1, 2)), True)  # input 1: 3 and 2
    assert judge(frame([*LAWFUL[:3], (2, 0, 0b10, 1, 1, 0)]), CODED) == Verdict(
        None, 2, ((0, 0, 1), (0, 1, 3), (0, 4, 2), (2, 0, 2)), False
    )


@pytest.mark.parametrize(
    ("words", "breach"),
    [
        ([*LAWFUL[:1], (0, 2, 0b100, 1, 0, 0), *LAWFUL[2:]], 1),
        ([*LAWFUL[:2], *LAWFUL[3:]], 2),
        ([*LAWFUL[:2], (1, 1, 0, 1, 1, 0)], 2),
        ([*LAWFUL[:3], (2, 0, 0b1000, 0, 0, 0), (2, 0, 0, 1, 1, 0)], None),
        ([*LAWFUL[:3], (2, 0, 0b1000, 1, 0, 0), (2, 0, 0, 1, 1, 0)], 4),
    ],
    ids=["padding", "a step is skipped", "ends before the last step", "an empty word ends a step", "an empty word ends the frame"],
)
def test_rules_of_coefficients(words, breach):
    assert judge(frame(words), CODED).breach == breach
    assert judge(frame([*LAWFUL[:2], (1, 1, 0, 1, 1, 0)]), replace(CODED, skips_empty_steps=True)).breach is None


@pytest.mark.parametrize(
    ("numbers", "ascending"), [((11, 5, 4), False), ((11, 5, 4), True), ((12, 8, 4), False), ((1, 1, 1), False), ((13, 5, 3), False)]
)
def test_same_as_the_other_model(numbers, ascending):
    form, draw = WordFormat(*numbers, ascending=ascending), random.Random(7)
    seen = set()
    for _ in range(600):
        spoil = KINDS[draw.choice([kind for kind in kinds(form) if kind == "garbage" or numbers == (11, 5, 4)])]
        words = spoil(draw, form, good(draw, form))
        plain = [(w.time, w.index, w.bits, int(w.last_of_step), int(w.last_of_frame), int(w.error)) for w in words]
        flagged = [word[5] for word in checked(plain, form)]
        assert judge(words, form).breach == (flagged.index(1) if 1 in flagged else None)
        seen.add(1 in flagged)
    assert seen == {True, False}
