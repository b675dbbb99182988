# amaranth: UnusedElaboratable=no

"""hw.host.recorder: what is sent is what passed."""

import random
from dataclasses import replace

import numpy as np
import pytest

from export import Dense, Events, Layer, Network, Rate, Readout, UserError
from hw import Accelerator, Folding
from hw.core.words import WordFormat
from hw.host.recorder import COUNT_SIZE, SpikeRecorder, most_records, record_layout, record_size
from tests.accelerators import simulate
from tests.circuit import run_benches
from tests.maps import Shape, map_network, random_inputs
from tests.networks import random_network, random_spike_times
from tests.payloads import word_payloads

FORMS = [
    [WordFormat(3, 4, 3)],
    [WordFormat(1, 1, 1), WordFormat(1, 1, 1)],
    [WordFormat(9, 4, 1), WordFormat(5, 4, 2)],
    [WordFormat(300, 8, 1), WordFormat(40, 8, 40), WordFormat(7, 8, 2)],
]


async def read(ctx, dut, stalls=0.0):
    draw = random.Random(2)
    received, last = [], False
    ctx.set(dut.send, 1)
    while not last:
        while draw.random() < stalls:
            await ctx.tick()
        ctx.set(dut.o.ready, 1)
        (payload,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
        ctx.set(dut.o.ready, 0)
        received.append(payload.data)
        last = payload.last
    ctx.set(dut.send, 0)
    await ctx.tick()
    return bytes(received)


def decode(forms, content):
    """Words by monitor, as integers in `record_layout`."""
    parts, at = [], 0
    for form in forms:
        count = int.from_bytes(content[at : at + COUNT_SIZE], "little")
        at += COUNT_SIZE
        size = record_size(form)
        parts.append([int.from_bytes(content[at + k * size : at + (k + 1) * size], "little") for k in range(count)])
        at += count * size
    assert at == len(content)
    return parts


@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("stalls", [0.0, 0.6])
def test_sends_what_passed(forms, stalls):
    """Several frames, from no words to one more than there is room for, on all monitors in the same cycles or not."""
    room = [form.words + form.steps for form in forms]
    dut = SpikeRecorder(forms, room)
    draw = random.Random(5)

    async def bench(ctx):
        for fill in (0.0, 0.3, 0.0, 1.0, 2.0, 0.5):
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            wanted = [min(depth + 1, round(depth * fill)) for depth in room]
            sent = [[] for _ in forms]
            while sum(map(len, sent)) < sum(wanted):
                for k, form in enumerate(forms):
                    port = getattr(dut, f"monitor_{k}")
                    passes = len(sent[k]) < wanted[k] and draw.random() < 0.7
                    word = {"time": draw.randrange(form.steps), "bits": draw.getrandbits(form.simd), "index": draw.randrange(form.words)}
                    word |= {"last_of_step": draw.getrandbits(1), "last_of_frame": draw.getrandbits(1)}
                    ctx.set(port.valid, passes)
                    ctx.set(port.payload, word)
                    if passes:
                        layout = record_layout(form)
                        sent[k].append(layout.const({name: word[name] for name, _ in layout}).as_value().value)
                await ctx.tick()
            for k in range(len(forms)):
                ctx.set(getattr(dut, f"monitor_{k}").valid, 0)
            expected = [words[:depth] for words, depth in zip(sent, room, strict=True)]
            for _ in range(2):  # once more
                assert decode(forms, await read(ctx, dut, stalls)) == expected

    run_benches(dut, bench)


@pytest.mark.parametrize("seed", range(4))
def test_there_is_room_for_every_frame(seed):
    """Also where every neuron fires, each in a step and word of its own or all at once."""
    rng = np.random.default_rng(seed)
    shape = ((6, 9, 7), (5, 4, 3, 2), (4, 8, 9), (3, 2))[seed]
    network = random_network(rng, shape, 4, spread=0.2)
    pe = tuple(max(1, size // 3) for size in shape[1:])
    accelerator = Accelerator(network, Folding((1,) * len(pe), pe, ("delta",) * len(pe)))
    times = random_spike_times(rng, 25, shape[0], 4)
    record = simulate(accelerator, word_payloads(accelerator.input_format.from_spike_times(times)), early=False)
    for words, room in zip(record.words, most_records(accelerator.plans), strict=True):
        assert max(map(len, words)) <= room


@pytest.mark.parametrize("code", ["rate", "ternary, signed"])
def test_there_is_room_for_neurons_that_spike_often(code):
    """In each step, on a map, with words in two parts."""
    rng = np.random.default_rng(6)
    network = map_network(rng, (4, 4, 1), [Shape(6, (2, 2))], 2, 5, code)
    neuron = network.layers[0].neuron
    often = replace(neuron, thresholds=np.ones(6, int), initial=np.ones(6, int))
    network = replace(network, layers=(replace(network.layers[0], neuron=often), *network.layers[1:]))
    accelerator = Accelerator(network, Folding((1, 3), (4, 2), ("delta", "delta")))
    inputs = Events.from_dense(random_inputs(rng, network, 6))
    record = simulate(accelerator, word_payloads(accelerator.input_format.from_events(inputs)), early=False)
    seen = [max(map(len, words)) for words in record.words]
    assert seen[0] > network.layers[0].outputs + 2 if code == "rate" else seen[0] > 20
    assert all(words <= room for words, room in zip(seen, most_records(accelerator.plans), strict=True))


def test_more_words_than_can_be_numbered():
    network = Network((Layer(Dense(np.ones((20_000, 1))), Rate(np.ones(20_000, int))), Layer(Dense(np.ones((1, 20_000))), Readout([1]))), 4)
    plans = Folding((1, 1), (1, 1), ("delta", "delta")).plans(network)
    message = r"^layer 0 must send at most 65,535 words in a frame to a host, not 80,002$"
    with pytest.raises(UserError, match=message):
        most_records(plans)


def test_layout():
    """Of one word only, there is no index."""
    assert [name for name, _ in record_layout(WordFormat(3, 4, 3))] == ["time", "bits", "last_of_step", "last_of_frame"]
    assert [name for name, _ in record_layout(WordFormat(4, 4, 3))] == ["time", "index", "bits", "last_of_step", "last_of_frame"]
    assert record_size(WordFormat(600, 8, 1)) == 2
    assert record_size(WordFormat(10, 8, 10)) == 2
