"""Harness of what the circuit shows on Wishbone: registers, frames that are written, results that are read."""

from collections.abc import Callable
from typing import Any

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cat, Cover, Fragment, Module, Mux, Signal, Value

from hw.buses.frame_window import LANES
from hw.buses.wishbone import WishboneAccelerator
from sim.proofs import symbolic
from sim.proofs.circuit import Size
from sim.proofs.parts import Harness

REGISTER_CYCLES, FRAME_CYCLES = 6, 2
"""Of an access, from when it is asked for to its ack, both included."""
ROOM = 2
"""Words, and results, that can wait in the circuit that is looked at."""


class Bus:
    """An unconstrained Wishbone master within the protocol of classic cycles: an access stays until it is acknowledged.

    Attributes:
        asks: an access is under way.
        acked: it ends in this cycle.
        age: cycles in which it has been asked for before.
        frames: it is one to a frame, not to a register.
    """

    def __init__(self, m: Module, bus: Any):
        self.asks, self.acked, self.frames = Signal(name="asks"), Signal(name="acked"), bus.adr[-1]
        self.age = Signal(range(REGISTER_CYCLES), name="age")
        waits = Signal(name="access_waits")
        asked = Cat(bus.cyc, bus.stb, bus.we, bus.sel, bus.adr, bus.dat_w)
        before = Signal(len(asked), name="asked_before")
        m.d.sync += [waits.eq(self.asks & ~bus.ack), before.eq(asked)]
        m.d.comb += [
            asked.eq(Mux(waits, before, AnySeq(len(asked)))),
            self.asks.eq(bus.cyc & bus.stb),
            self.acked.eq(self.asks & bus.ack),
        ]
        with m.If(self.acked | ~self.asks):
            m.d.sync += self.age.eq(0)
        with m.Elif(self.age != REGISTER_CYCLES - 1):
            m.d.sync += self.age.eq(self.age + 1)


def wrapper(size: Size, make: Callable[..., Any] = WishboneAccelerator) -> Harness:
    """Arbitrary accesses, resets by software included, around an arbitrary accelerator for spike words.

    There is an ack for each access and no other, after six cycles among the registers, and after two in frames, if it has not to wait for
    room. Of any one word that is written and finds room: it reaches the accelerator, behind those before it, and tells if words were lost.
    Of any one result: reading the register ``result`` shows it, behind those before it, and takes it.
    """

    def fill(m: Module) -> None:
        inside = symbolic.ArbitraryAccelerator(symbolic.network(size.shape, size.steps), size.folding)
        dut = make(inside, room=ROOM, results=ROOM)
        fragment = Fragment.get(dut, None)
        m.submodules.dut = fragment
        parts = {name: symbolic.component(part) for part, name, _ in fragment.subfragments if name in ("managed", "window")}
        managed, window = parts["managed"], parts["window"]
        bus, access = dut.bus, Bus(m, dut.bus)
        stays = Signal()  # what is written waits for room
        m.d.sync += stays.eq(bus.we & bus.sel.any() & managed.values["waiting"].wait & (window.room == 0))
        expected = Mux(access.frames, (access.age >= FRAME_CYCLES - 1) & ~stays, access.age == REGISTER_CYCLES - 1)
        m.d.comb += [
            Assert(bus.ack == (access.asks & expected)),
            Cover(access.acked & access.frames & (access.age == REGISTER_CYCLES - 1)),
            Cover(access.acked & ~access.frames),
        ]
        _words(m, bus, access, inside.i, managed)
        _results(m, dut, access, inside.o, managed.reset)

    return Harness(fill)


