# amaranth: UnusedElaboratable=no

"""Whole accelerators with convolutions and pools, against the golden model and the cost model; and what a convolution's plan says."""

import random
from dataclasses import replace

import numpy as np
import pytest

import hw.core.walk
from export import Conv2d, Dense, Encoder, Events, Graded, Layer, Network, Pool2d, Rate, Readout, Single, UserError
from export.reference import run as golden_run
from hw import Accelerator, Folding, cost, default_folding
from hw.core.convolution import ConvPlan
from tests import oracle_maps
from tests.accelerators import assert_right, simulate, simulate_modes
from tests.maps import CODES, Shape, map_network, random_inputs, random_map_network, signs
from tests.pairwise import seeds
from tests.payloads import pixel_payloads, word_payloads


def divisors(number):
    return [size for size in range(1, number + 1) if number % size == 0]


def random_map_folding(rng, network):
    """Any folding that the network's maps allow."""
    simd, pe = [], []
    comes = None
    for layer in network.layers:
        comes = layer.input_map or comes
        simd.append(int(rng.choice(divisors(comes[2]))))
        pe.append(int(rng.integers(1, layer.connection.channels + 1)))
        comes = layer.output_map
    return Folding(tuple(simd), tuple(pe), ("delta",) * len(simd), contexts=int(rng.choice([1, 2, 4])))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("seed", seeds(2, 4))
def test_random_networks(seed, code):
    """Kernels, strides, paddings and pools of any size, any neurons, any folding."""
    rng = np.random.default_rng([seed, CODES.index(code)])
    network = random_map_network(rng, code, int(rng.integers(1, 5)))
    inputs = random_inputs(rng, network, 8)
    while not sum(map(len, golden_run(network, Events.from_dense(inputs)).events[:-1])):
        network = random_map_network(rng, code, int(rng.integers(1, 5)))
        inputs = random_inputs(rng, network, 8)
    assert_right(network, random_map_folding(rng, network), Events.from_dense(inputs))


TWO = [Shape(4, (3, 2), (2, 1), (1, 1)), Shape(5, (2, 2), pool=(1, 2))]


@pytest.mark.parametrize(
    ("code", "gaps", "stalls", "reset_at"),
    [("single", 0.5, 0.8, None), ("single", 0, 0.5, 90), ("graded", 0.2, 0, 333), ("graded", 0, 0.8, None), ("ternary", 0.5, 0.5, 200)],
)
def test_gaps_stalls_and_resets(code, gaps, stalls, reset_at):
    rng = np.random.default_rng([7, len(code)])
    network = map_network(rng, (7, 6, 2), TWO, 3, 4, code, last_pool=(2, 1))
    folding = Folding((1, 2, 5), (3, 5, 2), ("delta",) * 3, contexts=2)
    inputs = Events.from_dense(random_inputs(rng, network, 4))
    assert_right(network, folding, inputs, gaps=gaps, stalls=stalls, reset_at=reset_at)


@pytest.mark.parametrize(
    "folding", [Folding((1, 3, 5), (3, 2, 3), ("delta",) * 3, contexts=2), Folding((2, 6, 5), (6, 5, 1), ("delta",) * 3)]
)
def test_first_spikes_of_rate_neurons_in_one_step(folding):
    """Neurons that may spike without input, in front of a pool: in a single step they, too, spike at most once."""
    rng = np.random.default_rng(9)
    first = Conv2d(signs(rng, 6, 2, 3, 2), (6, 5))
    second = Conv2d(signs(rng, 5, 6, 2, 2), (2, 2), padding=1)
    one, two = (Rate(np.ones(n, int), 1 - rng.integers(-2, 4, n)) for n in (6, 5))
    assert (one.initial >= one.thresholds).any()
    layers = (
        Layer(first, one),
        Layer(second, two, Pool2d((4, 4), 6, 2)),
        Layer(Dense(signs(rng, 3, 5)), Readout([0, 1, -1]), Pool2d((3, 3), 5, 3)),
    )
    network = Network(layers, 1)
    assert_right(network, folding, network.check_inputs(rng.integers(0, 2, (6, 60))), gaps=0.2, stalls=0.3)


def test_mode_changes_at_any_time():
    rng = np.random.default_rng(8)
    network = map_network(rng, (6, 6, 1), TWO, 3, 5, "single")
    inputs = Events.from_dense(random_inputs(rng, network, 16))
    draw = random.Random(1)
    accelerator = Accelerator(network, Folding((1, 2, 5), (4, 2, 3), ("delta",) * 3, contexts=2))
    frames = word_payloads(accelerator.input_format.from_events(inputs))
    record = simulate(accelerator, frames, early=lambda: iter(lambda: draw.random() < 0.3, None), stalls=0.3)
    decisions = golden_run(network, inputs).decisions
    for name in ("class_index", "step", "margin", "silent"):
        assert [result[name] for result in record.results] == getattr(decisions, name).tolist(), name


