"""Bounds of potentials, which widths are derived from: never left, and reached."""

import itertools

import numpy as np
import pytest

from export import Dense, Graded, Layer, Network, Rate, Readout, Ternary
from export.reference import run
from tests.multi_spike import BIASED, CODES, code_network, dense, hidden_neurons, random_images


def all_running_totals(inputs: int, steps: int, totals: tuple[int, int]) -> np.ndarray:
    """Every way in which running totals can go, as coefficients (frames, steps, inputs)."""
    values = np.array(list(itertools.product(range(totals[0], totals[1] + 1), repeat=inputs * steps)))
    return np.diff(values.reshape(-1, steps, inputs), axis=1, prepend=0)


def reached(layer: Layer, coefficients: np.ndarray) -> tuple[int, int]:
    """Least and greatest potential of any neuron, at the start, before and after each step's bias, and after its test."""
    state = layer.neuron.start(len(coefficients))
    bias = layer.neuron.bias if isinstance(layer.neuron, Rate) else 0
    seen = [state.margin.copy()]
    for step in range(coefficients.shape[1]):
        layer.neuron.add(state, layer.connection.sums(coefficients[:, step]))
        seen += [state.margin.copy(), state.margin + bias]
        layer.neuron.step(state)
        seen.append(state.margin.copy())
    return int(np.min(seen)), int(np.max(seen))


class TestMarginRange:
    @pytest.mark.parametrize("totals", [(0, 1), (0, 3), (-1, 1)])
    @pytest.mark.parametrize("code", [*CODES, *BIASED, "readout"])
    def test_never_left(self, code, totals):
        """Whatever the inputs do: three weights, three steps, all running totals."""
        coefficients = all_running_totals(2, 3, totals)
        rng = np.random.default_rng([12, *np.abs(totals)])
        for _ in range(20):
            neuron = Readout(rng.integers(-3, 8, 2)) if code == "readout" else hidden_neurons(rng, code, 2, 2, levels=2)
            layer = Layer(Dense(rng.choice([-1, 1], (2, 2))), neuron)
            least, greatest = layer.margin_range(totals, 3)
            lowest, highest = reached(layer, coefficients)
            assert least <= lowest
            assert highest <= greatest
            if code == "readout" or code in ("graded", "graded, signed"):
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
            (Graded([2], [1], levels=2, fraction=3), [-2, 2], -15, 17),
            (Graded([2], [1], levels=2, bias=[3], fraction=1), [-2, 2], -3, 11),  # the bias once by the last sum
            (Graded([2], [1], levels=2, bias=[-3]), [2, -2], -7, 3),
            (Rate([2], [3], bias=[-3]), [2, -2], -9, 3),
            (Ternary([2], [1], levels=1, bias=[-1]), [2, -2], -7, 1),
        ],
        ids=lambda value: value.kind if isinstance(value, Rate | Readout) else None,
    )
    def test_is_reached(self, neuron, sums, least, greatest):
        """``sums`` are those that a neuron with two weights, +1 and -1, and inputs of 0 … 2 can have."""
        layer = Layer(Dense([[1, -1]]), neuron)
        assert layer.margin_range((0, 2), len(sums)) == (least, greatest)
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
                least, greatest = layer.margin_range(totals, 6)
                assert least <= lowest
                assert highest <= greatest
                ends.append((weight, index, lowest - least, greatest - highest))
        if code.startswith("graded"):
            assert (-1, 0) in {(weight, index) for weight, index, below, _ in ends if below == 0}
            assert {(1, 0), (1, 1), (1, 2)} <= {(weight, index) for weight, index, _, above in ends if above == 0}


@pytest.mark.parametrize("code", [*CODES, *BIASED, "readout"])
def test_never(code):
    """Which neurons never spike, by all that inputs can do."""
    coefficients = all_running_totals(2, 3, (0, 2))
    rng = np.random.default_rng(13)
    found = set()
    for _ in range(20):
        thresholds, initial, levels = rng.integers(1, 7, 6), rng.integers(-6, 7, 6), int(rng.integers(1, 3))
        options = {}
        if code in BIASED:
            thresholds, options = 2 * thresholds, {"bias": rng.integers(-2, 3, 6), "fraction": 1}
        if code == "readout":
            neuron = Readout(thresholds)
        elif code.startswith("rate"):
            neuron = Rate(thresholds, initial, **options)
        else:
            kind = Ternary if code.startswith("ternary") else Graded
            neuron = kind(thresholds, initial, levels=levels, signed="signed" in code, **options)
        layer = Layer(Dense(rng.choice([-1, 1], (6, 2))), neuron)
        state = neuron.start(len(coefficients))
        spikes = np.zeros(6, bool)
        for step in range(3):
            layer.neuron.add(state, layer.connection.sums(coefficients[:, step]))
            spikes |= neuron.step(state).any(axis=0)
        never = neuron.never(*layer.connection.sum_range((0, 2)), 3)
        assert np.array_equal(never, ~spikes)
        found |= set(never.tolist())
    assert found == {False, True}
