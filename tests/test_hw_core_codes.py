# amaranth: UnusedElaboratable=no

"""Whole accelerators of neurons that spike with coefficients, against the golden model and the cost model, in every storage and order."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from export import Encoder, Events, Graded, Layer, Network, Rate, Readout, Ternary, UserError
from hw import Accelerator, Folding
from hw.core.neurons import NEURONS
from sim.ports import Ports
from tests.accelerators import assert_right
from tests.multi_spike import BIASED, CODES, code_network, dealt, random_images, spread

STEPS = 4
SHAPE = (7, 5, 3)
FOLDINGS = {
    "event": Folding((2, 3), (2, 2), ("delta", "delta"), ("event", "event")),
    "event, all at once, two contexts": Folding((4, 5), (5, 3), ("delta", "delta"), ("event", "event"), contexts=2),
    "step": Folding((2, 3), (2, 2), ("delta", "delta"), ("step", "step")),
    "step, two contexts": Folding((3, 1), (4, 3), ("delta", "delta"), ("step", "event"), contexts=2),
}


@pytest.mark.parametrize("code", [*CODES, *BIASED])
@pytest.mark.parametrize("folding", FOLDINGS)
def test_words(folding, code):
    network = code_network(np.random.default_rng([1, [*CODES, *BIASED].index(code)]), SHAPE, STEPS, code, bits=3)
    assert_right(network, FOLDINGS[folding], spread(network, random_images(np.random.default_rng(2), 9, 7)))


@pytest.mark.parametrize("code", ["rate", "graded"])
def test_inputs_that_spike_once(code):
    rng = np.random.default_rng(3)
    network = code_network(rng, SHAPE, STEPS, code, levels=1, bits=None)
    times = rng.integers(0, STEPS + 1, (8, 7))
    times[0] = STEPS
    assert_right(network, FOLDINGS["event"], network.check_inputs(times))


@pytest.mark.parametrize("code", ["graded", "graded, bias", "rate, bias"])
def test_one_step(code):
    """A network whose activations have several levels, and no time."""
    network = code_network(np.random.default_rng(5), SHAPE, 1, code, levels=5, bits=8)
    assert_right(network, FOLDINGS["step"], spread(network, random_images(np.random.default_rng(6), 9, 7)))


@pytest.mark.parametrize("folding", FOLDINGS)
def test_outputs_with_a_fraction(folding):
    network = code_network(np.random.default_rng(7), SHAPE, STEPS, "graded", bits=3)
    hidden, last = network.layers
    neuron = Readout(8 * last.neuron.thresholds + np.array([5, 0, 7]), fraction=3)
    network = replace(network, layers=(hidden, replace(last, neuron=neuron)))
    assert_right(network, FOLDINGS[folding], spread(network, random_images(np.random.default_rng(8), 9, 7)))


@pytest.mark.parametrize("signed", [False, True])
def test_thresholds_wider_than_potentials(signed):
    """Times the greatest count, they are far beyond what sums come to."""
    network = code_network(np.random.default_rng(10), SHAPE, STEPS, "graded", bits=3)
    neuron = Graded(np.array([60, 61, 62, 63, 33]), np.full(5, 40), levels=127, signed=signed)
    network = Network((Layer(network.layers[0].connection, neuron), network.layers[1]), STEPS, network.encoder)
    assert_right(network, FOLDINGS["event"], spread(network, random_images(np.random.default_rng(11), 9, 7)))


@pytest.mark.parametrize("bias", [[0, 0, -900, 0, 0], [1, 0, 0, 0, 0]])
def test_a_bias_wider_or_narrower_than_the_thresholds(bias):
    network = code_network(np.random.default_rng(12), SHAPE, STEPS, "graded", bits=3)
    neuron = replace(network.layers[0].neuron, bias=np.array(bias))
    network = Network((Layer(network.layers[0].connection, neuron), network.layers[1]), STEPS, network.encoder)
    assert_right(network, FOLDINGS["event"], spread(network, random_images(np.random.default_rng(13), 9, 7)))


@pytest.mark.parametrize(("code", "more"), [("rate", 1), ("ternary", 2), ("graded", 2)])
def test_a_bias_is_an_addition_and_a_parameter(code, more):
    """Two levels: a quotient of two bits."""
    made, thresholds = {"rate": Rate, "ternary": partial(Ternary, levels=2), "graded": partial(Graded, levels=2)}[code], np.array([3, 13])
    plain, biased = made(thresholds), made(thresholds, bias=np.array([-17, 3]), fraction=3)
    kind = NEURONS[code]
    assert (kind.adders(plain), kind.adders(biased)) == (more, more + 1)
    assert (kind.parameter_bits(plain), kind.parameter_bits(biased)) == (4, 2 * 6)
    assert kind.parameter_values(biased, 12).tolist() == [(64 - 17) << 6 | 3, 3 << 6 | 13]
    assert kind.parameter_values(biased, 20).tolist() == [(1024 - 17) << 10 | 3, 3 << 10 | 13]


def test_behind_a_layer_without_a_bias_and_before_one():
    """No step may be skipped on the way to the layer with a bias; after it, where nothing comes of it, it may."""
    made = code_network(np.random.default_rng(14), (7, 6, 5, 4, 3), STEPS, "graded", bits=2, kind="none")
    biased = replace(made.layers[1].neuron, bias=np.array([1, -1, 2, 0, 3]), fraction=1)
    network = replace(made, layers=(made.layers[0], Layer(made.layers[1].connection, biased), *made.layers[2:]))
    folding = Folding((2, 3, 2, 3), (2, 3, 2, 2), ("delta",) * 4, ("event", "step", "event", "event"))
    assert [plan.skips_empty_steps for plan in folding.plans(network)] == [False, False, True, True]
    rng = np.random.default_rng(15)
    inputs = dealt(rng, 9, STEPS, 7, 3) * (rng.random((9, STEPS, 1)) < 0.5)
    assert_right(network, folding, Events.from_dense(inputs))


def test_ports_know_the_lanes_of_a_word():
    import hw.verilog

    network = code_network(np.random.default_rng(7), SHAPE, STEPS, "graded", bits=3)
    ports = Ports.from_map(hw.verilog.port_map(Accelerator(network, FOLDINGS["event"])))
    form = Accelerator(network, FOLDINGS["event"]).input_format
    assert (ports.word["bits"].lanes, ports.word["bits"].signed, form.lane_bits) == (2, False, 2)  # 7 in 4 steps: at most 2 at once
    assert (ports.monitors[0]["bits"].lanes, ports.monitors[0]["bits"].signed) == (3, True)
    assert ports.monitors[1]["bits"].lanes is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": ("delta", "xnor")}, "neurons of layer 1 must be single in the form xnor, not readout"),
        ({"form": ("xnor", "delta")}, "neurons of layer 0 must be single in the form xnor, not graded"),
        ({"loop_order": ("step", "event"), "swap": (2, 1)}, "swap of layer 0 must be 1 for neurons of kind graded, not 2"),
    ],
)
def test_what_is_not_offered(changes, message):
    network = code_network(np.random.default_rng(8), SHAPE, STEPS, "graded")
    with pytest.raises(UserError, match=f"^{message}$"):
        Folding(**{"simd": (2, 2), "pe": (2, 2), "form": ("delta", "delta")} | changes).plans(network)


def test_inputs_with_coefficients_from_outside():
    network = code_network(np.random.default_rng(9), SHAPE, STEPS, "ternary", bits=2, kind="none")
    assert network.encoder == Encoder("none", bits=2)
    events = spread(code_network(np.random.default_rng(9), SHAPE, STEPS, "ternary", bits=2), random_images(np.random.default_rng(1), 6, 7))
    assert_right(network, FOLDINGS["event"], network.check_inputs(events))
