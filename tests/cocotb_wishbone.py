"""Runs inside the simulator, around an accelerator with a Wishbone bus, which the bus model of cocotbext-wishbone talks to.

`tests/test_hw_buses_wishbone.py` builds and starts it.
"""

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from tests.wrapped import GOLDEN, OTHER_GOLDEN, PORT_MAP, REGISTERS, golden_results, misplaced_ends, take_apart, transfers, width
from tests.wrapped_bench import LOADABLE, WrappedBench, wrong_lengths

PIXELS = PORT_MAP["frames_in"] == "pixels"
DATA, LAST = REGISTERS["data"]["address"], REGISTERS["last"]["address"]
ROOM, RESULTS = 256, 16
ALL = 0xF
SIGNALS = {"cyc": "cyc_i", "stb": "stb_i", "we": "we_i", "adr": "adr_i", "datwr": "dat_i", "datrd": "dat_o", "ack": "ack_o", "sel": "sel_i"}
Word = tuple[int, int]  # 32 bits, and which bytes of them
WIDTH = 8 if PIXELS else width(REGISTERS["data"]["fields"])


def words_of(frame: list[int]) -> list[Word]:
    """A frame's transfers as words for the bus."""
    if PIXELS:
        parts = [frame[at : at + 4] for at in range(0, len(frame), 4)]
        return [(sum(pixel << 8 * lane for lane, pixel in enumerate(part)), (1 << len(part)) - 1) for part in parts]
    return [(value >> 32 * unit & 0xFFFFFFFF, ALL) for value in frame for unit in range(-(-WIDTH // 32))]


FRAMES = [words_of(frame) for frame in transfers()]


class Bench(WrappedBench[list[Word]]):
    """The circuit with a master on its bus."""

    def __init__(self, dut, *, gaps: float = 0.0, seed: int = 0):
        super().__init__(dut.wb_clk_i, FRAMES)
        self.dut, self.gaps, self.random = dut, gaps, random.Random(seed)
        Clock(dut.wb_clk_i, 2, unit="ns").start()
        dut.wb_rst_i.value = 1
        self.master = WishboneMaster(dut, "wb", dut.wb_clk_i, timeout=5000, signals_dict=SIGNALS)
        cocotb.start_soon(self.watch())

    async def watch(self) -> None:
        """An answer comes only to a question."""
        while True:
            await RisingEdge(self.dut.wb_clk_i)
            asked = int(self.dut.wb_cyc_i.value) and int(self.dut.wb_stb_i.value)
            assert asked or int(self.dut.wb_rst_i.value) or not int(self.dut.wb_ack_o.value)

    async def start(self, **registers: int) -> None:
        await self.cycles(2)
        self.dut.wb_rst_i.value = 0
        await self.prepare(**registers)

    def operation(self, address: int, value: int | None = None, sel: int = ALL) -> WBOp:
        idle = self.random.randrange(6) if self.random.random() < self.gaps else 0
        return WBOp(adr=address // 4, dat=value, sel=sel, idle=idle)

    async def write(self, name: str, *values: int) -> None:
        await self.master.send_cycle([self.operation(REGISTERS[name]["address"], value) for value in values])

    async def read(self, name: str) -> dict[str, int]:
        entry = REGISTERS[name]
        units = -(-width(entry["fields"]) // 32)
        answers = await self.master.send_cycle([self.operation(entry["address"] + 4 * unit) for unit in range(units)])
        return take_apart(sum(int(answer.datrd) << 32 * unit for unit, answer in enumerate(answers)), entry["fields"])

    async def send(self, *frames: list[Word]) -> None:
        """The words of each frame in some bus cycles, at any addresses that mean the same."""
        for frame in frames:
            at = 0
            while at < len(frame):
                end = min(len(frame), at + 1 + self.random.randrange(20))
                addresses = [(LAST if k == len(frame) - 1 else DATA) + 4 * self.random.randrange(512) for k in range(at, end)]
                await self.master.send_cycle(
                    [self.operation(address, *word) for address, word in zip(addresses, frame[at:end], strict=True)]
                )
                at = end

    async def receive(self, count: int) -> list[dict[str, int]]:
        results: list[dict[str, int]] = []
        empty = 0
        while len(results) < count:
            result = await self.read("result")
            if result.pop("valid"):
                results.append(result)
                empty = 0
            else:
                empty += 1
                assert empty < 500
        return results

    async def nothing_left(self, frames: int, *, errors: int = 0, lost: int = 0) -> None:
        """Nothing is waiting, either."""
        await super().nothing_left(frames, errors=errors)
        assert await self.read("queues") == {"room": ROOM, "results": 0, "lost": lost}
        assert (await self.read("result"))["valid"] == 0
        assert not int(self.dut.interrupt_o.value)


@cocotb.test(skip=not LOADABLE)
async def frames_wait_for_weights(dut):
    """The first test: nothing has been loaded yet. Later, other weights take the place of the first ones."""
    bench = Bench(dut, gaps=0.2)
    await bench.cycles(2)
    dut.wb_rst_i.value = 0
    chosen = np.arange(3)
    await bench.send(*(FRAMES[frame] for frame in chosen))
    await bench.cycles(300)
    assert await bench.read("status") == {"busy": 0, "loaded": 0}
    await bench.load("other")
    assert await bench.receive(len(chosen)) == golden_results(chosen, OTHER_GOLDEN)
    await bench.load()
    await bench.send(*(FRAMES[frame] for frame in chosen))
    assert await bench.receive(len(chosen)) == golden_results(chosen)
    assert golden_results(chosen) != golden_results(chosen, OTHER_GOLDEN)
    await bench.nothing_left(2 * len(chosen))


@cocotb.test
async def what_never_changes(dut):
    bench = Bench(dut)
    await bench.start()
    await bench.what_never_changes()


@cocotb.test
async def cycles_of_an_access(dut):
    bench = Bench(dut)
    await bench.start()
    for address, value, cycles in ((0, None, 6), (0x08, 1, 6), (DATA, 0, 2), (DATA, None, 2)):
        access = cocotb.start_soon(bench.master.send_cycle([bench.operation(address, value)]))
        while not int(dut.wb_stb_i.value):
            await bench.cycles(1)
        taken = 1
        while not int(dut.wb_ack_o.value):
            await bench.cycles(1)
            taken += 1
        assert taken == cycles, hex(address)
        await access
    await bench.write("reset", 1)
    await bench.nothing_left(0)


@cocotb.test
@cocotb.parametrize(early=[0, 1], gaps=[0.0, 0.7])
async def frames_one_by_one(dut, early, gaps):
    bench = Bench(dut, gaps=gaps, seed=1)
    await bench.start(control=early)
    for frame, words in enumerate(FRAMES):
        await bench.send(words)
        assert await bench.receive(1) == golden_results(np.array([frame]))
    await bench.nothing_left(len(FRAMES))
    assert (await bench.read("silent"))["silent"] == int(GOLDEN.decisions.silent.sum())
    assert (await bench.read("cycles"))["cycles"] > len(FRAMES)


@cocotb.test
@cocotb.parametrize(early=[0, 1], wait=[0, 1])
async def frames_and_results_in_batches(dut, early, wait):
    """As many frames as results can wait; the sender looks for room, or waits for it."""
    bench = Bench(dut, gaps=0.1, seed=2)
    await bench.start(control=early, waiting=wait)
    for _ in range(2):
        for words in FRAMES[:RESULTS]:
            while not wait and (await bench.read("queues"))["room"] < len(words):
                pass
            await bench.send(words)
        await bench.cycles(1000)
        assert (await bench.read("queues"))["results"] == RESULTS
        assert int(dut.interrupt_o.value)
        assert await bench.receive(RESULTS) == golden_results(np.arange(RESULTS))
    await bench.nothing_left(2 * RESULTS)


@cocotb.test
async def mode_between_frames(dut):
    bench = Bench(dut)
    await bench.start()
    await bench.mode_between_frames()


@cocotb.test
async def last_word_in_the_wrong_place(dut):
    """A frame that is cut short or too long."""
    bench = Bench(dut)
    await bench.start(control=0)
    wrong = wrong_lengths(max(FRAMES, key=len))
    if not PIXELS:
        wrong += [words_of(frame) for frame in misplaced_ends(max(transfers(), key=len), REGISTERS["data"]["fields"])]
    await bench.wrong_frames(wrong)


@cocotb.test
@cocotb.skipif(not PIXELS)
async def pixels_in_any_bytes(dut):
    """One, two or four neighbouring bytes of a word, as processors write them."""
    bench = Bench(dut, gaps=0.3, seed=4)
    await bench.start()
    for frame, image in enumerate(transfers()):
        words, at = [], 0
        while at < len(image):
            size = bench.random.choice([size for size in (1, 2, 4) if at + size <= len(image)])
            lane = bench.random.randrange(0, 4, size)
            value = bench.random.getrandbits(32)
            for k in range(size):
                value = value & ~(0xFF << 8 * (lane + k)) | image[at + k] << 8 * (lane + k)
            words.append((value, (1 << size) - 1 << lane))
            at += size
        await bench.send(words)
        assert await bench.receive(1) == golden_results(np.array([frame]))
    await bench.nothing_left(len(FRAMES))


@cocotb.test
async def words_without_room(dut):
    """They are lost, which shows; after a reset all is well."""
    bench = Bench(dut)
    await bench.start()
    frame = max(FRAMES, key=len)
    for _ in range(3 * RESULTS + ROOM // len(frame)):  # nobody reads results
        await bench.send(frame)
    assert (await bench.read("queues"))["lost"] == 1
    results = await bench.receive(RESULTS)
    assert all(result == results[0] for result in results)
    await bench.write("reset", 1)
    await bench.nothing_left(0)
    await bench.send(FRAMES[4])
    assert await bench.receive(1) == golden_results(np.array([4]))
    await bench.nothing_left(1)


@cocotb.test
@cocotb.parametrize(whole=[False, True])
async def reset_in_the_middle(dut, whole):
    """By register, or by wb_rst_i, after any part of some frames."""
    bench = Bench(dut, gaps=0.2, seed=5)
    await bench.start(control=0)
    for attempt in range(5):
        sent = [word for frame in FRAMES for word in frame][: bench.random.randrange(60)]
        for at in range(0, len(sent), 5):
            await bench.send(sent[at : at + 5])
        if whole:
            dut.wb_rst_i.value = 1
            await bench.cycles(1 + attempt % 2)
            dut.wb_rst_i.value = 0
        else:
            await bench.write("reset", 1)
        chosen = np.arange(attempt, attempt + 3)
        await bench.send(*(FRAMES[frame] for frame in chosen))
        assert await bench.receive(3) == golden_results(chosen)
        await bench.nothing_left(3)
