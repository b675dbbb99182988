"""Faults planted in the generated Verilog, or in what goes in: co-simulation sees each, and names the place.

Which faults can be seen, and where first, the golden model says. All faults of the Verilog are in one text, which is built once; plus
arguments ``+fault_NAME.`` choose among them.
"""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import sim
from export import Dense, Layer, Network, Single, reference
from hw import Accelerator, Folding
from hw.verilog import generate, port_map
from sim import simulate
from sim.compare import Difference
from tests.networks import random_network, random_spike_times

STEPS = 6
FOLDING = Folding((2, 4), (5, 3), ("xnor", "delta"), contexts=2)
NETWORK = random_network(np.random.default_rng(21), (14, 10, 6), STEPS, spread=0.5)
TIMES = random_spike_times(np.random.default_rng(29), 60, 14, STEPS)
GOLDEN = reference.run(NETWORK, TIMES)


def changed(layer, *, weight=None, threshold=None, shift=1):
    """The network with one weight of a layer flipped, or one threshold shifted, or both."""
    layers = list(NETWORK.layers)
    weights, thresholds = layers[layer].connection.weights.copy(), layers[layer].neuron.thresholds.copy()
    if weight is not None:
        weights[weight] *= -1
    if threshold is not None:
        thresholds[threshold] += shift
    layers[layer] = Layer(Dense(weights), Single(thresholds))
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


def plant(text, name, layer, memory, row, change):
    """The Verilog in which a fault gives another value to one row of a layer's memory."""
    begin = text.index(f"module accelerator_layer_{layer}_{memory} (")
    match = re.compile(rf"    (memory\[{row}\] = \d+'h)([0-9a-f]+);\n").search(text, begin)
    assert match.start() < text.index("endmodule", begin)
    faulty = f'    if ($test$plusargs("fault_{name}.")) {match[1]}{change(int(match[2], 16)):x};\n'
    return text[: match.end()] + faulty + text[match.end() :]


