"""Spikes with coefficients: the golden model against the oracle, event by event, and what [S9]…[S13] say of every network."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export import Dense, Encoder, Events, Graded, Layer, Network, Rate, Readout, Ternary
from export.reference import Result, run
from tests import oracle_codes
from tests.multi_spike import CODES, code_network, hidden_neurons, random_images

MAX_STEPS = 8
EXACT = ("graded", "graded, signed")
SLOW = ("ternary", "ternary, signed")


def dense(events: Events) -> np.ndarray:
    """Coefficients (frames, steps, neurons)."""
    coefficients = np.zeros(events.shape, int)
    coefficients[events.frame, events.step, events.neuron] = events.coefficient
    return coefficients


def dealt(rng: np.random.Generator, frames: int, steps: int, inputs: int, most: int) -> np.ndarray:
    """Coefficients (frames, steps, inputs) in any steps, which add up to 0 … ``most`` per frame and input; frame 0 has none."""
    sums = rng.integers(0, most + 1, (frames, inputs))
    sums[0] = 0
    odds = rng.dirichlet(np.full(steps, 0.5), (frames, inputs))
    return rng.multinomial(sums, odds).transpose(0, 2, 1)


def settings_of(neuron: Rate) -> list[tuple]:
    """Neurons as the oracle takes them."""
    levels, signed = (neuron.levels, neuron.signed) if isinstance(neuron, Ternary) else (None, None)
    pairs = zip(neuron.thresholds.tolist(), neuron.initial.tolist(), strict=True)
    return [(neuron.kind, levels, signed, threshold, start) for threshold, start in pairs]


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
            assert oracle_codes.run_layer([[1, -1]], [(code, 3, False, 2, 1)], inputs) == [[c] for c in coefficients]
        assert oracle_codes.run_layer([[-1, 1]], [("ternary", 2, True, 2, 1)], inputs) == [[-1], [1], [0], [0]]
        assert oracle_codes.run_layer([[-1, 1]], [("graded", 2, True, 2, 1)], inputs) == [[-1], [1], [0], [0]]
        assert oracle_codes.decide([[1, -1], [1, 1]], [5, 6], inputs) == (1, 1, 0, False)

    @pytest.mark.parametrize("code", CODES)
    @pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
    def test_spread(self, steps, code):
        """Two hidden layers behind every number of bits."""
        rng = np.random.default_rng([1, steps, CODES.index(code)])
        sent = set()
        for bits, levels in zip(range(1, 9), itertools.cycle((1, 2, 3, 7)), strict=False):
            network = code_network(rng, (6, 5, 4, 3), steps, code, levels=levels, bits=bits)
            golden = assert_equal_to_oracle(network, dense(network.encode(random_images(rng, 8, 6))))
            sent |= {c for events in golden.events[:-1] for c in events.coefficient.tolist()}
        if steps > 1:
            assert (min(sent) < 0) == (code != "rate")
        assert max(sent) > 1 or not code.startswith("graded")

    @pytest.mark.parametrize("code", CODES)
    @pytest.mark.parametrize(("steps", "levels", "bits"), [(1, 1, 1), (2, 127, 8), (3, 2, 3), (5, 1, 2), (8, 5, 4)])
    def test_coefficients_from_outside(self, steps, levels, bits, code):
        rng = np.random.default_rng([2, steps, CODES.index(code)])
        network = code_network(rng, (7, 5, 4, 3), steps, code, levels=levels, bits=bits, kind="none")
        golden = assert_equal_to_oracle(network, dealt(rng, 20, steps, 7, 2**bits - 1))
        assert len(golden.events[0])

    @pytest.mark.parametrize("code", CODES)
    def test_inputs_that_spike_once(self, code):
        rng = np.random.default_rng([3, CODES.index(code)])
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
            return kind(*arrays, **options)

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
        ],
        ids=lambda neuron: neuron.kind,
    )
    def test_potentials_close_to_what_is_exact(self, neuron):
        rng = np.random.default_rng(4)
        outputs = len(neuron.thresholds)
        layers = [Layer(Dense(rng.choice([-1, 1], (m, n))), k) for m, n, k in ((outputs, 6, neuron), (3, outputs, Readout([-1 << 22] * 3)))]
        assert_equal_to_oracle(Network(tuple(layers), 4, Encoder("none", bits=3)), dealt(rng, 20, 4, 6, 7))


def counts_of(network: Network, inputs: np.ndarray) -> list[np.ndarray]:
    """Running counts of inputs and hidden layers after each step, (frames, steps, neurons) each."""
    golden = run(network, Events.from_dense(inputs))
    return [np.cumsum(part, axis=1) for part in (inputs, *(dense(events) for events in golden.events[:-1]))]


def integer_counts(layer: Layer, totals: np.ndarray) -> list[list[int]]:
    """The counts of the integer network [S11], of totals (frames, inputs)."""
    neuron = layer.neuron
    assert isinstance(neuron, Ternary)
    arrays = neuron.thresholds.tolist(), neuron.initial.tolist()
    weights = layer.connection.weights.tolist()
    return [oracle_codes.integer_network(weights, neuron.levels, neuron.signed, *arrays, frame) for frame in totals.tolist()]


class TestExactness:
    """[S11]"""

    @pytest.mark.parametrize("code", EXACT)
    @pytest.mark.parametrize("levels", [1, 2, 3, 127])
    @pytest.mark.parametrize("steps", [1, 2, 5])
    def test_graded_after_every_step(self, steps, levels, code):
        """Two layers deep: each count is that of the integer network, of the inputs so far."""
        rng = np.random.default_rng([5, steps, levels])
        network = code_network(rng, (8, 6, 5, 2), steps, code, levels=levels, bits=3, kind="none")
        inputs, *hidden = counts_of(network, dealt(rng, 15, steps, 8, 7))
        for step in range(steps):
            totals = inputs[:, step]
            for layer, counts in zip(network.layers, hidden, strict=False):
                totals = np.array(integer_counts(layer, totals))
                assert np.array_equal(counts[:, step], totals)
        assert len(np.unique(hidden[0])) > 1

    @pytest.mark.parametrize("code", SLOW)
    @pytest.mark.parametrize("levels", [1, 2, 4])
    def test_ternary_moves_by_one_towards_it(self, levels, code):
        """And is there when its inputs have been still for one step less than it has levels, for each layer before it and itself."""
        rng = np.random.default_rng([6, levels])
        most = levels * (2 if code == "ternary, signed" else 1)
        active = 3
        network = code_network(rng, (8, 6, 5, 2), active + 2 * (most - 1), code, levels=levels, bits=3, kind="none")
        inputs = dealt(rng, 30, active, 8, 7)
        still = np.zeros((30, network.steps - active, 8), int)
        totals, first, second = counts_of(network, np.concatenate([inputs, still], axis=1))
        end = integer_counts(network.layers[0], totals[:, -1])
        distance = np.abs(first[:, active - 1 :] - np.array(end)[:, None])
        assert distance[:, 0].max() <= most - 1
        for k in range(distance.shape[1]):
            assert np.array_equal(distance[:, k], np.maximum(0, distance[:, 0] - k))
        assert np.array_equal(second[:, -1], integer_counts(network.layers[1], np.array(end)))

    @pytest.mark.parametrize(("signed", "further"), [(False, 4), (True, 9)])
    def test_no_fewer_steps_do_for_ternary(self, signed, further):
        """Up by all levels, then down by all at once, by which a count changes by one while the inputs do: the rest takes ``further``."""
        neuron = Ternary([1], [0], levels=5, signed=signed)
        state = neuron.start(1)
        state.margin += 5
        for _ in range(5):
            neuron.step(state)
        assert state.emitted.tolist() == [[5]]
        state.margin -= 10 if signed else 5
        neuron.step(state)
        taken = 0
        while neuron.step(state).any():
            taken += 1
        assert state.emitted.tolist() == [[-5 if signed else 0]]
        assert taken == further

    def test_ternary_with_one_level_is_graded(self):
        rng = np.random.default_rng(7)
        graded = code_network(rng, (8, 6, 5, 2), 4, "graded", levels=1, bits=2)
        layers = [Layer(la.connection, Ternary(la.neuron.thresholds, la.neuron.initial, levels=1)) for la in graded.layers[:-1]]
        ternary = Network((*layers, graded.layers[-1]), 4, graded.encoder)
        inputs = graded.encode(random_images(rng, 30, 8))
        one, other = run(graded, inputs), run(ternary, inputs)
        assert len(one.events[1])
        assert all(a.equals(b) for a, b in zip(one.events, other.events, strict=True))

    @pytest.mark.parametrize("code", EXACT)
    def test_results_of_spread_do_not_depend_on_steps(self, code):
        """Counts at the end, and the class where no output decides early."""
        made = code_network(np.random.default_rng(8), (9, 7, 5, 4), 1, code, levels=3, bits=5)
        layers = (*made.layers[:-1], Layer(made.layers[-1].connection, Readout([1000] * 4)))
        images = random_images(np.random.default_rng(9), 25, 9)
        results = []
        for steps in (1, 2, 3, 4, 7, 8, 31, 100):
            network = Network(layers, steps, made.encoder)
            golden = run(network, network.encode(images))
            assert golden.decisions.silent.all()
            sums = [dense(events).sum(axis=1).tolist() for events in golden.events[:-1]]
            results.append((sums, golden.decisions.class_index.tolist(), golden.decisions.margin.tolist()))
        assert all(result == results[0] for result in results)
        assert len(set(results[0][1])) > 1

    @pytest.mark.parametrize("code", CODES)
    def test_who_acts_without_input(self, code):
        """[S4] A graded neuron, and an output, never does but in step 0; rate and ternary neurons do."""
        rng = np.random.default_rng(10)
        network = code_network(rng, (6, 5, 3), 8, code, bits=2, kind="none")
        inputs = dealt(rng, 40, 8, 6, 3) * (rng.random((40, 8, 1)) < 0.4)
        golden = run(network, Events.from_dense(inputs))
        before, alone = inputs.any(axis=2), []
        for events in golden.events:
            spikes = dense(events).any(axis=2)
            alone.append(int((spikes & ~before)[:, 1:].sum()))
            before = spikes
        assert (alone[0] == 0) == (code in EXACT) == network.layers[0].neuron.skips_empty_steps
        assert alone[1] == 0
        assert before.any()


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

    @pytest.mark.parametrize("code", CODES)
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


def all_running_totals(inputs: int, steps: int, totals: tuple[int, int]) -> np.ndarray:
    """Every way in which running totals can go, as coefficients (frames, steps, inputs)."""
    values = np.array(list(itertools.product(range(totals[0], totals[1] + 1), repeat=inputs * steps)))
    return np.diff(values.reshape(-1, steps, inputs), axis=1, prepend=0)


def reached(layer: Layer, coefficients: np.ndarray) -> tuple[int, int]:
    """Least and greatest potential of any neuron, at the start, before and after each step's test."""
    state = layer.neuron.start(len(coefficients))
    seen = [state.margin.copy()]
    for step in range(coefficients.shape[1]):
        state.margin += layer.connection.sums(coefficients[:, step])
        seen.append(state.margin.copy())
        layer.neuron.step(state)
        seen.append(state.margin.copy())
    return int(np.min(seen)), int(np.max(seen))


