# amaranth: UnusedElaboratable=no

"""hw.core.rows: convolutions of one step in whole accelerators, against the golden model and the cost model."""

import random

import numpy as np
import pytest

from export import Conv2d, Dense, Encoder, Events, Graded, Layer, Network, Readout, Single
from export.reference import run as golden_run
from hw import Accelerator, Folding, cost
from hw.loading.loader import load_content
from tests.accelerators import assert_right, simulate, simulate_modes
from tests.maps import CODES, Shape, map_network, random_inputs, signs
from tests.payloads import pixel_payloads, word_payloads

SHAPES = {  # a map, a convolution of it, and the rows of positions whose membranes are kept
    "1x1": ((4, 5, 2), Shape(3, (1, 1)), 1),
    "3x3, padding": ((5, 4, 2), Shape(4, (3, 3), (1, 1), (1, 1)), 3),
    "5x5, padding": ((6, 4, 2), Shape(3, (5, 5), (1, 1), (2, 2)), 5),
    "5x5, as many rows as there are": ((6, 7, 2), Shape(3, (5, 5)), 2),
    "5x4, stride 2": ((8, 7, 2), Shape(3, (5, 4), (2, 2), (1, 2)), 3),
    "4x3, stride 3": ((8, 7, 2), Shape(3, (4, 3), (3, 3), (2, 1)), 2),
    "2x1, stride 3: rows that reach nothing": ((8, 5, 2), Shape(3, (2, 1), (3, 2)), 1),
    "3x2, pool": ((8, 9, 2), Shape(3, (3, 2), (1, 1), (1, 0), (2, 2)), 3),
    "2x2, stride 2, pool": ((11, 7, 4), Shape(4, (2, 2), (2, 1), (1, 1), (3, 2)), 1),
    "one row": ((1, 6, 2), Shape(3, (1, 3), (1, 1), (0, 1)), 1),
}


def sparse(rng, network, frames):
    """Coefficients (frames, 1, inputs): frames without spikes first and last, and others of which whole rows of the map are empty."""
    inputs = random_inputs(rng, network, frames)
    rows = inputs.reshape(frames, network.layers[0].input_map[0], -1)
    rows[2:] *= rng.random((frames - 2, rows.shape[1], 1)) < 0.5
    inputs[-1] = 0
    return Events.from_dense(inputs)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", SHAPES)
