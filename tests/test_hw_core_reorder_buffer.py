"""hw.core.reorder_buffer: results of frames that finish in any order leave in the order of the frames, once each."""

import random

import numpy as np
import pytest

from hw.core.dense import DensePlan
from hw.core.readout import result_layout
from hw.core.reorder_buffer import ReorderBuffer
from tests.circuit import Part, Sink, run
from tests.networks import random_layer

FINISH_TO_RESULT = 2


def queue_of(contexts):
    plan = DensePlan(random_layer(np.random.default_rng(0), 3, 5), 6, 1, 2, "delta", contexts=contexts)
    return plan, ReorderBuffer(plan, result_layout(plan))


def random_results(count, seed=0):
    draw = random.Random(seed)
    names = {"class_index": 5, "step": 6, "margin": 3, "silent": 2, "error": 2}
    return [{name: draw.randrange(most) for name, most in names.items()} for _ in range(count)]


class Finisher(Part):
    """Says what was decided of the frames that may be under way, in any order, and later, or at once, that they have finished.

    Parameters:
        order: frames; None: any that has a place.
    """

    def __init__(self, dut, plan, results, *, order=None, gaps=0.0, seed=0):
        self._dut, self._plan, self._results, self._order, self._gaps = dut, plan, results, order, gaps
        self._random = random.Random(seed)
        self._left = 0
        self._undecided = list(range(len(results)))
        self._decided: list[int] = []
        self.finished: list[int] = []
        self.finish_cycles: list[int] = []

    @property
    def done(self):
        return len(self.finished) == len(self._results)

    def drive(self, ctx):
        dut, draw = self._dut, self._random
        self._left += (ctx.get(dut.oldest) - self._left) % (2 * self._plan.frames)
        open_frames = [k for k in [*self._undecided, *self._decided] if k < self._left + self._plan.frames]
        if self._order is not None:
            open_frames = [k for k in self._order[len(self.finished) :][:1] if k in open_frames]
        speaks = bool(open_frames) and draw.random() >= self._gaps
        frame = draw.choice(open_frames) if speaks else draw.randrange(self._plan.frames)
        decides = speaks and frame in self._undecided
        self._finishes = speaks and (not decides or self._order is not None or draw.random() < 0.5)
        self._frame = frame
        ctx.set(dut.frame, frame % self._plan.frames)
        ctx.set(dut.decides, decides)
        ctx.set(dut.finishes, self._finishes)
        result = self._results[frame]
        ctx.set(dut.decision, {name: value for name, value in result.items() if name != "error"} if decides else {})
        ctx.set(dut.error, result["error"] if self._finishes else draw.getrandbits(1))
        if decides:
            self._undecided.remove(frame)
            self._decided.append(frame)

    def look(self, ctx, cycle):
        if self._finishes:
            self._decided.remove(self._frame)
            self.finished.append(self._frame)
            self.finish_cycles.append(cycle)


@pytest.mark.parametrize("contexts", [1, 2, 4])
@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.5, 0), (0, 0.8), (0.4, 0.4)])
def test_any_order(contexts, gaps, stalls):
    plan, dut = queue_of(contexts)
    results = random_results(40, seed=contexts)
    sink, finisher = run(
        dut, lambda: [Sink(dut.o, 40, stalls=stalls), Finisher(dut, plan, results, gaps=gaps, seed=contexts)], watch=lambda: [dut.o]
    )
    assert sink.received == results
    assert finisher.finished != sorted(finisher.finished)


@pytest.mark.parametrize("reset_at", [0, 1, 4, 9, 20])
def test_reset_in_the_middle(reset_at):
    plan, dut = queue_of(2)
    results = random_results(12)
    sink, _ = run(dut, lambda: [Sink(dut.o, 12, stalls=0.5), Finisher(dut, plan, results)], watch=lambda: [dut.o], reset_at=reset_at)
    assert sink.received == results


def test_cycles():
    """Two cycles after it finished, a result is there, if those before it are; then they follow one another."""
    plan, dut = queue_of(2)
    results = random_results(7)
    order = [0, 1, 3, 4, 2, 5, 6]
    sink, finisher = run(dut, lambda: [Sink(dut.o, 7), Finisher(dut, plan, results, order=order)])
    assert sink.received == results
    assert finisher.finish_cycles == list(range(7))
    assert sink.cycles == [cycle + FINISH_TO_RESULT for cycle in [0, 1, 4, 5, 6, 7, 8]]
