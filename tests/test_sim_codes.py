# amaranth: UnusedElaboratable=no

"""Co-simulation of neurons that spike with coefficients, and faults planted in them: each is seen, and its place named.

Where a fault shows first, the golden model says, with the same fault in it. All faults of a circuit are in one text, which is built once; a
plus argument chooses among them.
"""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import sim
from export import Graded, Layer, Network, reference
from hw import Accelerator, Folding
from hw.core import neurons
from hw.verilog import generate, port_map
from sim.compare import Difference
from tests import plusargs
from tests.multi_spike import code_network, random_images, spread
from tests.neuron_faults import BiasTwice

FOLDING = Folding((3, 2), (4, 3), ("delta", "delta"))
OFF_BY_ONE, LOST_NEGATIVE, RESET_TOO_MUCH, NO_GATE, BIAS_TWICE, KEPT_COUNT = FAULTS = range(1, 7)
NAMES = ("coefficient off by one", "lost negative spike", "reset too much", "gate left out", "bias twice", "count kept")
SHAPE, STEPS = (11, 7, 3), 4


def frames_of(network, seed=2, frames=60):
    return spread(network, random_images(np.random.default_rng(seed), frames, network.inputs))


def assert_equal(report):
    assert report.passed, report.first_difference
    full = report.comparisons["full"]
    assert full.spikes_compared == full.spikes_received > 100
    layer = np.concatenate([drawn.golden.events[0].coefficient for drawn in report.outcome.drawn.values()])
    assert len(layer)


@pytest.mark.parametrize(
    ("code", "steps", "levels", "bits", "folding"),
    [
        ("rate", 4, 1, 3, Folding((3, 2), (4, 3), ("delta", "delta"), ("step", "event"), contexts=2)),
        ("ternary, signed", 4, 2, 2, Folding((4, 7), (7, 2), ("delta", "delta"), ("event", "step"))),
        ("graded, signed", 1, 5, 8, FOLDING),
        ("graded, bias", 4, 3, 3, Folding((3, 2), (4, 3), ("delta", "delta"), ("step", "event"))),
        ("rate, bias", 3, 1, 3, Folding((4, 7), (3, 2), ("delta", "delta"), ("event", "step"), contexts=2)),
    ],
)
def test_every_coefficient(code, steps, levels, bits, folding):
    network = code_network(np.random.default_rng(1), SHAPE, steps, code, levels=levels, bits=bits)
    assert_equal(sim.cosimulate(network, frames_of(network), folding=folding))


class TernaryWithFaults(neurons.TernaryNeurons):
    """Faults in what a neuron sends and keeps."""

    def elaborate(self, platform):
        self._fault = fault_signal()
        m = super().elaborate(platform)
        m.d.sync += self._fault.eq(self._fault)
        return m

    def respond(self, m, potentials, emitted, thresholds):
        return [self._respond(*neuron) for neuron in zip(potentials, emitted, thresholds, strict=True)]

    def _respond(self, potential, emitted, threshold):
        least, greatest = self._counts
        gate = self._fault == NO_GATE
        up = ~potential[-1] & ((emitted != greatest) | gate)
        down = (potential + threshold < 0) & ((emitted != least) | gate)
        change = neurons.Mux(down, -1, up)
        taken = threshold + (self._fault == RESET_TOO_MUCH)
        after = neurons.Mux(down, potential + threshold, neurons.Mux(up, potential - taken, potential))
        return neurons.Response(sent(self._fault, change), after, emitted + change)


class GradedWithFaults(neurons.GradedNeurons):
    """The same; a spike takes nothing from the potential, and none is held back by a gate."""

    def elaborate(self, platform):
        self._fault = fault_signal()
        m = super().elaborate(platform)
        m.d.sync += self._fault.eq(self._fault)
        return m

    def respond(self, m, potentials, emitted, thresholds):
        larger = [threshold + (self._fault == RESET_TOO_MUCH) for threshold in thresholds]
        found = super().respond(m, potentials, emitted, larger)
        return [response._replace(coefficient=sent(self._fault, response.coefficient)) for response in found]


def fault_signal():
    return neurons.Signal(3, name="fault", reset_less=True)


def sent(fault, change):
    positive, negative = change > 0, change < 0
    spoilt = ((fault == OFF_BY_ONE) & positive) | ((fault == LOST_NEGATIVE) & negative)
    return neurons.Mux(spoilt, neurons.Mux(positive, change - 1, 0), change)


