"""One network in other spike codes."""

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Rate, Readout, Single, UserError
from export.recode import recode, without_early_exit
from export.reference import run
from tests.multi_spike import code_network, random_images, spread

NETWORK = code_network(np.random.default_rng(1), (12, 9, 7, 4), 1, "graded", levels=5, bits=4)
IMAGES = random_images(np.random.default_rng(2), 30, 12)


def counts(network, layer):
    events = run(network, spread(network, IMAGES)).events[layer]
    found = np.zeros((events.shape[0], events.shape[2]), int)
    np.add.at(found, (events.frame, events.neuron), events.coefficient)
    return found


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_graded_is_the_same_in_any_number_of_steps(steps):
    for layer in range(2):
        assert np.array_equal(counts(recode(NETWORK, "graded", steps), layer), counts(NETWORK, layer))


def test_ternary_is_the_same_when_it_has_settled():
    """The inputs of one step, and no more: then as many steps as there are levels, for each layer."""
    settled = recode(NETWORK, "ternary", 20)
    events = spread(NETWORK, IMAGES)
    first = type(events)((events.shape[0], 20, events.shape[2]), events.frame, events.step, events.neuron, events.coefficient)
    wide = Network(settled.layers, 20, Encoder("none", bits=4))
    golden = run(wide, first)
    for layer in range(2):
        found = np.zeros_like(counts(NETWORK, layer))
        np.add.at(found, (golden.events[layer].frame, golden.events[layer].neuron), golden.events[layer].coefficient)
        assert np.array_equal(found, counts(NETWORK, layer))


def test_rate_by_hand():
    """Levels 5, T = 10: a spike is worth 1/2, thresholds behind inputs become 5/10 of what they were, behind spikes they stay."""
    rate = recode(NETWORK, "rate", 10)
    first, second, last = (layer.neuron for layer in rate.layers)
    thetas = [layer.neuron.thresholds for layer in NETWORK.layers]
    assert isinstance(first, Rate)
    assert first.thresholds.tolist() == [max(1, round(theta * 0.5)) for theta in thetas[0].tolist()]
    assert second.thresholds.tolist() == thetas[1].tolist()
    bias = NETWORK.layers[1].neuron.initial - thetas[1] // 2
    assert second.initial.tolist() == (2 * bias + thetas[1] // 2).tolist()
    assert last.thresholds.tolist() == (2 * thetas[2]).tolist()


class TestBias:
    """A bias that is added in every step."""

    NETWORK = code_network(np.random.default_rng(3), (12, 9, 7, 4), 2, "graded, bias", levels=5, bits=4)

    @pytest.mark.parametrize("steps", [1, 2])
    def test_sums_over_a_frame_stay(self, steps):
        network = recode(self.NETWORK, "graded", steps)
        for layer, before in zip(network.layers[:-1], self.NETWORK.layers, strict=False):
            assert (layer.neuron.bias * steps).tolist() == (before.neuron.bias * 2).tolist()
            assert layer.neuron.fraction == before.neuron.fraction
        for layer in range(2):
            assert np.array_equal(counts(network, layer), counts(self.NETWORK, layer))

    def test_what_is_not_whole_is_refused(self):
        with pytest.raises(UserError, match=r"^steps \(T\) must divide the sums of the bias of layer 0 over a frame of 2 steps, not 4$"):
            recode(self.NETWORK, "ternary", 4)

    def test_rate(self):
        second = recode(self.NETWORK, "rate", 4).layers[1].neuron
        before = self.NETWORK.layers[1].neuron
        assert second.bias.tolist() == np.rint(before.bias * 2 / (4 * 5 / 4)).tolist()
        assert second.fraction == before.fraction


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({}, "radix", "code must be one of rate, ternary, graded, not 'radix'"),
        ({"encoder": Encoder("none")}, "rate", "inputs of a network in another code must be spread over the steps, not encoded by 'none'"),
        (
            {"layers": (Layer(Dense(np.ones((3, 12))), Single(np.ones(3, int))), Layer(Dense(np.ones((2, 3))), Readout(np.ones(2, int))))},
            "rate",
            "neurons of layer 0 must be graded or ternary, with counts from 0, not single",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be(change, code, message):
    fields = {"layers": NETWORK.layers, "steps": 1, "encoder": NETWORK.encoder} | change
    with pytest.raises(UserError, match=f"^{message}$"):
        recode(Network(**fields), code, 4)


def test_without_early_exit():
    """Most frames are decided early, and none is then; classes are those of the margins after the last step."""
    network = recode(NETWORK, "graded", 4)
    events = spread(network, IMAGES)
    early, late = run(network, events).decisions, run(without_early_exit(network), events).decisions
    assert (early.step < 3).any()
    assert (late.step == 3).all()
    assert late.silent.all()
    one = recode(NETWORK, "graded", 1)
    assert np.array_equal(late.class_index, run(one, spread(one, IMAGES)).decisions.class_index)
    single = Network((Layer(Dense(np.ones((2, 12))), Single(np.ones(2, int))),), 1)
    with pytest.raises(UserError, match=r"^neurons of the last layer must be readout, to be decided after the last step, not single$"):
        without_early_exit(single)


@pytest.mark.parametrize("steps", [0, -1, 32769, 1.5])
def test_steps_that_cannot_be(steps):
    with pytest.raises(UserError, match=rf"^steps \(T\) must be an integer from 1 to 32768, not {steps}$"):
        recode(NETWORK, "rate", steps)
