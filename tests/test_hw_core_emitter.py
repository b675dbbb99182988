"""hw.core.emitter alone: the words of each step, their order and flags, and steps that send none; gaps, stalls, resets."""

import random

import numpy as np
import pytest

from hw.core.dense import DensePlan
from hw.core.emitter import HEAD_TO_STEP_DONE, HEAD_TO_WORD, VECTOR_TO_HEAD, SpikeEmitter
from hw.core.plan import MANY_STEPS
from tests.circuit import Part, Sink, run
from tests.networks import random_layer
from tests.neuron_vectors import Step, VectorSource
from tests.pairwise import pairwise

STEPS = 5
NAMES = ("time", "index", "bits", "last_of_step", "last_of_frame", "error", "first", "frame")
SIZES = [  # outputs, pe, neurons per word
    (1, 1, 1),
    (8, 8, 8),
    (8, 4, 2),
    (9, 4, 4),
    (7, 2, 3),
    (7, 3, 2),
    (5, 5, 1),
    (5, 5, 4),
    (17, 3, 16),
    (10, 3, 4),
]


def emitter(outputs, pe, simd, *, steps=STEPS, contexts=1, order="event"):
    layer = random_layer(np.random.default_rng(0), 3, outputs)
    plan = DensePlan(layer, steps, 1, pe, "delta", order, 1, contexts, simd)
    return plan, SpikeEmitter(plan)


def random_steps(plan, count, *, seed=0):
    """Steps of ``count`` frames, those of different contexts mixed."""
    draw = random.Random(seed)
    outputs = plan.layer.outputs
    waiting = [[] for _ in range(plan.contexts)]
    for frame in range(count):
        times = [0, *(t for t in range(1, plan.steps) if draw.random() < 0.6)]
        share = [0, 0.1, 0.5, 1][frame % 4]
        for t in times:
            fire = [int(draw.random() < share) for _ in range(outputs)]
            flags = {"first": int(t == 0), "last_of_frame": int(t == times[-1]), "frame": frame % plan.frames}
            waiting[frame % plan.contexts].append(Step(t, fire, [0] * outputs, **flags, error=draw.getrandbits(1)))
    steps = []
    while any(waiting):
        steps.append(draw.choice([context for context in waiting if context]).pop(0))
    return steps