def rarely_touched():
    """Few positions are touched in a frame, each by half of what a neuron needs to spike: what is left of another frame shows."""
    convolution = Conv2d(np.ones((2, 2, 1, 1)), (3, 3))
    outputs = Layer(Dense(signs(np.random.default_rng(9), 2, 18)), Single([1, 2]))
    network = Network((Layer(convolution, Single([2, 2])), outputs), 2)
    rng = np.random.default_rng(10)
    times = np.where(rng.random((120, 18)) < 0.1, rng.integers(0, 2, (120, 18)), 2)
    return network, network.check_inputs(times)


@pytest.mark.parametrize("contexts", [1, 2, 4])
def test_frames_know_nothing_of_others(contexts):
    """More frames than there are tags, and positions touched in frames that have the same."""
    network, inputs = rarely_touched()
    assert len(golden_run(network, inputs).events[0]) > 20
    assert_right(network, Folding((1, 2), (1, 2), ("delta", "delta"), contexts=contexts), inputs)


@pytest.mark.parametrize("tag", [lambda round_: round_ & 0, lambda round_: round_ & 3])
def test_tags_that_come_again_too_soon_would_show(monkeypatch, tag):
    rounds = hw.core.walk.rounds
    monkeypatch.setattr(hw.core.walk, "rounds", lambda *args, **options: tag(rounds(*args, **options)))
    network, inputs = rarely_touched()
    with pytest.raises(AssertionError, match=r"class_index|step|margin|layer 0"):
        assert_right(network, Folding((1, 2), (2, 2), ("delta", "delta")), inputs)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 4)])
def test_one_position(kernel):
    """A map of one position comes in, or goes out."""
    rng = np.random.default_rng(11)
    network = map_network(rng, (3, 4, 2) if kernel == (3, 4) else (1, 1, 6), [Shape(3, kernel)], 2, 3, "single")
    assert_right(network, Folding((2, 3), (2, 2), ("delta", "delta"), contexts=2), Events.from_dense(random_inputs(rng, network, 12)))


def test_pixels():
    rng = np.random.default_rng(12)
    network = map_network(rng, (6, 5, 1), [Shape(3, (3, 3))], 2, 4, "single", encoder=Encoder("latency"), last_pool=(2, 2))
    images = (rng.integers(0, 256, (10, 30)) * (rng.random((10, 30)) < 0.7)).astype(np.uint8)
    folding = Folding((1, 3), (3, 2), ("delta", "delta"), contexts=2, pixels=3)
    golden = golden_run(network, network.encode(images))
    modes = (False, True)
    records = simulate_modes(Accelerator(network, folding, frames_in="pixels"), pixel_payloads(images, 3), modes)
    for early, record in zip(modes, records, strict=True):
        for name in ("class_index", "step", "margin"):
            assert [result[name] for result in record.results] == getattr(golden.decisions, name).tolist(), name
        cycles = cost.predict(network, folding, network.encode(images), golden, early=early, frames_in="pixels")
        assert cycles.first_word.tolist() == record.first_word_cycles
        assert cycles.result.tolist() == record.result_cycles


@pytest.mark.parametrize("seed", range(12))
def test_words_walk_the_synapses(seed):
    """From the memories' content alone, each word reaches the neurons that it has synapses with, with their weights."""
    rng = np.random.default_rng([13, seed])
    connection = random_map_network(rng, "single", 2).layers[0].connection
    channels = connection.input_map[2]
    plan = ConvPlan(Layer(connection, Single(np.ones(connection.channels, int))), 2, int(rng.choice(divisors(channels))), 2, "delta")
    kernels, stride, padding = connection.kernels.tolist(), connection.stride, connection.padding
    expected = [sorted(synapses) for synapses, _ in oracle_maps.synapses(kernels, connection.input_map, stride, padding)]
    found = [[] for _ in range(connection.outputs)]
    width = connection.output_map[1]
    for index in range(plan.input_words):
        walk = plan.walk_layout.from_bits(plan.walk_rows[index >> plan.neighbour_bits])
        first_row = walk.row << plan.neighbour_bits | index & (1 << plan.neighbour_bits) - 1
        assert plan.places[index] == (walk.down + 1) * (walk.across + 1) * walk.reaches == len(plan.reached(index))
        for place in range(plan.places[index]):
            down, across = divmod(place, walk.across + 1)
            position = walk.position + down * width + across
            assert position == plan.reached(index)[place]
            back = (down * connection.strides[0] * connection.kernel_shape[1] + across * connection.strides[1]) * plan.channel_words
            for channel in range(connection.channels):
                fold, p = divmod(channel, 2)
                weights = plan.weight_rows[fold * plan.synapse_folds + first_row - back] >> p * plan.simd
                for lane in range(plan.simd):
                    found[position * connection.channels + channel].append((index * plan.simd + lane, 1 if weights >> lane & 1 else -1))
    assert [sorted(synapses) for synapses in found] == expected


