"""A serial line: bytes with one start bit, eight data bits, least significant first, no parity, one stop bit (8N1)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from export import UserError
from hw.core.words import bits_for

BYTES = stream.Signature(8)
LEAST_DIVISOR = 10
"""A byte is offered for one bit's time, and `hw.host.host_link` needs it for a little more than eight cycles."""
WORST_ERROR = 0.02
"""Both ends sample in the middle of a bit; after ten bits they may be half a bit apart, of which one end may use a half."""


def divisor(clock_hz: float, baud: float) -> int:
    """Clock cycles per bit.

    Raises:
        UserError: the clock is too slow, or no whole number of cycles comes close.
    """
    cycles = max(1, round(clock_hz / baud))
    error = abs(clock_hz / cycles / baud - 1)
    if cycles < LEAST_DIVISOR or error > WORST_ERROR:
        raise UserError(
            f"a baud rate must be at most 1/{LEAST_DIVISOR} of the clock and within {WORST_ERROR:.0%} of a whole part of it, "
            f"but {baud:.0f} of {clock_hz:.0f} Hz is {clock_hz / baud:.2f} cycles per bit"
        )
    return cycles


class UARTReceiver(wiring.Component):
    """Bytes from a serial line.

    A bit is sampled in its middle, the line seen two cycles late. A byte is offered for one bit's time, and then lost.
    A start shorter than half a bit is ignored, and a byte without stop bit dropped.

    Parameters:
        divisor: clock cycles per bit, at least 4.

    Members:
        rx: the line; high when idle.
        o: bytes.
    """

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(BYTES)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        timer = Signal(bits_for(self._divisor))
        bits = Signal(9)  # data enter at the top; the bit that is set at first reaches the bottom when all eight are in
        m.d.comb += self.o.payload.eq(bits[1:])
        m.d.sync += timer.eq(Mux(timer == 0, self._divisor - 1, timer - 1))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("idle"):
                m.d.sync += timer.eq(self._divisor // 2 - 1)
                with m.If(~line):
                    m.next = "start"
            with m.State("start"), m.If(timer == 0):
                m.d.sync += [self.o.valid.eq(0), bits.eq(1 << 8)]
                m.next = "data"
                with m.If(line):
                    m.next = "idle"
            with m.State("data"), m.If(timer == 0):
                m.d.sync += bits.eq(Cat(bits[1:], line))
                with m.If(bits[0]):
                    m.d.sync += [bits.eq(bits), self.o.valid.eq(line)]
                    m.next = "idle"
        return m


class UARTTransmitter(wiring.Component):
    """Bytes to a serial line, one in ten bits' time.

    Parameters:
        divisor: clock cycles per bit.

    Members:
        i: bytes.
        tx: the line; high when idle. A register.
    """

    def __init__(self, divisor: int):
        self._divisor = divisor
        super().__init__({"i": In(BYTES), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(bits_for(self._divisor))
        bits = Signal(10, init=1)  # what is left to send, the stop bit last
        at_end = Signal()
        only_stop = Signal()
        m.d.comb += [
            self.tx.eq(bits[0]),
            at_end.eq(timer == 0),
            only_stop.eq(bits[1:] == 0),
            self.i.ready.eq(at_end & only_stop),
        ]
        with m.If(~at_end):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(~only_stop):
            m.d.sync += [timer.eq(self._divisor - 1), bits.eq(bits[1:])]
        with m.Elif(self.i.valid):
            m.d.sync += [timer.eq(self._divisor - 1), bits.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1)))]
        return m