def plain_words(step, plan):
    """`NAMES` of the words of one step: those of each vector in turn."""
    found = []
    for begin in range(0, plan.layer.outputs, plan.pe):
        bits = {}
        for j, fires in list(enumerate(step.fire))[begin : begin + plan.pe]:
            if fires:
                bits[j // plan.following_simd] = bits.get(j // plan.following_simd, 0) | 1 << j % plan.following_simd
        found += sorted(bits.items())
    if not found and (step.first or step.last_of_frame):
        found = [(0, 0)]
    words = []
    for place, (index, bits) in enumerate(found):
        last = place == len(found) - 1
        first = int(step.first and place == 0)
        words.append((step.time, index, bits, int(last), int(last and step.last_of_frame), step.error, first, step.frame))
    return words


class Judged(Part):
    """Which frames' steps were done, and when."""

    def __init__(self, port):
        self._port = port
        self.frames, self.cycles = [], []

    def look(self, ctx, cycle):
        if ctx.get(self._port.valid):
            assert not ctx.get(self._port.decided)
            self.frames.append(ctx.get(self._port.frame))
            self.cycles.append(cycle)


def run_emitter(plan, dut, steps, *, gaps=0.0, stalls=0.0, seed=0, reset_at=None):
    expected = sum(len(plain_words(step, plan)) for step in steps)

    def start():
        source = VectorSource(dut.i, plan, steps, slots=plan.vector_slots, gaps=gaps, seed=seed)
        return Sink(dut.o, expected, stalls=stalls, seed=seed), source, Judged(dut.step_done)

    return run(dut, start, watch=lambda: [dut.o], reset_at=reset_at)


def assert_right(plan, steps, sink, step_done):
    assert [tuple(word[name] for name in NAMES) for word in sink.received] == [w for step in steps for w in plain_words(step, plan)]
    assert step_done.frames == [step.frame for step in steps if not plain_words(step, plan)]


@pytest.mark.parametrize(
    ("size", "stress", "order"), pairwise(SIZES, [(1, 0, 0), (1, 0.5, 0), (2, 0, 0.7), (4, 0.5, 0.5)], ["event", "step"])
)
def test_words(size, stress, order):
    (outputs, pe, simd), (contexts, gaps, stalls) = size, stress
    plan, dut = emitter(outputs, pe, simd, contexts=contexts, order=order)
    steps = random_steps(plan, 14, seed=outputs)
    sink, _, step_done = run_emitter(plan, dut, steps, gaps=gaps, stalls=stalls)
    assert_right(plan, steps, sink, step_done)
    assert step_done.frames


def test_steps_of_one_time():
    """``T`` = 1: every frame is one step."""
    plan, dut = emitter(6, 4, 4, steps=1)
    steps = random_steps(plan, 8)
    sink, _, step_done = run_emitter(plan, dut, steps)
    assert_right(plan, steps, sink, step_done)
    assert len(steps) == 8
    assert not step_done.frames


@pytest.mark.parametrize("size", [(9, 4, 4), (6, 6, 6), (6, 6, 2)])
@pytest.mark.parametrize("reset_at", [0, 2, 3, 7, 12])
def test_reset_in_the_middle(size, reset_at):
    plan, dut = emitter(*size, contexts=2)
    steps = random_steps(plan, 6, seed=1)
    sink, _, step_done = run_emitter(plan, dut, steps, reset_at=reset_at, stalls=0.4)
    assert_right(plan, steps, sink, step_done)


def step(time, fire, last=0):
    return Step(time, fire, [0] * len(fire), first=int(time == 0), last_of_frame=last)


def test_cycles_of_one_vector_of_several_words():
    """A word per cycle once a vector is at the head, a cycle for a step without spikes, which is done after it."""
    everything, nothing = [1] * 8, [0] * 8
    plan, dut = emitter(8, 8, 2)
    assert plan.vector_slots == 1
    steps = [step(0, everything), step(1, nothing), step(2, everything), step(3, nothing, last=1)]
    sink, source, step_done = run_emitter(plan, dut, steps)
    heads = [VECTOR_TO_HEAD]
    heads.append(heads[0] + 4)  # it has waited
    heads.append(heads[0] + 4 + VECTOR_TO_HEAD)  # it could not come before the one before was at the head
    heads.append(heads[2] + 4)
    assert sink.cycles == [head + k + HEAD_TO_WORD for head, words in zip(heads, (4, 0, 4, 1), strict=True) for k in range(words)]
    assert step_done.cycles == [heads[1] + HEAD_TO_STEP_DONE]
    assert source.last_vector_cycles == [0, *heads[:-1]]  # one vector waits behind the head


def test_cycles_of_one_word_per_vector():
    """Where all neurons are one word, a step per cycle goes through, whether it has spikes or not."""
    plan, dut = emitter(6, 6, 6)
    steps = [step(0, [0] * 6), step(1, [1] * 6), step(2, [0] * 6), step(3, [0, 1, 0, 1, 0, 0]), step(4, [0] * 6, last=1)]
    sink, source, step_done = run_emitter(plan, dut, steps)
    assert source.last_vector_cycles == [0, 1, 2, 3, 4]
    assert sink.cycles == [cycle + VECTOR_TO_HEAD + HEAD_TO_WORD for cycle in (0, 1, 3, 4)]
    assert step_done.cycles == [2 + VECTOR_TO_HEAD + HEAD_TO_STEP_DONE]


def test_cycles_of_short_steps():
    """Where frames have many steps, a step of one word or none goes through per cycle, too."""
    plan, dut = emitter(8, 8, 2, steps=MANY_STEPS)
    steps = [step(time, [int(time % 3 == 0 and k == time % 8) for k in range(8)]) for time in range(14)]
    sink, source, step_done = run_emitter(plan, dut, steps)
    assert source.last_vector_cycles == list(range(14))
    assert sink.cycles == [cycle + VECTOR_TO_HEAD + HEAD_TO_WORD for cycle in range(0, 14, 3)]
    assert step_done.cycles == [cycle + VECTOR_TO_HEAD + HEAD_TO_STEP_DONE for cycle in range(14) if cycle % 3]


def test_cycles_of_several_vectors():
    """A vector per cycle; a word waits until the next one is at the head, or the end of the step."""
    plan, dut = emitter(8, 2, 2)
    steps = [step(0, [1] * 8), step(1, [1, 0, 0, 0, 0, 0, 0, 1]), step(2, [0, 0, 0, 1, 0, 0, 0, 0], last=1)]
    sink, source, _ = run_emitter(plan, dut, steps)
    assert source.last_vector_cycles == [3, 7, 11]
    heads = [VECTOR_TO_HEAD + vector for vector in range(12)]
    assert sink.cycles == [head + HEAD_TO_WORD for head in heads[:4]] + [heads[7], heads[7] + HEAD_TO_WORD, heads[11] + HEAD_TO_WORD]
