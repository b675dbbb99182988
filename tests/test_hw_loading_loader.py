# amaranth: UnusedElaboratable=no

"""hw.loading.loader: memories hold what was loaded, and a broken load does no harm to the next."""

import random

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from hw import Folding
from hw.core.memories import RowMemory, chunks
from hw.loading.loader import Loader, load_content, row_memories
from tests.circuit import run_benches
from tests.networks import random_network

SHAPES = [[(1, 1)], [(8, 1), (3, 2)], [(17, 5), (8, 1), (9, 3), (1, 1)], [(16, 4), (33, 2)]]


class Memories(wiring.Component):
    """A loader with its memories."""

    def __init__(self, shapes):
        self.loader = Loader(shapes)
        self.memories = [RowMemory(width, range(rows), writable=True) for width, rows in shapes]
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = self.loader
        for k, memory in enumerate(self.memories):
            m.submodules[f"memory_{k}"] = memory
            wiring.connect(m, getattr(self.loader, f"write_{k}"), memory.write)
        return m


def random_rows(seed, shapes):
    draw = random.Random(seed)
    return [[draw.getrandbits(width) for _ in range(rows)] for width, rows in shapes]


def as_bytes(shapes, content):
    return b"".join(row.to_bytes(chunks(width), "little") for (width, _), rows in zip(shapes, content, strict=True) for row in rows)


async def send(ctx, port, content, *, first=True, gaps=0.0, seed=0):
    draw = random.Random(seed)
    for k, byte in enumerate(content):
        while draw.random() < gaps:
            await ctx.tick()
        ctx.set(port.valid, 1)
        ctx.set(port.payload, {"data": byte, "first": first and k == 0})
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)


async def read(ctx, memories, k):
    rows = []
    for address in range(len(memories[k].rows)):
        ctx.set(memories[k].address, address)
        await ctx.tick()
        rows.append(ctx.get(memories[k].data))
    return rows


@pytest.mark.parametrize("gaps", [0.0, 0.5])
@pytest.mark.parametrize("shapes", SHAPES)
def test_loads(shapes, gaps):
    dut = Memories(shapes)
    loader = dut.loader
    assert loader.size == len(as_bytes(shapes, random_rows(0, shapes)))

    async def expect(ctx, content):
        assert ctx.get(loader.loaded)
        for k, rows in enumerate(content):
            assert await read(ctx, dut.memories, k) == rows

    async def bench(ctx):
        first, second, third = (random_rows(seed, shapes) for seed in range(3))
        assert not ctx.get(loader.loaded)
        await send(ctx, loader.i, b"lost", first=False, gaps=gaps)  # before any first
        assert not ctx.get(loader.loaded)
        await send(ctx, loader.i, as_bytes(shapes, first), gaps=gaps)
        await expect(ctx, first)
        await send(ctx, loader.i, b"late", first=False, gaps=gaps)  # after the last
        await expect(ctx, first)
        for at in range(loader.size):  # one that stops at any place, and the next that is whole
            await send(ctx, loader.i, as_bytes(shapes, second)[:at], gaps=gaps)
            assert ctx.get(loader.loaded) == (at == 0)
            await send(ctx, loader.i, as_bytes(shapes, third), gaps=gaps)
            await expect(ctx, third)
            await send(ctx, loader.i, as_bytes(shapes, first), gaps=gaps)

    run_benches(dut, bench)


def test_a_byte_per_cycle():
    shapes = SHAPES[2]
    dut = Memories(shapes)
    cycles = 0

    async def count(ctx):
        nonlocal cycles
        async for _, reset, loaded in ctx.tick().sample(dut.loader.loaded):
            if loaded or reset:
                break
            cycles += 1

    async def bench(ctx):
        await send(ctx, dut.loader.i, as_bytes(shapes, random_rows(0, shapes)))

    run_benches(dut, bench, count)
    assert cycles == dut.loader.size


def test_content_of_a_network():
    """Each memory in turn, each row on whole bytes."""
    network = random_network(np.random.default_rng(4), (9, 7, 5), 4)
    plans = Folding((4, 3), (4, 2), ("delta", "xnor")).plans(network)
    content = load_content(plans)
    at = 0
    for plan in plans:
        for (width, rows), expected in zip(row_memories(plan), (plan.weight_rows, plan.initial_potentials), strict=True):
            assert rows == expected
            for row in rows:
                size = -(-width // 8)
                assert int.from_bytes(content[at : at + size], "little") == row < 1 << width
                at += size
    assert at == len(content) == Loader([(width, len(rows)) for plan in plans for width, rows in row_memories(plan)]).size
