"""Runs an accelerator in Amaranth's own simulator, frame after frame, and records everything that it shows."""

import random
from dataclasses import dataclass, field

import numpy as np
from amaranth.sim import Simulator

from hw.words import Words


@dataclass
class Record:
    """What came out.

    Attributes:
        spikes: per layer, (frame, neuron, time) of each spike, in order.
        results: per frame, a dictionary of the result's fields.
        result_cycles: per frame, the cycle in which its result was there first.
        first_word_cycles: per frame, the cycle in which its first word was taken.
        words_taken: words (or pixels) that were taken in all.
    """

    spikes: list[list[tuple[int, int, int]]]
    results: list[dict[str, int]] = field(default_factory=list)
    result_cycles: list[int] = field(default_factory=list)
    first_word_cycles: list[int] = field(default_factory=list)
    words_taken: int = 0


def word_payloads(accelerator, words: Words) -> list[list[dict]]:
    """Words as payloads for the input stream, one list per frame."""
    frames = [[] for _ in range(words.frame.max() + 1)]
    for k, frame in enumerate(words.frame):
        frames[frame].append(
            {
                "time": int(words.time[k]),
                "index": int(words.index[k]),
                "bits": int(sum(1 << s for s in np.flatnonzero(words.bits[k]))),
                "last_of_step": int(words.last_of_step[k]),
                "last_of_frame": int(words.last_of_frame[k]),
                "error": 0,
            }
        )
    return frames


def pixel_payloads(images: np.ndarray) -> list[list[dict]]:
    """Images uint8 (frames, pixels) as payloads for the input stream, one list per frame."""
    last = images.shape[1] - 1
    return [[{"intensity": int(p), "last_of_frame": int(k == last)} for k, p in enumerate(image)] for image in images]


def simulate(accelerator, frames: list[list[dict]], *, early: bool, gaps=0.0, stalls=0.0, seed=0, results=None, reset_at=None) -> Record:
    """Send frames back to back; ``gaps`` and ``stalls`` are the shares of cycles without a word, and without readiness for a result.

    Stops after ``results`` results (one per frame by default). With ``reset_at``, the circuit is reset in that cycle and all frames are
    sent again; what came before is forgotten.
    """
    rng = random.Random(seed)
    expected = len(frames) if results is None else results
    record = Record([[] for _ in accelerator.plans])

    async def bench(ctx):
        nonlocal record
        frame = at = cycle = closing = 0
        monitor_frame = [0] * len(accelerator.plans)
        offered = False
        result_seen = False
        ctx.set(accelerator.early, int(early))
        while len(record.results) < expected:
            if cycle > 200_000:
                raise AssertionError(f"no end in sight: {len(record.results)} of {expected} results")
            if reset_at is not None and cycle == reset_at:
                record = Record([[] for _ in accelerator.plans])
                frame = at = closing = 0
                monitor_frame = [0] * len(accelerator.plans)
                offered = result_seen = False
                ctx.set(accelerator.i.valid, 0)
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                cycle += 1
                continue
            if not offered and frame < len(frames) and rng.random() >= gaps:
                offered = True
                payload = frames[frame][at]
                if closing:
                    payload = dict(payload, bits=0, last_of_step=1, last_of_frame=1)
                ctx.set(accelerator.i.payload, payload)
            ctx.set(accelerator.i.valid, int(offered))
            ctx.set(accelerator.o.ready, int(rng.random() >= stalls))
            # Now the cycle's signals have settled.
            if offered and ctx.get(accelerator.i.ready):
                record.words_taken += 1
                if at == 0:
                    record.first_word_cycles.append(cycle)
                cancelled = accelerator.frames_in == "words" and ctx.get(accelerator.i_cancel)
                if closing or at == len(frames[frame]) - 1:
                    frame, at, closing = frame + 1, 0, False
                else:
                    at, closing = at + 1, bool(cancelled)
                offered = False
            for layer in range(len(accelerator.plans)):
                monitor = getattr(accelerator, f"monitor_{layer}")
                if ctx.get(monitor.valid):
                    word = ctx.get(monitor.payload)
                    simd = accelerator.monitor_formats[layer].simd
                    for bit in range(simd):
                        if word.bits >> bit & 1:
                            record.spikes[layer].append((monitor_frame[layer], word.index * simd + bit, word.time))
                    monitor_frame[layer] += word.last_of_frame
            if ctx.get(accelerator.o.valid):
                if not result_seen:
                    record.result_cycles.append(cycle)
                result_seen = True
                if ctx.get(accelerator.o.ready):
                    result = ctx.get(accelerator.o.payload)
                    record.results.append({name: getattr(result, name) for name, _ in accelerator.o.payload.shape()})
                    result_seen = False
            await ctx.tick()
            cycle += 1

    from amaranth.hdl import Module, ResetInserter, Signal

    reset = Signal()
    m = Module()
    m.submodules.dut = ResetInserter(reset)(accelerator)
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return record
