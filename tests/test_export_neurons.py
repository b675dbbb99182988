"""Neurons from plain arrays: what is kept, and what is refused."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from export import Dense, Encoder, Events, Graded, Layer, Network, Rate, Readout, Single, Ternary, UserError

TERNARY, GRADED = partial(Ternary, levels=2), partial(Graded, levels=2)


def said(make, *arguments, **options):
    with pytest.raises(UserError) as caught:
        make(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("make", [Rate, TERNARY, GRADED])
def test_start_is_half_of_the_threshold_unless_it_is_given(make):
    assert make([1, 2, 3, 4]).initial.tolist() == [0, 1, 1, 2]
    assert make([1, 2], [-5, 7]).initial.tolist() == [-5, 7]
    assert make(np.array([1, 2], np.uint8), np.array([0, 0], np.int64)).initial.dtype == np.int32


@pytest.mark.parametrize("make", [Rate, TERNARY, GRADED])
def test_arrays_are_copied_and_frozen(make):
    thresholds, initial = np.array([3, 4]), np.array([0, 1])
    neuron = make(thresholds, initial)
    thresholds[:], initial[:] = 1, 1
    assert (neuron.thresholds.tolist(), neuron.initial.tolist()) == ([3, 4], [0, 1])
    for array in (neuron.thresholds, neuron.initial):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        neuron.initial = initial


@pytest.mark.parametrize("make", [Rate, TERNARY, GRADED])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias": [1]}, "bias must have shape (2,), as the thresholds have, not (1,)"),
        ({"bias": 1}, "bias must have shape (outputs,), one per output, not ()"),
        ({"bias": [0.5, 1]}, "bias must be integers, not float64"),
        ({"bias": [0, -4194305]}, "bias must be from -4194304 to 4194304, but bias[1] is -4194305"),
        ({"fraction": -1}, "fraction must be an integer from 0 to 8, not -1"),
        ({"fraction": 9}, "fraction must be an integer from 0 to 8, not 9"),
        ({"fraction": 1.0}, "fraction must be an integer from 0 to 8, not 1.0"),
        ({"fraction": True}, "fraction must be an integer from 0 to 8, not True"),
        ({"fraction": None}, "fraction must be an integer from 0 to 8, not None"),
    ],
)
def test_wrong_biases_and_fractions_are_refused(make, options, message):
    assert said(make, [1, 2], **options) == message


@pytest.mark.parametrize("make", [Rate, TERNARY, GRADED])
def test_bias_and_fraction(make):
    plain, biased = make([1, 2]), make([1, 2], bias=np.array([0, -3], np.int8), fraction=np.int64(8))
    assert (plain.bias.tolist(), plain.fraction, plain.has_bias) == ([0, 0], 0, False)
    assert (biased.bias.tolist(), biased.bias.dtype, biased.fraction, biased.has_bias) == ([0, -3], np.int32, 8, True)
    assert not make([1, 2], bias=[0, 0]).has_bias
    assert type(biased.fraction) is int
    assert not biased.skips_empty_steps
    assert plain.skips_empty_steps == (plain.kind == "graded")
    with pytest.raises(ValueError, match="read-only"):
        biased.bias[0] = 1


def test_ranges():
    """Of a spike's coefficient, and of what a neuron can have sent."""
    expected = {
        Single([1]): ((0, 1), (0, 1)),
        Readout([1]): ((0, 1), (0, 1)),
        Rate([1]): ((0, 1), (0, 9)),
        Ternary([1], levels=3): ((-1, 1), (0, 3)),
        Ternary([1], levels=3, signed=True): ((-1, 1), (-3, 3)),
        Graded([1], levels=3): ((-3, 3), (0, 3)),
        Graded([1], levels=3, signed=True): ((-6, 6), (-3, 3)),
    }
    for neuron, (coefficients, totals) in expected.items():
        assert (neuron.coefficients, neuron.totals(9)) == (coefficients, totals), neuron.kind
    layers = Layer(Dense([[1, 1]]), Graded([1], levels=3)), Layer(Dense([[1]]), Readout([1]))
    network = Network(layers, 4, Encoder("spread", bits=3))
    assert network.totals == ((0, 7), (0, 3), (0, 1))
    assert network.coefficients == ((0, 2), (-3, 3), (0, 1))


