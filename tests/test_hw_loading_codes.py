# amaranth: UnusedElaboratable=no

"""Loadable circuits of neurons that spike with coefficients: another network in the same circuit."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import hw.verilog
from export import Events, Graded, Layer, UserError
from export.reference import run as golden_run
from hw import Accelerator, Folding
from hw.loading.command import read_capacity
from hw.loading.fit import fit
from hw.loading.loader import load_content
from tests.accelerators import simulate
from tests.maps import Shape, map_network, random_inputs
from tests.multi_spike import code_network, random_images, spread
from tests.networks import random_network
from tests.payloads import word_payloads

SHAPE, STEPS = (7, 5, 3), 3
FOLDING = Folding((2, 3), (2, 2), ("delta", "delta"), ("step", "event"))

SINGLE = random_network(np.random.default_rng(2), (7, 5, 3), STEPS)


def network(seed, code="graded", **options):
    return code_network(np.random.default_rng(seed), options.pop("shape", SHAPE), STEPS, code, bits=3, **options)


@pytest.fixture
def circuit(tmp_path):
    """A circuit, and its port map as a file."""
    accelerator = Accelerator(network(1), FOLDING, weights="loadable")
    path = tmp_path / "circuit.json"
    path.write_text(json.dumps(hw.verilog.port_map(accelerator)))
    return accelerator, path


def test_another_network_is_loaded(circuit):
    accelerator, path = circuit
    other = network(2)
    assert not np.array_equal(other.layers[0].neuron.thresholds, accelerator.network.layers[0].neuron.thresholds)
    larger, plans = fit(other, read_capacity(path))
    assert larger is other
    events = spread(other, random_images(np.random.default_rng(3), 6, 7))
    record = simulate(accelerator, word_payloads(accelerator.input_format.from_events(events)), early=False, load=load_content(plans))
    decisions = golden_run(other, events).decisions
    assert [result["margin"] for result in record.results] == decisions.margin.tolist()
    assert [result["class_index"] for result in record.results] == decisions.class_index.tolist()


def test_another_network_with_a_bias_is_loaded(tmp_path):
    """Whose thresholds and biases need fewer bits."""
    made = network(1, "graded, bias")
    first = replace(made.layers[0].neuron, thresholds=made.layers[0].neuron.thresholds + 40, bias=[1, 90, -3, 0, -90])
    accelerator = Accelerator(replace(made, layers=(replace(made.layers[0], neuron=first), made.layers[1])), FOLDING, weights="loadable")
    path = tmp_path / "circuit.json"
    path.write_text(json.dumps(hw.verilog.port_map(accelerator)))
    other = network(2, "graded, bias")
    _, plans = fit(other, read_capacity(path))
    assert plans[0].parameter_bits > FOLDING.plans(other)[0].parameter_bits
    events = spread(other, random_images(np.random.default_rng(3), 6, 7))
    record = simulate(accelerator, word_payloads(accelerator.input_format.from_events(events)), early=False, load=load_content(plans))
    decisions = golden_run(other, events).decisions
    assert [result["margin"] for result in record.results] == decisions.margin.tolist()
    for wrong in (replace(first, bias=None), replace(first, fraction=1)):
        with pytest.raises(UserError, match=r"^the network's .* must be the circuit's, .*, not "):
            fit(replace(other, layers=(replace(other.layers[0], neuron=wrong), other.layers[1])), read_capacity(path))


def with_threshold(value):
    made = network(1)
    first = made.layers[0].neuron
    thresholds = first.thresholds.copy()
    thresholds[1] = value
    return replace(made, layers=(Layer(made.layers[0].connection, Graded(thresholds, first.initial, levels=first.levels)), made.layers[1]))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (network(2, levels=2), "the network's levels of layer 0 must be the circuit's, 3, not 2"),
        (network(2, code="rate"), "the network's neuron of layer 0 must be the circuit's, graded, not rate"),
        (SINGLE, "the network's spikes must be the circuit's, with coefficients, not one per neuron"),
        (network(2, shape=(7, 4, 3)), "a network whose spikes have coefficients must have the circuit's sizes, 7-5-3, not 7-4-3"),
        (with_threshold(1000), "thresholds of layer 0 must fit into the circuit's 3 bits, but need 10"),
    ],
)
def test_what_does_not_fit(circuit, other, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        fit(other, read_capacity(circuit[1]))


def of_maps(seed, code="single", kernel=(3, 3), **given):
    rng = np.random.default_rng(seed)
    return map_network(rng, (6, 6, 2), [Shape(4, kernel, pool=given.pop("pool", None))], 3, STEPS, code, **given)


MAPS_FOLDING = Folding((2, 2), (3, 2), ("delta", "delta"), contexts=2)


@pytest.mark.parametrize("code", ["single", "graded"])
def test_another_network_with_maps_is_loaded(code, tmp_path):
    """All kernels and thresholds, which nothing else of a convolution comes from; the bits of potentials are the circuit's."""
    made, other = of_maps(1, code), of_maps(2, code)
    accelerator = Accelerator(made, MAPS_FOLDING, weights="loadable")
    path = tmp_path / "circuit.json"
    path.write_text(json.dumps(hw.verilog.port_map(accelerator)))
    bits = [max(pair) for pair in zip(*([plan.membrane_bits for plan in MAPS_FOLDING.plans(it)] for it in (made, other)), strict=True)]
    assert [plan.membrane_bits for plan in accelerator.plans] == bits  # else the other one would be refused
    larger, plans = fit(other, read_capacity(path))
    assert larger is other
    events = Events.from_dense(random_inputs(np.random.default_rng(3), other, 8))
    record = simulate(accelerator, word_payloads(accelerator.input_format.from_events(events)), early=False, load=load_content(plans))
    decisions = golden_run(other, events).decisions
    assert [result["margin"] for result in record.results] == decisions.margin.tolist()
    assert decisions.margin.tolist() != golden_run(made, events).decisions.margin.tolist()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (of_maps(2, kernel=(3, 2)), "the network's kernel of layer 0 must be the circuit's, [3, 3], not [3, 2]"),
        (of_maps(2, pool=(2, 2)), "the network's map of layer 0 must be the circuit's, [6, 6, 2], not [3, 3, 2]"),
        (of_maps(2, "graded"), "the network's spikes must be the circuit's, one per neuron, not with coefficients"),
        (SINGLE, "the network's layers must be the circuit's, with maps, not dense"),
    ],
)
def test_maps_that_do_not_fit(other, message, tmp_path):
    path = tmp_path / "circuit.json"
    path.write_text(json.dumps(hw.verilog.port_map(Accelerator(of_maps(1), MAPS_FOLDING, weights="loadable"))))
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        fit(other, read_capacity(path))
