"""Runs circuits in Amaranth's own simulator, with parts that drive and watch their ports cycle by cycle."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from amaranth.hdl import Assert, ClockDomain, Fragment, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from tests.hostile import HostilePlatform
from tests.payloads import Payload

IDLE_CYCLES = 12  # watched after the last expected event: nothing more may come


class Part:
    """Something at a port. Every cycle, all parts `drive`, in order; then the cycle's signals are settled, and all parts `look`."""

    done = True  # nothing more is expected

    def drive(self, ctx) -> None:
        pass

    def look(self, ctx, cycle: int) -> None:
        pass


class Source(Part):
    """Sends frames over a stream, back to back; where it is cancelled, it goes to the frame's last word.

    Parameters:
        stream: the receiver's port.
        frames: payloads, one list per frame.
        gaps: share of cycles without a word.
        cancel: the receiver's cancel, if it has one.
        after: a part that must be done before.
    """

    def __init__(self, stream, frames: list[list[Payload]], *, gaps: float = 0.0, cancel=None, after: Part | None = None, seed: int = 0):
        self._stream, self._frames, self._gaps, self._cancel, self._after = stream, frames, gaps, cancel, after
        self._random = random.Random(seed)
        self._frame = self._at = 0
        self._offered = self._closing = False
        self.first_cycles: list[int] = []  # per frame, when its first word was taken
        self.last_cycles: list[int] = []

    @property
    def done(self) -> bool:
        return self._frame == len(self._frames)

    def drive(self, ctx) -> None:
        may = self._after is None or self._after.done
        if may and not self._offered and not self.done and self._random.random() >= self._gaps:
            self._offered = True
            payload = self._frames[self._frame][self._at]
            if self._closing:
                payload = payload | {"bits": 0, "last_of_step": 1, "last_of_frame": 1}
            ctx.set(self._stream.payload, payload)
        ctx.set(self._stream.valid, self._offered)

    def look(self, ctx, cycle: int) -> None:
        if not (self._offered and ctx.get(self._stream.ready)):
            return
        self._offered = False
        if self._at == 0:
            self.first_cycles.append(cycle)
        if self._closing or self._at == len(self._frames[self._frame]) - 1:
            self.last_cycles.append(cycle)
            self._frame, self._at, self._closing = self._frame + 1, 0, False
        else:
            self._at += 1
            self._closing = self._cancel is not None and bool(ctx.get(self._cancel))


class Sink(Part):
    """Takes payloads from a stream.

    Parameters:
        stream: the sender's port.
        expected: how many payloads, or with ``ends``, how many with that flag.
        stalls: share of cycles in which it takes none.
        ends: a flag that ends a frame; payloads are then kept per frame.
        cancel: the sender's cancel, used in a share ``cancels`` of the cycles inside frames, to the frame's end.
    """

    def __init__(self, stream, expected: int, *, stalls: float = 0.0, ends: str = "", cancel=None, cancels: float = 0.0, seed: int = 0):
        self._stream, self._expected, self._stalls, self._ends = stream, expected, stalls, ends
        self._cancel, self._cancels = cancel, cancels
        self._random = random.Random(seed + 1)
        self._seen = self._cancelling = self._inside = False
        self.received: list[Any] = [[]] if ends else []
        self.cycles: list[int] = []  # per payload, when it was there first
        self.cancelled: set[int] = set()  # frames
        self.ended = 0

    @property
    def done(self) -> bool:
        return self.ended == self._expected

    def drive(self, ctx) -> None:
        if self._inside and not self._cancelling and self._random.random() < self._cancels:
            self._cancelling = True
            self.cancelled.add(self.ended)
        if self._cancel is not None:
            ctx.set(self._cancel, self._cancelling)
        ctx.set(self._stream.ready, self._cancelling or self._random.random() >= self._stalls)

    def look(self, ctx, cycle: int) -> None:
        if not ctx.get(self._stream.valid):
            return
        if not self._seen:
            self.cycles.append(cycle)
        self._seen = self._inside = True
        if not ctx.get(self._stream.ready):
            return
        self._seen = False
        payload = fields(ctx, self._stream.payload)
        assert self.ended < self._expected, f"more than expected: {payload}"
        if not self._ends:
            self.received.append(payload)
            self.ended += 1
            return
        self.received[-1].append(payload | {"dropped": self._cancelling})
        if payload[self._ends]:
            self.ended += 1
            self._inside = self._cancelling = False
            if self.ended < self._expected:
                self.received.append([])


