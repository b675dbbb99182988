"""What [S11] says of every network: graded neurons are an integer network after each step, ternary ones after some."""

import numpy as np
import pytest

from export import Events, Layer, Network, Readout, Ternary
from export.reference import run
from tests import oracle_codes
from tests.multi_spike import BIASED, CODES, code_network, dealt, dense, random_images

EXACT = ("graded", "graded, signed")
ALWAYS = (*EXACT, "graded, bias", "graded, signed, bias")
SLOW = ("ternary", "ternary, signed")


def counts_of(network: Network, inputs: np.ndarray) -> list[np.ndarray]:
    """Running counts of inputs and hidden layers after each step, (frames, steps, neurons) each."""
    golden = run(network, Events.from_dense(inputs))
    return [np.cumsum(part, axis=1) for part in (inputs, *(dense(events) for events in golden.events[:-1]))]


def integer_counts(layer: Layer, totals: np.ndarray, step: int = 0) -> list[list[int]]:
    """The counts of the integer network after a step [S11], of totals (frames, inputs)."""
    neuron = layer.neuron
    assert isinstance(neuron, Ternary)
    arrays = neuron.thresholds.tolist(), neuron.initial.tolist()
    weights = layer.connection.weights.tolist()
    drive = neuron.bias.tolist(), neuron.fraction, step
    return [oracle_codes.integer_network(weights, neuron.levels, neuron.signed, *arrays, frame, *drive) for frame in totals.tolist()]


class TestExactness:
    """[S11]"""

    @pytest.mark.parametrize("code", ALWAYS)
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
                totals = np.array(integer_counts(layer, totals, step))
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

    @pytest.mark.parametrize("code", [*CODES, *BIASED])
    def test_who_acts_without_input(self, code):
        """[S4] A graded neuron, and an output, never does but in step 0; rate and ternary neurons do, and any with a bias."""
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
