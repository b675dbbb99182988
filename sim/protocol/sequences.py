"""Random sequences of good and bad frames, with resets between and in the middle of them."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from hw.core.words import WordFormat, bits_for
from sim.frames import Words
from sim.ports import UNIT, Payload
from sim.protocol.rules import Word
from sim.stimuli import HABITS, Pace

SHARES = (0, 0, 0, 60, 130, 220, 252)
"""Of 256 cycles, those in which a sender that could offer a word does not, or the receiver takes no result."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The words up to one with ``last_of_frame``, and what was done to them."""

    kind: str
    words: tuple[Word, ...]


@dataclass(frozen=True, kw_only=True)
class Run(Pace):
    """A reset, and the frames that follow it, in the order of their results."""

    frames: tuple[Frame, ...]

    def packed(self, payload: Payload) -> Words:
        """All words, as they go into the circuit."""
        packed = [
            sum(int(getattr(word, field.name)) << payload[field.name].offset for field in fields(Word))
            for frame in self.frames
            for word in frame.words
        ]
        size = payload.units * UNIT // 8
        records = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in packed), "<u4").reshape(-1, payload.units)
        return Words(records, np.array([len(frame.words) for frame in self.frames]))


def sequence(form: WordFormat, seed: int, number: int) -> tuple[Run, ...]:
    """The runs of a sequence: any number of them cut short by a reset, and one to the end, whose last frame is good."""
    draw = random.Random(f"{seed}.{number}")
    runs = []
    while draw.random() < 0.5:
        runs.append(_run(draw, form, cut=1 + draw.randrange(draw.choice((20, 60, 200)))))
    return (*runs, _run(draw, form, cut=0))


def _run(draw: random.Random, form: WordFormat, cut: int) -> Run:
    frames = [random_frame(draw, form) for _ in range(draw.randrange(1, 7))]
    if not cut:
        frames.append(Frame("good", good(draw, form)))
    gaps, stalls, habit, seed = draw.choice(SHARES), draw.choice(SHARES), draw.randrange(len(HABITS)), draw.randrange(1, 1 << 32)
    return Run(
        frames=tuple(frames),
        cut=cut,
        gaps=gaps,
        stalls=stalls,
        habit=habit,
        hesitates=seed >> 3 & 3 == 0,
        resetting=1 if seed & 1 else 1 + (seed >> 1 & 3),
        all_words=True,
        seed=seed,
    )


def random_frame(draw: random.Random, form: WordFormat) -> Frame:
    """A frame that is good as often as not."""
    words = good(draw, form)
    if draw.random() < 0.5:
        return Frame("good", words)
    kind = draw.choice(kinds(form))
    return Frame(kind, KINDS[kind](draw, form, words))


def good(draw: random.Random, form: WordFormat) -> tuple[Word, ...]:
    """A frame that keeps the rules, from few spikes to many; among its words, the oddities that the rules allow."""
    density = draw.random()
    spikes: dict[tuple[int, int], int] = {}  # bits by time and index
    for k in range(form.inputs):
        if draw.random() < density:
            for time, worth in _dealt_out(draw, form):
                place = time, k // form.simd
                spikes[place] = spikes.get(place, 0) | worth << k % form.simd * form.lane_bits
    words: list[Word] = []
    for time in range(form.steps):
        step = [(index, bits) for (at, index), bits in spikes.items() if at == time]
        if form.ascending:
            step.sort()
        else:
            draw.shuffle(step)
        if not step and (time == 0 or not form.skips_empty_steps or draw.random() < 0.05):
            step = [(draw.randrange(form.words), 0)]
        words += [Word(time, index, bits, place == len(step) - 1, False) for place, (index, bits) in enumerate(step)]
    if form.skips_empty_steps and draw.random() < 0.2:  # an empty word ends the frame, of the last step or of a later one
        words.append(Word(draw.randrange(words[-1].time, form.steps), draw.randrange(form.words), 0, True, False))
    return _ended(words)


def _dealt_out(draw: random.Random, form: WordFormat) -> list[tuple[int, int]]:
    """Times and coefficients of an input's spikes, which together come to no more than one of them can be."""
    if form.coefficients == (0, 1):
        return [(draw.randrange(form.steps), 1)]
    times = Counter(draw.randrange(form.steps) for _ in range(draw.randint(1, form.coefficients[1])))
    return list(times.items())


def _ended(words: list[Word]) -> tuple[Word, ...]:
    """The words with just the last one ending the frame."""
    return (*(replace(word, last_of_frame=False) for word in words[:-1]), replace(words[-1], last_of_frame=True))


def _changed(draw: random.Random, words: tuple[Word, ...], change: Callable[[Word], Word]) -> tuple[Word, ...]:
    """The words with one of them changed."""
    place = draw.randrange(len(words))
    return (*words[:place], change(words[place]), *words[place + 1 :])


