"""Both ends of a row stream (see `hw.streams.rows`): what a layer sends when a step closes, and what its consumers do with it."""

import random
from dataclasses import dataclass

from tests.circuit import Part, fields


@dataclass
class Step:
    """One closed step of a layer: per neuron, whether it fires, and its margin."""

    time: int
    fire: list[int]
    margin: list[int]
    error: int = 0


def signed_lanes(packed: int, width: int, count: int) -> list[int]:
    values = [packed >> (k * width) & ((1 << width) - 1) for k in range(count)]
    return [value - (value >> (width - 1) << width) for value in values]


class RowSource(Part):
    """Sends steps as a layer does: groups in order, the next step after the release, and a row of its own where a frame is cut.

    Padding neurons of the last group get margins that would win.
    """

    def __init__(self, port, plan, frames: list[list[Step]], *, gaps: float = 0.0, seed: int = 0):
        self._port, self._plan, self._gaps = port, plan, gaps
        self._frames = list(frames)
        self._random = random.Random(seed)
        self._steps = list(frames[0])
        self._frame = self._group = 0
        self._pending = self._ended = self._cutting = False
        self.last_row_cycles: list[list[int]] = [[]]  # per frame and step

    @property
    def done(self) -> bool:
        return self._frame == len(self._frames)

    def drive(self, ctx) -> None:
        port, waits = self._port, self._random.random() < self._gaps
        sent_end = self._pending and self._ended
        if ctx.get(port.cancel) and not sent_end and not self.done:
            self._cutting, self._pending = True, False
        ctx.set(port.flush, self._cutting)
        ctx.set(port.valid, not (waits or self._pending or self.done))
        if waits or self._pending or self.done:
            return
        if self._cutting:
            last, time = True, self._random.randrange(self._plan.steps)
            self._group, self._ended = self._plan.groups - 1, True
            fire, margin, error = 0, self._random.getrandbits(len(port.payload.margin)), 0
        else:
            step, plan = self._steps[0], self._plan
            last, time, error = self._group == plan.groups - 1, step.time, step.error
            self._ended = len(self._steps) == 1
            here = range(self._group * plan.pe, min((self._group + 1) * plan.pe, plan.layer.outputs))
            fire = sum(step.fire[j] << k for k, j in enumerate(here))
            greatest = (1 << plan.margin_bits - 1) - 1
            values = [step.margin[j] for j in here] + [greatest] * (plan.pe - len(here))
            margin = sum((value & ((1 << plan.margin_bits) - 1)) << (k * plan.margin_bits) for k, value in enumerate(values))
        ctx.set(
            port.payload,
            {
                "time": time,
                "group": self._group,
                "last_of_step": last,
                "last_of_frame": self._ended,
                "error": error,
                "fire": fire,
                "margin": margin,
            },
        )

    def look(self, ctx, cycle: int) -> None:
        if ctx.get(self._port.release) and not self._cutting:  # where a frame is cut, there is nothing to wait for
            assert self._pending, "released what was not sent"
            self._pending = False
            if self._ended:
                self._next_frame()
        elif ctx.get(self._port.valid):
            self._group += 1
            if self._group == self._plan.groups:
                self._group, self._pending, self._cutting = 0, True, False
                self._steps = self._steps[1:]
                self.last_row_cycles[-1].append(cycle)

    def _next_frame(self) -> None:
        self._frame += 1
        if not self.done:
            self._steps = list(self._frames[self._frame])
            self.last_row_cycles.append([])


class RowSink(Part):
    """Gathers rows to steps, and releases each after a while; cancels frames in a share ``cancels`` of the cycles inside them."""

    def __init__(self, port, plan, expected: int, *, stalls: float = 0.0, cancels: float = 0.0, seed: int = 0):
        self._port, self._plan, self._expected, self._stalls, self._cancels = port, plan, expected, stalls, cancels
        self._random = random.Random(seed + 2)
        self._rows: list[dict] = []
        self._closed = self._releasing = self._cancelling = self._inside = False
        self.frames: list[list[Step]] = []
        self.cancelled: set[int] = set()
        self.row_cycles: list[int] = []
        self._frame_open = False

    @property
    def done(self) -> bool:
        return not self._frame_open and len(self.frames) == self._expected

    def drive(self, ctx) -> None:
        if self._inside and not self._cancelling and self._random.random() < self._cancels:
            self._cancelling = True
            self.cancelled.add(len(self.frames) - 1)
        self._releasing = self._closed and self._random.random() >= self._stalls
        ctx.set(self._port.release, self._releasing)
        ctx.set(self._port.cancel, self._cancelling)

    def look(self, ctx, cycle: int) -> None:
        valid = ctx.get(self._port.valid)
        if ctx.get(self._port.flush):
            self._rows = []
            if self._closed and not self._frame_ends:
                self._closed = self._releasing = False
        if self._releasing:
            self._closed, self._inside = False, not self._frame_ends
            if self._frame_ends:
                self._cancelling, self._frame_open = False, False
        if not valid:
            return
        assert not self._closed or self._releasing, "a row before the release"
        row = fields(ctx, self._port.payload)
        self.row_cycles.append(cycle)
        if not self._frame_open:
            assert len(self.frames) < self._expected, f"more frames than expected: {row}"
            self.frames.append([])
            self._frame_open = True
        if not self._cancelling:
            assert row["group"] == len(self._rows)
        assert row["last_of_step"] == (row["group"] == self._plan.groups - 1)
        self._rows.append(row)
        if row["last_of_step"]:
            if not self._cancelling:
                self.frames[-1].append(self._step(self._rows))
            self._rows, self._closed = [], True
            self._frame_ends = bool(row["last_of_frame"])

    def _step(self, rows: list[dict]) -> Step:
        plan = self._plan
        assert len({(row["time"], row["last_of_frame"]) for row in rows}) == 1
        fire = [row["fire"] >> p & 1 for row in rows for p in range(plan.pe)]
        margin = [value for row in rows for value in signed_lanes(row["margin"], plan.margin_bits, plan.pe)]
        assert not any(fire[plan.layer.outputs :]), "a neuron fires that does not exist"
        outputs = plan.layer.outputs
        return Step(rows[-1]["time"], fire[:outputs], margin[:outputs], rows[-1]["error"])