@pytest.mark.parametrize("make", [Rate, TERNARY, GRADED])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([0],), "thresholds must be from 1 to 4194304, but thresholds[0] is 0"),
        (([1, -1],), "thresholds must be from 1 to 4194304, but thresholds[1] is -1"),
        (([1, 4194305],), "thresholds must be from 1 to 4194304, but thresholds[1] is 4194305"),
        (([1, 2**40],), "thresholds must fit into 32 bits, but thresholds[1] is 1099511627776"),
        (([1.0],), "thresholds must be integers, not float64"),
        (([True],), "thresholds must be integers, not bool"),
        ((["1"],), "thresholds must be integers, not <U1"),
        (([[1]],), "thresholds must have shape (outputs,), one per output, not (1, 1)"),
        ((3,), "thresholds must have shape (outputs,), one per output, not ()"),
        (([[1], [1, 2]],), "thresholds must be an array, all rows of one length"),
        (([1, 2], [0]), "initial must have shape (2,), as the thresholds have, not (1,)"),
        (([1, 2], 0), "initial must have shape (outputs,), one per output, not ()"),
        (([1, 2], [0, 0.5]), "initial must be integers, not float64"),
        (([1, 2], [0, 4194305]), "initial must be from -4194304 to 4194304, but initial[1] is 4194305"),
        (([1, 2], [-(2**40), 0]), "initial must fit into 32 bits, but initial[0] is -1099511627776"),
    ],
)
def test_wrong_arrays_are_refused(make, arrays, message):
    assert said(make, *arrays) == message