def _words(m: Module, bus: Any, access: Bus, inside: Any, managed: Any) -> None:
    """Any word that is written to a frame and not lost."""
    shape = inside.payload.shape()
    written = Cat(bus.dat_w.word_select(lane, 8) & bus.sel[lane].replicate(8) for lane in range(LANES))
    word = Signal(shape)
    lowest: Value = written
    for lane in reversed(range(LANES)):
        lowest = Mux(bus.sel[lane], written[8 * lane :], lowest)
    outside = Signal(shape)
    last, missing, lost = bus.adr[-2], Signal(), Signal()
    m.d.comb += [Value.cast(outside).eq(lowest), word.eq(outside), word.last_of_frame.eq(last)]
    m.d.comb += word.error.eq(outside.error | (outside.last_of_frame != last) | missing)
    level, there, chosen, ahead = Signal(range(ROOM + 1)), Signal(), Signal(shape), Signal(range(ROOM + 1))
    writes = access.asks & access.frames & bus.we & bus.sel.any() & ~bus.ack  # in the cycle before its ack
    enters, leaves = writes & (level != ROOM), inside.valid & inside.ready
    m.d.sync += level.eq(level + enters - leaves)
    with m.If(enters):
        m.d.sync += missing.eq(0)
    with m.Elif(writes & ~managed.values["waiting"].wait):
        m.d.sync += [missing.eq(1), lost.eq(1)]
    with m.If(enters & AnySeq(1) & ~there):
        m.d.sync += [there.eq(1), chosen.eq(word), ahead.eq(level - leaves)]
    with m.Elif(leaves):
        m.d.sync += ahead.eq(ahead - 1)
    with m.If(there & (ahead == 0) & inside.valid):
        m.d.comb += [
            Assert(Value.cast(inside.payload) == Value.cast(chosen)),
            Cover(inside.payload.error & (inside.payload.time == 1) & lost),
        ]
        with m.If(leaves):
            m.d.sync += there.eq(0)
    waits = Signal(2)
    m.d.sync += waits.eq(Mux((level == 0) | inside.valid, 0, waits + 1))
    m.d.comb += [
        Assert(managed.values["queues"].lost == lost),
        Assert(managed.values["queues"].room == ROOM - level),
        Assert(~inside.valid | (level != 0)),
        Assert(waits != 2),
    ]
    with m.If(managed.reset):
        m.d.sync += [level.eq(0), there.eq(0), missing.eq(0), lost.eq(0), waits.eq(0)]


def _results(m: Module, dut: Any, access: Bus, inside: Any, reset: Value) -> None:
    """Any result that the accelerator gives."""
    bus, (register,) = dut.bus, (register for register in dut.registers if register.name == "result")
    reads = access.asks & ~bus.we & (bus.adr == register.address >> 2) & bus.sel[0]
    with m.If(reads):
        m.d.comb += Assume(bus.sel.all())  # it is read as a whole
    shown = register.layout(bus.dat_r[: register.layout.size])
    content, chosen = Value.cast(inside.payload), Signal(len(Value.cast(inside.payload)))
    level, ahead = Signal(range(ROOM + 2)), Signal(range(ROOM + 2))  # given and not shown yet; those of them before the chosen one
    there, rests = Signal(), Signal(2)  # the chosen one, for so many cycles
    entered, waited = Signal(), Signal()  # in the cycle before; before the access that is under way
    enters, leaves = inside.valid & inside.ready, reads & access.acked & shown.valid
    m.d.sync += [entered.eq(enters), level.eq(level + enters - leaves), rests.eq(Mux(rests == 3, 3, rests + 1))]
    with m.If(access.age == 0):
        m.d.sync += waited.eq(there & (rests == 3))
    with m.If(enters & AnySeq(1) & ~there):
        m.d.sync += [there.eq(1), chosen.eq(content), ahead.eq(level - leaves), rests.eq(0)]
    with m.Elif(leaves):
        m.d.sync += ahead.eq(ahead - 1)
    with m.If(leaves & there & (ahead == 0)):
        m.d.sync += there.eq(0)
        m.d.comb += [Assert(Value.cast(shown)[: len(content)] == chosen), Cover(level == ROOM)]
    m.d.comb += [
        Assert(~leaves | (level != 0)),
        Assert(inside.ready | (level >= ROOM) | entered),
        Assert(~dut.interrupt | (level != 0)),
        Assert(dut.interrupt | ~there | (rests != 3) | reads),
    ]
    with m.If(reads & access.acked & waited):
        m.d.comb += Assert(shown.valid)
    with m.If(reset):
        m.d.sync += [level.eq(0), there.eq(0)]
