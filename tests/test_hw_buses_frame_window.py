# amaranth: UnusedElaboratable=no

"""hw.buses.frame_window: words that come over a bus, what becomes of them, and of those that find no room."""

import pytest
from amaranth.lib import data

from export import UserError
from hw.buses.frame_window import FrameWindow, Gather, Split, splits
from hw.core.words import WordFormat
from tests.circuit import Sink, Source, run, run_benches

SPIKES = WordFormat(inputs=40, steps=4, simd=40).layout  # 2 + 1 + 40 + 3 bits: two words
END, ERROR = 1 << 44, 1 << 45


def pixels(count):
    """The payload of so many pixels at once."""
    return data.StructLayout({"intensity": 8 * count, "last_of_frame": 1})


def entry(value, count=4, last=0, lost=0):
    return {"data": value, "count": count - 1, "last": last, "lost": lost}


def passed(unpack, entries, expected, *, gaps, stalls):
    """What comes out of words that go in."""

    def start():
        return [Source(unpack.i, [entries], gaps=gaps, seed=1), Sink(unpack.o, expected, stalls=stalls, seed=2)]

    _, sink = run(unpack, start, watch=lambda: [unpack.o])
    return [tuple(payload.values()) for payload in sink.received]


@pytest.mark.parametrize("gaps", [0.0, 0.5])
@pytest.mark.parametrize("stalls", [0.0, 0.5])
@pytest.mark.parametrize(
    ("count", "entries", "expected"),
    [
        (1, [entry(0x04030201), entry(0x0605, 2), entry(7, 1, last=1), entry(0x0A0908, 3, last=1)], [1, 2, 3, 4, 5, 6, -7, 8, 9, -10]),
        (2, [entry(0x04030201), entry(0x060605, 3, last=1), entry(0x0807, 2, last=1)], [0x201, 0x403, 0x605, -6, -0x807]),
        (4, [entry(0x04030201), entry(0x05, 1, last=1)], [0x4030201, -5]),
    ],
)
def test_words_as_pixels(count, entries, expected, gaps, stalls):
    assert splits(pixels(count))
    seen = passed(Split(pixels(count)), entries, len(expected), gaps=gaps, stalls=stalls)
    assert seen == [(abs(value), int(value < 0)) for value in expected]  # negative: the last of its frame


@pytest.mark.parametrize("gaps", [0.0, 0.5])
@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_words_as_many_pixels(gaps, stalls):
    assert not splits(pixels(8))
    entries = [entry(1), entry(2), entry(3), entry(4, last=1), entry(5, last=1), entry(6), entry(7)]
    expected = [(1 | 2 << 32, 0), (3 | 4 << 32, 1), (5, 1), (6 | 7 << 32, 0)]
    assert passed(Gather(pixels(8)), entries, len(expected), gaps=gaps, stalls=stalls) == expected


@pytest.mark.parametrize("gaps", [0.0, 0.5])
@pytest.mark.parametrize("stalls", [0.0, 0.5])
def test_words_as_spike_words(gaps, stalls):
    assert not splits(SPIKES)
    good = 0b1 << 43 | 0b1010 << 3 | 2  # time 2, two spikes, a step's end
    cases = [  # two words, the second with last and lost; whether there is an error
        (good, {}, {}, 0),
        (good | END, {}, {"last": 1}, 0),
        (good | END, {}, {}, 1),
        (good, {}, {"last": 1}, 1),
        (good | ERROR, {}, {}, 1),
        (good, {"lost": 1}, {}, 1),
        (good, {}, {"lost": 1}, 1),
        (good, {}, {}, 0),
    ]
    entries = [entry(value >> 32 * unit & 0xFFFFFFFF, **flags[unit]) for value, *flags, _ in cases for unit in range(2)]
    entries[4:4] = [entry(good & 0xFFFFFFFF, last=1)]  # only half of one
    expected = [(2, 0, 0b1010, 1, second.get("last", 0), error) for _, _, second, error in cases]
    expected[2:2] = [(2, 0, 0b1010, 0, 1, 1)]
    assert passed(Gather(SPIKES), entries, len(expected), gaps=gaps, stalls=stalls) == expected


