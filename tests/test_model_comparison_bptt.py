"""The network in snntorch is the same network; only its gradient is another."""

import sys

import numpy as np
import pytest
import torch

from export import UserError
from model import evaluation
from model.comparison.bench_training import Update
from model.comparison.bptt import UnrolledNetwork, decide
from model.encoding import LatencyEncoder
from model.layers import SingleSpikeNetwork
from model.quantized_layers import Binarize
from tests.small_data import stripes


def pair(sizes, steps, frames=150):
    """The same network in both forms, and frames for it."""
    generator = torch.Generator().manual_seed(steps)
    times = torch.randint(0, steps + 1, (frames, sizes[0]), generator=generator, dtype=torch.uint8)
    ours = SingleSpikeNetwork(sizes, steps, generator=generator)
    ours.initialize_thresholds(times, 0.3, 0.2)
    return ours, UnrolledNetwork(ours), times


@pytest.mark.parametrize(("sizes", "steps"), [((20, 30, 5), 6), ((20, 30, 5), 1), ((9, 7, 8, 3), 4), ((12, 4), 5)])
def test_same_decisions(sizes, steps):
    ours, unrolled, times = pair(sizes, steps)
    expected, seen = ours(times), unrolled(times)
    assert seen.step.tolist() == expected.step.tolist()
    assert seen.silent.tolist() == expected.silent.tolist()
    assert 0 < seen.silent.sum() < len(times)
    assert (seen.margins - 0.5).tolist() == expected.margins.tolist()  # its thresholds lie half a unit below the integer
    assert seen.class_index.tolist() == expected.class_index.tolist()


def test_decide():
    margins = np.random.default_rng(0).integers(-3, 1, (5, 80, 4))
    margins[:, :9] = -1
    expected, seen = evaluation.decide(margins), decide(torch.from_numpy(margins))
    assert seen.step.tolist() == expected.step.tolist()
    assert seen.silent.tolist() == expected.silent.tolist()
    assert seen.class_index.tolist() == expected.class_index.tolist()


def test_sign():
    latent = torch.tensor([-1.5, -1.0, -0.1, 0.0, 0.7, 2.0], requires_grad=True)
    binary = Binarize.apply(latent)
    (binary * torch.arange(1.0, 7)).sum().backward()
    assert binary.tolist() == [-1, -1, -1, 1, 1, 1]
    assert latent.grad.tolist() == [0, 2, 3, 4, 5, 0]


def test_it_learns():
    """The gradient through time is one: everything is trained, and frames become right."""
    data = stripes(400)
    times, labels = LatencyEncoder(4)(torch.from_numpy(data.train_images)), torch.from_numpy(data.train_labels)
    ours = SingleSpikeNetwork((36, 24, 4), 4, generator=torch.Generator().manual_seed(0))
    ours.initialize_thresholds(times, 0.3, 0.2)
    network = UnrolledNetwork(ours)
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    update = Update(network, [(times, labels)], 0.6)
    update.optimizer.param_groups[0]["lr"] = 0.02  # 200 frames only
    first = float((network(times).class_index == labels).float().mean())
    for _ in range(40):
        update()
    last = float((network(times).class_index == labels).float().mean())
    assert first < 0.5 < 0.7 < last
    assert all(not torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())
    assert len(before) == 4
    assert torch.equal(ours.layers[0].weights, before["weights.0"])  # the network that it was made from stays


def test_without_snntorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "snntorch", None)
    with pytest.raises(UserError, match=r"^the comparison needs snntorch, which is not installed: see 'comparison' in pyproject.toml$"):
        UnrolledNetwork(SingleSpikeNetwork((3, 2), 4))
