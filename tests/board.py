# amaranth: UnusedElaboratable=no

# amaranth: UnusedElaboratable=no

"""A board on a serial line, made up: its circuit in Amaranth's simulator, its pins behind what looks like a serial port."""

import contextlib
import os
import threading
import tty

import numpy as np
from amaranth.sim import Simulator

from export import Dense, Encoder, Layer, Network, Single
from hw import Folding
from hw.host.hosted import HostedAccelerator, SerialAccelerator
from tests.networks import random_network

DIVISOR = 10
PATIENCE = 6_000
"""Cycles without a byte after which a read gives up; more than a frame takes."""
TIMEOUT_BITS = 12
SHAPE = (16, 6, 4)
FOLDINGS = {
    "event": Folding((2, 3), (6, 4), ("delta", "delta")),
    "step": Folding((1, 1), (4, 1), ("delta", "delta"), ("step", "event"), (2, 1)),
}


def board_network(seed: int = 7, shape: tuple[int, ...] = SHAPE, **encoder) -> Network:
    """A small network that takes pixels; no neuron fires without input, so that decisions come at all steps."""
    network = random_network(np.random.default_rng(seed), shape, 4, spread=0.7)
    layers = [Layer(Dense(layer.connection.weights), Single(np.maximum(layer.neuron.thresholds, 1))) for layer in network.layers]
    return Network(tuple(layers), 4, Encoder("latency", **encoder))


class SimulatedBoard:
    """Reads and writes like a ``serial.Serial``; time passes while one reads.

    Parameters:
        hosted: the circuit.
        pins: through a serial line, bit by bit; else its bytes are handed over as they are, which takes a tenth of the time.
        damage: called with each byte that arrives at the host, and its number; returns what it has become, None if it was lost.
    """

    def __init__(self, hosted: HostedAccelerator, *, pins: bool = False, damage=lambda byte, number: byte):
        self.hosted, self._damage = hosted, damage
        self._to_send: list[int] = []
        self._received = bytearray()
        self.bytes_seen = 0
        if pins:
            self._serial = SerialAccelerator(hosted, divisor=DIVISOR)
        self._simulator = Simulator(self._serial if pins else hosted)
        self._simulator.add_clock(1e-6)
        for part in (self._drive_pin, self._listen_pin) if pins else (self._drive, self._listen):
            self._simulator.add_testbench(part, background=True)
        self._turn = 10 * DIVISOR if pins else 10
        self._now = 0

    def write(self, data: bytes) -> int:
        self._to_send += data
        return len(data)

    def read(self, size: int, patience: int = PATIENCE) -> bytes:
        silent = 0
        while len(self._received) < size and silent < patience:
            before = len(self._received), len(self._to_send)
            self._now += self._turn
            self._simulator.run_until(self._now * 1e-6)
            silent = 0 if before != (len(self._received), len(self._to_send)) else silent + self._turn
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def reset_input_buffer(self) -> None:
        self._received.clear()

    def _arrived(self, byte: int) -> None:
        damaged = self._damage(byte, self.bytes_seen)
        self.bytes_seen += 1
        if damaged is not None:
            self._received.append(damaged)

    # Loops of ticks, not `until` and `repeat`: these cannot be left in the middle, as the parts are when a test ends.

    async def _drive(self, ctx):
        stream = self.hosted.i
        while True:
            if self._to_send:
                ctx.set(stream.valid, 1)
                ctx.set(stream.payload, self._to_send.pop(0))
                while not ctx.get(stream.ready):
                    await ctx.tick()
            await ctx.tick()
            ctx.set(stream.valid, 0)

    async def _listen(self, ctx):
        stream = self.hosted.o
        ctx.set(stream.ready, 1)
        while True:
            if ctx.get(stream.valid):
                self._arrived(ctx.get(stream.payload))
            await ctx.tick()

    async def _drive_pin(self, ctx):
        while True:
            idle = not self._to_send
            byte = 0xFF if idle else self._to_send.pop(0)
            for level in (idle, *(byte >> k & 1 for k in range(8)), 1):
                ctx.set(self._serial.rx, level)
                await _ticks(ctx, DIVISOR)

    async def _listen_pin(self, ctx):
        line = self._serial.tx
        while True:
            while ctx.get(line):
                await ctx.tick()
            await _ticks(ctx, DIVISOR // 2)
            byte = 0
            for k in range(8):
                await _ticks(ctx, DIVISOR)
                byte |= ctx.get(line) << k
            await _ticks(ctx, DIVISOR)
            assert ctx.get(line), "no stop bit"
            self._arrived(byte)


async def _ticks(ctx, count: int) -> None:
    for _ in range(count):
        await ctx.tick()


def simulated(network: Network, folding: str = "event", *, weights: str = "loadable", **settings) -> SimulatedBoard:
    """A board with a circuit for a network."""
    hosted = HostedAccelerator(network, FOLDINGS[folding], weights=weights, timeout_bits=TIMEOUT_BITS)
    return SimulatedBoard(hosted, **settings)


class Terminal:
    """A pseudo terminal with a board behind it: ``name`` is a port that pyserial can open."""

    def __init__(self, board: SimulatedBoard):
        self._board = board
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.name = os.ttyname(self._theirs)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._pump)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()
        os.close(self._ours)
        os.close(self._theirs)

    def _pump(self):
        os.set_blocking(self._ours, False)
        while not self._ends.is_set():
            with contextlib.suppress(BlockingIOError):
                self._board.write(os.read(self._ours, 4096))
            if data := self._board.read(1, patience=100):
                os.write(self._ours, data)