class HoldsUntilTaken(wiring.Component):
    """Fails the simulation where a stream takes back, or changes, what it offered and nobody took.

    Parameters:
        streams: called when this component is elaborated, which is after the circuit that has the streams.
    """

    def __init__(self, streams: Callable[[], Iterable]):
        self._streams = streams
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        for stream in self._streams():
            waiting = Signal()
            before = Signal(len(stream.payload.as_value()))
            m.d.sync += [waiting.eq(stream.valid & ~stream.ready), before.eq(stream.payload)]
            with m.If(waiting):
                m.d.sync += Assert(stream.valid & (stream.payload.as_value() == before))
        return m


def fields(ctx, payload) -> Payload:
    """A payload's fields by name."""
    value = ctx.get(payload)
    return {name: getattr(value, name) for name, _ in payload.shape()}


def run(dut, start: Callable[[], list], **options) -> list:
    """The parts of one run of `runs`."""
    (parts,) = runs(dut, [start], **options)
    return parts


def runs(
    dut,
    starts: Iterable[Callable[[], list]],
    *,
    watch: Callable[[], Iterable] = list,
    reset_at: int | None = None,
    limit: int = 20_000,
) -> Iterator[list]:
    """Simulate until all parts are done, and `IDLE_CYCLES` more; once for each of ``starts``, from power-up.

    Parameters:
        dut: the circuit, which is built once.
        starts: make the parts. They are called again after a reset: what was seen before is forgotten.
        watch: streams that must hold their payload (see `HoldsUntilTaken`).
        reset_at: a cycle in which the circuit is reset.

    Yields:
        the parts.
    """
    reset = Signal()
    m = Module()
    m.domains.sync = ClockDomain()
    m.submodules.dut = ResetInserter(reset)(dut)
    m.submodules.holds = ResetInserter(reset)(HoldsUntilTaken(watch))

    async def bench(ctx):
        nonlocal parts
        port = _Port(ctx)
        idle = 0
        for cycle in range(limit):
            port.set(reset, cycle == reset_at)
            if cycle == reset_at:
                parts = start()
            else:
                for part in parts:
                    part.drive(port)
                for part in parts:
                    part.look(ctx, cycle)
                idle = idle + 1 if all(part.done for part in parts) else 0
                if idle > IDLE_CYCLES and (reset_at is None or cycle > reset_at):
                    return
            await ctx.tick()
        raise AssertionError(f"no end in sight after {limit} cycles")

    simulator = Simulator(Fragment.get(m, HostilePlatform()))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    for number, start in enumerate(starts):
        if number:
            simulator.reset()
        parts = start()
        simulator.run()
        yield parts


class _Port:
    """Sets signals, which settles the circuit each time, only where they change."""

    def __init__(self, ctx):
        self._ctx, self._values = ctx, {}

    def set(self, signal, value) -> None:
        _, before = self._values.get(id(signal), (signal, self))
        if before != value:
            self._values[id(signal)] = signal, value  # the signal is kept, so that no other one gets its identity
            self._ctx.set(signal, value)

    def get(self, signal):
        return self._ctx.get(signal)


def settle(m: Module, bench: Callable) -> None:
    """Run ``bench(set, get)`` on a combinational circuit."""
    simulator = Simulator(m)

    async def testbench(ctx):
        bench(ctx.set, ctx.get)

    simulator.add_testbench(testbench)
    simulator.run()


def run_benches(dut, *benches: Callable, background: Iterable[Callable] = ()) -> None:
    """Run test benches on a clocked circuit until all of them are done, and others beside them as long."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    simulator.run()
