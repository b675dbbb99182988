"""Random networks of convolutions, pools and dense layers [S15], [S16], and what the oracle makes of them."""

from typing import NamedTuple

import numpy as np

from export import Conv2d, Dense, Encoder, Events, Graded, Layer, Network, Pool2d, Rate, Readout, Single, Ternary
from export.connections import Connection
from export.neuron import Neuron
from export.reference import Result, run
from tests import oracle_maps
from tests.multi_spike import dealt, dense

CODES = ("single", "rate", "ternary", "ternary, signed", "graded", "graded, signed")


def signs(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random weights."""
    return rng.choice(np.array([-1, 1], np.int8), shape)


def neurons(rng: np.random.Generator, code: str, connection: Connection, levels: int = 3) -> Neuron:
    """Neurons of a code, with thresholds of some ``√fan-in``, one for each channel."""
    channels, fan_in = connection.channels, connection.fan_in
    if code == "single":
        return Single(rng.integers(1, min(fan_in + 1, max(1, round(np.sqrt(fan_in)))) + 1, channels))
    thresholds = rng.integers(1, max(2, round(2 * np.sqrt(fan_in))) + 1, channels)
    initial = thresholds // 2 + rng.integers(-2, 3, channels)
    if code == "rate":
        return Rate(thresholds, initial)
    kind = Ternary if code.startswith("ternary") else Graded
    return kind(thresholds, initial, levels=levels, signed=code.endswith("signed"))


class Shape(NamedTuple):
    """A convolution, or a pool in front of what comes next."""

    channels: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    pool: tuple[int, int] | None = None


def map_network(
    rng: np.random.Generator,
    map_shape: tuple[int, int, int],
    convolutions: list[Shape],
    outputs: int,
    steps: int,
    code: str,
    *,
    encoder: Encoder | None = None,
    last_pool: tuple[int, int] | None = None,
) -> Network:
    """Convolutions, each with its pool in front, then a dense layer of outputs."""
    encoder = encoder or (Encoder("none") if code == "single" else Encoder("none", bits=2))
    height, width, channels = map_shape
    layers: list[Layer] = []
    for shape in [*convolutions, Shape(pool=last_pool)]:
        pool = None
        if shape.pool is not None:
            once = encoder.spikes_once if not layers else layers[-1].neuron.spikes_once
            pool = Pool2d((height, width), channels, shape.pool, "max" if once and rng.random() < 0.7 else "sum")
            height, width, channels = pool.output_map
        if not shape.channels:
            connection = Dense(signs(rng, outputs, height * width * channels))
            layers.append(Layer(connection, Readout(rng.integers(0, connection.inputs, outputs)), pool))
            break
        convolution = Conv2d(signs(rng, shape.channels, channels, *shape.kernel), (height, width), shape.stride, shape.padding)
        layers.append(Layer(convolution, neurons(rng, code, convolution), pool))
        height, width, channels = convolution.output_map
    return Network(tuple(layers), steps, encoder)


def random_map_network(rng: np.random.Generator, code: str, steps: int) -> Network:
    """One or two convolutions of 1 x 1 … 5 x 5, strides 1 and 2, paddings 0 … 2, rectangular maps, pools."""
    height, width, channels = (int(n) for n in rng.integers((3, 3, 1), (8, 8, 4)))
    lengths, convolutions = [height, width], []
    for _ in range(rng.integers(1, 3)):
        pool = None
        if rng.random() < 0.5:
            pool = int(rng.integers(1, min(3, lengths[0]) + 1)), int(rng.integers(1, min(3, lengths[1]) + 1))
            lengths = [n // m for n, m in zip(lengths, pool, strict=True)]
        padding = int(rng.integers(0, 3)), int(rng.integers(0, 3))
        kernel = tuple(int(rng.integers(min(p + 1, 5), min(5, n + 2 * p) + 1)) for n, p in zip(lengths, padding, strict=True))
        stride = int(rng.integers(1, 3)), int(rng.integers(1, 3))
        convolutions.append(Shape(int(rng.integers(1, 4)), kernel, stride, padding, pool))
        lengths = [oracle_maps.positions(*of_axis) for of_axis in zip(lengths, kernel, stride, padding, strict=True)]
    last = (min(2, lengths[0]), min(2, lengths[1])) if rng.random() < 0.5 else None
    return map_network(rng, (height, width, channels), convolutions, 3, steps, code, last_pool=last)


def random_inputs(rng: np.random.Generator, network: Network, frames: int) -> np.ndarray:
    """Coefficients (frames, steps, inputs); frame 0 has none."""
    return dealt(rng, frames, network.steps, network.inputs, network.encoder.totals[1])


def synapses_of(connection: Connection) -> list[tuple[list[tuple[int, int]], int]]:
    """What `oracle_maps.synapses` gives, of any connection."""
    if isinstance(connection, Conv2d):
        return oracle_maps.synapses(connection.kernels.tolist(), connection.input_map, connection.stride, connection.padding)
    return [(list(enumerate(row)), j) for j, row in enumerate(connection.weights.tolist())]


def oracle_layer(layer: Layer, steps: list[list[int]]) -> list[list[int]]:
    """Coefficients per step and neuron of a layer, of those that come in, behind its pool."""
    neuron, reached = layer.neuron, synapses_of(layer.connection)
    thresholds = neuron.thresholds.tolist()
    if neuron.spikes_once:
        return oracle_maps.run_single(reached, thresholds, steps)
    levels, signed = (neuron.levels, neuron.signed) if isinstance(neuron, Ternary) else (None, None)
    return oracle_maps.run_codes(reached, neuron.kind, levels, signed, thresholds, neuron.initial.tolist(), steps)


def assert_equal_to_oracle(network: Network, inputs: np.ndarray) -> Result:
    """Every coefficient of every neuron in every step, and every decision."""
    golden = run(network, Events.from_dense(inputs))
    sent = [dense(events) for events in golden.events]
    for frame, steps in enumerate(inputs.tolist()):
        for index, layer in enumerate(network.layers):
            if layer.pool is not None:
                steps = oracle_maps.pool(layer.pool.kind, layer.pool.input_map, layer.pool.window, steps)
            before, steps = steps, oracle_layer(layer, steps)
            assert sent[index][frame].tolist() == steps, f"frame {frame}, layer {index}"
        expected = oracle_maps.decide(synapses_of(network.layers[-1].connection), network.layers[-1].neuron.thresholds.tolist(), before)
        decisions = golden.decisions
        seen = (decisions.class_index[frame], decisions.step[frame], decisions.margin[frame], decisions.silent[frame])
        assert tuple(value.item() for value in seen) == expected, f"frame {frame}"
    return golden
