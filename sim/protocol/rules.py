"""What a frame's words come to, read from the rules in ``docs/hardware.md``: nothing of the circuit is known here."""

from collections.abc import Sequence
from dataclasses import dataclass

from hw.core.words import WordFormat


@dataclass(frozen=True, slots=True)
class Word:
    """A spike word; ``bits`` as an integer, the lowest input's coefficient least significant."""

    time: int
    index: int
    bits: int
    last_of_step: bool
    last_of_frame: bool
    error: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is known of a frame.

    Attributes:
        breach: index of the first word that breaks a rule; None where none does.
        closed: the last step that was closed before it; -1 where none was.
        spikes: time, input and coefficient of each spike in the steps up to that one, in the order of the words.
        unchecked: whether, in those steps, an input's coefficients came to more than one of them can be, it spiked twice in a step, or a
            step had more words than the inputs can fill. Such a frame breaks a rule that nobody checks: its result may be anything.
    """

    breach: int | None
    closed: int
    spikes: tuple[tuple[int, int, int], ...]
    unchecked: bool


def judge(words: Sequence[Word], form: WordFormat) -> Verdict:
    """Go through a frame's words, whether or not they have come to its end yet."""
    sums = [0] * form.inputs
    spikes: list[tuple[int, int, int]] = []
    spiking: dict[int, int] = {}  # inputs, in the step that is open
    repeats = False
    length = 0  # of that step, in words
    closed, unchecked = -1, False
    breach = None
    for place, word in enumerate(words):
        before = words[place - 1] if place else None
        if breaks_rule(word, before, form):
            breach = place
            break
        found = {word.index * form.simd + lane: worth for lane, worth in enumerate(coefficients(word.bits, form)) if worth}
        repeats = repeats or not spiking.keys().isdisjoint(found)
        spiking |= found
        length += 1
        if word.last_of_step:
            for k, worth in spiking.items():
                sums[k] += worth
            too_much = any(sums[k] > form.coefficients[1] for k in spiking)
            unchecked = unchecked or repeats or too_much or length > form.words
            spikes += [(word.time, k, worth) for k, worth in spiking.items()]
            spiking, length, closed = {}, 0, word.time
    return Verdict(breach, closed, tuple(spikes), unchecked)


def coefficients(bits: int, form: WordFormat) -> list[int]:
    """The coefficients in a word, lowest input first; those of inputs are not below 0."""
    mask = (1 << form.lane_bits) - 1
    return [bits >> lane * form.lane_bits & mask for lane in range(form.simd)]


def breaks_rule(word: Word, before: Word | None, form: WordFormat) -> bool:
    """Whether a word breaks one of the rules 1 to 5, 7 and 8, given the one before it in its frame."""
    lanes = -(-word.bits.bit_length() // form.lane_bits)
    spiking = range(word.index * form.simd, word.index * form.simd + lanes)
    in_range = word.time < form.steps and word.index < form.words and spiking.stop <= form.inputs
    if word.error or not in_range:
        return True
    if word.last_of_frame and not (word.last_of_step and (form.skips_empty_steps or word.time == form.steps - 1)):
        return True
    if before is None:
        return word.time != 0
    if not before.last_of_step:
        return word.time != before.time or (form.ascending and word.index <= before.index)
    if not form.skips_empty_steps:
        return word.time != before.time + 1
    only_ends = word.bits == 0 and word.last_of_frame
    return word.time < before.time or (word.time == before.time and not only_ends)