@pytest.mark.parametrize("kind", [Ternary, Graded])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "levels must be an integer from 1 to 127, not 0"),
        ({"levels": 128}, "levels must be an integer from 1 to 127, not 128"),
        ({"levels": 2.0}, "levels must be an integer from 1 to 127, not 2.0"),
        ({"levels": True}, "levels must be an integer from 1 to 127, not True"),
        ({"levels": None}, "levels must be an integer from 1 to 127, not None"),
        ({"levels": 2, "signed": 1}, "signed must be True or False, not 1"),
    ],
)
def test_wrong_levels_are_refused(kind, options, message):
    assert said(kind, [1], **options) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Layer(Dense([[1], [1]]), Rate([1])), "thresholds must have shape (2,), one per output, not (1,)"),
        (lambda: Layer(Dense([[1]]), Readout([-4194305])), "thresholds must be from -4194304 to 4194304, but thresholds[0] is -4194305"),
        (lambda: Layer(Dense([[1]]), Readout([1, 1])), "thresholds must have shape (1,), one per output, not (2,)"),
        (
            lambda: Network((Layer(Dense([[1]]), Graded([1], levels=1)),), 4),
            "the last layer must be of neurons that are never reset, such as readout, not graded",
        ),
        (
            lambda: Network((Layer(Dense([[1]]), Ternary([1 << 22], levels=2)), Layer(Dense([[1]]), Readout([1]))), 4),
            "potentials of layer 0 must stay below 8388608, but can reach 10485760",
        ),
        (
            lambda: Network((Layer(Dense(np.ones((1, 1 << 16))), Readout([1])),), 4, Encoder("none", bits=8)),
            "potentials of layer 0 must stay below 8388608, but can reach 16711679",
        ),
        (
            lambda: Network((Layer(Dense([[1]]), Graded([1], bias=[1 << 20], levels=2)), Layer(Dense([[1]]), Readout([1]))), 8),
            "potentials of layer 0 must stay below 8388608, but can reach 8388609",
        ),
        (
            lambda: Network((Layer(Dense([[1]]), Rate([1], bias=[-(1 << 20)])), Layer(Dense([[1]]), Readout([1]))), 8),
            "potentials of layer 0 must stay below 8388608, but can reach 8388609",
        ),
        (
            lambda: Network(
                (Layer(Dense(np.ones((1, 1 << 15))), Graded([1], [0], fraction=8, levels=2)), Layer(Dense([[1]]), Readout([1]))), 2
            ),
            "potentials of layer 0 must stay below 8388608, but can reach 8388608",
        ),
        (
            lambda: Network((Layer(Dense([[1]] * 512), Rate([1] * 512)), Layer(Dense(np.ones((1, 512))), Readout([0]))), 1 << 14),
            "potentials of layer 1 must stay below 8388608, but can reach 8388608",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(make, message):
    assert said(make) == message


class TestInputs:
    """`Network.check_inputs`"""

    @staticmethod
    def network(encoder=None):
        return Network((Layer(Dense([[1, 1, -1]]), Readout([1])),), 2, encoder or Encoder("none", bits=2))

    @pytest.mark.parametrize(
        ("encoder", "inputs", "message"),
        [
            (None, [[[1, 0, 0], [0, 4, 0]]], "coefficients of inputs must be from 1 to 3, but input 1 of frame 0 has 4 in step 1"),
            (
                None,
                [[[0] * 3] * 2, [[0, 0, -1], [0, 0, 3]]],
                "coefficients of inputs must be from 1 to 3, but input 2 of frame 1 has -1 in step 0",
            ),
            (
                None,
                [[[1, 3, 0], [2, 0, 0]], [[0, 0, 2], [1, 0, 2]]],
                "coefficients of an input must add up to at most 3 in a frame, but those of input 2 of frame 1 to 4",
            ),
            (
                Encoder("spread", bits=2),
                [[[3, 0, 0], [0, 0, 0]]],
                "coefficients of inputs must be from 1 to 2, but input 0 of frame 0 has 3 in step 0",
            ),
            (
                Encoder("latency"),
                [[[1, 0, 0], [1, 0, 0]]],
                "coefficients of an input must add up to at most 1 in a frame, but those of input 0 of frame 0 to 2",
            ),
            (None, [[[1, 0, 0]] * 3], "input events must be of 2 steps and 3 inputs, not of 3 and 3"),
            (None, [[[1, 0]] * 2], "input events must be of 2 steps and 3 inputs, not of 2 and 2"),
        ],
    )
    def test_beyond_what_the_encoder_allows(self, encoder, inputs, message):
        assert said(self.network(encoder).check_inputs, Events.from_dense(np.array(inputs))) == message

    @pytest.mark.parametrize("encoder", [Encoder("none", bits=2), Encoder("spread", bits=3)], ids=str)
    def test_to_its_limits(self, encoder):
        network = self.network(encoder)
        greatest, most = network.coefficients[0][1], network.totals[0][1]
        inputs = Events.from_dense(np.array([[[greatest, 0, 0], [most - greatest, greatest, 0]]]))
        assert network.check_inputs(inputs) is inputs

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"frame": [0, 0, 2]}, "frame of events must be from 0 to 1, not from 0 to 2"),
            ({"step": [0, 2, 1]}, "step of events must be from 0 to 1, not from 0 to 2"),
            ({"step": [-1, 1, 1]}, "step of events must be from 0 to 1, not from -1 to 1"),
            ({"neuron": [0, 3, 1]}, "neuron of events must be from 0 to 2, not from 0 to 3"),
            ({"coefficient": [1, 0, 1]}, "coefficients of events must not be 0, but that of event 1 is"),
            (
                {"step": [1, 0, 1]},
                "events must be sorted by frame, step and neuron, one per place, but event 1 is not behind event 0",
            ),
            (
                {"frame": [0, 1, 1], "step": [0, 1, 1], "neuron": [0, 1, 1]},
                "events must be sorted by frame, step and neuron, one per place, but event 2 is not behind event 1",
            ),
            ({"neuron": [0, 1]}, "arrays of events must be of one length, not 3 (frame), 3 (step), 2 (neuron), 3 (coefficient)"),
            ({"neuron": [0.0, 1.0, 1.0]}, "neuron of events must be signed integers of shape (events,), not float64 (3,)"),
            ({"frame": np.zeros((3, 1), int)}, "frame of events must be signed integers of shape (events,), not int64 (3, 1)"),
            ({"frame": np.zeros(3, np.uint64)}, "frame of events must be signed integers of shape (events,), not uint64 (3,)"),
        ],
    )
    def test_no_events(self, changes, message):
        arrays = {"frame": [0, 0, 1], "step": [0, 1, 1], "neuron": [0, 2, 1], "coefficient": [1, 1, 3]}
        self.network().check_inputs(Events((2, 2, 3), **{name: np.array(value) for name, value in arrays.items()}))
        events = Events((2, 2, 3), **{name: np.array(value) for name, value in (arrays | changes).items()})
        assert said(self.network().check_inputs, events) == message

    def test_no_arrays(self):
        numbers = np.zeros(1, int)
        assert said(Events((1, 2, 3), [0], numbers, numbers, numbers + 1).check) == (
            "frame of events must be signed integers of shape (events,), not list"
        )
        assert (
            said(Events((2, 3), numbers, numbers, numbers, numbers + 1).check)
            == "shape of events must be (frames, steps, neurons), not (2, 3)"
        )

    @pytest.mark.parametrize(
        ("coefficients", "message"),
        [
            (np.zeros((2, 3), int), "coefficients must be integers of shape (frames, steps, neurons), not int64 (2, 3)"),
            (np.zeros((1, 2, 3)), "coefficients must be integers of shape (frames, steps, neurons), not float64 (1, 2, 3)"),
            (np.zeros((1, 2, 3), bool), "coefficients must be integers of shape (frames, steps, neurons), not bool (1, 2, 3)"),
            ([[[1, 65537]]], "coefficients must fit into 16 bits, not from 1 to 65537"),
            ([[[-32769, 0]]], "coefficients must fit into 16 bits, not from -32769 to 0"),
            ([[[1, 2], [1]]], "coefficients must be an array, all rows of one length"),
        ],
    )
    def test_no_coefficients(self, coefficients, message):
        assert said(Events.from_dense, coefficients) == message

    def test_dense_coefficients(self):
        events = Events.from_dense([[[0, -32768], [32767, 0]], [[0, 0], [0, 1]]])
        events.check()
        assert events.shape == (2, 2, 2)
        arrays = (events.frame, events.step, events.neuron, events.coefficient)
        assert [array.tolist() for array in arrays] == [[0, 0, 1], [0, 1, 1], [1, 0, 1], [-32768, 32767, 1]]
        assert [array.dtype for array in arrays] == ["i8", "i4", "i4", "i2"]
        assert len(Events.from_dense(np.zeros((0, 2, 3), int))) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("spread",), "encoder bits must be an integer from 1 to 8, not None"),
        (("spread", None, 0), "encoder bits must be an integer from 1 to 8, not 0"),
        (("spread", None, 9), "encoder bits must be an integer from 1 to 8, not 9"),
        (("none", None, 9), "encoder bits must be an integer from 1 to 8, not 9"),
        (("none", None, True), "encoder bits must be an integer from 1 to 8, not True"),
        (("spread", None, 4.0), "encoder bits must be an integer from 1 to 8, not 4.0"),
        (("spread", None, "4"), "encoder bits must be an integer from 1 to 8, not '4'"),
        (("spread", 3, 4), "encoder 'spread' takes no p_min, not 3"),
        (("latency", None, 4), "encoder 'latency' takes no bits, not 4"),
    ],
)
def test_wrong_encoders_are_refused(arguments, message):
    assert said(Encoder, *arguments) == message


def test_images_for_other_networks_are_refused():
    network = Network((Layer(Dense([[1, 1, -1]]), Readout([1])),), 2, Encoder("spread", bits=8))
    assert said(network.encode, np.zeros((2, 4), np.uint8)) == "the network takes 3 inputs, but the images have 4 pixels"
    assert said(network.encode, np.zeros((2, 3))) == "intensities must be uint8 of shape (frames, inputs), not float64 (2, 3)"
