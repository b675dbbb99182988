"""[S11] of the networks in ``artifacts/``, every neuron: counts of hidden neurons are those of an integer network.

Of ternary networks every test frame, of the others the first ones; in ``nox -s proofs`` more of them, and of dense networks all.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from export import Conv2d, Encoder, Events, Graded, Layer, Network, Ternary, load
from export.reference import run
from model import datasets
from tests.multi_spike import dense

NETWORKS = {path.stem: load(path) for path in sorted((Path(__file__).parents[1] / "artifacts").glob("*.safetensors"))}
BATCH = 500  # frames
FEW, MANY = 1 << 22, 1 << 25  # neurons of all frames that are compared, more or less


def of_kind(kind: type[Ternary]) -> list[str]:
    """Names of the artifacts whose hidden neurons are all of a kind."""
    return [name for name, network in NETWORKS.items() if all(type(layer.neuron) is kind for layer in network.layers[:-1])]


def frames_of(network: Network, numbers: int) -> np.ndarray:
    """The test frames, uint8 (frames, pixels), or as many of them as have about so many neurons in all."""
    name = network.provenance["dataset"]
    folder = name.removesuffix("-counts")
    if not (Path(os.environ.get("FIRSTSPIKE_DATA", "nowhere")) / folder).is_dir():
        pytest.skip(f"FIRSTSPIKE_DATA names no directory with a folder {folder!r}")
    images = datasets.load(name).test_images
    assert len(images) == 10_000 or folder == "n-mnist"
    return images[: numbers // sum(network.shape)]


def sums(layer: Layer, totals: np.ndarray) -> np.ndarray:
    """What neurons add up, (…, outputs), for sums of inputs (…, inputs): by PyTorch in float32, of whole numbers far below 2^24."""
    values = torch.from_numpy(totals.reshape(-1, totals.shape[-1]).astype(np.float32))
    if layer.pool is not None:
        assert layer.pool.kind == "sum"
        window = layer.pool.window
        values = functional.avg_pool2d(planes(values, layer.pool.input_map), window, divisor_override=1).permute(0, 2, 3, 1).flatten(1)
    connection = layer.connection
    if isinstance(connection, Conv2d):
        kernels = torch.from_numpy(connection.kernels.astype(np.float32))
        values = functional.conv2d(planes(values, connection.input_map), kernels, None, connection.strides, connection.paddings)
        values = values.permute(0, 2, 3, 1).flatten(1)
    else:
        values = values @ torch.from_numpy(connection.weights.T.astype(np.float32))
    return values.numpy().reshape(*totals.shape[:-1], -1)


def planes(values: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Maps (frames, height · width · channels) as (frames, channels, height, width)."""
    return values.reshape(-1, *shape).permute(0, 3, 1, 2)


def integer_network(network: Network, totals: np.ndarray) -> list[np.ndarray]:
    """The counts of every hidden layer for sums of inputs (…, inputs)."""
    counts = []
    for layer in network.layers[:-1]:
        neuron = layer.neuron
        assert not neuron.has_bias
        assert not neuron.fraction
        positions = layer.outputs // layer.connection.channels
        potentials = sums(layer, totals).astype(np.int32) + np.tile(neuron.initial, positions)
        totals = np.clip(potentials // np.tile(neuron.thresholds, positions), 0, neuron.levels)
        counts.append(totals)
    return counts


def differences(network: Network, images: np.ndarray, further: int = 0) -> list[int]:
    """How many hidden counts differ from the integer network's of the inputs so far.

    After each step, if ``further`` is 0; otherwise after each of so many further steps without input.
    """
    longer = replace(network, steps=network.steps + further, encoder=Encoder("none", bits=network.encoder.bits))
    first = network.steps if further else 0
    found = np.zeros(longer.steps - first, int)
    for at in range(0, len(images), BATCH):
        inputs = network.encode(images[at : at + BATCH])
        frames, _, size = inputs.shape
        events = Events((frames, longer.steps, size), inputs.frame, inputs.step, inputs.neuron, inputs.coefficient)
        totals, *seen = (np.cumsum(dense(part), axis=1)[:, first:] for part in (events, *run(longer, events).events[:-1]))
        for one, other in zip(seen, integer_network(network, totals), strict=True):
            found += np.count_nonzero(one != other, axis=(0, 2))
    return found.tolist()


@pytest.mark.parametrize("numbers", [FEW, pytest.param(MANY, marks=pytest.mark.proofs)])
@pytest.mark.parametrize("name", of_kind(Graded))
def test_graded_after_every_step(name, numbers):
    network = NETWORKS[name]
    assert differences(network, frames_of(network, numbers)) == [0] * network.steps


@pytest.mark.parametrize("name", of_kind(Ternary))
def test_ternary_after_settling(name):
    """As many steps without input as the artifact says are enough, and one less is not."""
    network = NETWORKS[name]
    settling = network.provenance["conversion"]["settling_steps"]
    assert settling > 0
    *early, last = differences(network, frames_of(network, MANY), settling)
    assert all(early)
    assert last == 0


def test_another_threshold_differs():
    """Of random images the counts are equal; those of a network with one lower threshold are not."""
    network = NETWORKS["mnist-graded"]
    images = np.random.default_rng(0).integers(0, 256, (BATCH, network.inputs), np.uint8)
    assert differences(network, images) == [0] * network.steps
    totals = dense(network.encode(images)).sum(axis=1)
    first, counts = network.layers[0], integer_network(network, totals)[0]
    thresholds, j = first.neuron.thresholds.copy(), int(counts.std(axis=0).argmax())
    thresholds[j] = 1
    other = replace(network, layers=(replace(first, neuron=replace(first.neuron, thresholds=thresholds)), *network.layers[1:]))
    changed = integer_network(other, totals)[0]
    assert np.flatnonzero((changed != counts).any(axis=0)).tolist() == [j]


def test_there_are_networks_of_both_kinds():
    assert of_kind(Graded)
    assert of_kind(Ternary)