def _index_out_of_range(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    return _changed(draw, words, lambda word: replace(word, index=draw.randrange(form.words, 1 << bits_for(form.words))))


def _time_out_of_range(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    return _changed(draw, words, lambda word: replace(word, time=draw.randrange(form.steps, 1 << bits_for(form.steps))))


def _padding_spikes(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    padding = form.words * form.simd - form.inputs
    bit = 1 << form.simd * form.lane_bits - 1 - draw.randrange(padding * form.lane_bits)
    return _changed(draw, words, lambda word: replace(word, index=form.words - 1, bits=word.bits | bit))


def _time_goes_back(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    later = Word(words[-1].time, draw.randrange(form.words), 1, True, False)
    earlier = replace(later, time=draw.randrange(words[-1].time)) if words[-1].time else words[0]
    return _ended([*words, earlier, *([later] if draw.random() < 0.5 else [])])


def _cut_short(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Its end is missing: the next one's words belong to it."""
    return (*words[: draw.randrange(len(words))], *good(draw, form))


def _too_long(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    return _ended(list(words) * draw.randrange(2, 5))


def _step_0_is_missing(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    later = [word for word in words if word.time > 0] or [replace(words[-1], time=form.steps - 1)]
    return _ended(later)


def _closed_step_goes_on(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    place = draw.choice([k for k, word in enumerate(words) if word.last_of_step])
    more = replace(
        words[place], bits=draw.randrange(1 << form.simd * form.lane_bits), last_of_step=draw.random() < 0.7, last_of_frame=False
    )
    return _ended([*words[: place + 1], more, *words[place + 1 :]])


def _step_left_open(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    return _changed(draw, words, lambda word: replace(word, last_of_step=False))


def _end_leaves_its_step_open(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    return (*words[:-1], replace(words[-1], last_of_step=False))


def _step_is_skipped(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    skipped = draw.randrange(form.steps)
    return _ended([word for word in words if word.time != skipped])


def _index_does_not_ascend(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """A word comes once more, or two that are neighbours are exchanged."""
    place = draw.randrange(len(words))
    word = words[place]
    others = [replace(words[place - 1], last_of_step=False)] if place and draw.random() < 0.5 else []
    return _ended([*words[:place], replace(word, last_of_step=False), *others, word, *words[place + 1 :]])


def _sender_says_so(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    return _changed(draw, words, lambda word: replace(word, error=True))


def _garbage(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Anything at all, after a part of a good frame or none."""
    random_words = [
        Word(
            draw.randrange(1 << bits_for(form.steps)),
            draw.randrange(1 << bits_for(form.words)),
            draw.randrange(1 << form.simd * form.lane_bits),
            draw.random() < 0.5,
            False,
        )
        for _ in range(draw.randrange(1, 30))
    ]
    cut = (*words[: draw.randrange(len(words))], *random_words)
    return (*cut[:-1], replace(cut[-1], last_of_frame=True))


def _inputs_spike_twice(draw: random.Random, form: WordFormat, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The rule that nobody checks: the result may be anything, but there is one. Steps may get longer than the inputs can fill."""
    longer: list[Word] = []
    for word in words:
        again = [replace(word, last_of_step=False)] * draw.choice((0, 0, 1, 3 * form.words))
        longer += [*again, word]
    return _ended(longer)


KINDS: dict[str, Callable[[random.Random, WordFormat, tuple[Word, ...]], tuple[Word, ...]]] = {
    "index out of range": _index_out_of_range,
    "time out of range": _time_out_of_range,
    "padding spikes": _padding_spikes,
    "time goes back": _time_goes_back,
    "cut short": _cut_short,
    "too long": _too_long,
    "step 0 is missing": _step_0_is_missing,
    "closed step goes on": _closed_step_goes_on,
    "step left open": _step_left_open,
    "end leaves its step open": _end_leaves_its_step_open,
    "step is skipped": _step_is_skipped,
    "index does not ascend": _index_does_not_ascend,
    "sender says so": _sender_says_so,
    "garbage": _garbage,
    "inputs spike twice": _inputs_spike_twice,
}
"""Ways to spoil a good frame. Some chances leave it good: what must hold is found by `rules.judge`, not by the kind."""


def kinds(form: WordFormat) -> list[str]:
    """The ways that there are with these words: where all values of a field are in range, none is out of it."""
    impossible = {
        "index out of range": form.words == 1 << bits_for(form.words),
        "time out of range": form.steps == 1 << bits_for(form.steps),
        "padding spikes": form.words * form.simd == form.inputs,
        "index does not ascend": not form.ascending,
        "step is skipped": form.skips_empty_steps or form.steps == 1,
    }
    return [kind for kind in KINDS if not impossible.get(kind, False)]
