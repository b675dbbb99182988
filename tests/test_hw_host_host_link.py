# amaranth: UnusedElaboratable=no

"""hw.host.host_link against packets made and taken apart with zlib, and a made-up circuit behind it."""

import random
import zlib

import pytest
from amaranth.hdl import signed
from amaranth.lib import data

from hw.host.host_link import HostLink
from hw.host.packets import MAGIC, Error, Frame, Reply, Request, packet
from tests.circuit import run_benches

RESULT = data.StructLayout({"class_index": 4, "margin": signed(7)})
ANSWER = {"class_index": 9, "margin": -3}
PIXELS, LOAD_SIZE, INFO = 5, 7, b"what it is"
SPIKES = b"spikes of all"
TIMEOUT_BITS = 8
TIMEOUT = 1 << TIMEOUT_BITS
LOAD = packet(Request.LOAD, bytes(range(40, 40 + LOAD_SIZE)))


def answer(kind, body=b"", *, loaded=True, error=False):
    """A reply as it must be."""
    content = bytes([Reply.REPLY | (Reply.LOADED if loaded else 0) | (Reply.ERROR if error else 0) | kind]) + body
    return content + zlib.crc32(content).to_bytes(4, "little")


def result_bytes():
    return RESULT.const(ANSWER).as_value().value.to_bytes(2, "little")


def info(digest=bytes(4), loaded=True):
    return answer(Request.INFO, digest + len(INFO).to_bytes(2, "little") + INFO, loaded=loaded)


class Behind:
    """The circuit behind the link: takes pixels and loads, gives results and spikes."""

    def __init__(self, *, loadable=True, gives_result=True, seed=0):
        self.link = HostLink(pixels=PIXELS, result=RESULT, info=INFO, loadable=loadable, timeout_bits=TIMEOUT_BITS)
        self.loadable, self.gives_result = loadable, gives_result
        self.random = random.Random(seed)
        self.pixels: list[int] = []
        self.frames: list[list[int]] = []
        self.load: list[int] = []
        self.loads: list[bytes] = []
        self.resets = self.records = 0
        self.modes: list[int] = []

    async def run(self, ctx):
        link = self.link
        ends = [link.load_ends] if self.loadable else []
        pending = at = 0
        while True:
            ctx.set(link.pixels.ready, self.random.random() < 0.3)
            ctx.set(link.result.valid, pending > 0 and self.gives_result)
            ctx.set(link.result.payload, ANSWER)
            ctx.set(link.spikes.valid, self.random.random() < 0.5)
            ctx.set(link.spikes.payload, {"data": SPIKES[at], "last": at == len(SPIKES) - 1})
            if self.loadable:
                ctx.set(link.load.ready, self.random.random() < 0.5)
                ctx.set(ends[0], len(self.load) == LOAD_SIZE - 1)
            if ctx.get(link.record):
                self.records += 1
            if ctx.get(link.pixels.valid) and ctx.get(link.pixels.ready):
                pixel = ctx.get(link.pixels.payload)
                self.pixels.append(pixel.intensity)
                if pixel.last_of_frame:
                    self.frames.append(self.pixels)
                    self.modes.append(ctx.get(link.early))
                    self.pixels = []
                    pending += 1
            if ctx.get(link.result.valid) and ctx.get(link.result.ready):
                pending -= 1
            if ctx.get(link.spikes.valid) and ctx.get(link.spikes.ready):
                assert ctx.get(link.send)
                at = (at + 1) % len(SPIKES)
            if self.loadable and ctx.get(link.load.valid) and ctx.get(link.load.ready):
                byte = ctx.get(link.load.payload)
                if byte.first:
                    self.load = []
                self.load.append(byte.data)
                if len(self.load) == LOAD_SIZE:
                    self.loads.append(bytes(self.load))
                    self.load = []
            if ctx.get(link.reset):
                self.resets += 1
                self.pixels, self.load, pending = [], [], 0
            await ctx.tick()


def talk(behind, script, *, stalls=0.0):
    """Send bytes, or wait a number of cycles; then see exactly the expected bytes come back: ``script`` lists both."""
    link = behind.link
    received = bytearray()
    draw = random.Random(3)

    async def listen(ctx):
        while True:
            ctx.set(link.o.ready, draw.random() >= stalls)
            _, _, valid, ready, byte = await ctx.tick().sample(link.o.valid, link.o.ready, link.o.payload)
            if valid and ready:
                received.append(byte)

    async def bench(ctx):
        for what, expected in script:
            received.clear()
            if isinstance(what, int):
                await ctx.tick().repeat(what)
            else:
                for byte in what:
                    ctx.set(link.i.valid, 1)
                    ctx.set(link.i.payload, byte)
                    await ctx.tick().until(link.i.ready)
                    ctx.set(link.i.valid, 0)
                    await ctx.tick()
            for _ in range(400 + 40 * len(expected)):
                if len(received) >= len(expected):
                    break
                await ctx.tick()
            await ctx.tick().repeat(40)  # and nothing more
            assert bytes(received) == expected, (what, bytes(received), expected)

    run_benches(link, bench, background=[behind.run, listen])


def frame(pixels=(1, 2, 3, 4, 255), flags=0):
    return packet(Request.FRAME | flags, bytes(pixels))


