"""hw.core.event, step and xnor: operations and their cycles against plain loops: forms, loop orders, contexts, gaps, stalls, resets."""

import random

import numpy as np
import pytest

from hw.core.dense import DensePlan
from hw.core.event import EventSequencer
from hw.core.step import StepSequencer
from hw.core.streams import input_format
from hw.core.xnor import XnorSequencer
from tests.circuit import Part, Source, fields, run
from tests.networks import random_layer, random_spike_times
from tests.pairwise import pairwise
from tests.payloads import in_turn, word_payloads

WAYS = {"event": (EventSequencer, "delta", "event"), "step": (StepSequencer, "delta", "step"), "walk": (XnorSequencer, "xnor", "step")}
SIZES = [(1, 1, 1, 1), (8, 4, 4, 2), (7, 5, 3, 2), (9, 3, 9, 3), (3, 9, 1, 4), (5, 4, 5, 2)]  # inputs, outputs, simd, pe
STEPS = 4


def make(way, inputs, outputs, simd, pe, *, swap=1, contexts=1):
    component, form, order = WAYS[way]
    plan = DensePlan(random_layer(np.random.default_rng(0), inputs, outputs), STEPS, simd, pe, form, order, swap, contexts)
    return plan, component(plan)


def expected_operations(way, plan, steps):
    """For each step, the operations as far as they mean something.

    ("swap", fold, beat, first, context), or ("add", address, fold, spikes, restart, first, test), and with a test
    (time, last_of_frame, error, frame) besides.
    """
    found, seen, resident = [], {}, None
    for frame, words in steps:
        first, closing = words[0]["first"], words[-1]
        row = tuple(closing[name] for name in ("time", "last_of_frame", "error", "frame"))
        of_step = []
        if way == "event":
            for word in words:
                for fold in range(plan.neuron_folds):
                    of_step.append(
                        (plan.synapse_folds * fold + word["index"], fold, word["bits"], word["first"], first, word["last_of_step"])
                    )
        elif way == "step":
            for fold in range(plan.neuron_folds):
                if plan.swap > 1 and (plan.neuron_folds > 1 or first or resident != frame % plan.contexts):
                    of_step += [("swap", fold, beat, first, frame % plan.contexts) for beat in range(plan.swap)]
                resident = frame % plan.contexts
                for place, word in enumerate(words):
                    test = place == len(words) - 1
                    of_step.append(
                        (plan.synapse_folds * fold + word["index"], fold, word["bits"], int(first and place == 0), first, int(test))
                    )
        else:
            spikes = [0] * plan.synapse_folds if first else seen[frame]
            seen[frame] = spikes
            for word in words:
                spikes[word["index"]] |= word["bits"]
            for fold in range(plan.neuron_folds):
                for index in range(plan.synapse_folds):
                    test = int(index == plan.synapse_folds - 1)
                    of_step.append((plan.synapse_folds * fold + index, fold, spikes[index], int(index == 0), first, test))
        found += [op if op[0] == "swap" else ("add", *op, *(row if op[-1] else ())) for op in of_step]
    return found


class Operations(Part):
    """Keeps what is issued; there is a place for a row in some cycles only.

    Parameters:
        expected: how many operations.
        full: share of cycles without a place.
    """

    def __init__(self, dut, plan, expected, *, full=0.0, seed=0):
        self._dut, self._plan, self._expected, self._full = dut, plan, expected, full
        self._random = random.Random(seed + 3)
        self.seen: list[tuple] = []
        self.cycles: list[int] = []
        self.tests = 0

    @property
    def done(self):
        return len(self.seen) == self._expected

    def drive(self, ctx):
        self._may_test = self._random.random() >= self._full
        ctx.set(self._dut.may_test, self._may_test)

    def look(self, ctx, cycle):
        if ctx.get(self._dut.tests):
            assert self._may_test
            self.tests += 1
        if not ctx.get(self._dut.valid):
            return
        assert not self.done
        op = fields(ctx, self._dut.operation)
        self.cycles.append(cycle)
        assert op["state_row"] == op["frame"] % self._plan.contexts << (self._plan.neuron_folds - 1).bit_length() | op["fold"]
        if not op["integrate"]:
            self.seen.append(("swap", op["fold"], op["beat"], op["first"], op["frame"] % self._plan.contexts))
            return
        assert op["last"] == (op["fold"] == self._plan.neuron_folds - 1)
        names = ("weight_row", "fold", "spikes", "restart", "first", "test")
        row = ("time", "last_of_frame", "error", "frame") if op["test"] else ()
        self.seen.append(("add", *(op[name] for name in (*names, *row))))
        assert self.tests - sum(op[0] == "add" and op[6] for op in self.seen) in (0, 1), "a place for each test, taken before"


