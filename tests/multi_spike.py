"""Random networks whose hidden neurons spike with coefficients [S9], and frames for them."""

import itertools

import numpy as np

from export import Dense, Encoder, Events, Graded, Layer, Network, Rate, Readout, Ternary

CODES = ("rate", "ternary", "ternary, signed", "graded", "graded, signed")
BIASED = ("rate, bias", "ternary, bias", "graded, bias", "graded, signed, bias")
FRACTION = 2  # of those with a bias


def hidden_neurons(rng: np.random.Generator, code: str, fan_in: int, outputs: int, *, levels: int) -> Rate:
    """Neurons of a code, with thresholds of some ``√fan-in``; those with a bias have fractional bits, too."""
    thresholds = rng.integers(1, max(2, round(2 * np.sqrt(fan_in))) + 1, outputs)
    initial = thresholds // 2 + rng.integers(-2, 3, outputs)
    options = {}
    if code in BIASED:
        thresholds = (thresholds << FRACTION) + rng.integers(0, 1 << FRACTION, outputs)
        initial = initial << FRACTION
        options = {"bias": rng.integers(-5, 6, outputs) | 1, "fraction": FRACTION}
    if code.startswith("rate"):
        return Rate(thresholds, initial, **options)
    kind = Ternary if code.startswith("ternary") else Graded
    return kind(thresholds, initial, levels=levels, signed="signed" in code, **options)


def code_network(
    rng: np.random.Generator, shape: tuple[int, ...], steps: int, code: str, *, levels: int = 3, bits: int | None = 2, kind: str = "spread"
) -> Network:
    """A network of ``shape`` (inputs, …, outputs); ``bits`` None: inputs spike once."""
    layers = []
    for inputs, outputs in itertools.pairwise(shape):
        last = len(layers) == len(shape) - 2
        weights = rng.choice(np.array([-1, 1], np.int8), (outputs, inputs))
        neuron = Readout(rng.integers(0, 2 * inputs, outputs)) if last else hidden_neurons(rng, code, inputs, outputs, levels=levels)
        layers.append(Layer(Dense(weights), neuron))
    return Network(tuple(layers), steps, Encoder("none") if bits is None else Encoder(kind, bits=bits))


def random_images(rng: np.random.Generator, frames: int, inputs: int) -> np.ndarray:
    """Intensities uint8 (frames, inputs): each frame with its own share of dark pixels; frame 0 is dark."""
    images = rng.integers(0, 256, (frames, inputs)) * (rng.random((frames, inputs)) < rng.random((frames, 1)))
    images[0] = 0
    return images.astype(np.uint8)


def spread(network: Network, images: np.ndarray) -> Events:
    """What the encoder makes of images."""
    return network.check_inputs(network.encode(images))


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