@pytest.mark.parametrize("stalls", [0.0, 0.8])
def test_frames(stalls):
    behind = Behind(loadable=False)
    plain, full = answer(Request.FRAME, result_bytes()), answer(Request.FRAME | Frame.SPIKES, result_bytes() + SPIKES)
    early = answer(Request.FRAME | Frame.EARLY, result_bytes())
    both = answer(Request.FRAME | Frame.EARLY | Frame.SPIKES, result_bytes() + SPIKES)
    script = [(frame(), plain), (frame([MAGIC] * 5, Frame.SPIKES), full), (frame(flags=Frame.EARLY), early), (frame(flags=3), both)]
    talk(behind, [*script, (packet(Request.INFO), info())], stalls=stalls)
    assert behind.frames == [[1, 2, 3, 4, 255], [MAGIC] * 5, [1, 2, 3, 4, 255], [1, 2, 3, 4, 255]]
    assert behind.modes == [0, 0, 1, 1]
    assert behind.records == 4
    assert behind.resets == 0
    assert behind.pixels == []


def test_loads():
    """Frames are refused until a load is whole and right; the digest is that of the last load, right or not."""
    behind = Behind()
    wrong = LOAD[:-1] + bytes([LOAD[-1] ^ 1])
    other = packet(Request.LOAD, bytes(LOAD_SIZE))
    refused = answer(Error.NOT_LOADED, loaded=False, error=True)
    script = [
        (packet(Request.INFO), info(loaded=False)),
        (frame([MAGIC, Request.INFO, 0, 0, 0]), refused),
        (LOAD, answer(Request.LOAD)),
        (packet(Request.INFO), info(LOAD[-4:])),
        (frame(), answer(Request.FRAME, result_bytes())),
        (wrong, answer(Error.CHECKSUM, loaded=False, error=True)),
        (packet(Request.INFO), info(wrong[-4:], loaded=False)),
        (frame(), refused),
        (other, answer(Request.LOAD)),
        (packet(Request.INFO), info(other[-4:])),
        (frame(), answer(Request.FRAME, result_bytes())),
    ]
    talk(behind, script)
    assert behind.loads == [LOAD[2:-4], LOAD[2:-4], other[2:-4]]
    assert behind.frames == [[1, 2, 3, 4, 255]] * 2
    assert behind.resets == 3


def test_every_bit_counts():
    """A packet with any wrong bit gets an error; the next packet is right."""
    behind = Behind(loadable=False)
    script = []
    for bit in range(8, 8 * len(frame())):
        bad = bytearray(frame())
        bad[bit // 8] ^= 1 << bit % 8
        error = Error.CHECKSUM if bad[1] & ~3 == Request.FRAME else Error.UNKNOWN
        script.append((bytes(bad), answer(error, error=True)))
        if bit % 8 == 5:
            script.append((frame(), answer(Request.FRAME, result_bytes())))
    talk(behind, script)
    assert behind.frames[-1] == [1, 2, 3, 4, 255]
    assert behind.resets == 8 * len(frame()) - 8


def test_a_packet_cut_short_is_given_up():
    """At any place; nothing of it is left."""
    behind = Behind()
    script = [(LOAD, answer(Request.LOAD))]
    for length in range(1, len(frame())):
        for cut in (frame([9, 8, 7, 6, 5])[:length], LOAD[:length]):
            script += [(cut, b""), (2 * TIMEOUT, b""), (LOAD, answer(Request.LOAD)), (frame(), answer(Request.FRAME, result_bytes()))]
    talk(behind, script)
    assert set(behind.loads) == {LOAD[2:-4]}
    assert [pixels for pixels in behind.frames if pixels != [9, 8, 7, 6, 5]] == [[1, 2, 3, 4, 255]] * 2 * (len(frame()) - 1)
    assert behind.resets == 2 * (len(frame()) - 1)


def test_a_load_cut_short_unloads():
    behind = Behind()
    script = [(LOAD, answer(Request.LOAD)), (LOAD[:5], b""), (2 * TIMEOUT, b""), (packet(Request.INFO), info(LOAD[-4:], loaded=False))]
    talk(behind, script)


def test_finds_a_packet_in_garbage():
    draw = random.Random(11)
    garbage = bytes(draw.choice([0, 1, 2, 8, 0x55, 0x5A, 255]) for _ in range(60)) + bytes([MAGIC] * 3)
    behind = Behind(loadable=False)
    talk(behind, [(garbage + frame(), answer(Request.FRAME, result_bytes()))])
    assert behind.frames == [[1, 2, 3, 4, 255]]


@pytest.mark.parametrize("kind", [0, 3, 4, 7, 12, 15, 16, 0x81, 0xFF])
def test_unknown_kinds(kind):
    unknown = answer(Error.UNKNOWN, error=True)
    behind = Behind(loadable=False)
    talk(behind, [(bytes([MAGIC, kind]), unknown), (packet(Request.INFO), info())])
    behind = Behind(loadable=False)
    talk(behind, [(bytes([MAGIC, Request.LOAD]), unknown), (packet(Request.INFO), info())])


def test_no_result():
    """A circuit that does not answer is reset, and said to be stuck."""
    behind = Behind(loadable=False, gives_result=False)
    talk(behind, [(frame(), b""), (TIMEOUT, answer(Error.NO_RESULT, error=True)), (packet(Request.INFO), info())])
    assert behind.resets == 1
