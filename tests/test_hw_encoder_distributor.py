"""hw.encoder.distributor: frames in turn, alone and in front of encoders."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect

from export import Events
from hw.core.words import WordFormat
from hw.encoder.codes import LatencyCode
from hw.encoder.cost import EncoderCost
from hw.encoder.distributor import FrameDistributor
from hw.encoder.encoder import PixelEncoder, pixel_layout
from tests.circuit import Sink, Source, run
from tests.payloads import pixel_payloads
from tests.test_hw_encoder_latency import TimedSink, golden_words, kept, random_images, spike_times


@pytest.mark.parametrize("contexts", [1, 2, 3, 4])
@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.5, 0.5), (0, 0.8)])
@pytest.mark.parametrize("reset_at", [None, 7])
def test_frames_in_turn(contexts, gaps, stalls, reset_at):
    frames = pixel_payloads([np.arange(1 + k % 3) + 10 * k for k in range(13)])
    dut = FrameDistributor(contexts, pixel_layout(1))

    def start():
        outputs = [getattr(dut, f"o_{k}") for k in range(contexts)]
        shares = [len(frames[k::contexts]) for k in range(contexts)]
        sinks = [Sink(o, n, ends="last_of_frame", stalls=stalls, seed=n) for o, n in zip(outputs, shares, strict=True)]
        return [*sinks, Source(dut.i, frames, gaps=gaps)]

    *sinks, _ = run(dut, start, watch=lambda: [getattr(dut, f"o_{k}") for k in range(contexts)], reset_at=reset_at)
    for k, sink in enumerate(sinks):
        received = [[{name: beat[name] for name in ("intensity", "last_of_frame")} for beat in frame] for frame in sink.received]
        assert received == frames[k::contexts]


class Encoders(wiring.Component):
    """A distributor and its encoders."""

    def __init__(self, contexts, form, pixels):
        self.distributor = FrameDistributor(contexts, pixel_layout(pixels))
        self.encoders = [PixelEncoder(form, LatencyCode(form.steps, 1), pixels=pixels) for _ in range(contexts)]
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.distributor = self.distributor
        for k, encoder in enumerate(self.encoders):
            m.submodules[f"encoder_{k}"] = encoder
            connect(m, getattr(self.distributor, f"o_{k}"), encoder.i)
        return m


@pytest.mark.parametrize("contexts", [1, 2, 3])
@pytest.mark.parametrize(("numbers", "pixels"), [((24, 8, 1), 8), ((12, 5, 4), 3), ((30, 4, 2), 1)])
@pytest.mark.parametrize(("stalls", "cancels"), [(0, 0), (0.3, 0.05)])
def test_encoders_and_their_cost(contexts, numbers, pixels, stalls, cancels):
    form, count = WordFormat(*numbers), 12
    images = random_images(count, form.inputs, seed=3)
    dut = Encoders(contexts, form, pixels)
    source = Source(dut.distributor.i, pixel_payloads(images, pixels))

    def start():
        sinks = [
            TimedSink(
                encoder.o.stream, count // contexts, ends="last_of_frame", stalls=stalls, cancel=encoder.o.cancel, cancels=cancels, seed=k
            )
            for k, encoder in enumerate(dut.encoders)
        ]
        return [source, *sinks]

    _, *sinks = run(dut, start)
    expected_words = golden_words(images, form, 1)
    cost = EncoderCost(dut.encoders[0].plan, Events.from_spike_times(spike_times(images, form.steps, 1), form.steps), contexts)
    there, taken = [iter(sink.cycles) for sink in sinks], [iter(sink.taken) for sink in sinks]
    for frame in range(count):
        words = sinks[frame % contexts].received[frame // contexts]
        right = kept(words)
        assert right == expected_words[frame][: len(right)]
        assert cost.last_beat(frame) == source.last_cycles[frame]
        expected, cancelled = cost.first_word(frame), False
        for k, word in enumerate(words):
            assert next(there[frame % contexts]) == expected, f"frame {frame}, word {k}"
            cycle = next(taken[frame % contexts])
            expected = cycle + 1
            if word["dropped"] and not cancelled:
                cancelled = True
                expected = cost.cancel(frame, k + 1, cycle)
        cost.end(frame, cycle)
        assert cancelled or right == expected_words[frame]
