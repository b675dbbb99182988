"""Spikes with coefficients: the golden model against the oracle, event by event [S9], [S10], [S12], [S13]."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export import Dense, Encoder, Events, Graded, Layer, Network, Rate, Readout, Ternary
from export.reference import Result, run
from tests import oracle_codes
from tests.multi_spike import BIASED, CODES, code_network, dealt, dense, hidden_neurons, random_images

MAX_STEPS = 8
ALL = (*CODES, *BIASED)


def settings_of(neuron: Rate) -> list[tuple]:
    """Neurons as the oracle takes them."""
    levels, signed = (neuron.levels, neuron.signed) if isinstance(neuron, Ternary) else (None, None)
    arrays = zip(neuron.thresholds.tolist(), neuron.initial.tolist(), neuron.bias.tolist(), strict=True)
    return [(neuron.kind, levels, signed, *numbers, neuron.fraction) for numbers in arrays]


def assert_equal_to_oracle(network: Network, inputs: np.ndarray) -> Result:
    """Every coefficient of every hidden neuron in every step, every output's first spike, and every decision.

    Parameters:
        inputs: coefficients (frames, steps, inputs).
    """
    golden = run(network, Events.from_dense(inputs))
    hidden = [dense(events) for events in golden.events[:-1]]
    last = network.layers[-1]
    for frame, steps in enumerate(inputs.tolist()):
        for index, layer in enumerate(network.layers[:-1]):
            steps = oracle_codes.run_layer(layer.connection.weights.tolist(), settings_of(layer.neuron), steps)
            assert hidden[index][frame].tolist() == steps, f"frame {frame}, layer {index}"
        weights, thresholds = last.connection.weights.tolist(), last.neuron.thresholds.tolist()
        steps = [[c << last.neuron.fraction for c in step] for step in steps]  # a sum counts 2^F times
        expected = oracle_codes.decide(weights, thresholds, steps)
        decisions = golden.decisions
        seen = (decisions.class_index[frame], decisions.step[frame], decisions.margin[frame], decisions.silent[frame])
        assert tuple(value.item() for value in seen) == expected, f"frame {frame}"
        for j, (row, threshold) in enumerate(zip(weights, thresholds, strict=True)):
            alone = oracle_codes.decide([row], [threshold], steps)
            assert golden.spike_times[-1][frame, j] == (network.steps if alone[3] else alone[1]), f"frame {frame}, output {j}"
    return golden


class TestSpread:
    @pytest.mark.parametrize("bits", range(1, 9))
    @pytest.mark.parametrize("steps", [*range(1, 9), 16, 255, 300])
    def test_every_intensity(self, steps, bits):
        encoder = Encoder("spread", bits=bits)
        events = encoder.encode(np.arange(256, dtype=np.uint8).reshape(2, 128), steps)
        sent = dense(events).transpose(0, 2, 1).reshape(256, steps)
        assert sent.tolist() == [oracle_codes.spread(p, bits, steps) for p in range(256)]
        assert sent.sum(axis=1).tolist() == [p >> (8 - bits) for p in range(256)]  # whatever T
        assert (sent.min(), sent.max()) == encoder.coefficients(steps)
        assert (sent.sum(axis=1).min(), sent.sum(axis=1).max()) == encoder.totals
        assert np.ptp(sent, axis=1).max() <= 1  # evenly

    @pytest.mark.parametrize("thresholds", [(1,), (255,), (64, 192), (3, 3, 100), tuple(range(1, 256))])
    @pytest.mark.parametrize("steps", [1, 3, 8])
    def test_counts_of_thresholds(self, steps, thresholds):
        encoder = Encoder("spread", thresholds=thresholds)
        sent = dense(encoder.encode(np.arange(256, dtype=np.uint8).reshape(2, 128), steps)).transpose(0, 2, 1).reshape(256, steps)
        counts = [sum(p >= threshold for threshold in thresholds) for p in range(256)]
        assert sent.tolist() == [oracle_codes.deal(count, steps) for count in counts]
        assert encoder.totals == (0, len(thresholds))
        assert not encoder.spikes_once

    def test_thresholds_of_the_upper_bits(self):
        images = np.arange(256, dtype=np.uint8)[None]
        for bits in range(1, 9):
            thresholds = tuple(range(1 << (8 - bits), 256, 1 << (8 - bits)))
            assert Encoder("spread", thresholds=thresholds).encode(images, 3).equals(Encoder("spread", bits=bits).encode(images, 3))

    def test_many_frames_as_few(self, monkeypatch):
        images = random_images(np.random.default_rng(1), 9, 5)
        encoder = Encoder("spread", bits=4)
        whole = encoder.encode(images, 3)
        for size in (1, 2 * 3 * 5, 9 * 3 * 5):
            monkeypatch.setattr("export.encoder.SPREAD", size)
            assert encoder.encode(images, 3).equals(whole)
        whole.check()
        assert encoder.encode(images[:0], 3).shape == (0, 3, 5)

    def test_images_are_flattened_row_by_row(self):
        events = Encoder("spread", bits=8).encode(np.array([[[255, 0], [2, 1]]], np.uint8), 2)
        assert dense(events).tolist() == [[[127, 0, 1, 0], [128, 0, 1, 1]]]


class TestOracle:
    def test_by_hand(self):
        """θ = 2, v = 1, inputs +3 and then -3: V + θN is 4, then 1."""
        inputs = [[3, 0], [0, 3], [0, 0], [0, 0]]
        expected = {"rate": [1, 0, 0, 0], "ternary": [1, -1, 0, 0], "graded": [2, -2, 0, 0]}
        for code, coefficients in expected.items():
            assert oracle_codes.run_layer([[1, -1]], [(code, 3, False, 2, 1, 0, 0)], inputs) == [[c] for c in coefficients]
        assert oracle_codes.run_layer([[-1, 1]], [("ternary", 2, True, 2, 1, 0, 0)], inputs) == [[-1], [1], [0], [0]]
        assert oracle_codes.run_layer([[-1, 1]], [("graded", 2, True, 2, 1, 0, 0)], inputs) == [[-1], [1], [0], [0]]
        assert oracle_codes.decide([[1, -1], [1, 1]], [5, 6], inputs) == (1, 1, 0, False)

    @pytest.mark.parametrize("code", ALL)
    @pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
    def test_spread(self, steps, code):
        """Two hidden layers behind every number of bits."""
        rng = np.random.default_rng([1, steps, ALL.index(code)])
        sent = set()
        for bits, levels in zip(range(1, 9), itertools.cycle((1, 2, 3, 7)), strict=False):
            network = code_network(rng, (6, 5, 4, 3), steps, code, levels=levels, bits=bits)
            golden = assert_equal_to_oracle(network, dense(network.encode(random_images(rng, 8, 6))))
            sent |= {c for events in golden.events[:-1] for c in events.coefficient.tolist()}
        if steps > 1:
            assert (min(sent) < 0) == (not code.startswith("rate"))
        assert max(sent) > 1 or not code.startswith("graded")

    @pytest.mark.parametrize("fraction", [1, 4, 8])
    def test_outputs_with_a_fraction(self, fraction):
        rng = np.random.default_rng([3, fraction])
        network = code_network(rng, (6, 5, 3), 4, "graded", bits=3)
        *hidden, last = network.layers
        thresholds = (last.neuron.thresholds << fraction) + rng.integers(0, 1 << fraction, 3)
        network = replace(network, layers=(*hidden, replace(last, neuron=Readout(thresholds, fraction=fraction))))
        golden = assert_equal_to_oracle(network, dense(network.encode(random_images(rng, 30, 6))))
        assert len(golden.events[-1])
        least, greatest = network.layers[-1].margin_range(network.totals[-2], 4)
        assert least <= golden.decisions.margin.min() < golden.decisions.margin.max() <= greatest

    @pytest.mark.parametrize("code", ALL)
    @pytest.mark.parametrize(("steps", "levels", "bits"), [(1, 1, 1), (2, 127, 8), (3, 2, 3), (5, 1, 2), (8, 5, 4)])
    def test_coefficients_from_outside(self, steps, levels, bits, code):
        rng = np.random.default_rng([2, steps, ALL.index(code)])
        network = code_network(rng, (7, 5, 4, 3), steps, code, levels=levels, bits=bits, kind="none")
        golden = assert_equal_to_oracle(network, dealt(rng, 20, steps, 7, 2**bits - 1))
        assert len(golden.events[0])

    @pytest.mark.usefixtures("_dense_by")
    @pytest.mark.parametrize("code", ALL)
    def test_many_steps(self, code):
        """Most steps reach few frames, or none."""
        rng = np.random.default_rng([4, ALL.index(code)])
        network = code_network(rng, (9, 8, 6, 3), 40, code, kind="none")
        inputs = dealt(rng, 8, 40, 9, 3) * (rng.random((8, 40, 1)) < 0.3)
        assert len(assert_equal_to_oracle(network, inputs).events[1])

    @pytest.mark.parametrize("code", ALL)
    def test_inputs_that_spike_once(self, code):
        rng = np.random.default_rng([3, ALL.index(code)])
        network = code_network(rng, (9, 6, 3), 4, code, bits=None)
        golden = assert_equal_to_oracle(network, inputs := dealt(rng, 20, 4, 9, 1))
        times = np.where(inputs.any(axis=1), inputs.argmax(axis=1), 4)
        assert all(a.equals(b) for a, b in zip(run(network, times).events, golden.events, strict=True))

    @given(data=st.data())
    @settings(deadline=None, max_examples=200)
    def test_any_small_network(self, data):
        """Weights, thresholds, starts and coefficients as they come, so that a difference is shown at its smallest."""

        def numbers(least, greatest, *shape):
            size = int(np.prod(shape))
            return np.reshape(data.draw(st.lists(st.integers(least, greatest), min_size=size, max_size=size)), shape).astype(int)

        def neuron(outputs):
            arrays = numbers(1, 5, outputs), numbers(-6, 8, outputs)
            kind = data.draw(st.sampled_from((Rate, Ternary, Graded)))
            options = {} if kind is Rate else {"levels": data.draw(st.integers(1, 4)), "signed": data.draw(st.booleans())}
            return kind(*arrays, **options, bias=numbers(-3, 3, outputs), fraction=data.draw(st.integers(0, 2)))

        steps, bits = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
        shape = data.draw(st.lists(st.integers(1, 3), min_size=3, max_size=4))
        layers = [
            Layer(Dense(2 * numbers(0, 1, m, n) - 1), Readout(numbers(-3, 9, m)) if index == len(shape) - 2 else neuron(m))
            for index, (n, m) in enumerate(itertools.pairwise(shape))
        ]
        totals = numbers(0, 2**bits - 1, 2, steps, shape[0])
        inputs = np.diff(np.sort(totals, axis=1), axis=1, prepend=0)
        assert_equal_to_oracle(Network(tuple(layers), steps, Encoder("none", bits=bits)), inputs)

    @pytest.mark.parametrize(
        "neuron",
        [
            Rate([1 << 22, 1], [50 - (1 << 22), 1 << 22]),
            Ternary([(1 << 22) - 9, 3], [2, -7], levels=1),
            Ternary([1 << 21, 3], [0, 1 << 22], levels=1, signed=True),
            Graded([1 << 22, 1, 1], [1 << 22, (1 << 22) - 20, 3], levels=127, signed=True),
            Graded([1 << 22, 1], [0, -5], levels=127, bias=[(1 << 21) - 2000, 9000 - (1 << 21)], fraction=7),
            Ternary([1 << 20, 1 << 20], [0, -5], levels=1, signed=True, bias=[1 << 20, -(1 << 20)], fraction=8),
        ],
        ids=lambda neuron: neuron.kind,
    )
    def test_potentials_close_to_what_is_exact(self, neuron):
        rng = np.random.default_rng(4)
        outputs = len(neuron.thresholds)
        layers = [Layer(Dense(rng.choice([-1, 1], (m, n))), k) for m, n, k in ((outputs, 6, neuron), (3, outputs, Readout([-1 << 22] * 3)))]
        assert_equal_to_oracle(Network(tuple(layers), 4, Encoder("none", bits=3)), dealt(rng, 20, 4, 6, 7))


class TestBias:
    """[S9]"""

    @pytest.mark.parametrize("code", CODES)
    @pytest.mark.parametrize("fraction", range(4))
    def test_a_bias_that_is_spread(self, fraction, code):
        """Fixed-point numbers of F bits deal a bias out over ``T = 2^F`` steps, to the last coefficient."""
        steps, rng = 1 << fraction, np.random.default_rng([6, fraction, CODES.index(code)])
        for levels in (1, 3, 9):
            made = hidden_neurons(rng, code, 6, 5, levels=levels)
            bias, weights = rng.integers(-9, 10, 5), rng.choice([-1, 1], (5, 6))
            options = {} if code == "rate" else {"levels": levels, "signed": "signed" in code}
            fixed = type(made)(made.thresholds << fraction, made.initial << fraction, bias=bias, fraction=fraction, **options)
            inputs = dealt(rng, 10, steps, 6, 3)
            network = Network((Layer(Dense(weights), fixed), Layer(Dense(np.ones((1, 5))), Readout([9]))), steps, Encoder("none", bits=2))
            found = dense(run(network, Events.from_dense(inputs)).events[0])
            neurons = [(*neuron[:5], b) for neuron, b in zip(settings_of(made), bias.tolist(), strict=True)]
            expected = [oracle_codes.spread_bias(weights.tolist(), neurons, frame) for frame in inputs.tolist()]
            assert found.tolist() == expected
            assert found.any()

    @pytest.mark.parametrize("code", CODES)
    def test_a_fraction_alone_changes_nothing(self, code):
        rng = np.random.default_rng([7, CODES.index(code)])
        network = code_network(rng, (8, 6, 5, 3), 4, code, bits=3)
        layers = [replace(la, neuron=scaled(la.neuron, 3)) for la in network.layers[:-1]]
        scaled_network = replace(network, layers=(*layers, network.layers[-1]))
        images = random_images(rng, 20, 8)
        one, other = (run(some, some.encode(images)) for some in (network, scaled_network))
        assert all(a.equals(b) for a, b in zip(one.events, other.events, strict=True))


def scaled(neuron: Rate, fraction: int) -> Rate:
    """The same neurons in numbers with fractional bits."""
    return replace(neuron, thresholds=neuron.thresholds << fraction, initial=neuron.initial << fraction, fraction=fraction)


class TestDecision:
    """[S12]"""

    def test_margins_may_fall_again(self):
        """Output 1 reaches its threshold in step 1, which decides; a negative spike in step 2 changes nothing."""
        hidden = Layer(Dense([[1, -1]]), Graded([1], [0], levels=3))
        network = Network((hidden, Layer(Dense([[-1], [1]]), Readout([1, 2]))), 4, Encoder("none", bits=2))
        inputs = np.array([[[0, 0], [2, 0], [0, 2], [0, 0]]])
        golden = assert_equal_to_oracle(network, inputs)
        assert dense(golden.events[0])[0, :, 0].tolist() == [0, 2, -2, 0]
        decisions = golden.decisions
        assert (decisions.class_index[0], decisions.step[0], decisions.margin[0], decisions.silent[0]) == (1, 1, 0, False)

    @pytest.mark.parametrize("code", ALL)
    def test_one_shift_of_all_thresholds_trades_steps(self, code):
        """Lower thresholds decide no later."""
        rng = np.random.default_rng(11)
        made = code_network(rng, (8, 6, 4), 8, code, bits=4)
        images = random_images(rng, 30, 8)
        steps = []
        for shift in (-20, 0, 20):
            last = Layer(made.layers[-1].connection, Readout(made.layers[-1].neuron.thresholds + shift))
            network = Network((*made.layers[:-1], last), 8, made.encoder)
            steps.append(run(network, network.encode(images)).decisions.step)
        assert (np.diff(steps, axis=0) >= 0).all()
        assert steps[0].sum() < steps[2].sum()


def test_a_spike_counts_once_whatever_it_is_worth():
    """[S6]"""
    rng = np.random.default_rng(15)
    network = code_network(rng, (8, 6, 5, 2), 4, "graded, signed", levels=5, bits=4)
    golden = run(network, network.encode(random_images(rng, 20, 8)))
    expected = [
        sum(np.count_nonzero(dense(events)[frame, : step + 1]) for events in golden.events[:-1])
        for frame, step in enumerate(golden.decisions.step)
    ]
    assert golden.summary.hidden_spikes.tolist() == expected
    assert len(set(golden.decisions.step.tolist())) > 1
