"""Faults planted in the generated Verilog, or in what goes in: co-simulation sees each, and names the place.

Which faults can be seen, and where first, the golden model says.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

import sim
from export import Layer, Network, reference
from hw import Accelerator, Folding
from hw.verilog import generate, port_map
from sim.compare import Difference
from tests.networks import random_network, random_spike_times

STEPS = 6
FOLDING = Folding((2, 4), (5, 3), ("xnor", "delta"), contexts=2)
NETWORK = random_network(np.random.default_rng(21), (14, 10, 6), STEPS, spread=0.5)
TIMES = random_spike_times(np.random.default_rng(29), 60, 14, STEPS)
GOLDEN = reference.run(NETWORK, TIMES)


@pytest.fixture(scope="module")
def verilog():
    accelerator = Accelerator(NETWORK, FOLDING)
    return generate(accelerator), port_map(accelerator)


def changed(layer, *, weight=None, threshold=None, shift=1):
    """The network with one weight of a layer flipped, or one threshold shifted, or both."""
    layers = list(NETWORK.layers)
    weights, thresholds = layers[layer].weights.copy(), layers[layer].thresholds.copy()
    if weight is not None:
        weights[weight] *= -1
    if threshold is not None:
        thresholds[threshold] += shift
    layers[layer] = Layer(weights, thresholds)
    return Network(tuple(layers), STEPS)


def place(golden, faulty):
    """The first difference between two golden results: lowest frame, lowest layer, earliest step, lowest neuron.

    None where there is none, where it is a decision's, or where the two modes do not show the same.
    """
    firsts = set()
    for early in (False, True):
        places = []
        for layer, (expected, seen) in enumerate(zip(shown(golden, early), shown(faulty, early), strict=True)):
            for frame, neuron in np.argwhere(expected != seen).tolist():
                steps = int(expected[frame, neuron]), int(seen[frame, neuron])
                places.append((frame, layer, min(steps), neuron, *steps))
        firsts.add(min(places, default=None))
    if len(firsts) > 1 or None in firsts:
        return None
    frame, layer, _, neuron, *steps = firsts.pop()
    if steps[0] == STEPS and golden.spike_times[layer][frame, neuron] < STEPS:
        return None  # in early mode it is a spike after the decision
    for name in ("class_index", "step", "margin", "silent"):
        if (getattr(golden.decisions, name) != getattr(faulty.decisions, name))[:frame].any():
            return None
    return Difference("full", frame, layer, neuron, "step", *(None if step == STEPS else step for step in steps))


def shown(result, early):
    """The spike times that a circuit shows: in early mode, none after the decision."""
    upto = result.decisions.step[:, None] if early else STEPS
    return [np.where(times <= upto, times, STEPS) for times in result.spike_times]


def visible(candidates):
    """The first of some faults whose first difference is a spike late in the set and seen in both modes, with that difference."""
    for candidate in candidates:
        first = place(GOLDEN, reference.run(changed(**candidate), TIMES))
        if first is not None and first.frame >= 3 and first.layer == candidate["layer"]:
            return candidate, first
    raise AssertionError("some fault must be visible")


def plant(text, layer, memory, row, change):
    """The Verilog with another value in one row of a layer's memory."""
    begin = text.index(f"module accelerator_layer_{layer}_{memory} (")
    match = re.compile(rf"( memory\[{row}\] = \d+'h)([0-9a-f]+);").search(text, begin)
    assert match.start() < text.index("endmodule", begin)
    return f"{text[: match.end(1)]}{change(int(match[2], 16)):x}{text[match.end(2) :]}"


