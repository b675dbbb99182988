"""Harnesses of what the circuit shows on AXI: registers on AXI4-Lite, frames and results on AXI4-Stream."""

from collections.abc import Callable
from typing import Any, NamedTuple

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Cat, ClockSignal, Const, Cover, DomainRenamer, Fragment, Module, Mux, Signal, Value

from hw import Accelerator
from hw.buses.axi import ANSWER, LANES, AXIAccelerator, AXILiteBridge
from sim.proofs import symbolic
from sim.proofs.circuit import Size
from sim.proofs.parts import Harness
from sim.proofs.streams import hold, offer

BOUND = 2 * ANSWER + 2
"""Cycles from the offer of an access to its response, both included, where another access comes first."""


class Channel(NamedTuple):
    """A channel as the stream that it is."""

    payload: Value
    valid: Signal
    ready: Signal

    @property
    def taken(self) -> Value:
        return self.valid & self.ready

    @property
    def stalled(self) -> Value:
        return self.valid & ~self.ready


def channel(dut: Any, prefix: str, *names: str) -> Channel:
    """The channel of those ports that begin with ``prefix``."""
    return Channel(Cat(getattr(dut, prefix + name) for name in names), getattr(dut, f"{prefix}valid"), getattr(dut, f"{prefix}ready"))


class Lite:
    """An unconstrained AXI4-Lite manager within the protocol, and what that asks of a subordinate.

    Each response holds until it is taken, is OKAY, and comes behind its access, one for each; if nobody stalls it, it comes within `BOUND`
    cycles from when the access is offered.

    Attributes:
        aw, w, b, ar, r: channels.
    """

    def __init__(self, m: Module, dut: Any):
        self.aw, self.w = channel(dut, "s_axi_aw", "addr", "prot"), channel(dut, "s_axi_w", "data", "strb")
        self.ar = channel(dut, "s_axi_ar", "addr", "prot")
        self.b, self.r = channel(dut, "s_axi_b", "resp"), channel(dut, "s_axi_r", "data", "resp")
        for asks in (self.aw, self.w, self.ar):
            offer(m, asks)
        for answers in (self.b, self.r):
            m.d.comb += answers.ready.eq(AnySeq(1))
            hold(m, answers)
        m.d.comb += [Assert(~self.b.valid | (dut.s_axi_bresp == 0)), Assert(~self.r.valid | (dut.s_axi_rresp == 0))]
        stalled = self.b.stalled | self.r.stalled
        for name, asked, taken, answer in (
            ("write", self.aw.valid & self.w.valid, (self.aw.taken, self.w.taken), self.b),
            ("read", self.ar.valid, (self.ar.taken,), self.r),
        ):
            for k, one in enumerate(taken):
                due = Signal(2, name=f"{name}_{k}_due")
                m.d.sync += due.eq(due + one - answer.taken)
                m.d.comb += [Assert(~answer.valid | (due != 0)), Assert(due < 2)]
                asked = asked | (due != 0)
            waits = Signal(range(BOUND + 1), name=f"{name}_waits")
            m.d.sync += waits.eq(Mux(answer.taken | ~asked, 0, waits + ~stalled))
            m.d.comb += [Assert(waits != BOUND), Cover(answer.taken & (waits == ANSWER)), Cover(answer.taken & (waits == BOUND - 1))]


def bridge(make: Callable[[], Any] = AXILiteBridge) -> Harness:
    """Any accesses: the protocol of AXI4-Lite, and for each access its bytes on the bus, each once, before it is taken, and no others."""

    def fill(m: Module) -> None:
        m.submodules.dut = dut = make()
        lite, bus = Lite(m, dut), dut.bus
        lane, word = bus.addr[:2], bus.addr[2:]

        # Bytes are written that have a strobe.
        written = Signal(LANES)
        with m.If(bus.w_stb):
            m.d.sync += written.bit_select(lane, 1).eq(1)
            m.d.comb += [
                Assert(lite.aw.valid & lite.w.valid & (word == dut.s_axi_awaddr[2:])),
                Assert(dut.s_axi_wstrb.bit_select(lane, 1) & ~written.bit_select(lane, 1)),
                Assert(bus.w_data == dut.s_axi_wdata.word_select(lane, 8)),
            ]
        with m.If(lite.aw.taken):
            m.d.comb += [Assert(lite.w.taken), Assert(written == dut.s_axi_wstrb), Cover(written == 0b0110)]
            m.d.sync += written.eq(0)

        # All bytes are read; each comes a cycle later, with an arbitrary value.
        read, content, given = Signal(LANES), AnySeq(len(bus.r_data)), Signal(8 * LANES)
        m.d.sync += bus.r_data.eq(content)
        with m.If(bus.r_stb):
            m.d.sync += [read.bit_select(lane, 1).eq(1), given.word_select(lane, 8).eq(content)]
            m.d.comb += [
                Assert(lite.ar.valid & (word == dut.s_axi_araddr[2:])),
                Assert(~read.bit_select(lane, 1)),
            ]
        with m.If(lite.ar.taken):
            m.d.comb += Assert(read.all())
            m.d.sync += read.eq(0)
        with m.If(lite.r.valid):
            m.d.comb += [Assert(dut.s_axi_rdata == given), Cover(given == 0x5A5A00FF)]

    return Harness(fill)