def run_issue(way, plan, dut, steps, *, gaps=0.0, full=0.0, seed=0, reset_at=None):
    expected = expected_operations(way, plan, steps)

    def start():
        operations = Operations(dut, plan, len(expected), full=full, seed=seed)
        return operations, Source(dut.i, [words for _, words in steps], gaps=gaps, seed=seed)

    operations, source = run(dut, start, watch=lambda: [dut.i], reset_at=reset_at)
    assert operations.seen == expected
    return operations, source


def random_steps(plan, count, *, seed=0):
    times = random_spike_times(np.random.default_rng(seed), count, plan.layer.inputs, STEPS)
    steps = in_turn(word_payloads(input_format(plan).from_spike_times(times)), plan, seed=seed)
    for _, words in steps[::3]:
        words[-1]["error"] = 1
    return steps


@pytest.mark.parametrize(("size", "way", "stress"), pairwise(SIZES, [*WAYS], [(1, 0, 0), (2, 0.5, 0), (4, 0, 0.7)]))
def test_operations(size, way, stress):
    contexts, gaps, full = stress
    plan, dut = make(way, *size, contexts=contexts)
    run_issue(way, plan, dut, random_steps(plan, 10, seed=size[0]), gaps=gaps, full=full)


@pytest.mark.parametrize(
    ("size", "swap", "contexts"), [((7, 5, 3, 2), 2, 1), ((7, 5, 3, 4), 3, 2), ((8, 4, 4, 4), 2, 2), ((6, 3, 1, 3), 3, 4)]
)
@pytest.mark.parametrize(("gaps", "full"), [(0, 0), (0.5, 0.5)])
def test_swaps(size, swap, contexts, gaps, full):
    """With one fold, potentials stay where they are until the context changes or a frame begins."""
    plan, dut = make("step", *size, swap=swap, contexts=contexts)
    operations, _ = run_issue("step", plan, dut, random_steps(plan, 12), gaps=gaps, full=full)
    assert any(op[0] == "swap" for op in operations.seen)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reset_at", [0, 2, 5, 9, 16])
def test_reset_in_the_middle(way, reset_at):
    plan, dut = make(way, 7, 5, 3, 2, contexts=2, swap=2 if way == "step" else 1)
    run_issue(way, plan, dut, random_steps(plan, 5), reset_at=reset_at, full=0.3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("swap", [1, 2])
def test_cycles(way, size, swap):
    """No cycle is lost, from the first word on."""
    swap = swap if way == "step" and size[3] > 1 else 1
    plan, dut = make(way, *size, swap=swap)
    steps = random_steps(plan, 6)
    operations, _ = run_issue(way, plan, dut, steps)
    if way == "walk":
        begin, expected = 0, []
        for _, words in steps:
            begin += len(words)
            expected += range(begin, begin + plan.neuron_folds * plan.synapse_folds)
            begin += plan.neuron_folds * plan.synapse_folds
        assert operations.cycles == expected
    else:
        late = StepSequencer.FETCH_TO_ISSUE if way == "step" else 0
        assert operations.cycles == list(range(late, late + len(operations.seen)))
