"""Runs inside the simulator, around an accelerator with AXI interfaces, which bus models of cocotbext-axi talk to.

`tests/test_hw_buses_axi.py` builds and starts it.
"""

import random

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from hw.buses.axi import ANSWER
from tests.pairwise import pairwise
from tests.wrapped import (
    GOLDEN,
    OTHER_GOLDEN,
    PORT_MAP,
    REGISTERS,
    golden_results,
    load_words,
    misplaced_ends,
    take_apart,
    transfers,
    width,
)
from tests.wrapped_bench import LOADABLE, WrappedBench, wrong_lengths

PORTS = PORT_MAP["ports"]
LANES, RESULT_LANES = (PORTS[f"{name}_tdata"]["width"] // 8 for name in ("s_axis", "m_axis"))
FRAMES = transfers(pixels=LANES)
PATIENCE_NS = 40_000
OFFERS = {
    prefix: [name for name, port in PORTS.items() if name.startswith(prefix) and port["direction"] == "output"]
    for prefix in ("m_axis_t", "s_axi_b", "s_axi_r")
}


def pauses(share: float, seed: int):
    """Whether to pause, cycle by cycle."""
    generator = random.Random(seed)
    while True:
        yield generator.random() < share


class Bench(WrappedBench[list[int]]):
    """The circuit with a source, a sink, and a master for its registers."""

    def __init__(self, dut, *, gaps: float = 0.0, stalls: float = 0.0):
        super().__init__(dut.aclk, FRAMES)
        self.dut = dut
        Clock(dut.aclk, 2, unit="ns").start()
        dut.aresetn.value = 0
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **reset)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, **reset)
        writing, reading = self.master.write_if, self.master.read_if
        for share, paused in (
            (gaps, (self.source, writing.aw_channel, writing.w_channel, reading.ar_channel)),
            (stalls, (self.sink, writing.b_channel, reading.r_channel)),
        ):
            for seed, model in enumerate(paused):
                if share:
                    model.set_pause_generator(pauses(share, seed))
        cocotb.start_soon(self.watch())

    async def watch(self) -> None:
        """What the circuit offers holds until it is taken."""
        held: dict[str, dict[str, int]] = {}
        while True:
            await RisingEdge(self.dut.aclk)
            for prefix, names in OFFERS.items():
                now = {name: int(getattr(self.dut, name).value) for name in names}
                assert held.get(prefix, now) == now, f"{prefix}… must hold until it is taken"
                held.pop(prefix, None)
                if now[f"{prefix}valid"] and not int(getattr(self.dut, f"{prefix}ready").value) and int(self.dut.aresetn.value):
                    held[prefix] = now

    async def start(self, **controls: int) -> None:
        await self.cycles(3)
        self.dut.aresetn.value = 1
        await self.cycles(2)
        await self.prepare(**controls)

    async def write(self, name: str, *values: int) -> None:
        for value in values:
            answer = await self.master.write(REGISTERS[name]["address"], value.to_bytes(4, "little"))
            assert answer.resp == AxiResp.OKAY

    async def read(self, name: str) -> dict[str, int]:
        fields = REGISTERS[name]["fields"]
        answer = await self.master.read(REGISTERS[name]["address"], 4 * -(-width(fields) // 32))
        assert answer.resp == AxiResp.OKAY
        return take_apart(int.from_bytes(answer.data, "little"), fields)

    async def send(self, *frames: list[int]) -> None:
        for frame in frames:
            await self.source.send(packet(frame))

    async def receive(self, count: int) -> list[dict[str, int]]:
        """Results, one packet each."""
        results = []
        for _ in range(count):
            got = await with_timeout(self.sink.recv(), PATIENCE_NS, "ns")
            assert len(got.tdata) == RESULT_LANES
            results.append(take_apart(int.from_bytes(got.tdata, "little"), PORTS["m_axis_tdata"]["fields"]))
        return results

    async def nothing_left(self, frames: int, *, errors: int = 0, silent: int | None = None) -> None:
        """No transfer is under way or waiting, either."""
        await super().nothing_left(frames, errors=errors)
        assert self.source.idle()
        assert self.sink.empty()
        assert not int(self.dut.m_axis_tvalid.value)
        assert self.master.idle()
        if silent is not None:
            assert (await self.read("silent"))["silent"] == silent


def packet(frame: list[int]) -> AxiStreamFrame:
    """Transfers, one after another, as bytes."""
    return AxiStreamFrame(b"".join(value.to_bytes(LANES, "little") for value in frame))


@cocotb.test(skip=not LOADABLE)
async def frames_wait_for_weights(dut):
    """The first test: nothing has been loaded yet. Later, other weights take the place of the first ones, of which a reset forgets none."""
    bench = Bench(dut, gaps=0.2)
    await bench.cycles(3)
    dut.aresetn.value = 1
    chosen = np.arange(6)
    await bench.send(*(FRAMES[frame] for frame in chosen))
    await bench.cycles(300)
    words = load_words("other")
    await bench.write("load", *words[: len(words) // 2])  # a load that is begun anew
    await bench.write("load", *words[:-1])
    await bench.cycles(100)
    assert await bench.read("status") == {"busy": 0, "loaded": 0}
    assert bench.sink.empty()
    await bench.write("load", words[-1])
    assert await bench.receive(len(chosen)) == golden_results(chosen, OTHER_GOLDEN)
    await bench.write("reset", 1)
    assert await bench.read("status") == {"busy": 0, "loaded": 1}
    await bench.load()
    await bench.send(*FRAMES)
    assert await bench.receive(len(FRAMES)) == golden_results(np.arange(len(FRAMES)))
    assert golden_results(chosen) != golden_results(chosen, OTHER_GOLDEN)
    await bench.nothing_left(len(FRAMES))


@cocotb.test
async def what_never_changes(dut):
    bench = Bench(dut)
    await bench.start()
    assert (await bench.read("packet"))["results"] == 1
    await bench.what_never_changes()


@cocotb.test
async def bytes_of_registers(dut):
    """Where nothing is, 0 is read; what can only be read keeps its value; a strobe that is low keeps its byte away."""
    bench = Bench(dut, gaps=0.5, stalls=0.5)
    await bench.start()
    used = {entry["address"] + byte for entry in REGISTERS.values() for byte in range(16)}
    nowhere = min(set(range(0, 4096, 4)) - used)
    await bench.master.write(nowhere, b"\xff" * 4)
    assert (await bench.master.read(nowhere, 4)).data == bytes(4)
    await bench.write("id", 0)
    await bench.write("frames", 5)
    await bench.nothing_left(0)
    assert (await bench.read("id"))["id"] == REGISTERS["id"]["value"]
    await bench.write("packet", 0xABCD)
    assert (await bench.read("packet"))["results"] == 0xABCD
    await bench.master.write(REGISTERS["control"]["address"] + 1, b"\xfe\xff\xff")  # its only byte with a field is not written
    assert (await bench.read("control"))["early"] == 1
    await bench.master.write(REGISTERS["control"]["address"], b"\xfe")
    assert (await bench.read("control"))["early"] == 0
    assert (await bench.master.read(REGISTERS["packet"]["address"] + 1, 1)).data == b"\xab"


@cocotb.test
async def cycles_of_an_access(dut):
    bench = Bench(dut)
    await bench.start()
    for offer, answer, access in (("ar", "r", bench.read("id")), ("aw", "b", bench.write("control", 1))):
        cocotb.start_soon(access)
        while not int(getattr(dut, f"s_axi_{offer}valid").value):
            await bench.cycles(1)
        waited = 0
        while not int(getattr(dut, f"s_axi_{answer}valid").value):
            await bench.cycles(1)
            waited += 1
        assert waited == ANSWER
        await bench.cycles(5)


@cocotb.test
@cocotb.parametrize((("early", "gaps", "stalls"), pairwise([0, 1], [0.0, 0.6], [0.0, 0.9])))
async def gaps_and_stalls(dut, early, gaps, stalls):
    """Whatever the pace, each packet gives its result; registers can be read all the while."""
    bench = Bench(dut, gaps=gaps, stalls=stalls)
    await bench.start(control=early)
    sending = cocotb.start_soon(bench.send(*FRAMES))
    results = []
    for _ in range(4):
        assert (await bench.read("id"))["id"] == REGISTERS["id"]["value"]
        assert (await bench.read("control"))["early"] == early
        results += await bench.receive(len(FRAMES) // 4)
    await sending
    assert results == golden_results(np.arange(len(FRAMES)))
    await bench.nothing_left(len(FRAMES), silent=int(GOLDEN.decisions.silent.sum()))
    assert await bench.read("last_result") == results[-1]
    cycles = (await bench.read("cycles"))["cycles"]
    assert cycles >= max(len(FRAMES), sum(map(len, FRAMES)) * (not early or bool(gaps)))
    assert (await bench.read("cycles"))["cycles"] == cycles  # at rest, it stands still


@cocotb.test
async def packets_of_results(dut):
    bench = Bench(dut, gaps=0.2, stalls=0.2)
    await bench.start(packet=3)
    await bench.send(*FRAMES[:6])
    for _ in range(2):
        assert len((await bench.sink.recv()).tdata) == 3 * RESULT_LANES
    await bench.write("packet", 0)
    await bench.send(*FRAMES[:5])
    while (await bench.read("frames"))["frames"] < 11:
        pass
    await bench.write("reset", 1)  # the next packet begins anew
    await bench.write("packet", 2)
    await bench.send(*FRAMES[:2])
    assert len((await bench.sink.recv()).tdata) == 7 * RESULT_LANES  # the five had no end
    await bench.nothing_left(2)


@cocotb.test
async def mode_between_frames(dut):
    bench = Bench(dut, gaps=0.1)
    await bench.start()
    await bench.mode_between_frames()


@cocotb.test
@cocotb.parametrize(gaps=[0.0, 0.5])
async def tlast_in_the_wrong_place(dut, gaps):
    """A packet that is cut short or too long."""
    bench = Bench(dut, gaps=gaps)
    await bench.start(control=0)
    frame = max(FRAMES, key=len)
    wrong = wrong_lengths(frame)
    if PORT_MAP["frames_in"] == "words":
        wrong += misplaced_ends(frame, PORTS["s_axis_tdata"]["fields"])
    await bench.wrong_frames(wrong)


@cocotb.test
@cocotb.parametrize(whole=[False, True], gaps=[0.0, 0.5])
async def reset_in_the_middle(dut, whole, gaps):
    """By register, or by aresetn, at any moment."""
    bench = Bench(dut, gaps=gaps, stalls=0.5)
    generator = random.Random(3)
    await bench.start()
    for attempt in range(5):
        await bench.send(*FRAMES)
        await bench.cycles(5 * attempt + generator.randrange(40))
        if whole:
            dut.aresetn.value = 0
            bench.source.clear()
            await bench.cycles(1 + attempt % 3)
            bench.sink.clear()
            dut.aresetn.value = 1
            assert (await bench.read("control"))["early"] == 1
            late = 0
        else:
            bench.source.clear()  # but for the packet that is under way, which goes on
            await bench.write("reset", 1)
            await bench.cycles(200)
            bench.sink.clear()
            late = (await bench.read("frames"))["frames"]  # a packet of which nothing had been taken is a new frame
            assert late <= 1
        chosen = np.arange(attempt, attempt + 3)
        await bench.send(*(FRAMES[frame] for frame in chosen))
        assert await bench.receive(3) == golden_results(chosen)
        await bench.nothing_left(3 + late)
