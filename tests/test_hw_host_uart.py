# amaranth: UnusedElaboratable=no

"""hw.host.uart against a line driven and sampled bit by bit, at several ratios of clock and baud rate."""

import pytest
from amaranth.hdl import Module

from export import UserError
from hw.host.uart import UARTReceiver, UARTTransmitter, divisor
from tests.circuit import run_benches

DIVISORS = [4, 5, 8, 24, 25, 104]
BYTES = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, 0xA5, 0x0F]


async def drive(ctx, line, levels, cycles):
    """Levels on a line, ``cycles`` each; it need not be a whole number."""
    now = 0
    for k, level in enumerate(levels):
        ctx.set(line, level)
        until = round((k + 1) * cycles)
        await ctx.tick().repeat(until - now)
        now = until
    ctx.set(line, 1)


def levels(*values):
    return [level for value in values for level in (0, *(value >> k & 1 for k in range(8)), 1)]


def received(rate, cycles, on_the_line, *, ready=True, after=3):
    """What a receiver at ``rate`` cycles per bit makes of levels that last ``cycles`` each."""
    dut = UARTReceiver(rate)
    seen = []
    done = False

    async def sender(ctx):
        nonlocal done
        await ctx.tick().repeat(3)
        await drive(ctx, dut.rx, on_the_line, cycles)
        await ctx.tick().repeat(after * rate)
        done = True

    async def receiver(ctx):
        ctx.set(dut.o.ready, ready)
        while not done:
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                seen.append(payload)

    run_benches(dut, sender, receiver)
    return seen


@pytest.mark.parametrize("rate", DIVISORS)
def test_receives_back_to_back(rate):
    assert received(rate, rate, levels(*BYTES)) == BYTES


@pytest.mark.parametrize("rate", [16, 24, 104])
@pytest.mark.parametrize("off", [-0.03, 0.03])
def test_receives_from_a_clock_that_is_off(rate, off):
    assert received(rate, rate * (1 + off), levels(*BYTES)) == BYTES


@pytest.mark.parametrize("rate", [8, 24])
def test_wrong_stop_bit(rate):
    """The byte is dropped; once the line has been high for a byte, the next is right."""
    broken = levels(0x3C)
    broken[-1] = 0
    assert received(rate, rate, [*broken, *[1] * 10, *levels(0x69)]) == [0x69]


def test_glitch_is_no_start_bit():
    assert received(24, 1, [0] * 8 + [1] * 40 + [level for level in levels(0xC3) for _ in range(24)]) == [0xC3]


def test_byte_waits_for_a_bit():
    """Offered from the stop bit's middle until the middle of the next start bit, unchanged, and then lost."""
    offered = received(24, 24, levels(0x12, 0x34), ready=False, after=5)
    assert offered.count(0x12) == 24
    assert offered[:24] == [0x12] * 24
    assert set(offered[24:]) == {0x34}


@pytest.mark.parametrize("rate", DIVISORS)
@pytest.mark.parametrize("gap", [0, 7])
def test_sends(rate, gap):
    dut = UARTTransmitter(rate)
    seen = []
    total = len(BYTES) * (10 * rate + gap) + 30

    async def sender(ctx):
        for byte in BYTES:
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.payload, byte)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)
            await ctx.tick().repeat(gap + 1) if gap else None

    async def watcher(ctx):
        for _ in range(total):
            seen.append(ctx.get(dut.tx))
            await ctx.tick()

    run_benches(dut, sender, watcher)
    at = 0
    for byte in BYTES:
        at = seen.index(0, at)
        assert seen[at : at + 10 * rate] == [level for level in levels(byte) for _ in range(rate)]
        at += 10 * rate
    assert set(seen[at:]) == {1}
    if not gap:
        assert at <= len(BYTES) * 10 * rate + 3  # ten bits' time each, nothing in between


@pytest.mark.parametrize("rate", DIVISORS)
def test_from_one_to_the_other(rate):
    m = Module()
    m.submodules.sender = sender = UARTTransmitter(rate)
    m.submodules.receiver = receiver = UARTReceiver(rate)
    m.d.comb += receiver.rx.eq(sender.tx)
    seen = []

    async def send(ctx):
        for byte in range(0, 256, 15):
            ctx.set(sender.i.valid, 1)
            ctx.set(sender.i.payload, byte)
            await ctx.tick().until(sender.i.ready)
        ctx.set(sender.i.valid, 0)
        await ctx.tick().repeat(12 * rate)
        assert seen == list(range(0, 256, 15))

    async def receive(ctx):
        ctx.set(receiver.o.ready, 1)
        async for _, reset, valid, payload in ctx.tick().sample(receiver.o.valid, receiver.o.payload):
            if valid and not reset:
                seen.append(payload)

    run_benches(m, send, background=[receive])


@pytest.mark.parametrize(("clock", "baud", "cycles"), [(24e6, 1e6, 24), (12e6, 115_200, 104), (100e6, 3e6, 33), (25e6, 921_600, 27)])
def test_divisor(clock, baud, cycles):
    assert divisor(clock, baud) == cycles


@pytest.mark.parametrize(("clock", "baud", "ratio"), [(21e6, 3e6, "7.00"), (12e6, 1e9, "0.01"), (21e6, 2e6, "10.50")])
def test_divisor_that_is_none(clock, baud, ratio):
    message = (
        rf"^a baud rate must be at most 1/10 of the clock and within 2% of a whole part of it, but {baud:.0f} of {clock:.0f} Hz is {ratio}"
    )
    with pytest.raises(UserError, match=message):
        divisor(clock, baud)
