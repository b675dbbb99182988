"""Co-simulation of convolutions and pools, and faults planted in their Verilog: each is seen, and its place named.

Where a fault shows first, the golden model says, with the same fault in it. All faults are in one text, which is built once; plus arguments
``+fault_NAME.`` choose among them.
"""

import re
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import pytest

import sim
from export import Conv2d, Dense, Encoder, Events, Layer, Network, Pool2d, Single, reference
from hw import Accelerator, Folding, cost
from hw.verilog import generate, port_map
from sim.compare import Difference
from tests import plusargs
from tests.maps import Shape, map_network, random_inputs, signs
from tests.networks import random_spike_times

STEPS = 4
FOLDING = Folding((1, 3, 2), (3, 4, 3), ("delta", "delta", "delta"))
FAULTS = ("kernel place exchanged", "padding spikes", "stale tag", "position not tested", "pooled spike sent twice")
LAYERS = (0, 0, 0, 0, 1)
UNTESTED = 14
PADDED = 2, 5  # row and last column


def network_of(kernels, pool="max"):
    rng = np.random.default_rng(31)
    hidden = Conv2d(signs(rng, 4, 3, 2, 2), (3, 3))
    return Network(
        (
            Layer(Conv2d(kernels, (6, 6), padding=1), Single(np.array([2, 3, 2]))),
            Layer(hidden, Single(np.array([3, 2, 4, 3])), Pool2d((6, 6), 3, 2, pool)),
            Layer(Dense(signs(rng, 3, 16)), Single(np.array([2, 4, 3]))),
        ),
        STEPS,
    )


KERNELS = signs(np.random.default_rng(30), 3, 1, 3, 3)
NETWORK = network_of(KERNELS)
TIMES = random_spike_times(np.random.default_rng(32), 60, 36, STEPS)
GOLDEN = reference.run(NETWORK, TIMES)


@dataclass(frozen=True, eq=False)
class Wrapped(Conv2d):
    """A convolution in which one word goes on beyond the last column, to the first position of the next line."""

    @cached_property
    def extra(self):
        y, x = PADDED
        height, width, _ = self.output_map
        found = np.zeros((self.inputs, height, width, self.channels), np.float32)
        for row in range(y - 1, y + 2):
            found[y * 6 + x, row + 1, 0] = self.kernels[:, 0, y + 1 - row, 0]
        return found.reshape(self.inputs, -1)

    def sums(self, spikes):
        return super().sums(spikes) + spikes @ self.extra


def stale(upto):
    """Spike times of the first layer, whose membranes go on with the next frame, but for those of position 0."""
    layer, times = NETWORK.layers[0], []
    channels = layer.neuron.start(1)
    state = replace(channels, margin=np.tile(channels.margin, 36), emitted=np.tile(channels.emitted, 36))
    for frame, last in zip(TIMES, upto, strict=True):
        state.margin[:, :3], state.emitted[:, :3] = channels.margin, 0
        found = np.full(layer.outputs, STEPS)
        for t in range(last + 1):
            state.margin += layer.connection.sums((frame == t)[None].astype(np.float32))
            found[layer.neuron.step(state)[0] > 0] = t
        times.append(found)
    return np.stack(times)


def faulty(fault, upto):
    """The spike times of each layer with a fault, right up to the first difference; ``upto`` is each frame's last step."""
    first, *others = GOLDEN.spike_times
    if fault == "kernel place exchanged":
        kernels = KERNELS.copy()
        kernels[:, :, 0, 1], kernels[:, :, 2, 0] = KERNELS[:, :, 2, 0], KERNELS[:, :, 0, 1]
        return reference.run(network_of(kernels), TIMES).spike_times
    if fault == "padding spikes":
        layer = NETWORK.layers[0]
        wrapped = Wrapped(KERNELS, (6, 6), padding=1)
        return reference.run(replace(NETWORK, layers=(replace(layer, connection=wrapped), *NETWORK.layers[1:])), TIMES).spike_times
    if fault == "stale tag":
        return (stale(upto), *others)
    if fault == "position not tested":
        silent = first.copy()
        silent[:, 3 * UNTESTED : 3 * UNTESTED + 3] = STEPS
        return (silent, *others)
    return reference.run(network_of(KERNELS, "sum"), TIMES).spike_times


def first_difference(fault, mode):
    """What a comparison has to name."""
    upto = GOLDEN.decisions.step if mode == "early" else np.full(len(TIMES), STEPS - 1)
    shown = [[np.where(times <= upto[:, None], times, STEPS) for times in every] for every in (GOLDEN.spike_times, faulty(fault, upto))]
    places = []
    for layer, (expected, seen) in enumerate(zip(*shown, strict=True)):
        for frame, neuron in np.argwhere(expected != seen).tolist():
            steps = int(expected[frame, neuron]), int(seen[frame, neuron])
            places.append((frame, layer, min(steps), neuron, *steps))
    frame, layer, _, neuron, *steps = min(places)
    return Difference(mode, frame, layer, neuron, "step", *(None if step == STEPS else step for step in steps))