def test_limit():
    """Against plain loops: words that pass the pool, times the kernel places from which they reach a position, times folds."""
    rng = np.random.default_rng(14)
    network = map_network(rng, (6, 7, 2), TWO, 3, 4, "single", last_pool=(2, 2))
    folding = Folding((1, 2, 5), (3, 2, 2), ("delta",) * 3)
    inputs = Events.from_dense(random_inputs(rng, network, 6))
    golden = golden_run(network, inputs)
    expected = []
    for frame in range(6):
        work = []
        for layer, events, simd, pe in zip(network.layers, (inputs, *golden.events), folding.simd, folding.pe, strict=False):
            seen, words = set(), []
            for event_frame, step, neuron in zip(events.frame.tolist(), events.step.tolist(), events.neuron.tolist(), strict=True):
                if event_frame == frame and step <= golden.decisions.step[frame]:
                    window = neuron if layer.pool is None else int(layer.pool.address[neuron])
                    if window >= 0 and (layer.pool is None or layer.pool.kind == "sum" or window not in seen):
                        words.append((step, neuron // simd, window))
                    seen.add(window)
            passing = {(step, index): window for step, index, window in words}
            folds = -(-layer.connection.channels // pe)
            if isinstance(layer.connection, Conv2d):
                kernels, stride, padding = layer.connection.kernels.tolist(), layer.connection.stride, layer.connection.padding
                reached = [dict(synapses) for synapses, _ in oracle_maps.synapses(kernels, layer.connection.input_map, stride, padding)]
                places = [sum(window in of_neuron for of_neuron in reached[:: layer.connection.channels]) for window in passing.values()]
            else:
                places = [1] * len(passing)
            work.append(sum(places) * folds)
        expected.append(max(work))
    assert len(set(expected)) > 2
    assert cost.limit(network, folding, inputs, golden).tolist() == expected


def test_streaming():
    """Of the slowest layer, all folds of synapses and neurons, at all positions, in all steps."""
    found = [cost.streaming(NETWORK, Folding((1, 1), pe, ("delta", "delta"))) for pe in ((4, 3), (1, 3), (3, 1), (4, 1))]
    assert found == [folds * 12 * 8 * 4 for folds in (1, 4, 2, 1)]
    assert cost.streaming(NETWORK, Folding((2, 1), (4, 1), ("delta", "delta"))) == 12 * 4 * 4
    dense = Network((Layer(Dense(np.ones((5, 9))), Single(np.ones(5, int))),), 3)
    assert cost.streaming(dense, Folding((2,), (2,), ("delta",))) == 3 * 5 * 3


@pytest.mark.parametrize(("code", "least"), [("rate", 2 * 12 * 3), ("graded", 0)])
def test_limit_where_all_neurons_are_tested(code, least):
    """Frames without spikes: positions times folds in each step, or nothing."""
    network = map_network(np.random.default_rng(15), (4, 3, 1), [Shape(5, (1, 1))], 2, 2, code)
    network = replace(
        network,
        layers=(
            Layer(network.layers[0].connection, replace(network.layers[0].neuron, thresholds=np.full(5, 9), initial=np.zeros(5, int))),
            *network.layers[1:],
        ),
    )
    inputs = Events.from_dense(np.zeros((1, 2, 12), int))
    golden = golden_run(network, inputs)
    last = golden.decisions.step[0] + 1
    assert cost.limit(network, Folding((1, 1), (2, 2), ("delta", "delta")), inputs, golden).tolist() == [
        max(least * last // 2, last * (code == "rate"))
    ]


NETWORK = Network(
    (
        Layer(Conv2d(np.ones((4, 2, 2, 2)), (4, 5)), Single(np.ones(4, int))),
        Layer(Dense(np.ones((3, 8))), Single([1, 1, 1]), Pool2d((3, 4), 4, (2, 2))),
    ),
    4,
    Encoder("latency"),
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"simd": (3, 1)}, r"simd of layer 0 must divide the 2 channels of the map that comes in \(1, 2\), not 3"),
        ({"simd": (1, 3)}, r"simd of layer 1 must divide the 4 channels of the map that comes in \(1, 2, 4\), not 3"),
        ({"pe": (5, 1)}, "pe of layer 0 must be an integer from 1 to its 4 channels, not 5"),
        (
            {"form": ("xnor", "delta")},
            "form and loop_order of layer 0 must be delta and event, because it is a convolution, not xnor and step",
        ),
        (
            {"loop_order": ("event", "step")},
            "form and loop_order of layer 1 must be delta and event, because it has a pool, not delta and step",
        ),
        ({"swap": (2, 1)}, "swap of layer 0 must be 1, because its form and loop order are delta and event, not 2"),
    ],
)
def test_foldings_that_are_refused(changes, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        Folding(**{"simd": (1, 2), "pe": (4, 3), "form": ("delta", "delta")} | changes).plans(NETWORK)


def test_words_behind_a_convolution_without_a_pool():
    network = Network((NETWORK.layers[0], Layer(Dense(np.ones((3, 48))), Single([1, 1, 1]))), 4)
    with pytest.raises(UserError, match=r"^simd of layer 1 must divide the 4 channels of the map that comes in \(1, 2, 4\), not 5$"):
        Folding((1, 5), (4, 3), ("delta", "delta")).plans(network)


def test_a_convolution_is_not_the_last_layer():
    with pytest.raises(UserError, match=r"^the last layer must be dense in the circuit, not conv2d$"):
        Folding((2,), (4,), ("delta",)).plans(Network(NETWORK.layers[:1], 4))


@pytest.mark.parametrize(("form", "order"), [("delta", "step"), ("xnor", "step"), ("delta", "event")])
def test_dense_layers_around_a_convolution(form, order):
    """Words of a map come to any kind of dense layer, in two parts where they lie in two folds; a dense layer may give a map."""
    rng = np.random.default_rng(16)
    convolution = Conv2d(signs(rng, 6, 2, 2, 2), (3, 4))
    network = Network(
        (
            Layer(Dense(signs(rng, 24, 10)), Single(rng.integers(0, 3, 24))),
            Layer(convolution, Single(rng.integers(1, 4, 6))),
            Layer(Dense(signs(rng, 4, 36)), Single(rng.integers(0, 5, 4))),
        ),
        4,
    )
    times = np.where(rng.random((10, 10)) < 0.7, rng.integers(0, 4, (10, 10)), 4)
    folding = Folding((3, 2, 3), (7, 4, 3), ("delta", "delta", form), ("event", "event", order), contexts=2)
    assert folding.plans(network)[2].split_words == 6
    assert_right(network, folding, network.check_inputs(times))


def test_default_folding():
    assert default_folding(NETWORK) == Folding((2, 4), (4, 3), ("delta", "delta"), contexts=4)
    assert default_folding(replace(NETWORK, steps=1)).contexts == 1
    many = Conv2d(np.ones((700, 48, 1, 1)), (1, 1))
    network = Network((Layer(many, Graded(np.ones(700, int), levels=1)), Layer(Dense(np.ones((3, 700))), Readout([1, 1, 1]))), 2)
    assert default_folding(network) == Folding((24, 28), (600, 3), ("delta", "delta"), contexts=4)


def test_default_folding_of_several_convolutions():
    """With all neurons at once, the third layer has a ninth of the second one's work, and the outputs half of it: the third takes the
    smallest vectors of whole words, the outputs half of their neurons at once; the first, with less than half of it, keeps all."""
    rng = np.random.default_rng(4)
    shapes = [((6, 2, 1, 1), (4, 4), None), ((8, 6, 3, 3), (4, 4), None), ((128, 8, 1, 1), (2, 2), None)]
    layers = [Layer(Conv2d(signs(rng, *kernels), shape), Single(np.ones(kernels[0], int)), pool) for kernels, shape, pool in shapes]
    layers.append(Layer(Dense(signs(rng, 4, 512)), Single(np.ones(4, int))))
    network = Network(tuple(layers), 4)
    folding = default_folding(network)
    assert folding.simd == (2, 6, 8, 32)
    words = (16, 16, 4, 16)
    assert [plan.work(np.arange(count)).sum() for plan, count in zip(folding.plans(network), words, strict=True)] == [16, 36, 16, 32]
    assert folding.pe == (6, 8, 32, 2)


@pytest.mark.parametrize(("more", "contexts"), [(2, 4), (3, 8), (7, 16), (16, 16)])
def test_default_contexts_of_deep_networks(more, contexts):
    """Behind a convolution, at least as many as there are layers."""
    deep = (Layer(Dense(np.ones((3, 3))), Single([1, 1, 1])),) * more
    assert default_folding(Network((*NETWORK.layers, *deep), NETWORK.steps)).contexts == contexts