SELECTOR = 'initial if (!$value$plusargs("fault=%d", fault)) fault = 0;\n'


class Planted:
    """A circuit with faults in its hidden layer, and what each makes of the golden model.

    Parameters:
        code: of the hidden neurons.
        seed: of the network.
    """

    def __init__(self, code, seed):
        self.network = code_network(np.random.default_rng(seed), SHAPE, STEPS, code, levels=2, bits=3)
        self.inputs = frames_of(self.network)
        self.golden = reference.run(self.network, self.inputs)
        self.neuron = self.network.layers[0].neuron
        accelerator = Accelerator(self.network, FOLDING)
        self.verilog = self._planted(generate(accelerator)), port_map(accelerator)

    def _planted(self, text):
        text, count = re.subn(r"initial fault = 3'b000;\n  always @\(posedge clk\)\n", SELECTOR, text)
        assert count == 1
        # The memory of potentials to start from.
        plan = FOLDING.plans(self.network)[0]
        twice = FOLDING.plans(self._with(self.started_twice), membrane_bits=[p.membrane_bits for p in FOLDING.plans(self.network)])[0]
        begin = text.index("module accelerator_layer_0_initial (")
        for row, (right, wrong) in enumerate(zip(plan.initial_potentials, twice.initial_potentials, strict=True)):
            match = re.compile(rf"    (memory\[{row}\] = \d+'h)([0-9a-f]+);\n").search(text, begin)
            assert int(match[2], 16) == right != wrong
            faulty = f'    if ($test$plusargs("fault={BIAS_TWICE}")) {match[1]}{wrong:x};\n'
            text = text[: match.end()] + faulty + text[match.end() :]
        # The flags that a frame begins with.
        begin = text.index("module accelerator_layer_0_membranes (")
        end = text.index("endmodule", begin)
        body, count = re.subn(r"(assign flags = )now_restart \?", r"\1(now_restart & !keeps) ?", text[begin:end])
        assert count == 1
        body = body.replace(");\n", f');\n  reg keeps;\n  initial keeps = $test$plusargs("fault={KEPT_COUNT}");\n', 1)
        return text[:begin] + body + text[end:]

    @property
    def started_twice(self):
        """Neurons whose bias, which is what they start with beyond half a threshold, is there twice."""
        neuron = self.neuron
        return type(neuron)(neuron.thresholds, 2 * neuron.initial - neuron.thresholds // 2, levels=neuron.levels, signed=neuron.signed)

    def _with(self, neuron):
        first, *rest = self.network.layers
        return Network((Layer(first.connection, neuron), *rest), STEPS, self.network.encoder)

    def run(self, neuron, step=None, emitted=None):
        """Coefficients (frames, steps, neurons) of the hidden layer with these neurons, or this rule, from these counts on."""
        state = neuron.start(self.inputs.shape[0])
        if emitted is not None:
            state.emitted = emitted.astype(np.int32)
        spikes, found = dense(self.inputs), []
        for t in range(STEPS):
            state.margin += self.network.layers[0].connection.sums(spikes[:, t])
            found.append((step or type(neuron).step)(neuron, state))
        return np.stack(found, axis=1)

    def faulty(self, fault, upto):
        """What the hidden layer sends with a fault, up to the first frame in which that shows; ``upto`` is each frame's last step."""
        neuron, golden = self.neuron, dense(self.golden.events[0])
        if fault == BIAS_TWICE:
            return self.run(self.started_twice)
        if fault == KEPT_COUNT:
            return self._kept(upto)
        if fault == NO_GATE:
            return self.run(neuron, step=ungated)
        if fault == RESET_TOO_MUCH:
            return self.run(neuron, step=resets_too_much)
        return np.where(golden > 0, golden - 1, golden) if fault == OFF_BY_ONE else np.maximum(golden, 0)

    def _kept(self, upto):
        """Each frame begins with the counts that the one before ended with; early mode, which is played last, with those of full mode."""
        shape = self.inputs.shape[0], SHAPE[1]
        counts = np.zeros(SHAPE[1], np.int64)
        for mode in ("full", "early") if (upto < STEPS - 1).any() else ("full",):
            found = np.zeros((shape[0], STEPS, SHAPE[1]), np.int64)
            for frame, last in enumerate(upto if mode == "early" else np.full_like(upto, STEPS - 1)):
                found[frame] = self.run(self.neuron, emitted=np.tile(counts, (shape[0], 1)))[frame]
                counts = counts + found[frame, : last + 1].sum(axis=0)
        return found

    def first(self, fault, mode):
        """The first difference that a fault has to make."""
        upto = last_steps(self.golden, mode)
        return first_difference(mode, self.golden, self.faulty(fault, upto), upto)


def last_steps(golden, mode):
    """The last step of each frame in a mode."""
    return golden.decisions.step if mode == "early" else np.full(len(golden), STEPS - 1)


def first_difference(mode, golden, faulty, upto):
    """What a comparison has to name, if the hidden layer sends ``faulty``, (frames, steps, neurons)."""
    right = dense(golden.events[0])
    differ = (right != faulty) & (np.arange(STEPS) <= upto[:, None])[:, :, None]
    frame, step, neuron = np.argwhere(differ)[0].tolist()
    return Difference(mode, frame, 0, neuron, "coefficient", int(right[frame, step, neuron]), int(faulty[frame, step, neuron]), step)


def dense(events):
    array = np.zeros(events.shape, np.int64)
    array[events.frame, events.step, events.neuron] = events.coefficient
    return array


def ungated(neuron, state):
    up, down = state.margin >= 0, state.margin < -neuron.thresholds
    return neuron._send(state, up.astype(np.int16) - down)


def resets_too_much(neuron, state):
    if isinstance(neuron, Graded):
        more = Graded(neuron.thresholds + 1, neuron.initial, levels=neuron.levels, signed=neuron.signed)
        return more.step(state)
    coefficients = neuron.step(state)
    state.margin -= coefficients > 0
    return coefficients


@cache
def planted(code):
    kinds = {"ternary": TernaryWithFaults, "graded": GradedWithFaults}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(neurons.NEURONS, code, kinds[code])
        return Planted(code, 5)


def cosimulate(circuit, fault, monkeypatch, **options):
    """Run a circuit with one of its faults, 0 for none."""
    plusargs.add(monkeypatch, f"+fault={fault}")
    return sim.cosimulate(circuit.network, circuit.inputs, folding=FOLDING, verilog=circuit.verilog, **options)


@pytest.mark.parametrize("code", ["ternary", "graded"])
def test_no_fault(code, monkeypatch):
    assert_equal(cosimulate(planted(code), 0, monkeypatch))


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        pytest.param(code, fault, id=f"{code}, {name}")
        for code in ("ternary", "graded")
        for fault, name in zip(FAULTS, NAMES, strict=True)
        if (code, fault) != ("graded", NO_GATE)
    ],
)
def test_fault(code, fault, monkeypatch):
    circuit = planted(code)
    report = cosimulate(circuit, fault, monkeypatch)
    assert not report.passed
    for mode, comparison in report.comparisons.items():
        first = circuit.first(fault, mode)
        assert comparison.first == first
        assert str(first) == (
            f"{mode} mode, frame {first.frame}, layer 0, neuron {first.neuron}, step {first.step}: "
            f"coefficient expected {first.expected}, seen {first.seen}"
        )
    assert str(circuit.first(fault, "full")) in report.table()