def in_module(text, name, changes, *, chosen=()):
    """The Verilog with changes in one module, of regular expressions that are there once; and registers, each chosen by a fault."""
    begin = text.index(f"module accelerator_{name} (")
    end = text.index("endmodule", begin)
    head, _, body = text[begin:end].partition(");\n")
    for pattern, replacement in changes:
        body, count = re.subn(pattern, replacement, body)
        assert count == 1, pattern
    body = "".join(f'  reg {name};\n  initial {name} = $test$plusargs("fault_{named(fault)}.");\n' for name, fault in chosen) + body
    return f"{text[:begin]}{head});\n{body}{text[end:]}"


def named(fault):
    """As in a plus argument."""
    return fault.replace(" ", "_")


def row_changed(row, value, fault):
    """One row of a memory."""
    return rf"(    memory\[{row}\] = \d+'h)[0-9a-f]+;\n", rf'\g<0>    if ($test$plusargs("fault_{named(fault)}.")) \g<1>{value:x};\n'


@cache
def planted():
    """The Verilog with all faults, and its port map."""
    accelerator = Accelerator(NETWORK, FOLDING)
    plan = accelerator.plans[0]
    text, rows = generate(accelerator), plan.weight_rows
    text = in_module(text, "layer_0_weights", [row_changed(1, rows[6], FAULTS[0]), row_changed(6, rows[1], FAULTS[0])])
    word = PADDED[0] * 6 + PADDED[1]
    wider = plan.walk_rows[word] + (1 << plan.walk_layout["across"].offset)
    text = in_module(text, "layer_0_sequencer_walks", [row_changed(word, wider, FAULTS[1])])
    kept = [
        (r"(round_0 <= )(\(round_0 == )", r"\1old ? 6'h00 : \2"),
        (r"due <= due \| place;", rf"due <= (due | place) & ~(untested ? 36'h{1 << UNTESTED:x} : 36'h0);"),
    ]
    text = in_module(text, "layer_0_sequencer", kept, chosen=[("old", FAULTS[2]), ("untested", FAULTS[3])])
    twice = [(r"(assign spiked = )(.*);", r"\1twice ? 3'b000 : (\2);")]
    text = in_module(text, "layer_1_pool", twice, chosen=[("twice", FAULTS[4])])
    return text, port_map(accelerator)


def cosimulate(fault, monkeypatch):
    """Run the circuit with one of its faults."""
    plusargs.add(monkeypatch, f"+fault_{named(fault)}.")
    return sim.cosimulate(NETWORK, TIMES, folding=FOLDING, verilog=planted())


def test_no_fault(monkeypatch):
    report = cosimulate("none", monkeypatch)
    assert report.passed, report.first_difference
    assert report.comparisons["full"].spikes_compared > 1000
    assert report.comparisons["full"].spikes_compared > report.comparisons["early"].spikes_compared


@pytest.mark.parametrize(("fault", "layer"), [*zip(FAULTS, LAYERS, strict=True)])
def test_fault(fault, layer, monkeypatch):
    report = cosimulate(fault, monkeypatch)
    assert not report.passed
    for mode, comparison in report.comparisons.items():
        first = first_difference(fault, mode)
        assert first.layer == layer
        assert comparison.first == first, mode
    assert f"layer {layer}, neuron" in report.table()


@pytest.mark.parametrize(
    ("code", "folding"),
    [
        ("single", Folding((1, 3, 4), (3, 2, 3), ("delta",) * 3, contexts=4, pixels=2)),
        ("graded, signed", Folding((1, 2, 2), (3, 4, 2), ("delta",) * 3, contexts=2)),
        ("rate", Folding((1, 6, 4), (6, 4, 3), ("delta",) * 3)),
    ],
)
def test_every_coefficient_and_cycle(code, folding):
    """Strides, padding and pools; frames in turn, the single spikes' as pixels."""
    rng = np.random.default_rng(33)
    shapes = [Shape(6, (3, 2), (2, 1), (1, 1)), Shape(4, (2, 2), pool=(1, 2))]
    encoder = Encoder("latency") if code == "single" else None
    network = map_network(rng, (8, 7, 1), shapes, 3, STEPS, code, encoder=encoder, last_pool=(2, 1))
    images = None
    if code == "single":
        images = (rng.integers(0, 256, (60, 56)) * (rng.random((60, 56)) < 0.7)).astype(np.uint8)
        inputs = network.check_inputs(network.encode(images))
    else:
        inputs = Events.from_dense(random_inputs(rng, network, 60))
    report = sim.cosimulate(network, inputs, images=images, folding=folding)
    assert report.passed, report.first_difference
    assert report.comparisons["early"].spikes_compared > 1000
    assert report.data["cycles"]["streaming"] == cost.streaming(network, folding)
    assert f"dense streaming                  {cost.streaming(network, folding):,} cycles per image" in report.table()
    golden, frames_in = reference.run(network, inputs), "words" if images is None else "pixels"
    for mode, timing in report.timings.items():
        predicted = cost.predict(network, folding, inputs, golden, early=mode == "early", frames_in=frames_in)
        assert timing.latency.tolist() == predicted.latencies.tolist()
        assert timing.intervals.tolist() == predicted.intervals.tolist()