def test_half_a_spike_word_that_looks_whole():
    layout = WordFormat(inputs=27, steps=4, simd=27).layout  # all but error is in the first word
    entries = [entry(1 << 31 | 2, last=1), entry(1 << 31 | 2), entry(0, last=1)]
    assert passed(Gather(layout), entries, 2, gaps=0.0, stalls=0.0) == [(2, 0, 0, 0, 1, 1), (2, 0, 0, 0, 1, 0)]


@pytest.mark.parametrize("count", [3, 5, 6, 7])
def test_pixels_that_fit_no_words(count):
    with pytest.raises(UserError, match=f"pixels that come over a bus must be taken 1, 2 or a multiple of 4 at once, not {count}"):
        splits(pixels(count))


async def access(ctx, bus, address, value=None, sel=0b1111, patience=20):
    """One access; the cycles that it took, or 0 where no answer came."""
    ctx.set(bus.adr, address // 4)
    ctx.set(bus.we, value is not None)
    ctx.set(bus.dat_w, value or 0)
    ctx.set(bus.sel, sel)
    ctx.set(bus.cyc, 1)
    ctx.set(bus.stb, 1)
    cycles = 0
    for cycle in range(1, patience):
        acknowledged = ctx.get(bus.ack)
        await ctx.tick()
        if acknowledged:
            cycles = cycle
            break
    ctx.set(bus.stb, 0)
    ctx.set(bus.cyc, 0)
    return cycles


async def take(ctx, window):
    """The next word, if there is one."""
    word = ctx.get(window.o.payload) if ctx.get(window.o.valid) else None
    ctx.set(window.o.ready, 1)
    await ctx.tick()
    ctx.set(window.o.ready, 0)
    return None if word is None else (word.data, word.count + 1, word.last, word.lost)


def test_window_takes_bytes_and_ends():
    window = FrameWindow(8)

    async def bench(ctx):
        for address, value, sel, expected in (
            (0x000, 0x44332211, 0b1111, (0x44332211, 4, 0, 0)),
            (0x7FC, 0x44332211, 0b0011, (0x2211, 2, 0, 0)),
            (0x800, 0x44332211, 0b1100, (0x4433, 2, 1, 0)),
            (0xFFC, 0x44332211, 0b0100, (0x33, 1, 1, 0)),
            (0x004, 0x44332211, 0b0000, None),
        ):
            assert await access(ctx, window.bus, address, value, sel) == 2
            await ctx.tick()
            assert await take(ctx, window) == expected
        assert await access(ctx, window.bus, 0) == 2
        assert ctx.get(window.bus.dat_r) == 0
        assert await take(ctx, window) is None

    run_benches(window, bench)


@pytest.mark.parametrize("wait", [0, 1])
def test_window_without_room(wait):
    window = FrameWindow(4)

    async def bench(ctx):
        ctx.set(window.wait, wait)
        for value in range(4):
            assert ctx.get(window.room) == 4 - value
            assert await access(ctx, window.bus, 0, value) == 2
        assert ctx.get(window.room) == 0
        for value in (4, 5):
            assert await access(ctx, window.bus, 0, value) == (0 if wait else 2)
        assert await access(ctx, window.bus, 0) == 2  # reading needs no room
        assert ctx.get(window.lost) == 1 - wait
        assert await take(ctx, window) == (0, 4, 0, 0)
        for value in (6, 7):
            assert await access(ctx, window.bus, 0, value) == (2 if value == 6 or not wait else 0)
        words = [await take(ctx, window) for _ in range(6)]
        assert words == [(1, 4, 0, 0), (2, 4, 0, 0), (3, 4, 0, 0), (6, 4, 0, 1 - wait), None, None]
        assert await access(ctx, window.bus, 0, 8) == 2
        await ctx.tick()
        assert await take(ctx, window) == (8, 4, 0, 1 - wait)  # 7 was lost
        assert ctx.get(window.lost) == 1 - wait

    run_benches(window, bench)
