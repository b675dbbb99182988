"""BS4NN's equations against brute force, and its gradient against figures worked out by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from export import UserError
from model.comparison import bs4nn
from model.comparison.bs4nn import Layer
from tests import bs4nn_oracle as oracle


def test_latency_code():
    images = np.array([[[255, 254], [1, 0]]], np.uint8)
    assert bs4nn.encode(images).tolist() == [[0, 1, 254, 255]]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3)), r"intensities must be uint8 of shape \(frames, inputs\), not float64 \(2, 3\)"),
        (np.zeros(3, np.uint8), r"intensities must be uint8 of shape \(frames, inputs\), not uint8 \(3,\)"),
    ],
)
def test_only_images_are_encoded(images, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        bs4nn.encode(images)


@pytest.mark.parametrize(("scale", "threshold"), [(5.0, 21), (4.99, 21), (5.01, 20), (100.0, 2), (100.1, 1), (1.0, 101)])
def test_strict_crossing(scale, threshold):
    """α · V = θ does not fire; the integer threshold is the first sum that does."""
    assert Layer(torch.zeros(1, 1), scale).threshold() == threshold
    assert scale * threshold > bs4nn.THRESHOLD >= scale * (threshold - 1)


def test_by_hand():
    """Two inputs, one hidden neuron each, one output: θ / α = 0.5, so a spike of weight +1 is enough, and each layer takes a step."""
    layers = [Layer(torch.tensor([[0.3, -0.2], [-0.1, 0.0]]), 200.0), Layer(torch.tensor([[2.0], [-1.0]]), 200.0)]
    times = torch.tensor([[3, 9], [9, 3], [255, 255], [4, 4], [254, 0]])
    hidden, output = bs4nn.forward(layers, times)
    assert hidden.tolist() == [[4, 256], [256, 4], [256, 256], [256, 256], [256, 1]]
    assert output.tolist() == [[5], [256], [256], [256], [256]]


def random_layers(rng, sizes, spread):
    return [
        Layer(torch.from_numpy(rng.uniform(-1, spread, pair).astype(np.float32)), float(rng.uniform(30, 90)))
        for pair in itertools.pairwise(sizes)
    ]


def random_case(sizes, steps=bs4nn.STEPS, frames=25):
    rng = np.random.default_rng([*sizes, steps])
    times = rng.integers(0, steps + 1, (frames, sizes[0]))
    times[:5] = rng.integers(0, 3, (5, sizes[0]))  # together
    times[5:8, : sizes[0] // 2] = steps - 1  # as black pixels
    return random_layers(rng, sizes, 2), torch.from_numpy(times), rng.integers(0, sizes[-1], frames)


@pytest.mark.parametrize("steps", [256, 6])
@pytest.mark.parametrize("sizes", [(12, 8, 4), (10, 6, 5, 3), (6, 3)], ids=str)
def test_forward(sizes, steps):
    layers, times, _ = random_case(sizes, steps)
    seen = bs4nn.forward(layers, times, steps)
    plain = [(layer.latent.tolist(), layer.scale) for layer in layers]
    for frame, inputs in enumerate(times.tolist()):
        assert [part[frame].tolist() for part in seen] == oracle.run_frame(plain, inputs, bs4nn.THRESHOLD, steps), frame
    assert any(0 < (part < steps).float().mean() < 1 for part in seen)


TARGETS = [
    ("late", [5, 3, 9], 0, [3, 4, 9]),  # the label's output should have been first, the first one a step later
    ("alone", [3, 4, 9], 0, [3, 4, 9]),
    ("tie", [3, 3, 4], 0, [3, 4, 4]),
    ("never", [16, 3, 16], 0, [3, 4, 16]),
    ("silent", [16, 16, 16], 1, [16, 15, 16]),
    ("at the end", [15, 15, 16], 0, [15, 16, 16]),
]


@pytest.mark.parametrize(("outputs", "label", "expected"), [row[1:] for row in TARGETS], ids=[row[0] for row in TARGETS])
def test_targets(outputs, label, expected):
    seen = bs4nn.targets(torch.tensor([outputs]), torch.tensor([label]), 16)
    assert seen.tolist() == [expected] == [oracle.run_target(outputs, label, 1, 16)]


def test_targets_of_another_gamma():
    assert bs4nn.targets(torch.tensor([[5, 3, 9]]), torch.tensor([0]), 16, 4).tolist() == [[3, 7, 9]]


def test_gradients_by_hand():
    """One output is a step too early: δ = +1 there, which is that of a unit vector. Its inputs that spiked before it are counted."""
    first = Layer(torch.tensor([[0.5, 0.5, 0.5], [-0.5, 0.5, -0.5]]), 5.0)
    second = Layer(torch.tensor([[3.0, 0.0], [-4.0, 0.0], [7.0, 0.0]]), 5.0)
    times = [torch.tensor([[2, 6]]), torch.tensor([[3, 7, 10]]), torch.tensor([[10, 10]])]
    gradients = bs4nn.gradients([first, second], times, torch.tensor([[11, 10]]))
    # δ_k = (1, 0); hidden neurons 0 and 1 spiked before 10, neuron 2 did not
    assert gradients[1].latent.tolist() == [[1, 0], [1, 0], [0, 0]]
    assert gradients[1].scale == pytest.approx((1 - 1) / 6)
    # δ_j ∝ (3, -4, 0), of length 1; input 0 spiked before both hidden neurons, input 1 before neuron 1 only
    three, four = (torch.tensor(value) / 5 for value in (3.0, 4.0))
    assert gradients[0].latent.tolist() == [[three, -four, 0], [0, -four, 0]]
    assert gradients[0].scale == pytest.approx((0.6 - 0.8 - 0.8) / 6)


def test_frames_that_are_right_have_no_gradient():
    layers, times, _ = random_case((12, 8, 4))
    spikes = [times, *bs4nn.forward(layers, times)]
    gradients = bs4nn.gradients(layers, spikes, spikes[-1])
    assert all(gradient.latent.eq(0).all() and gradient.scale == 0 for gradient in gradients)


@pytest.mark.parametrize("sizes", [(12, 8, 4), (10, 6, 5, 3)], ids=str)
def test_gradients(sizes):
    """Sums over frames of what brute force gives for each; float32, so up to its rounding."""
    layers, times, labels = random_case(sizes)
    spikes = [times, *bs4nn.forward(layers, times)]
    target = bs4nn.targets(spikes[-1], torch.from_numpy(labels))
    assert (target != spikes[-1]).any(1).sum() > 10
    seen = bs4nn.gradients(layers, spikes, target)
    plain = [(layer.latent.tolist(), layer.scale) for layer in layers]
    expected = [
        oracle.run_gradients(plain, [part[frame].tolist() for part in spikes], target[frame].tolist()) for frame in range(len(times))
    ]
    for index, gradient in enumerate(seen):
        latent = np.sum([frame[index][0] for frame in expected], axis=0)
        assert np.abs(latent).max() > 0.5
        np.testing.assert_allclose(gradient.latent.numpy(), latent, rtol=0, atol=2e-6)
        assert math.isclose(gradient.scale, sum(frame[index][1] for frame in expected), rel_tol=0, abs_tol=1e-6)
