"""Circuits of random networks in random foldings."""

import itertools

import numpy as np

from export import Dense, Encoder, Layer, Network, Single
from hw import Folding


def random_circuit(rng: np.random.Generator) -> tuple[Network, Folding, str, str]:
    """A network with random weights, two or three layers; a folding for it; what comes in, and where weights are."""
    depth = 2 + int(rng.random() < 0.3)
    shape = [int(rng.integers(24, 200)), *(int(rng.integers(10, 56)) for _ in range(depth - 1)), int(rng.integers(3, 17))]
    layers = []
    for n, m in itertools.pairwise(shape):
        weights = rng.choice(np.array([-1, 1], np.int8), (m, n))
        thresholds = np.clip(np.rint(rng.normal(0.5, 1.0, m) * np.sqrt(n)), -n, n + 1).astype(int)
        layers.append(Layer(Dense(weights), Single(thresholds)))
    network = Network(tuple(layers), int(rng.choice([4, 8, 16])), Encoder("latency"))
    contexts = int(rng.choice([1, 1, 2, 2, 4]))
    simd, pe, form, order, swap = ([] for _ in range(5))
    for n, m in itertools.pairwise(shape):
        simd.append(int(rng.choice([1, 2, 4, 8, 13, 24])))
        pe.append(m if rng.random() < 0.4 else int(rng.integers(max(1, m // 8), m + 1)))
        simd[-1] = min(simd[-1], n, max(1, 256 // pe[-1]))
        form.append("xnor" if n <= 64 and rng.random() < 0.3 else "delta")
        order.append("step" if form[-1] == "xnor" or rng.random() < 0.4 else "event")
        exchanges = form[-1] == "delta" and order[-1] == "step" and (pe[-1] < m or contexts > 1)
        swap.append(int(rng.integers(2, 9)) if exchanges and pe[-1] > 8 and rng.random() < 0.5 else 1)
    frames_in = "pixels" if rng.random() < 0.35 else "words"
    pixels = int(rng.choice([1, 4, 8])) if frames_in == "pixels" else 1
    folding = Folding(tuple(simd), tuple(pe), tuple(form), tuple(order), tuple(swap), contexts, pixels)
    return network, folding, frames_in, "loadable" if rng.random() < 0.2 else "rom"
