"""Runs inside the simulator: what tests of wrappers do in the same way, whatever the bus."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
from cocotb.triggers import RisingEdge

from tests.wrapped import NETWORK, PORT_MAP, REGISTERS, golden_results, load_words, take_apart

LOADABLE = PORT_MAP["weights"] == "loadable"
Frame = TypeVar("Frame")


class WrappedBench(ABC, Generic[Frame]):
    """A wrapped accelerator with models on its buses.

    Parameters:
        clock: its clock.
        frames: as `send` takes them, in the order of the golden results.
    """

    def __init__(self, clock, frames: list[Frame]):
        self.clock, self.frames = clock, frames

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await RisingEdge(self.clock)

    @abstractmethod
    async def write(self, name: str, *values: int) -> None:
        """Write values into a register, one after the other."""

    @abstractmethod
    async def read(self, name: str) -> dict[str, int]:
        """The fields of a register."""

    @abstractmethod
    async def send(self, *frames: Frame) -> None:
        """Send frames."""

    @abstractmethod
    async def receive(self, count: int) -> list[dict[str, int]]:
        """Results, as they come."""

    async def nothing_left(self, frames: int, *, errors: int = 0) -> None:
        """Nothing is under way, and the counters agree."""
        await self.cycles(100)
        assert (await self.read("status"))["busy"] == 0
        assert (await self.read("frames"))["frames"] == frames
        assert (await self.read("errors"))["errors"] == errors

    async def prepare(self, **registers: int) -> None:
        """Load weights if there are none; write registers."""
        if LOADABLE and not (await self.read("status"))["loaded"]:
            await self.load()
        for name, value in registers.items():
            await self.write(name, value)

    async def load(self, network: str = "network") -> None:
        await self.write("load", *load_words(network))
        assert (await self.read("status"))["loaded"]

    async def what_never_changes(self) -> None:
        """Registers with a constant have it, and tell which network it is."""
        for name, entry in REGISTERS.items():
            if "value" in entry:
                assert await self.read(name) == take_apart(entry["value"], entry["fields"]), name
        digest = [(await self.read(f"digest_{k}"))["digest"].to_bytes(4, "little") for k in range(8)]
        assert b"".join(digest).hex() == PORT_MAP["network"]["sha256"]
        assert (await self.read("steps"))["steps"] == NETWORK.steps
        shape = [(await self.read(f"size_{k}"))["size"] for k in range((await self.read("layers"))["layers"] + 1)]
        assert tuple(shape) == NETWORK.shape
        assert (await self.read("control"))["early"] == 1
        await self.nothing_left(0)

    async def mode_between_frames(self) -> None:
        for frame in range(12):
            await self.write("control", frame % 3 == 0)
            await self.send(self.frames[frame])
            assert await self.receive(1) == golden_results(np.array([frame]))
        await self.nothing_left(12)

    async def wrong_frames(self, wrong: list[Frame]) -> None:
        """Each gives one result, with error; its neighbours are right."""
        first, second, third, *_ = self.frames
        for frame in wrong:
            await self.send(first, frame, second, third)
            results = await self.receive(4)
            assert [result["error"] for result in results] == [0, 1, 0, 0]
            assert [results[k] for k in (0, 2, 3)] == golden_results(np.arange(3))
        await self.nothing_left(4 * len(wrong), errors=len(wrong))


def wrong_lengths(frame: list) -> list[list]:
    """A frame that is cut short, or too long."""
    return [frame[:-1], frame[: len(frame) // 2], [*frame, *frame], [*frame, frame[-1]]]
