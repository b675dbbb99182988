"""An accelerator for AXI: frames in and results out over AXI4-Stream, registers over AXI4-Lite."""

from typing import Any

from amaranth.hdl import Cat, ClockDomain, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect

from hw.buses.managed import ManagedAccelerator, Wrapper, assemble, outside_layout
from hw.buses.registers import ADDRESS_BITS, BUS, Register
from hw.core.accelerator import Accelerator

LANES = 4
"""Bytes of a register word."""
ANSWER = LANES + 2
"""Cycles from the one in which an access is offered to the one in which its response is."""


class AXIAccelerator(Wrapper):
    """An accelerator with AXI interfaces under their usual names, so that vendors' tools find them.

    No output depends on an input within a cycle. The input takes a transfer per cycle, if the accelerator does, and passes it on in the
    next; a result is on the output one cycle after the accelerator gives it. A register answers `ANSWER` cycles after it is asked.

    A packet on ``s_axis`` is a frame, and gives one result. ``tdata`` holds the accelerator's payload: pixels, or a spike word whose
    ``last_of_frame`` must be what ``tlast`` is, or its frame's result has ``error``. ``m_axis_tdata`` holds a result. Both have 1, 2, 4,
    8 … bytes, as stream infrastructure likes them; what is beyond the payload is ignored, and 0.

    A write to the ``reset`` register forgets all frames, and the rest of a packet that is coming in as well. A result that is on offer on
    ``m_axis`` stays there, as the protocol wants it; only ``aresetn`` takes it away.

    Parameters:
        accelerator: with one input stream.

    Members:
        aclk, aresetn: clock; reset, active low, synchronous.
        s_axis_…: frames.
        m_axis_…: results.
        s_axi_…: registers (AXI4-Lite, 32 bits).

    Raises:
        UserError: the accelerator has several input streams.
    """

    name, clock, reset = "accelerator_axi", "aclk", "aresetn"

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        about = "results in a packet on m_axis, the last of which has tlast; 0: none has"
        packet = Register("packet", 0x14, "rw", {"results": 16}, about, 1)
        self._managed = ManagedAccelerator(accelerator, (packet,))
        self._bridge = AXILiteBridge()
        self.registers = self._managed.registers
        frame, result = (outside_layout(self._managed.i.payload.shape()), self._managed.o.payload.shape())
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                **_stream("s_axis", In, padded(frame)),
                **_stream("m_axis", Out, padded(result)),
                **{name: member for name, member in self._bridge.signature.members.items() if name != "bus"},
            }
        )
        self.aclk.attrs["X_INTERFACE_INFO"] = "xilinx.com:signal:clock:1.0 aclk CLK"
        self.aclk.attrs["X_INTERFACE_PARAMETER"] = "ASSOCIATED_BUSIF s_axis:m_axis:s_axi, ASSOCIATED_RESET aresetn"
        self.aresetn.attrs["X_INTERFACE_INFO"] = "xilinx.com:signal:reset:1.0 aresetn RST"
        self.aresetn.attrs["X_INTERFACE_PARAMETER"] = "POLARITY ACTIVE_LOW"

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain()
        domain.clk = self.aclk
        m.d.comb += domain.rst.eq(~self.aresetn)
        m.submodules.managed = managed = self._managed
        m.submodules.bridge = bridge = self._bridge
        connect(m, bridge.bus, managed.bus)
        for name, member in bridge.signature.members.items():
            if name != "bus":
                inside, outside = getattr(bridge, name), getattr(self, name)
                m.d.comb += outside.eq(inside) if member.flow is Out else inside.eq(outside)
        self._input(m, managed)
        self._output(m, managed)
        return m

    def _input(self, m: Module, managed: ManagedAccelerator) -> None:
        """Frames, through a queue that keeps ``tready`` apart from what the accelerator does."""
        payload = managed.i.payload.shape()
        taken = Signal()
        draining = Signal()
        inside = Signal()  # of a packet
        inside_after = Signal()  # of a packet, after this transfer
        word = Signal(payload)
        m.submodules.queue = queue = ResetInserter(managed.reset)(SyncFIFO(width=payload.size, depth=2))
        m.d.comb += [
            *assemble(word, self.s_axis_tdata, self.s_axis_tlast),
            self.s_axis_tready.eq(queue.w_rdy),  # high while the rest of a packet is dropped, too, since the queue is empty then
            taken.eq(self.s_axis_tvalid & self.s_axis_tready),
            queue.w_data.eq(word),
            queue.w_en.eq(taken & ~draining),
            managed.i.valid.eq(queue.r_rdy),
            managed.i.payload.eq(queue.r_data),
            queue.r_en.eq(managed.i.ready),
            inside_after.eq(Mux(taken, ~self.s_axis_tlast, inside)),
        ]
        m.d.sync += inside.eq(inside_after)
        with m.If(managed.reset):
            m.d.sync += draining.eq(inside_after)
        with m.Elif(~inside_after):
            m.d.sync += draining.eq(0)

    def _output(self, m: Module, managed: ManagedAccelerator) -> None:
        """Results, through a register that a write to ``reset`` leaves alone."""
        place = Signal(16)  # of the next result in its packet
        ends = Signal()
        m.d.comb += [
            managed.o.ready.eq(~self.m_axis_tvalid | self.m_axis_tready),
            ends.eq(place + 1 == managed.values["packet"].results),
        ]
        with m.If(self.m_axis_tready):
            m.d.sync += self.m_axis_tvalid.eq(0)
        with m.If(managed.o.valid & managed.o.ready):
            m.d.sync += [
                self.m_axis_tvalid.eq(1),
                self.m_axis_tlast.eq(ends),
                place.eq(Mux(ends, 0, place + 1)),
                *(self.m_axis_tdata[name].eq(managed.o.payload[name]) for name, _ in managed.o.payload.shape()),
            ]
        with m.If(managed.reset):
            m.d.sync += place.eq(0)


