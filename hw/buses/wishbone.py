"""An accelerator for Wishbone: frames written, results read, and registers, on one bus of 32 bits."""

from amaranth.hdl import ClockDomain, Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from export import UserError
from hw.buses.frame_window import LANES, UNIT, FrameWindow, Gather, Split, splits
from hw.buses.managed import ManagedAccelerator, Wrapper, input_payload, outside_layout
from hw.buses.registers import ADDRESS_BITS, Register, result_payload
from hw.buses.soc import WishboneCSRBridge, wishbone
from hw.core.accelerator import Accelerator

DATA, LAST = 1 << ADDRESS_BITS, 3 << ADDRESS_BITS - 1
"""Where frames are written: all but the last word, and the last."""
BUS = wishbone.Signature(addr_width=ADDRESS_BITS + 1 - 2, data_width=UNIT, granularity=8)
PORTS = {
    "wb_adr_i": "adr",
    "wb_dat_i": "dat_w",
    "wb_dat_o": "dat_r",
    "wb_sel_i": "sel",
    "wb_cyc_i": "cyc",
    "wb_stb_i": "stb",
    "wb_we_i": "we",
    "wb_ack_o": "ack",
}
"""What the Wishbone specification calls the signals of a bus."""


class WishboneAccelerator(wiring.Component):
    """An accelerator as a peripheral for amaranth-soc: a classic Wishbone bus of 32 bits, with bytes selected, and a memory map.

    The registers are in the first 4 KiB, in which an access takes six cycles; the next 4 KiB are a `FrameWindow`, in which it takes two.
    Words of a frame are written to `DATA`, the last one to `LAST`, in any place of 2 KiB each. A word holds four pixels, the first in the
    lowest byte, or fewer where fewer bytes are written; or 32 bits of a spike word, lowest first. Its ``last_of_frame`` must be 1 where the
    last bits go to `LAST`, and else 0, or the result has ``error``. Results wait in a queue, from which register ``result`` reads.

    Parameters:
        accelerator: with one input stream.
        room: words that wait to be taken.
        results: that wait to be read, at most 255.

    Members:
        bus: Wishbone, see `amaranth_soc.wishbone`.
        interrupt: a result waits.

    Raises:
        UserError: the accelerator has several input streams, or takes a number of pixels at once that is not 1, 2 or a multiple of 4;
            ``room`` is less than 2 or above 32767.
    """

    def __init__(self, accelerator: Accelerator, *, room: int = 256, results: int = 16):
        if not 2 <= room < 1 << 15:
            raise UserError(f"room must be from 2 to {(1 << 15) - 1} words, not {room}")
        self.accelerator, self._results = accelerator, results
        frame = input_payload(accelerator)
        Unpack = Split if splits(frame) else Gather
        queues = {"room": 16, "results": 8, "lost": 1}
        shown = {**result_payload(accelerator).members, "valid": 1}
        extra = (
            Register("waiting", 0x14, "rw", {"wait": 1}, "a word that finds no room waits, and the bus with it (1), or is lost (0)", 0),
            Register("queues", 0x18, "r", queues, "room for words; results that wait; whether a word was lost"),
            Register("result", 0x50, "r", shown, "the next result, if there is one (valid); reading it takes it"),
        )
        self._managed = managed = ManagedAccelerator(accelerator, extra)
        fields = {f"pixel_{lane}": 8 for lane in range(LANES)} if Unpack is Split else dict(outside_layout(frame).members)
        self.registers = (
            *managed.registers,
            Register("data", DATA, "w", fields, "a word of a frame, but for the last"),
            Register("last", LAST, "w", fields, "the last word of a frame"),
        )
        self._window = FrameWindow(room)
        self._unpack = Unpack(frame)
        self._bridge = WishboneCSRBridge(managed.bus, data_width=UNIT)
        self._decoder = wishbone.Decoder(addr_width=BUS.addr_width, data_width=BUS.data_width, granularity=BUS.granularity)
        self._decoder.add(self._bridge.wb_bus, name=("registers",), addr=0)
        self._decoder.add(self._window.bus, name=("frames",), addr=DATA)
        super().__init__({"bus": In(BUS), "interrupt": Out(1)})
        self.bus.memory_map = self._decoder.bus.memory_map

    def elaborate(self, platform):
        m = Module()
        m.submodules.managed = managed = self._managed
        m.submodules.decoder = self._decoder
        m.submodules.bridge = self._bridge
        m.submodules.window = ResetInserter(managed.reset)(self._window)
        m.submodules.unpack = ResetInserter(managed.reset)(self._unpack)
        results = SyncFIFOBuffered(width=managed.o.payload.shape().size, depth=self._results)
        m.submodules.results = ResetInserter(managed.reset)(results)
        connect(m, flipped(self.bus), self._decoder.bus)
        connect(m, self._window.o, self._unpack.i)
        connect(m, self._unpack.o, managed.i)
        content = managed.o.payload.shape()(results.r_data)
        waiting, queues, shown = (managed.values[name] for name in ("waiting", "queues", "result"))
        m.d.comb += [
            self._window.wait.eq(waiting.wait),
            queues.room.eq(self._window.room),
            queues.lost.eq(self._window.lost),
            queues.results.eq(results.level),
            results.w_data.eq(managed.o.payload),
            results.w_en.eq(managed.o.valid),
            managed.o.ready.eq(results.w_rdy),
            results.r_en.eq(managed.fields["result"].valid.r_stb),
            shown.valid.eq(results.r_rdy),
            *(shown[name].eq(content[name]) for name, _ in content.shape()),
            self.interrupt.eq(results.r_rdy),
        ]
        return m


class WishboneTop(Wrapper):
    """A `WishboneAccelerator` with ports under the names of the Wishbone specification.

    Parameters:
        accelerator: with one input stream.

    Members:
        wb_clk_i, wb_rst_i: clock; reset, synchronous.
        wb_…: the bus; ``wb_adr_i`` counts words of 32 bits.
        interrupt_o: a result waits.

    Raises:
        UserError: as for `WishboneAccelerator`.
    """

    name = "accelerator_wishbone"

    def __init__(self, accelerator: Accelerator):
        self._inside = inside = WishboneAccelerator(accelerator)
        self.accelerator, self.registers = accelerator, inside.registers
        bus = {port: BUS.members[name].flip() for port, name in PORTS.items()}
        super().__init__({"wb_clk_i": In(1), "wb_rst_i": In(1), **bus, "interrupt_o": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain()
        domain.clk = self.wb_clk_i
        m.submodules.peripheral = inside = self._inside
        m.d.comb += [domain.rst.eq(self.wb_rst_i), self.interrupt_o.eq(inside.interrupt)]
        for port, name in PORTS.items():
            if port.endswith("_i"):
                m.d.comb += getattr(inside.bus, name).eq(getattr(self, port))
            else:
                m.d.comb += getattr(self, port).eq(getattr(inside.bus, name))
        return m
