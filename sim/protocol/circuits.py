"""The small circuits that sequences are played to: sizes that divide nothing, and all that a folding has."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import hw.verilog
from export import Conv2d, Dense, Encoder, Graded, Layer, Network, Pool2d, Rate, Readout, Single, Ternary
from hw import Accelerator, Folding


def _network(seed: int, shape: tuple[int, ...], steps: int) -> Network:
    """A network with small thresholds, and without any for some neurons of the first layer, which then fire whatever comes in.

    The seeds below are such that random frames are decided at every step and never, 6 % of them or more each, and by every output.
    """
    rng = np.random.default_rng(seed)
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(shape)):
        least, greatest = (0, 3) if index == 0 else (1, 2)
        layers.append(Layer(Dense(rng.choice([-1, 1], (outputs, inputs))), Single(rng.integers(least, greatest + 1, outputs))))
    return Network(tuple(layers), steps)


def _code_network(seed: int, shape: tuple[int, ...], steps: int, make: Callable[..., Rate], **options: object) -> Network:
    """A network of neurons that spike with coefficients, as are those of its inputs; its seed is chosen as above."""
    rng = np.random.default_rng(seed)
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(shape)):
        connection, thresholds = Dense(rng.choice([-1, 1], (outputs, inputs))), rng.integers(1, 5, outputs)
        initial = thresholds // 2 + rng.integers(-1, 2, outputs)
        neuron = Readout(2 * thresholds) if index == len(shape) - 2 else make(thresholds, initial, **options)
        layers.append(Layer(connection, neuron))
    return Network(tuple(layers), steps, Encoder("none", bits=2))


TWO_LAYERS = _network(432, (13, 7, 3), 5)
THREE_LAYERS = _network(3551, (10, 9, 6, 3), 6)


def _biased(thresholds: np.ndarray, initial: np.ndarray) -> Rate:
    """Neurons with a bias in each step, -1, 0 or 1 in turn, and a fractional bit."""
    bias = np.arange(len(thresholds)) % 3 - 1
    return Graded(2 * thresholds, 2 * initial, levels=3, bias=bias, fraction=1)


RATE = _code_network(39, (13, 7, 3), 4, Rate)
TERNARY = _code_network(108, (10, 6, 5, 3), 4, Ternary, levels=2, signed=True)
GRADED = _code_network(31, (13, 7, 3), 4, Graded, levels=3)
GRADED_SIGNED = _code_network(4, (10, 6, 5, 3), 4, Graded, levels=2, signed=True)
BIASED = _code_network(2, (13, 7, 3), 4, _biased)


def _convolution(rng: np.random.Generator, shape: tuple[int, ...], map_shape: tuple[int, int], **options: Any) -> Conv2d:
    """Of kernels of a shape (channels, input channels, height, width)."""
    return Conv2d(rng.choice([-1, 1], shape), map_shape, **options)


def _single_maps(seed: int, steps: int = 4) -> Network:
    """Two convolutions, one with padding, one behind a pool, of neurons that spike once; its seed is chosen as above."""
    rng = np.random.default_rng(seed)
    padded = Layer(_convolution(rng, (3, 2, 3, 3), (4, 4), padding=1), Single(rng.integers(1, 4, 3)))
    pooled = Layer(_convolution(rng, (4, 3, 2, 2), (2, 2)), Single(rng.integers(1, 3, 4)), Pool2d((4, 4), 3, 2))
    return Network((padded, pooled, Layer(Dense(rng.choice([-1, 1], (3, 4))), Single(rng.integers(1, 3, 3)))), steps)


def _neurons(rng: np.random.Generator, channels: int, make: Callable[..., Rate], **options: object) -> Rate:
    thresholds = rng.integers(2, 8, channels)
    return make(thresholds, thresholds // 2 + rng.integers(-1, 2, channels), **options)


def _graded_maps(seed: int, steps: int = 4) -> Network:
    """Two convolutions, one with a stride, and a pool that adds up, of ``graded`` neurons."""
    rng = np.random.default_rng(seed)
    strides = Layer(_convolution(rng, (4, 2, 3, 2), (5, 4), stride=(2, 1), padding=(1, 0)), _neurons(rng, 4, Graded, levels=3))
    second = Layer(_convolution(rng, (3, 4, 2, 2), (3, 3)), _neurons(rng, 3, Graded, levels=3))
    last = Layer(Dense(rng.choice([-1, 1], (3, 6))), Readout(rng.integers(3, 8, 3)), Pool2d((2, 2), 3, (1, 2), "sum"))
    return Network((strides, second, last), steps, Encoder("none", bits=2))


def _rate_maps(seed: int) -> Network:
    """A convolution with a stride and padding, and a pool that adds up, of ``rate`` neurons, of which all are tested in each step."""
    rng = np.random.default_rng(seed)
    strides = Layer(_convolution(rng, (3, 2, 3, 3), (4, 5), stride=2, padding=1), _neurons(rng, 3, Rate))
    last = Layer(Dense(rng.choice([-1, 1], (3, 9))), Readout(rng.integers(3, 8, 3)), Pool2d((2, 3), 3, (2, 1), "sum"))
    return Network((strides, last), 4, Encoder("none", bits=2))


def _small_maps(seed: int, map_shape: tuple[int, int], kernel: tuple[int, int], window: tuple[int, int]) -> Network:
    """A convolution of two channels and a pool, of neurons that spike once."""
    rng = np.random.default_rng(seed)
    connection = _convolution(rng, (2, 1, *kernel), map_shape)
    hidden = Layer(connection, Single(rng.integers(1, 4, 2)))
    pool = Pool2d(connection.output_map[:2], 2, window)
    return Network((hidden, Layer(Dense(rng.choice([-1, 1], (3, pool.outputs))), Single(rng.integers(1, 3, 3)), pool)), 3)


SINGLE_MAPS, GRADED_MAPS, RATE_MAPS = _single_maps(186), _graded_maps(14), _rate_maps(1895)
SINGLE_STEP, GRADED_STEP = _single_maps(68, 1), _graded_maps(14, 1)
SMALL_MAPS = _small_maps(24, (3, 4), (2, 2), (2, 1))
TALL_MAPS = _small_maps(52, (5, 3), (3, 2), (1, 2))
"""Of which words walk three lines, so that mutants of all that counts lines are seen."""


def sizes(network: Network) -> str:
    """``"13-7-3"``; of maps, what comes in, and layers as they are written in structures: ``"4x4x2-3C3p1-P2-4C2-3"``."""
    if network.layers[0].input_map is None:
        return "-".join(map(str, network.shape))
    texts = [_by(network.layers[0].input_map)]
    for layer in network.layers:
        connection = layer.connection
        if layer.pool is not None:
            texts.append(f"P{_by(layer.pool.window)}")
        texts.append(str(connection.channels))
        if isinstance(connection, Conv2d):
            stride, padding = connection.strides, connection.paddings
            texts[-1] += f"C{_by(connection.kernel_shape)}"
            texts[-1] += f"s{_by(stride)}" * (max(stride) > 1) + f"p{_by(padding)}" * (max(padding) > 0)
    return "-".join(texts)


def _by(lengths: tuple[int, ...]) -> str:
    """Lengths, or the one that two have."""
    return str(lengths[0]) if len(lengths) == 2 and lengths[0] == lengths[1] else "x".join(map(str, lengths))


@dataclass(frozen=True, eq=False)
class Circuit:
    """A network and its folding."""

    network: Network
    folding: Folding

    def verilog(self) -> tuple[str, dict[str, Any]]:
        """Text and port map."""
        accelerator = Accelerator(self.network, self.folding)
        return hw.verilog.generate(accelerator), hw.verilog.port_map(accelerator)

    @property
    def code(self) -> str:
        """Its kind of hidden neurons, unless they spike once, and a comma."""
        neuron = self.network.layers[0].neuron
        kind = neuron.kind + (" with a bias" if isinstance(neuron, Rate) and neuron.has_bias else "")
        return "" if kind == "single" else f"{kind}, "

    def __str__(self) -> str:
        entries = self.folding.as_dict().items()
        texts = (f"{name.replace('_', ' ')} {','.join(map(str, value)) if isinstance(value, list) else value}" for name, value in entries)
        return f"{sizes(self.network)}, T = {self.network.steps}, {self.code}{'  '.join(texts)}"


CIRCUITS = (
    Circuit(TWO_LAYERS, Folding((3, 2), (7, 3), ("delta", "delta"))),
    Circuit(TWO_LAYERS, Folding((3, 2), (7, 3), ("delta", "delta"), contexts=2)),
    Circuit(TWO_LAYERS, Folding((4, 3), (3, 2), ("xnor", "delta"))),
    Circuit(TWO_LAYERS, Folding((4, 3), (3, 2), ("delta", "delta"), ("step", "step"), contexts=2)),
    Circuit(TWO_LAYERS, Folding((5, 4), (2, 1), ("delta", "xnor"), contexts=4)),
    Circuit(TWO_LAYERS, Folding((5, 4), (4, 2), ("delta", "delta"), ("step", "event"), swap=(2, 1))),
    Circuit(THREE_LAYERS, Folding((3, 2, 6), (5, 6, 1), ("delta", "xnor", "delta"), contexts=2)),
)
"""Of neurons that spike once. Sequences are dealt out to them in turn: number ``k`` goes to circuit ``k`` modulo their number."""

DELTA, EVENT_STEP = ("delta",) * 3, ("event", "step", "event")
BY_KIND = {
    "single": CIRCUITS,
    "rate": (
        Circuit(RATE, Folding((3, 2), (7, 3), DELTA[:2])),
        Circuit(RATE, Folding((4, 3), (3, 2), DELTA[:2], ("step", "step"), contexts=2)),
    ),
    "ternary": (
        Circuit(TERNARY, Folding((3, 4, 2), (4, 5, 2), DELTA)),
        Circuit(TERNARY, Folding((4, 2, 5), (6, 2, 3), DELTA, EVENT_STEP, contexts=2)),
    ),
    "graded": (
        Circuit(GRADED, Folding((3, 2), (7, 3), DELTA[:2])),
        Circuit(GRADED, Folding((4, 3), (3, 2), DELTA[:2], ("step", "event"), contexts=4)),
        Circuit(GRADED_SIGNED, Folding((3, 4, 2), (4, 2, 3), DELTA, EVENT_STEP, contexts=2)),
    ),
    "biased": (
        Circuit(BIASED, Folding((3, 2), (7, 3), DELTA[:2])),
        Circuit(BIASED, Folding((4, 3), (3, 2), DELTA[:2], ("step", "event"), contexts=2)),
    ),
    "convolution": (
        Circuit(SINGLE_MAPS, Folding((1, 3, 2), (2, 3, 2), DELTA, contexts=2)),
        Circuit(GRADED_MAPS, Folding((2, 2, 3), (3, 2, 2), DELTA)),
        Circuit(SMALL_MAPS, Folding((1, 2), (1, 2), DELTA[:2])),
        Circuit(RATE_MAPS, Folding((1, 3), (2, 3), DELTA[:2], contexts=2)),
    ),
    "convolution-by-rows": (
        Circuit(GRADED_STEP, Folding((1, 2, 3), (3, 2, 2), DELTA, contexts=2)),
        Circuit(SINGLE_STEP, Folding((2, 3, 2), (2, 3, 2), DELTA)),
    ),
}
"""By kind of neuron, those with a bias apart, and of convolutions, those by rows apart; each kind has its sequences."""
