"""What a frame's words come to, read from the rules in ``docs/hardware.md``: nothing of the circuit is known here."""

from collections.abc import Sequence
from dataclasses import dataclass

from hw.core.words import WordFormat


@dataclass(frozen=True, slots=True)
class Word:
    """A spike word; ``bits`` as an integer, the lowest input least significant."""

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
        times: per input, the time of its spike in the steps up to that one; ``T`` where there is none.
        unchecked: whether, in those steps, an input spiked twice, or a step had more words than the inputs can fill. Such a frame breaks
            a rule that nobody checks: its result may be anything.
    """

    breach: int | None
    closed: int
    times: tuple[int, ...]
    unchecked: bool


def judge(words: Sequence[Word], form: WordFormat) -> Verdict:
    """Go through a frame's words, whether or not they have come to its end yet."""
    times = [form.steps] * form.inputs
    spiking: list[int] = []  # inputs, in the step that is open
    length = 0  # of that step, in words
    closed, unchecked = -1, False
    breach = None
    for place, word in enumerate(words):
        before = words[place - 1] if place else None
        if breaks_rule(word, before, form):
            breach = place
            break
        spiking += [word.index * form.simd + lane for lane in range(form.simd) if word.bits >> lane & 1]
        length += 1
        if word.last_of_step:
            repeats = len(set(spiking)) < len(spiking) or any(times[k] < form.steps for k in spiking)
            unchecked = unchecked or repeats or length > form.words
            for k in spiking:
                times[k] = word.time
            spiking, length, closed = [], 0, word.time
    return Verdict(breach, closed, tuple(times), unchecked)


def breaks_rule(word: Word, before: Word | None, form: WordFormat) -> bool:
    """Whether a word breaks one of the rules 1 to 5, given the one before it in its frame."""
    spiking = range(word.index * form.simd, word.index * form.simd + word.bits.bit_length())
    in_range = word.time < form.steps and word.index < form.words and spiking.stop <= form.inputs
    if word.error or not in_range:
        return True
    if word.last_of_frame and not word.last_of_step:
        return True
    if before is None:
        return word.time != 0
    if not before.last_of_step:
        return word.time != before.time
    only_ends = word.bits == 0 and word.last_of_frame
    return word.time < before.time or (word.time == before.time and not only_ends)
