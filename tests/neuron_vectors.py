"""Both ends of a vector stream (see `hw.core.streams.vectors`): what a layer sends when a step closes, and what takes it."""

import random
from dataclasses import dataclass

from tests.circuit import Part, fields

SAME_IN_A_STEP = ("time", "first", "last_of_frame", "error", "frame")


@dataclass
class Step:
    """One closed step of a layer: per neuron, whether it fires, and its margin; and what its vectors say besides."""

    time: int
    fire: list[int]
    margin: list[int]
    first: int = 0
    last_of_frame: int = 0
    frame: int = 0
    error: int = 0


def signed_lanes(packed: int, width: int, count: int) -> list[int]:
    values = [packed >> (k * width) & ((1 << width) - 1) for k in range(count)]
    return [value - (value >> (width - 1) << width) for value in values]


class VectorSource(Part):
    """Sends steps as a layer does: folds in order, and none without a place for it.

    Padding neurons of the last fold get margins that would win.

    Parameters:
        port: the receiver's vectors.
        plan: the layer.
        steps: what to send.
        slots: vectors that the receiver has places for; None: it takes them as they come.
        gaps: share of cycles without a vector.
    """

    def __init__(self, port, plan, steps: list[Step], *, slots: int | None = None, gaps: float = 0.0, seed: int = 0):
        self._port, self._plan, self._slots, self._gaps = port, plan, slots, gaps
        self._steps = list(steps)
        self._random = random.Random(seed)
        self._step: Step | None = None
        self._fold = self._waiting = 0
        self._sending = False
        self.last_vector_cycles: list[int] = []  # per step

    @property
    def done(self) -> bool:
        return self._step is None and not self._steps

    def next_step(self, ctx) -> Step | None:
        """The step to begin with now, if there is one."""
        return self._steps.pop(0) if self._steps else None

    def drive(self, ctx) -> None:
        may = self._random.random() >= self._gaps and self._waiting != self._slots
        if may and self._step is None:
            self._step = self.next_step(ctx)
        self._sending = may and self._step is not None
        ctx.set(self._port.valid, self._sending)
        if self._sending:
            ctx.set(self._port.payload, self._vector(self._step))

    def _vector(self, step: Step) -> dict[str, int]:
        plan, first = self._plan, self._fold * self._plan.pe
        here = range(first, min(first + plan.pe, plan.layer.outputs))
        greatest = (1 << plan.membrane_bits - 1) - 1
        values = [step.margin[j] for j in here] + [greatest] * (plan.pe - len(here))
        content = {name: getattr(step, name) for name in SAME_IN_A_STEP} | {
            "last_of_step": self._fold == plan.neuron_folds - 1,
            "fire": sum(step.fire[j] << k for k, j in enumerate(here)),
        }
        if plan.is_last:
            mask, bits = (1 << plan.membrane_bits) - 1, plan.membrane_bits
            content["fold"] = self._fold
            content["margin"] = sum((value & mask) << (k * bits) for k, value in enumerate(values))
        return content

    def look(self, ctx, cycle: int) -> None:
        if self._slots is not None:
            released = ctx.get(self._port.release)
            assert self._waiting or not released, "a place that is free has become free"
            self._waiting += self._sending - released
        if self._sending:
            self._fold += 1
            if self._fold == self._plan.neuron_folds:
                self.last_vector_cycles.append(cycle)
                self._step, self._fold = None, 0


class VectorSink(Part):
    """Puts vectors together to steps.

    Parameters:
        port: the sender's vectors.
        plan: the layer.
        expected: how many steps.
        slots: vectors that there are places for, each freed a while after it came; None: vectors are taken as they come.
        stalls: share of cycles in which no place is freed.
    """

    def __init__(self, port, plan, expected: int, *, slots: int | None = None, stalls: float = 0.0, seed: int = 0):
        self._port, self._plan, self._expected, self._slots, self._stalls = port, plan, expected, slots, stalls
        self._random = random.Random(seed + 2)
        self._vectors: list[dict] = []
        self._waiting = 0
        self._releasing = False
        self.steps: list[Step] = []
        self.vector_cycles: list[int] = []

    @property
    def done(self) -> bool:
        return len(self.steps) == self._expected

    def drive(self, ctx) -> None:
        self._releasing = self._slots is not None and self._waiting > 0 and self._random.random() >= self._stalls
        ctx.set(self._port.release, self._releasing)

    def look(self, ctx, cycle: int) -> None:
        valid = ctx.get(self._port.valid)
        self._waiting += valid - self._releasing
        if not valid:
            return
        vector = fields(ctx, self._port.payload)
        assert self._slots is None or self._waiting <= self._slots, f"no place for {vector}"
        assert not self.done, f"more than expected: {vector}"
        assert vector["fold"] == len(self._vectors)
        assert vector["last_of_step"] == (vector["fold"] == self._plan.neuron_folds - 1)
        self._vectors.append(vector)
        self.vector_cycles.append(cycle)
        if vector["last_of_step"]:
            self.steps.append(self._put_together())
            self._vectors = []

    def _put_together(self) -> Step:
        plan, vectors = self._plan, self._vectors
        same = {name: {vector[name] for vector in vectors} for name in SAME_IN_A_STEP}
        assert all(len(values) == 1 for values in same.values()), same
        fire = [vector["fire"] >> p & 1 for vector in vectors for p in range(plan.pe)]
        margin = [value for vector in vectors for value in signed_lanes(vector["margin"], plan.membrane_bits, plan.pe)]
        outputs = plan.layer.outputs
        assert not any(fire[outputs:]), "a neuron fires that does not exist"
        return Step(fire=fire[:outputs], margin=margin[:outputs], **{name: values.pop() for name, values in same.items()})