class AXILiteBridge(wiring.Component):
    """AXI4-Lite accesses of 32 bits as byte accesses on a CSR bus. All are answered with OKAY; ``prot`` is ignored.

    A response comes `ANSWER` cycles after the address (and data) are offered; when it is taken, the next access begins a cycle later. Reads
    and writes that wait together take turns.

    Members:
        s_axi_…: AXI4-Lite.
        bus: CSR bus.
    """

    def __init__(self):
        address = {"addr": ADDRESS_BITS, "prot": 3}
        super().__init__(
            {
                **_channel("s_axi_aw", In, address),
                **_channel("s_axi_w", In, {"data": 8 * LANES, "strb": LANES}),
                **_channel("s_axi_b", Out, {"resp": 2}),
                **_channel("s_axi_ar", In, address),
                **_channel("s_axi_r", Out, {"data": 8 * LANES, "resp": 2}),
                "bus": Out(BUS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lane = Signal(range(LANES))
        writing = Signal()  # this access, or the one before
        m.d.comb += [
            self.bus.addr.eq(Cat(lane, Mux(writing, self.s_axi_awaddr[2:], self.s_axi_araddr[2:]))),
            self.bus.w_data.eq(self.s_axi_wdata.word_select(lane, 8)),
            self.s_axi_wready.eq(self.s_axi_awready),
        ]
        # What is offered holds until it is taken, so it is worked on first, and taken then.
        with m.FSM():
            with m.State("idle"):
                write_waits = self.s_axi_awvalid & self.s_axi_wvalid
                with m.If(write_waits | self.s_axi_arvalid):
                    m.d.sync += writing.eq(write_waits & ~(writing & self.s_axi_arvalid))
                    m.next = "access"
            with m.State("access"):
                m.d.comb += [self.bus.w_stb.eq(writing & self.s_axi_wstrb.bit_select(lane, 1)), self.bus.r_stb.eq(~writing)]
                m.d.sync += lane.eq(lane + 1)
                with m.If(lane == LANES - 1):
                    m.next = "take"
            with m.State("take"):
                m.d.comb += [self.s_axi_awready.eq(writing), self.s_axi_arready.eq(~writing)]
                m.next = "respond"
            with m.State("respond"):
                m.d.comb += [self.s_axi_bvalid.eq(writing), self.s_axi_rvalid.eq(~writing)]
                with m.If(Mux(writing, self.s_axi_bready, self.s_axi_rready)):
                    m.next = "idle"
        read_lane = Signal.like(lane)  # a byte comes one cycle after it was asked for
        reading = Signal()
        m.d.sync += [read_lane.eq(lane), reading.eq(self.bus.r_stb)]
        with m.If(reading):
            m.d.sync += self.s_axi_rdata.word_select(read_lane, 8).eq(self.bus.r_data)
        return m


def padded(packed: data.StructLayout) -> data.FlexibleLayout:
    """The same fields in 1, 2, 4, 8 … bytes."""
    return data.FlexibleLayout(8 << (-(-packed.size // 8) - 1).bit_length(), dict(packed))


def _stream(prefix: str, flow: Any, tdata: data.Layout) -> dict[str, Any]:
    back = Out if flow is In else In
    return {
        f"{prefix}_tdata": flow(tdata),
        f"{prefix}_tvalid": flow(1),
        f"{prefix}_tready": back(1),
        f"{prefix}_tlast": flow(1),
    }


def _channel(prefix: str, flow: Any, payload: dict[str, int]) -> dict[str, Any]:
    back = Out if flow is In else In
    members = {f"{prefix}{name}": flow(width) for name, width in payload.items()}
    return {**members, f"{prefix}valid": flow(1), f"{prefix}ready": back(1)}