def test_kernels_strides_paddings_and_pools(name, layers):
    """With one, two and four contexts, any neurons, and some or all channels at once; with and without another such layer behind."""
    map_shape, shape, ring = SHAPES[name]
    index = list(SHAPES).index(name)
    rng = np.random.default_rng([21, index, layers])
    code, contexts = CODES[(index + 3 * layers) % len(CODES)], 1 << (index + layers) % 3
    second = Shape(3, (1, 2) if name == "one row" else (2, 1), (2, 2), (0, 1) if name == "one row" else (1, 0))
    simd, pe = (map_shape[2] // layers, shape.channels, 3), (2, 1, 2)
    simd, pe = (of_layer if layers == 2 else (of_layer[0], of_layer[1]) for of_layer in (simd, pe))
    folding = Folding(simd, pe, ("delta",) * (layers + 1), contexts=contexts)
    while True:
        network = map_network(rng, map_shape, [shape, second][:layers], 2, 1, code)
        inputs = sparse(rng, network, 6)
        if all(map(len, golden_run(network, inputs).events[:-1])):
            break
    plan = folding.plans(network)[0]
    width = network.layers[0].connection.output_map[1]
    assert (plan.by_rows, plan.ring, plan.tag_bits) == (True, ring * width, 0)
    assert plan.state_rows == ring * width << (plan.neuron_folds - 1).bit_length()
    assert_right(network, folding, inputs)


@pytest.mark.parametrize("steps", [1, 2])
def test_several_steps_keep_all_positions(steps):
    network = map_network(np.random.default_rng(22), (6, 5, 1), [Shape(2, (3, 3))], 2, steps, "graded")
    plan, last = Folding((1, 2), (1, 2), ("delta", "delta"), contexts=2).plans(network)
    assert (plan.by_rows, plan.state_rows, plan.tag_bits) == ((True, 18, 0) if steps == 1 else (False, 48, 4))
    assert not last.by_rows


def test_thresholds_that_are_reached_without_input():
    """Graded neurons that begin at their thresholds or above: all positions spike in a frame without any, but once; of both modes."""
    rng = np.random.default_rng(23)
    convolutions = [Conv2d(signs(rng, 3, 2, 3, 3), (5, 4), padding=1), Conv2d(signs(rng, 2, 3, 2, 2), (5, 4))]
    layers = [Layer(c, Graded(np.full(c.channels, 2), np.arange(2, 2 + c.channels), levels=3)) for c in convolutions]
    network = Network((*layers, Layer(Dense(signs(rng, 2, 24)), Readout([1, 2]))), 1, Encoder("none", bits=2))
    inputs = sparse(rng, network, 8)
    assert len(golden_run(network, inputs).events[0].select(golden_run(network, inputs).events[0].frame == 0)) == 60
    assert_right(network, Folding((1, 3, 2), (2, 1, 2), ("delta",) * 3, contexts=2), inputs)


TWO = [Shape(4, (3, 2), (1, 1), (1, 1)), Shape(5, (2, 2), pool=(2, 1))]


@pytest.mark.parametrize(
    ("code", "gaps", "stalls", "reset_at"),
    [("single", 0.3, 0.9, None), ("graded", 0, 0.5, 70), ("rate", 0.2, 0, 131), ("graded", 0.3, 0.9, None), ("single", 0, 0, 99)],
)
def test_gaps_stalls_and_resets_in_the_middle(code, gaps, stalls, reset_at):
    rng = np.random.default_rng([24, len(code)])
    network = map_network(rng, (5, 4, 2), TWO, 3, 1, code, last_pool=(1, 2))
    folding = Folding((1, 2, 5), (3, 5, 2), ("delta",) * 3, contexts=2)
    assert_right(network, folding, sparse(rng, network, 6), gaps=gaps, stalls=stalls, reset_at=reset_at)


@pytest.mark.parametrize(("code", "contexts"), [("single", 4), ("graded", 1), ("graded", 2)])
def test_steps_that_are_closed_again_and_frames_that_are_flagged(code, contexts):
    """Frames that end with an empty word of their own, which is dropped in early mode, frames whose words do not ascend, and such as end
    with an error, among right ones, while the mode changes."""
    rng, draw = np.random.default_rng([25, contexts]), random.Random(contexts)
    network = map_network(rng, (4, 4, 2), TWO, 3, 1, code)
    accelerator = Accelerator(network, Folding((1, 4, 5), (2, 3, 2), ("delta",) * 3, contexts=contexts))
    inputs = sparse(rng, network, 24)
    frames = word_payloads(accelerator.input_format.from_events(inputs))
    wrong = set()
    for number, words in enumerate(frames):
        end = {**words[-1], "bits": 0, "index": 0}
        if number % 4 == 1:
            words[-1] = {**words[-1], "last_of_frame": 0}
            words.append(end)
        elif number % 4 == 2 and len(words) > 3:
            words[1], words[2] = words[2], words[1]
            wrong.add(number)
        elif number % 8 == 3 and len(words) > 3:
            words[2:] = [{**end, "error": 1}]
            wrong.add(number)
    assert len(wrong) > 5
    record = simulate(accelerator, frames, early=lambda: iter(lambda: draw.random() < 0.5, None), stalls=0.2)
    decisions = golden_run(network, inputs).decisions
    for number, result in enumerate(record.results):
        assert result["error"] == (number in wrong)
        if number not in wrong:
            for name in ("class_index", "step", "margin", "silent"):
                assert result[name] == getattr(decisions, name)[number], (number, name)


def test_an_error_that_shows_when_the_last_row_sends_nothing():
    """The word that waits for what comes behind it is the step's last then, and says so."""
    convolution = Conv2d(np.ones((1, 2, 1, 1)), (3, 2))
    network = Network((Layer(convolution, Single([2])), Layer(Dense(np.ones((2, 6))), Single([1, 2]))), 1)
    accelerator = Accelerator(network, Folding((2, 1), (1, 2), ("delta", "delta")))
    word = {"time": 0, "index": 0, "bits": 3, "last_of_step": 0, "last_of_frame": 0, "error": 0}
    flagged = [word, {**word, "index": 2, "bits": 1}, {**word, "index": 2, "last_of_step": 1, "last_of_frame": 1}]
    right = [{**word, "index": 1, "last_of_step": 1, "last_of_frame": 1}]
    record = simulate(accelerator, [flagged, right, flagged, right], early=False)
    assert [result["error"] for result in record.results] == [1, 0, 1, 0]
    assert [words[-1]["error"] for words in record.words[0]] == [1, 0, 1, 0]
    assert [len(words) for words in record.words[0]] == [1, 1, 1, 1]


def test_pixels():
    rng = np.random.default_rng(26)
    network = map_network(rng, (6, 5, 2), [Shape(3, (3, 3))], 2, 1, "graded", encoder=Encoder("spread", bits=3), last_pool=(2, 2))
    images = (rng.integers(0, 256, (10, 60)) * (rng.random((10, 60)) < 0.7)).astype(np.uint8)
    folding = Folding((2, 3), (3, 2), ("delta", "delta"), contexts=2, pixels=3)
    events = network.encode(images)
    golden = golden_run(network, events)
    modes = (False, True)
    records = simulate_modes(Accelerator(network, folding, frames_in="pixels"), pixel_payloads(images, 3), modes)
    for early, record in zip(modes, records, strict=True):
        for name in ("class_index", "step", "margin"):
            assert [result[name] for result in record.results] == getattr(golden.decisions, name).tolist(), name
        cycles = cost.predict(network, folding, events, golden, early=early, frames_in="pixels")
        assert cycles.first_word.tolist() == record.first_word_cycles
        assert cycles.result.tolist() == record.result_cycles


def test_few_places_for_vectors(monkeypatch):
    """Rows wait among their positions until the next layer has taken some."""
    monkeypatch.setattr("hw.core.convolution.ROW_SLOTS", 3)
    rng = np.random.default_rng(27)
    network = map_network(rng, (4, 4, 1), [Shape(4, (3, 3), padding=(1, 1)), Shape(4, (3, 3), padding=(1, 1))], 2, 1, "graded")
    folding = Folding((1, 2, 4), (2, 1, 2), ("delta",) * 3)
    assert folding.plans(network)[0].vector_slots == 3
    assert_right(network, folding, sparse(rng, network, 4))


def test_potentials_to_start_from_are_loaded():
    """Membranes are made as new once more when they are there."""
    rng = np.random.default_rng(29)
    network = map_network(rng, (4, 4, 2), [Shape(4, (3, 3), padding=(1, 1))], 2, 1, "graded")
    assert network.layers[0].neuron.initial.any()
    accelerator = Accelerator(network, Folding((1, 2), (2, 2), ("delta", "delta")), weights="loadable")
    inputs = Events.from_dense(random_inputs(rng, network, 4)[1:])
    frames = word_payloads(accelerator.input_format.from_events(inputs))
    record = simulate(accelerator, frames, early=False, load=load_content(accelerator.plans))
    assert [result["margin"] for result in record.results] == golden_run(network, inputs).decisions.margin.tolist()