def flip(text, layer, weight):
    """The Verilog with one bit of a layer's weight memory flipped."""
    (neuron, source), simd, pe = weight, FOLDING.simd[layer], FOLDING.pe[layer]
    words = -(-NETWORK.layers[layer].inputs // simd)
    bit = neuron % pe * simd + source % simd
    return plant(text, layer, "weights", neuron // pe * words + source // simd, lambda value: value ^ 1 << bit)


def shifted(text, layer, neuron, amount):
    """The Verilog with something added to one of the values from which a layer's neurons start."""
    row, lane = divmod(neuron, FOLDING.pe[layer])
    width = FOLDING.plans(NETWORK)[layer].membrane_bits
    return plant(text, layer, "initial", row, lambda value: add(value, lane, width, amount))


def assert_seen(report, first, out=None):
    assert not report.passed
    assert report.first_difference == first
    for mode, comparison in report.comparisons.items():
        assert comparison.first == replace(first, mode=mode)
        assert comparison.differences > 0
    assert f"frame {first.frame}, layer {first.layer}, neuron {first.neuron}: step expected" in report.table()
    assert report.data["first_difference"]["text"] == str(first)
    assert report.data["frames_equal"] < len(TIMES)
    assert report.data["early"]["frames_equal"] < len(TIMES)
    if out is None:
        return
    assert report.waveforms == (out / "first_difference_full.vcd",)
    waveform = report.waveforms[0].read_text()
    assert 20 < waveform.count("\n#") < 2000  # a frame, not all of them
    assert "differences" in (out / "report.html").read_text()


@pytest.mark.parametrize("layer", [0, 1])
def test_one_weight(verilog, layer):
    weights = NETWORK.layers[layer].weights
    fault, first = visible({"layer": layer, "weight": (int(j), int(i))} for j, i in np.ndindex(weights.shape))
    faulty = flip(verilog[0], layer, fault["weight"])
    if FOLDING.form[layer] == "xnor":
        faulty = shifted(faulty, layer, fault["weight"][0], -int(weights[fault["weight"]]))
    assert_seen(sim.cosimulate(NETWORK, TIMES, verilog=(faulty, verilog[1])), first)


@pytest.mark.parametrize("weight", [1, -1])
def test_one_weight_bit_in_the_xnor_form(verilog, weight):
    """The threshold memory holds θ + K, which counts the weight too: the bit alone also shifts the sum by one for good."""
    layer = FOLDING.form.index("xnor")
    found = np.argwhere(NETWORK.layers[layer].weights == weight).tolist()
    fault, first = visible({"layer": layer, "weight": (j, i), "threshold": j, "shift": -weight} for j, i in found)
    faulty = flip(verilog[0], layer, fault["weight"])
    assert_seen(sim.cosimulate(NETWORK, TIMES, verilog=(faulty, verilog[1])), first)


@pytest.mark.parametrize("layer", [0, 1])
def test_one_threshold(verilog, tmp_path, layer):
    outputs = NETWORK.layers[layer].outputs
    fault, first = visible({"layer": layer, "threshold": neuron, "shift": shift} for neuron in range(outputs) for shift in (1, -1))
    faulty = shifted(verilog[0], layer, fault["threshold"], -fault["shift"])
    out = tmp_path if layer == 0 else None  # a waveform takes a build of its own
    assert_seen(sim.cosimulate(NETWORK, TIMES, verilog=(faulty, verilog[1]), out=out), first, out)


def add(row, lane, width, amount):
    """A row of a threshold memory with something added to one of its values."""
    mask = (1 << width) - 1
    value = (row >> lane * width) + amount & mask
    return row & ~(mask << lane * width) | value << lane * width


def test_one_input_spike():
    for frame, source in np.argwhere(TIMES < STEPS).tolist():
        dropped = TIMES.copy()
        dropped[frame, source] = STEPS
        first = place(GOLDEN, reference.run(NETWORK, dropped))
        if first is not None and frame >= 10:
            break
    report = sim.cosimulate(NETWORK, dropped, folding=FOLDING, expected=GOLDEN)
    assert first.frame == frame
    assert_seen(report, first)
    assert np.flatnonzero(~report.comparisons["full"].equal).tolist() == [frame]


def top_changed(verilog, pattern, replacement):
    """The Verilog with a change in the top module."""
    begin = verilog[0].index("module accelerator (")
    end = verilog[0].index("endmodule", begin)
    text, changes = re.subn(pattern, replacement, verilog[0][begin:end])
    assert changes
    return verilog[0][:begin] + text + verilog[0][end:], verilog[1]


def test_a_circuit_that_takes_nothing(verilog):
    """Inside, the first word is taken again and again; outside it never is. The run is given up, though words keep coming out."""
    report = sim.cosimulate(NETWORK, TIMES, verilog=top_changed(verilog, r"\(i_[01]_ready\)", "()"))
    assert not report.passed
    assert report.first_difference.frame == 0
    assert report.data["frames_equal"] == report.data["early"]["frames_equal"] == 0
    assert report.comparisons["full"].decisions.class_index.tolist()[1:] == [-1] * (len(TIMES) - 1)


def test_a_circuit_that_takes_every_other_frame(verilog):
    """One of its streams never is ready; inside, the first word on it, which is a frame, is taken again and again."""
    report = sim.cosimulate(NETWORK, TIMES, verilog=top_changed(verilog, r"\(i_1_ready\)", "()"))
    assert not report.passed
    for mode, comparison in report.comparisons.items():
        assert comparison.first == Difference(mode, 1, "readout", None, "number of frames taken", 60, 30)
        assert np.flatnonzero(comparison.equal).tolist() == list(range(0, 60, 2))


def test_tags_that_are_wrong(verilog):
    """The lowest bit of the tags on a monitor is stuck at 0: spikes of odd frames seem to be those of even ones."""
    tag = verilog[1]["ports"]["monitor_1_payload"]["fields"]["frame"]
    assert tag["offset"] + tag["width"] == verilog[1]["ports"]["monitor_1_payload"]["width"]
    faulty = top_changed(verilog, r"(assign monitor_1_payload = \{\s+)", r"\g<1>2'h2 & ")
    report = sim.cosimulate(NETWORK, TIMES, verilog=faulty)
    for mode, comparison in report.comparisons.items():
        assert (comparison.first.mode, comparison.first.frame, comparison.first.layer) == (mode, 0, 1)
        assert comparison.differences >= len(TIMES)


def test_a_circuit_that_gives_too_much(verilog):
    """A result in every cycle: the run ends soon after there are as many as frames."""
    flood = top_changed(verilog, r"\.o__valid\(o_valid\)", ".o__valid()")
    report = sim.cosimulate(NETWORK, TIMES, verilog=top_changed(flood, r"\Z", "  assign o_valid = 1'b1;\n"))
    assert not report.passed
    assert report.first_difference.frame == 0
    assert report.comparisons["full"].differences > len(TIMES)


def test_a_tie_broken_the_other_way():
    """Two outputs alike: the lower index wins every tie between them, until the comparison in the readout lets equals through."""
    rng = np.random.default_rng(23)
    layer = Layer(np.repeat(rng.choice([-1, 1], (1, 9)), 2, axis=0), np.array([1, 1]))
    network = Network((layer,), STEPS)
    times = random_spike_times(rng, 20, 9, STEPS)
    accelerator = Accelerator(network, Folding((3,), (2,), ("delta",)))
    text, ports = generate(accelerator), port_map(accelerator)
    modules = re.split(r"^(?=module )", text, flags=re.MULTILINE)
    faulty = [
        re.sub(r" > (?=\$signed\()", " >= ", module) if "accelerator_readout" in module.split("(")[0] else module for module in modules
    ]
    assert faulty != modules
    assert sim.cosimulate(network, times, verilog=(text, ports)).passed
    report = sim.cosimulate(network, times, verilog=("".join(faulty), ports))
    assert not report.passed
    for mode, comparison in report.comparisons.items():
        assert comparison.first == Difference(mode, 0, "readout", None, "class_index", 0, 1)
        assert comparison.differences == 20
