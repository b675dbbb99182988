"""Runs inside the simulator: a host at the pins of a board's serial line; see `board_top`."""

import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.queue import Queue
from cocotb.task import bridge, resume
from cocotb.triggers import FallingEdge, SimTimeoutError, Timer, with_timeout

from export import load
from hw.inputs import Inputs
from sim.board import host, link

BIT_PS = round(1e12 / int(os.environ["BOARD_BAUD"]))
PATIENCE = 500
"""Bits without a byte after which a read gives up; more than a frame takes."""


class Pins:
    """Reads and writes like a ``serial.Serial``, at the board's bit rate in simulated time."""

    def __init__(self, dut):
        self._dut = dut
        self._received: Queue[int] = Queue()
        cocotb.start_soon(self._receive())

    @resume
    async def write(self, data: bytes) -> None:
        for byte in data:
            for level in (0, *(byte >> k & 1 for k in range(8)), 1):
                self._dut.rx.value = level
                await Timer(BIT_PS, "ps")

    @resume
    async def read(self, size: int) -> bytes:
        data = bytearray()
        try:
            while len(data) < size:
                data.append(await with_timeout(self._received.get(), PATIENCE * BIT_PS, "ps"))
        except SimTimeoutError:
            pass
        return bytes(data)

    def reset_input_buffer(self) -> None:
        while not self._received.empty():
            self._received.get_nowait()

    async def _receive(self):
        line = self._dut.tx
        while True:
            await FallingEdge(line)
            await Timer(BIT_PS // 2, "ps")
            levels = []
            for _ in range(9):
                await Timer(BIT_PS, "ps")
                levels.append(int(line.value))
            if levels.pop():  # the stop bit
                self._received.put_nowait(sum(level << k for k, level in enumerate(levels)))


@cocotb.test
async def every_spike_is_equal(dut):
    link.PAUSE = 0
    folder = Path(os.environ["BOARD_FOLDER"])
    network, images = load(folder / "network.safetensors"), np.load(folder / "images.npy")
    await Timer(20 * BIT_PS, "ps")  # until the clock is there
    frames = Inputs(network.check_inputs(network.encode(images)), np.zeros(len(images), int), images)
    serial = link.SerialLink(Pins(dut))
    report = await bridge(host.check)(serial, network, frames)
    assert report.passed, report.table()
    assert serial.damaged == 0
    full, early = report.comparisons["full"], report.comparisons["early"]
    assert full.frames == early.frames == len(images)
    assert full.spikes_received == full.spikes_compared > 0