def flip(text, name, layer, weight):
    """The Verilog with a fault in one bit of a layer's weight memory."""
    (neuron, source), simd, pe = weight, FOLDING.simd[layer], FOLDING.pe[layer]
    words = -(-NETWORK.layers[layer].inputs // simd)
    bit = neuron % pe * simd + source % simd
    return plant(text, name, layer, "weights", neuron // pe * words + source // simd, lambda value: value ^ 1 << bit)


def shifted(text, name, layer, neuron, amount):
    """The Verilog with a fault that adds something to one of the values from which a layer's neurons start."""
    row, lane = divmod(neuron, FOLDING.pe[layer])
    width = FOLDING.plans(NETWORK)[layer].membrane_bits
    return plant(text, name, layer, "initial", row, lambda value: add(value, lane, width, amount))


def add(row, lane, width, amount):
    """A row of a threshold memory with something added to one of its values."""
    mask = (1 << width) - 1
    value = (row >> lane * width) + amount & mask
    return row & ~(mask << lane * width) | value << lane * width


IN_THE_TOP_MODULE = ("takes_nothing", "takes_every_other_frame", "wrong_tags", "too_much")


def plant_in_top(text):
    """The Verilog with `IN_THE_TOP_MODULE`."""
    begin = text.index("module accelerator (")
    end = text.index("endmodule", begin)
    head, _, top = text[begin:end].partition(";\n")
    for pattern, replacement in (
        (r"\((i_[01]_ready|o_valid)\)", r"(\1_sound)"),
        (r"(assign monitor_1_payload = \{\s+)", r"\1{1'b1, ~wrong_tags} & "),
    ):
        top, changes = re.subn(pattern, replacement, top)
        assert changes
    chosen = "".join(f'  reg {name};\n  initial {name} = $test$plusargs("fault_{name}.");\n' for name in IN_THE_TOP_MODULE)
    ports = """  wire i_0_ready_sound, i_1_ready_sound, o_valid_sound;
  assign i_0_ready = i_0_ready_sound & ~takes_nothing;
  assign i_1_ready = i_1_ready_sound & ~takes_nothing & ~takes_every_other_frame;
  assign o_valid = o_valid_sound | too_much;
"""
    return f"{text[:begin]}{head};\n{chosen}{ports}{top}{text[end:]}"


@cache
def planted():
    """The Verilog with all faults, its port map, and the first difference that each fault in a memory makes."""
    accelerator = Accelerator(NETWORK, FOLDING)
    text, firsts = plant_in_top(generate(accelerator)), {}
    for k, layer in enumerate(NETWORK.layers):
        weights, shifts = layer.connection.weights, [(neuron, shift) for neuron in range(layer.outputs) for shift in (1, -1)]
        name = f"weight_{k}"
        fault, firsts[name] = visible({"layer": k, "weight": (int(j), int(i))} for j, i in np.ndindex(weights.shape))
        text = flip(text, name, k, fault["weight"])
        if FOLDING.form[k] == "xnor":
            text = shifted(text, name, k, fault["weight"][0], -int(weights[fault["weight"]]))
            for weight in (1, -1):
                name, found = f"bit_{weight:+}", np.argwhere(weights == weight).tolist()
                fault, firsts[name] = visible({"layer": k, "weight": (j, i), "threshold": j, "shift": -weight} for j, i in found)
                text = flip(text, name, k, fault["weight"])
        name = f"threshold_{k}"
        fault, firsts[name] = visible({"layer": k, "threshold": neuron, "shift": shift} for neuron, shift in shifts)
        text = shifted(text, name, k, fault["threshold"], -fault["shift"])
    return text, port_map(accelerator), firsts


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


def cosimulate(fault, monkeypatch, **options):
    """Run the circuit with one of its faults."""
    run_module = simulate.run_module

    def run_faulty(build, module, folder, plusargs, *rest):
        run_module(build, module, folder, [*plusargs, f"+fault_{fault}."], *rest)

    monkeypatch.setattr(simulate, "run_module", run_faulty)
    return sim.cosimulate(NETWORK, TIMES, verilog=planted()[:2], **options)


def test_no_fault(monkeypatch):
    assert cosimulate("none", monkeypatch).passed


@pytest.mark.parametrize("layer", [0, 1])
def test_one_weight(monkeypatch, layer):
    assert_seen(cosimulate(f"weight_{layer}", monkeypatch), planted()[2][f"weight_{layer}"])


@pytest.mark.parametrize("weight", [1, -1])
def test_one_weight_bit_in_the_xnor_form(monkeypatch, weight):
    """The threshold memory holds θ + K, which counts the weight too: the bit alone also shifts the sum by one for good."""
    assert_seen(cosimulate(f"bit_{weight:+}", monkeypatch), planted()[2][f"bit_{weight:+}"])


@pytest.mark.parametrize("layer", [0, 1])
def test_one_threshold(monkeypatch, tmp_path, layer):
    out = tmp_path if layer == 0 else None  # a waveform takes a build of its own
    assert_seen(cosimulate(f"threshold_{layer}", monkeypatch, out=out), planted()[2][f"threshold_{layer}"], out)


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


def test_a_circuit_that_takes_nothing(monkeypatch):
    """Inside, the first word is taken again and again; outside it never is. The run is given up, though words keep coming out."""
    report = cosimulate("takes_nothing", monkeypatch)
    assert not report.passed
    assert report.first_difference.frame == 0
    assert report.data["frames_equal"] == report.data["early"]["frames_equal"] == 0
    assert report.comparisons["full"].decisions.class_index.tolist()[1:] == [-1] * (len(TIMES) - 1)


def test_a_circuit_that_takes_every_other_frame(monkeypatch):
    """One of its streams never is ready; inside, the first word on it, which is a frame, is taken again and again."""
    report = cosimulate("takes_every_other_frame", monkeypatch)
    assert not report.passed
    for mode, comparison in report.comparisons.items():
        assert comparison.first == Difference(mode, 1, "readout", None, "number of frames taken", 60, 30)
        assert np.flatnonzero(comparison.equal).tolist() == list(range(0, 60, 2))


def test_tags_that_are_wrong(monkeypatch):
    """The lowest bit of the tags on a monitor is stuck at 0: spikes of odd frames seem to be those of even ones."""
    ports = planted()[1]["ports"]
    tag = ports["monitor_1_payload"]["fields"]["frame"]
    assert tag["offset"] + tag["width"] == ports["monitor_1_payload"]["width"]
    report = cosimulate("wrong_tags", monkeypatch)
    for mode, comparison in report.comparisons.items():
        assert (comparison.first.mode, comparison.first.frame, comparison.first.layer) == (mode, 0, 1)
        assert comparison.differences >= len(TIMES)


def test_a_circuit_that_gives_too_much(monkeypatch):
    """A result in every cycle: the run ends soon after there are as many as frames."""
    report = cosimulate("too_much", monkeypatch)
    assert not report.passed
    assert report.first_difference.frame == 0
    assert report.comparisons["full"].differences > len(TIMES)


def test_a_tie_broken_the_other_way():
    """Two outputs alike: the lower index wins every tie between them, until the comparison in the readout lets equals through."""
    rng = np.random.default_rng(23)
    layer = Layer(Dense(np.repeat(rng.choice([-1, 1], (1, 9)), 2, axis=0)), Single(np.array([1, 1])))
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
