"""Another kind of neuron, one class per half, which acts in steps without spikes: whole accelerators against its golden model."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Single, UserError, save
from export.reference import run as golden_run
from hw import Accelerator, Folding, cost
from hw.core.neurons import NEURONS, IFNeurons
from hw.loading.fit import fit_into
from tests.accelerators import simulate_modes
from tests.networks import random_spike_times
from tests.payloads import pixel_payloads, word_payloads

STEPS = 6


@dataclasses.dataclass(frozen=True, eq=False)
class Drifting(Single):
    """As `Single`, but ``V`` grows by 1 in every step: no step may be skipped."""

    kind: ClassVar[str] = "drifting"
    skips_empty_steps: ClassVar[bool] = False

    def step(self, state):
        state.margin += 1
        return super().step(state)

    def margin_range(self, least, greatest, steps):
        lowest, highest = super().margin_range(least, greatest, steps)
        return lowest, highest + steps


class DriftingNeurons(IFNeurons):
    kind = "drifting"

    def sum(self, p):
        return super().sum(p) + self.test


@dataclasses.dataclass(frozen=True, eq=False)
class Repeating(Single):
    """As `Single`, but it spikes in every step in which ``V ≥ θ``."""

    kind: ClassVar[str] = "repeating"
    spikes_once: ClassVar[bool] = False
    skips_empty_steps: ClassVar[bool] = False

    def step(self, state):
        return (state.margin >= 0).astype(np.int8)


class RepeatingNeurons(IFNeurons):
    kind = "repeating"

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.new_flags.eq(0)
        return m


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for neurons in (DriftingNeurons, RepeatingNeurons):
        monkeypatch.setitem(NEURONS, neurons.kind, neurons)


def network(shape, kinds, *, seed, encoder="none"):
    rng = np.random.default_rng(seed)
    layers = []
    for inputs, outputs, kind in zip(shape, shape[1:], kinds, strict=False):
        weights = rng.choice(np.array([-1, 1]), (outputs, inputs))
        layers.append(Layer(Dense(weights), kind(rng.integers(1, inputs + 2, outputs))))
    return Network(tuple(layers), STEPS, Encoder(encoder))


def assert_right(network, folding, times, frames, *, frames_in="words"):
    golden = golden_run(network, times)
    accelerator = Accelerator(network, folding, frames_in=frames_in)
    modes = (False, True)
    for early, record in zip(modes, simulate_modes(accelerator, frames(accelerator), modes), strict=True):
        decisions = golden.decisions
        for name, expected in (("class_index", decisions.class_index), ("step", decisions.step), ("margin", decisions.margin)):
            assert [result[name] for result in record.results] == expected.tolist(), name
        assert not any(result["error"] for result in record.results)
        cycles = cost.predict(network, folding, times, golden, early=early, frames_in=frames_in)
        assert cycles.result.tolist() == record.result_cycles, f"early={early}"
        assert cycles.first_word.tolist() == record.first_word_cycles
        if not early:
            assert cost.limit(network, folding, times, golden).sum() <= record.result_cycles[-1]
            for layer, events in enumerate(golden.events):
                expected = sorted(zip(events.frame.tolist(), events.neuron.tolist(), events.step.tolist(), strict=True))
                assert sorted(record.spikes(layer, accelerator.monitor_formats[layer].simd)) == expected


FOLDINGS = {
    "event": Folding((2, 3), (2, 2), ("delta", "delta"), ("event", "event")),
    "event, all at once, two contexts": Folding((4, 5), (5, 3), ("delta", "delta"), ("event", "event"), contexts=2),
    "step": Folding((2, 3), (2, 2), ("delta", "delta"), ("step", "step")),
    "step, swaps, two contexts": Folding((2, 3), (4, 2), ("delta", "delta"), ("step", "event"), (2, 1), 2),
}


KINDS = [(Drifting, Drifting), (Drifting, Single), (Single, Drifting), (Repeating, Repeating), (Repeating, Single), (Repeating, Drifting)]


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("folding", FOLDINGS)
def test_words(folding, kinds):
    made = network((6, 5, 3), kinds, seed=1)
    times = random_spike_times(np.random.default_rng(2), 7, 6, STEPS)
    times[0], times[1] = STEPS, 5  # no spike at all; spikes in the last step only
    assert_right(made, FOLDINGS[folding], times, lambda circuit: word_payloads(circuit.input_format.from_spike_times(times)))


@pytest.mark.parametrize("pixels", [1, 3])
@pytest.mark.parametrize("contexts", [1, 2])
def test_pixels(pixels, contexts):
    made = network((6, 5, 3), (Drifting, Drifting), seed=3, encoder="latency")
    rng = np.random.default_rng(4)
    images = (rng.integers(0, 256, (7, 6)) * (rng.random((7, 6)) < 0.4)).astype(np.uint8)
    images[2] = 0
    folding = Folding((2, 3), (5, 2), ("delta", "delta"), contexts=contexts, pixels=pixels)
    assert_right(made, folding, made.encode(images), lambda _: pixel_payloads(images, pixels), frames_in="pixels")


def test_every_step_is_closed_only_where_a_neuron_further_on_needs_it():
    folding = Folding((2, 2, 2), (2, 2, 2), ("delta",) * 3)
    plans = folding.plans(network((6, 5, 4, 3), (Single, Drifting, Single), seed=5))
    assert [plan.skips_empty_steps for plan in plans] == [False, False, True]
    assert [plan.following_skips_empty_steps for plan in plans] == [False, True, True]


def test_inputs_that_spike_often_need_wider_membranes():
    """All inputs of the second layer spike in every step, with weights of one sign."""
    layers = tuple(
        Layer(Dense(np.ones((outputs, inputs))), kind([1] * outputs)) for inputs, outputs, kind in ((6, 5, Repeating), (5, 3, Single))
    )
    made = Network(layers, STEPS)
    assert [plan.membrane_bits for plan in FOLDINGS["event"].plans(made)] == [4, 6]  # 5 · 6 - 1 needs 6
    times = np.zeros((3, 6), int)
    assert_right(made, FOLDINGS["event"], times, lambda circuit: word_payloads(circuit.input_format.from_spike_times(times)))


def test_xnor_needs_inputs_that_spike_once():
    made = network((6, 5, 3), (Repeating, Single), seed=7)
    with pytest.raises(UserError, match=r"^inputs of layer 1 must spike at most once in the form xnor, but are of kind repeating$"):
        Folding((2, 2), (2, 2), ("delta", "xnor")).plans(made)


def test_files_and_loadable_circuits_are_of_known_kinds(tmp_path):
    made = network((6, 5, 3), (Single, Repeating), seed=8)
    with pytest.raises(
        UserError, match=r"^neuron of layer 1 must be one of single, readout, rate, ternary, graded, which files hold, not 'repeating'$"
    ):
        save(made, tmp_path / "network.safetensors")
    assert not (tmp_path / "network.safetensors").exists()
    with pytest.raises(UserError, match=r"^only dense layers of neurons that spike once can be loaded into a larger circuit$"):
        fit_into(made, (7, 6, 4))


def test_xnor_is_for_neurons_that_spike_once():
    message = "neurons of layer 0 must be single in the form xnor, not drifting"
    with pytest.raises(UserError, match=f"^{message}$"):
        Folding((2,), (2,), ("xnor",)).plans(network((6, 3), (Drifting,), seed=6))