class TestMarginRange:
    @pytest.mark.parametrize("totals", [(0, 1), (0, 3), (-1, 1)])
    @pytest.mark.parametrize("code", [*CODES, "readout"])
    def test_never_left(self, code, totals):
        """Whatever the inputs do: three weights, three steps, all running totals."""
        coefficients = all_running_totals(2, 3, totals)
        rng = np.random.default_rng([12, *np.abs(totals)])
        for _ in range(20):
            neuron = Readout(rng.integers(-3, 8, 2)) if code == "readout" else hidden_neurons(rng, code, 2, 2, levels=2)
            layer = Layer(Dense(rng.choice([-1, 1], (2, 2))), neuron)
            least, greatest = layer.margin_range(totals)
            lowest, highest = reached(layer, coefficients)
            assert least <= lowest
            assert highest <= greatest
            if code == "readout" or code in EXACT:
                assert (lowest, highest) == (least, greatest)

    @pytest.mark.parametrize(
        ("neuron", "sums", "least", "greatest"),
        [
            (Readout([1]), [-2, 2], -3, 1),
            (Rate([2], [0]), [2, -2], -6, 0),  # V = 0 after the spike, and falls by 4
            (Rate([3], [1]), [2, -2], -7, 0),
            (Rate([3], [-5]), [-2, 2], -10, -6),
            (Ternary([2], [1], levels=1), [2, -2], -5, 1),
            (Ternary([1], [0], levels=2), [2, 2, -2], -5, 1),
            (Ternary([1], [0], levels=2, signed=True), [2, 2, -2], -5, 3),
            (Graded([2], [1], levels=2), [-2, 2], -1, 3),
        ],
        ids=lambda value: value.kind if isinstance(value, Rate | Readout) else None,
    )
    def test_is_reached(self, neuron, sums, least, greatest):
        """``sums`` are those that a neuron with two weights, +1 and -1, and inputs of 0 … 2 can have."""
        layer = Layer(Dense([[1, -1]]), neuron)
        assert layer.margin_range((0, 2)) == (least, greatest)
        steps = np.array([[max(0, total), max(0, -total)] for total in sums])
        lowest, highest = reached(layer, np.diff(steps[None], axis=1, prepend=0))
        opposite = reached(layer, np.diff(steps[None, :, ::-1], axis=1, prepend=0))
        assert (min(lowest, opposite[0]), max(highest, opposite[1])) == (least, greatest)

    @pytest.mark.parametrize("code", CODES)
    def test_of_whole_networks(self, code):
        """Sums of the layer before bound each layer's; inputs at their greatest, or at 0, with weights of one sign drive them there."""
        rng = np.random.default_rng(14)
        ends = []
        for weight in (-1, 1, 0):
            made = code_network(rng, (5, 4, 3, 2), 6, code, levels=2, bits=3)
            layers = [Layer(Dense(np.full_like(la.connection.weights, weight)), la.neuron) if weight else la for la in made.layers]
            network = Network(tuple(layers), 6, made.encoder)
            images = np.concatenate([np.full((1, 5), 255, np.uint8), random_images(rng, 20, 5)])
            inputs = network.encode(images)
            golden = run(network, inputs)
            for index, (layer, events, totals) in enumerate(
                zip(network.layers, (inputs, *golden.events[:-1]), network.totals, strict=False)
            ):
                lowest, highest = reached(layer, dense(events))
                least, greatest = layer.margin_range(totals)
                assert least <= lowest
                assert highest <= greatest
                ends.append((weight, index, lowest - least, greatest - highest))
        if code in EXACT:
            assert (-1, 0) in {(weight, index) for weight, index, below, _ in ends if below == 0}
            assert {(1, 0), (1, 1), (1, 2)} <= {(weight, index) for weight, index, _, above in ends if above == 0}


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


@pytest.mark.parametrize("code", [*CODES, "readout"])
def test_never(code):
    """Which neurons never spike, by all that inputs can do."""
    coefficients = all_running_totals(2, 3, (0, 2))
    rng = np.random.default_rng(13)
    found = set()
    for _ in range(20):
        thresholds, initial, levels = rng.integers(1, 7, 6), rng.integers(-6, 7, 6), int(rng.integers(1, 3))
        if code == "readout":
            neuron = Readout(thresholds)
        elif code == "rate":
            neuron = Rate(thresholds, initial)
        else:
            neuron = (Ternary if code.startswith("ternary") else Graded)(thresholds, initial, levels=levels, signed=code.endswith("signed"))
        layer = Layer(Dense(rng.choice([-1, 1], (6, 2))), neuron)
        state = neuron.start(len(coefficients))
        spikes = np.zeros(6, bool)
        for step in range(3):
            state.margin += layer.connection.sums(coefficients[:, step])
            spikes |= neuron.step(state).any(axis=0)
        never = neuron.never(*layer.connection.sum_range((0, 2)))
        assert np.array_equal(never, ~spikes)
        found |= set(never.tolist())
    assert found == {False, True}