def wrapper(size: Size, *, weights: str = "rom", make: Callable[[Accelerator], Any] = AXIAccelerator) -> Harness:
    """Arbitrary inputs on all ports, resets by software included, around an arbitrary accelerator.

    The protocols of AXI4-Lite and AXI4-Stream; every word reaches the accelerator and every result comes out, in order and as it was, but
    for what a reset forgets: words that wait, and the rest of a packet. ``tlast`` comes with every so many results. Where weights are
    loaded, words wait until they are, and every byte that is written to ``load`` reaches the loader.
    """

    def fill(m: Module) -> None:
        inside = symbolic.ArbitraryAccelerator(symbolic.network(size.shape, size.steps), size.folding, weights=weights)
        dut = make(inside)
        fragment = Fragment.get(dut, None)
        m.submodules.dut = DomainRenamer("axi")(fragment)
        (managed,) = (symbolic.component(part) for part, name, _ in fragment.subfragments if name == "managed")
        m.d.comb += [dut.aclk.eq(ClockSignal()), dut.aresetn.eq(1)]
        lite = Lite(m, dut)
        frames, results = channel(dut, "s_axis_t", "data", "last"), channel(dut, "m_axis_t", "data", "last")
        offer(m, frames)
        m.d.comb += results.ready.eq(AnySeq(1))
        hold(m, results)
        may_begin: Value = Const(1, 1)
        if weights == "loadable":
            may_begin = inside.loaded
            _bytes(m, dut, lite, inside.load)
        _words(m, dut, frames, inside.i, may_begin, managed.reset)
        _results(m, dut, results, inside.o, managed.reset, managed.values["packet"].results)

    return Harness(fill)


def _words(m: Module, dut: Any, frames: Channel, inside: Any, may_begin: Value, reset: Value) -> None:
    """What is taken on ``s_axis`` waits in two places, and comes to the accelerator in order, if it may."""
    word, places = Signal(inside.payload.shape()), [Signal(inside.payload.shape(), name=f"place_{k}") for k in range(2)]
    level, within, within_after, dropping = Signal(range(3)), Signal(), Signal(), Signal()
    m.d.comb += [word[name].eq(dut.s_axis_tdata[name]) for name, _ in word.shape() if name not in ("last_of_frame", "error")]
    m.d.comb += [
        word.last_of_frame.eq(dut.s_axis_tlast),
        word.error.eq(dut.s_axis_tdata.error | (dut.s_axis_tdata.last_of_frame != dut.s_axis_tlast)),
        within_after.eq(Mux(frames.taken, ~dut.s_axis_tlast, within)),
    ]
    enters, leaves = frames.taken & ~dropping, inside.valid & inside.ready
    m.d.sync += [within.eq(within_after), level.eq(Mux(reset, 0, level + enters - leaves))]
    with m.If(leaves):
        m.d.sync += places[0].eq(Mux(level == 2, places[1], word))
        m.d.sync += places[1].eq(word)
    with m.Elif(enters):
        m.d.sync += [places[1].eq(word)]
        with m.If(level == 0):
            m.d.sync += places[0].eq(word)
    with m.If(reset):
        m.d.sync += dropping.eq(within_after)
    with m.Elif(~within_after):
        m.d.sync += dropping.eq(0)
    m.d.comb += [
        Assert(frames.ready == (dropping | (level != 2))),
        Assert(inside.valid == ((level != 0) & may_begin)),
        Assert(~inside.valid | (Value.cast(inside.payload) == Value.cast(places[0]))),
        Cover(inside.valid & inside.payload.error & ~dut.s_axis_tdata.error & (level == 2)),
        Cover(dropping & frames.taken & dut.s_axis_tlast),
    ]


def _bytes(m: Module, dut: Any, lite: Lite, load: Any) -> None:
    """Each access to ``load`` that says ``write`` gives one byte, before its response comes, and nothing else does."""
    (address,) = (register.address for register in dut.registers if register.name == "load")
    came, content = Signal(), Signal(load.payload.shape())
    expected, kept = Signal(), Signal(load.payload.shape())
    whole = Signal()  # the access writes data and flags
    with m.If(load.valid & load.ready):
        m.d.sync += [came.eq(1), content.eq(load.payload)]
        m.d.comb += Assert(~came)
    with m.If(lite.aw.taken):
        m.d.sync += [
            expected.eq((dut.s_axi_awaddr[2:] == address >> 2) & dut.s_axi_wstrb[1] & dut.s_axi_wdata[8]),
            whole.eq(dut.s_axi_wstrb[0]),
            kept.data.eq(dut.s_axi_wdata),
            kept.first.eq(dut.s_axi_wdata[9]),
        ]
    with m.If(lite.b.valid):
        m.d.comb += Assert(came == expected)
        with m.If(came):
            m.d.comb += [Assert(content.first == kept.first), Assert(~whole | (content.data == kept.data)), Cover(kept.data == 0xA5)]
        with m.If(lite.b.ready):
            m.d.sync += came.eq(0)


def _results(m: Module, dut: Any, results: Channel, inside: Any, reset: Value, packet: Value) -> None:
    """What the accelerator gives is on ``m_axis`` in the next cycle; ``tlast`` is with the last of ``packet`` results."""
    due, content, ends = Signal(), Signal.like(Value.cast(inside.payload)), Signal()
    number = Signal(len(packet) + 1, init=1)  # of the next result in its packet
    gives = inside.valid & inside.ready
    with m.If(results.taken):
        m.d.sync += due.eq(0)
    with m.If(gives):
        m.d.sync += [due.eq(1), content.eq(Value.cast(inside.payload)), ends.eq(number == packet)]
        m.d.sync += number.eq(Mux((number == packet) | number[-1], 1, number + 1))
    with m.If(reset):
        m.d.sync += number.eq(1)
    m.d.comb += [
        Assert(inside.ready == ~results.stalled),
        Assert(results.valid == due),
        Assert(~due | (Value.cast(dut.m_axis_tdata) == content)),
        Assert(~due | (dut.m_axis_tlast == ends)),
        Cover(due & ~ends & (packet == 2)),
        Cover(due & reset),
    ]
