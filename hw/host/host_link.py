"""The packet protocol of `hw.host.packets`, on the circuit's side."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.core.memories import NO_READ_WRITE_CHECK
from hw.core.words import bits_for
from hw.encoder.encoder import pixel_layout
from hw.host.packets import CRC_POLYNOMIAL, CRC_SIZE, MAGIC, Error, Request
from hw.host.recorder import PART
from hw.host.uart import BYTES
from hw.loading.loader import LOAD

DIGEST_SIZE = CRC_SIZE
"""Bytes at the start of an info that say what is loaded: the checksum of the last load's packet; zeros before the first."""
LENGTH_SIZE = 2
"""Bytes behind it that give the length of the rest, least significant first."""
TIMEOUT_BITS = 22
"""A packet is given up when for 2 to the power of this cycles none of its bytes came, and a frame when it gives no result for as long."""


def info_content(info: bytes) -> bytes:
    """The body of the answer to an info, with a digest of zeros."""
    return bytes(DIGEST_SIZE) + len(info).to_bytes(LENGTH_SIZE, "little") + info


class HostLink(wiring.Component):
    """Serves one request at a time; what comes meanwhile is dropped.

    A byte must be offered for eight cycles, in which its bits pass through the checksum; ten cycles suffice for the next. Anything but a
    packet is skipped, up to the next `MAGIC`. Where a packet is given up, is wrong, or gets no result, ``reset`` is high for a cycle, and
    nothing of it remains.

    Parameters:
        pixels: per frame.
        result: layout of a result.
        info: the circuit's description (`hw.host.hosted.describe`).
        loadable: the host loads the weights.
        timeout_bits: see `TIMEOUT_BITS`.

    Members:
        i, o: bytes from and to the host.
        early: mode of the frame that is under way.
        pixels: of frames.
        result: of frames; taken when it has been sent.
        record: high for a cycle before a frame: what layers emit is to be kept.
        send: high while what was kept is taken from ``spikes``.
        spikes: bytes.
        load: (only if loadable) content of memories.
        load_ends: (only if loadable) the byte that is offered is the last.
        reset: forget the frame, or load, that is under way.
    """

    def __init__(self, *, pixels: int, result: data.StructLayout, info: bytes, loadable: bool, timeout_bits: int = TIMEOUT_BITS):
        self._pixels, self._result, self._info, self._loadable, self._timeout_bits = pixels, result, info, loadable, timeout_bits
        members = {
            "i": In(BYTES),
            "o": Out(BYTES),
            "early": Out(1),
            "pixels": Out(stream.Signature(pixel_layout(1))),
            "result": In(stream.Signature(result)),
            "record": Out(1),
            "send": Out(1),
            "spikes": In(stream.Signature(PART)),
            "reset": Out(1),
        }
        if loadable:
            members |= {"load": Out(stream.Signature(LOAD)), "load_ends": In(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        kind = Signal(4)
        error = Signal(3)
        loaded = Signal(init=not self._loadable)
        is_load, is_frame, is_info = kind == Request.LOAD, kind[3], kind == Request.INFO
        at = Signal(bits_for(max(self._pixels, DIGEST_SIZE + LENGTH_SIZE + len(self._info), CRC_SIZE)))
        counts = Signal()
        restarts = Signal()
        last = Signal()
        m.d.comb += self.early.eq(kind[0])
        with m.If(restarts | (counts & last)):
            m.d.sync += at.eq(0)
        with m.Elif(counts):
            m.d.sync += at.eq(at + 1)

        passing = _BitSerial()
        passing.add_to(m, self.i, self.o)
        begins, came, goes, bit, beside = passing.begins, passing.came, passing.goes, passing.bit, passing.beside

        timer = Signal(self._timeout_bits + 1)
        expired = Signal()
        m.d.comb += expired.eq(timer[-1])
        m.d.sync += timer.eq(timer + 1)
        with m.If(passing.passes | begins | expired):
            m.d.sync += timer.eq(0)

        # Info: the digest is written while a load's checksum arrives.
        content = info_content(self._info)
        m.submodules.info = info = Memory(shape=unsigned(8), depth=len(content), init=content, attrs=NO_READ_WRITE_CHECK)
        info_read = info.read_port()
        m.d.comb += info_read.addr.eq(at)
        if self._loadable:
            digest = info.write_port()
            m.d.comb += [digest.addr.eq(at[:2]), digest.data.eq(self.i.payload)]

        # Where the bytes of a body go. A frame's are dropped where nothing is loaded.
        ends = Signal()
        to = Signal()
        m.d.comb += [
            ends.eq(at == self._pixels - 1),
            to.eq(self.pixels.ready | ~loaded),
            self.pixels.payload.intensity.eq(self.i.payload),
            self.pixels.payload.last_of_frame.eq(ends),
        ]
        if self._loadable:
            begun = Signal()
            m.d.comb += [self.load.payload.data.eq(self.i.payload), self.load.payload.first.eq(~begun)]
            with m.If(is_load):
                m.d.comb += [ends.eq(self.load_ends), to.eq(self.load.ready)]

        result_size = -(-self._result.size // 8)
        result = Cat(self.result.payload.as_value(), Const(0, -self._result.size % 8))
        result_at = at[: bits_for(result_size)]
        reply = Cat(Mux(error != 0, error, kind), Const(0, 1), loaded, error != 0, Const(1, 1))

        def take(to=1):
            m.d.comb += [
                passing.receives.eq(1),
                passing.ready.eq(to),
                self.i.ready.eq(came),
                bit.eq(self.i.payload.bit_select(passing.bit_number, 1)),
            ]
            with m.If(expired):
                m.d.comb += self.reset.eq(1)
                m.next = "hunt"

        def send(value, valid=1):
            m.d.comb += [passing.sends.eq(1), passing.source_valid.eq(valid), bit.eq(value)]

        def fail(code):
            m.d.comb += [self.reset.eq(1), begins.eq(1)]
            m.d.sync += error.eq(code)
            m.next = "reply"

        m.d.comb += self.i.ready.eq(1)  # where nothing else is said
        with m.FSM():
            with m.State("hunt"):
                m.d.comb += begins.eq(1)
                m.d.comb += restarts.eq(1)
                m.d.sync += error.eq(0)
                with m.If(self.i.valid & (self.i.payload == MAGIC)):
                    m.next = "kind"
            with m.State("kind"):
                take()
                with m.If(came):
                    m.d.sync += kind.eq(self.i.payload)
                    with m.Switch(self.i.payload):
                        with m.Case(MAGIC):
                            m.d.comb += begins.eq(1)
                        with m.Case(Request.INFO):
                            m.next = "checksum"
                        if self._loadable:
                            with m.Case(Request.LOAD):
                                m.d.sync += loaded.eq(0)
                                m.next = "body"
                        with m.Case(*(Request.FRAME | flags for flags in range(4))):
                            m.d.comb += self.record.eq(1)
                            m.next = "body"
                        with m.Default():
                            fail(Error.UNKNOWN)
            with m.State("body"):
                take(to)
                m.d.comb += [self.pixels.valid.eq(self.i.valid & passing.byte_ends & is_frame & loaded), counts.eq(came), last.eq(ends)]
                if self._loadable:
                    m.d.comb += self.load.valid.eq(self.i.valid & passing.byte_ends & is_load)
                    with m.If(came | expired):
                        m.d.sync += begun.eq(~ends & ~expired)
                with m.If(came & ends):
                    m.next = "checksum"
            with m.State("checksum"):
                take()
                m.d.comb += [beside.eq(1), counts.eq(came), last.eq(at[:2] == CRC_SIZE - 1)]
                if self._loadable:
                    m.d.comb += digest.en.eq(came & is_load)
                with m.If(came & last):
                    m.next = "verdict"
            with m.State("verdict"):
                m.next = "reply"
                with m.If(passing.wrong):
                    fail(Error.CHECKSUM)
                with m.Elif(is_frame):
                    m.next = "result"
                    with m.If(~loaded):
                        fail(Error.NOT_LOADED)
                if self._loadable:
                    with m.Elif(is_load):
                        m.d.sync += loaded.eq(1)
                m.d.comb += begins.eq(1)
            with m.State("result"):
                with m.If(self.result.valid):
                    m.next = "reply"
                with m.Elif(expired):
                    fail(Error.NO_RESULT)
            with m.State("reply"):
                send(reply.bit_select(passing.bit_number, 1))
                with m.If(goes):
                    m.next = "answer"
                    with m.If((error != 0) | is_load):
                        m.next = "sign"
            with m.State("answer"):
                from_info = info_read.data.bit_select(passing.bit_number, 1)
                from_result = result.bit_select(Cat(passing.bit_number, result_at), 1)
                send(Mux(is_info, from_info, from_result))
                m.d.comb += [counts.eq(goes), last.eq(Mux(is_info, at == len(content) - 1, result_at == result_size - 1))]
                with m.If(goes & last):
                    m.next = "sign"
                    with m.If(is_frame):
                        m.d.comb += self.result.ready.eq(1)
                        with m.If(kind[1]):
                            m.next = "spikes"
            with m.State("spikes"):
                send(self.spikes.payload.data.bit_select(passing.bit_number, 1), self.spikes.valid)
                m.d.comb += [self.send.eq(1), self.spikes.ready.eq(goes)]
                with m.If(goes & self.spikes.payload.last):
                    m.next = "sign"
            with m.State("sign"):
                send(~passing.crc[0])
                m.d.comb += [beside.eq(1), counts.eq(goes), last.eq(at[:2] == CRC_SIZE - 1)]
                with m.If(goes & last):
                    m.next = "hunt"
        return m


class _BitSerial:
    """Shifts a byte through the CRC, or, where it is part of a checksum, past it: one bit per cycle, eight cycles or more.

    Attributes:
        receives: a byte is taken from the host; ``ready``: whoever gets it can take it.
        sends: a byte is sent to the host; ``source_valid``: there is one.
        bit: the bit that passes, number ``bit_number``.
        beside: it is part of a checksum.
        begins: what comes next is the first that the checksum is of.
        passes: a bit does; ``byte_ends``: with the last bit of a byte, if one does.
        came, goes: a byte has been taken, or is on its way out.
        crc: of what has passed, inverted. ``wrong``: what passed beside it was something else.
    """

    def __init__(self):
        self.receives = Signal()
        self.sends = Signal()
        self.source_valid = Signal(init=1)
        self.ready = Signal(init=1)
        self.bit = Signal()
        self.bit_number = Signal(3)
        self.byte_ends = Signal()
        self.passes = Signal()
        self.beside = Signal()
        self.begins = Signal()
        self.came = Signal()
        self.goes = Signal()
        self.crc = Signal(8 * CRC_SIZE)
        self.wrong = Signal()

    def add_to(self, m: Module, i: wiring.PureInterface, o: wiring.PureInterface) -> None:
        """Bytes from ``i`` and to ``o``; when a byte from ``i`` is taken is the receiver's to say."""
        waits = Signal()
        byte = Signal(8)  # to send
        m.d.comb += [
            self.byte_ends.eq(self.bit_number == 7),
            self.passes.eq((self.receives & i.valid & (self.ready | ~self.byte_ends)) | (self.sends & self.source_valid & ~waits)),
            self.came.eq(self.receives & self.passes & self.byte_ends),
            self.goes.eq(self.sends & self.passes & self.byte_ends),
            o.valid.eq(waits),
            o.payload.eq(byte),
        ]
        with m.If(self.passes):
            feedback = (self.crc[0] ^ self.bit) & ~self.beside
            m.d.sync += [
                self.bit_number.eq(self.bit_number + 1),
                byte.eq(Cat(byte[1:], self.bit)),
                self.crc.eq((self.crc >> 1) ^ (feedback.replicate(len(self.crc)) & CRC_POLYNOMIAL)),
                self.wrong.eq(self.wrong | (self.beside & (self.crc[0] == self.bit))),
            ]
        with m.If(o.valid & o.ready):
            m.d.sync += waits.eq(0)
        with m.If(self.goes):
            m.d.sync += waits.eq(1)
        with m.If(self.begins):
            m.d.sync += [self.crc.eq(-1), self.wrong.eq(0), self.bit_number.eq(0)]