@pytest.mark.parametrize("code", ["rate, bias", "ternary, bias", "graded, bias"])
def test_a_bias_that_is_added_twice(code, monkeypatch):
    """In each step: the golden model of twice the bias says where that shows first."""
    network = code_network(np.random.default_rng(6), SHAPE, STEPS, code, levels=2, bits=3)
    inputs, hidden = frames_of(network), network.layers[0]
    faulty = replace(network, layers=(replace(hidden, neuron=replace(hidden.neuron, bias=2 * hidden.neuron.bias)), network.layers[1]))
    golden, wrong = reference.run(network, inputs), dense(reference.run(faulty, inputs).events[0])
    kind = neurons.NEURONS[hidden.neuron.kind]
    with monkeypatch.context() as planted:
        planted.setitem(neurons.NEURONS, kind.kind, type("Faulty", (BiasTwice, kind), {}))
        accelerator = Accelerator(network, FOLDING)
        verilog = generate(accelerator), port_map(accelerator)
    report = sim.cosimulate(network, inputs, folding=FOLDING, verilog=verilog)
    assert not report.passed
    for mode, comparison in report.comparisons.items():
        first = first_difference(mode, golden, wrong, last_steps(golden, mode))
        assert comparison.first == first
        assert f"layer 0, neuron {first.neuron}, step {first.step}: coefficient expected {first.expected}, seen {first.seen}" in str(first)
