"""The rule against its formulas, written as loops over integers and powers of two, so that equality is exact."""

import math

import numpy as np
import pytest
import torch

from export.check import binarize as exported_sign
from export.check import round_thresholds as exported_rounding
from model.bstdg import Margins, SpikeTimes, binarize, margin_loss, normalised, round_thresholds, timing_loss, windowed

B, N, M, T, WINDOW = 5, 7, 4, 6, 8.0


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    return {
        "times": torch.from_numpy(rng.integers(0, T + 1, (B, N))).float().requires_grad_(),
        "latent": torch.from_numpy(rng.integers(-6, 7, (M, N)) / 4).float().requires_grad_(),  # some beyond ±1, some 0
        "thresholds": torch.from_numpy(rng.integers(-3, 4, M) / 2).float().requires_grad_(),
        "fired_at": torch.from_numpy(rng.integers(0, T + 1, (B, M)).astype(np.uint8)),
        "best_step": torch.from_numpy(rng.integers(0, T, (B, M)).astype(np.uint8)),
        "best_margin": torch.from_numpy(rng.integers(-10, 11, (B, M))).float(),
        "upstream": torch.from_numpy(rng.integers(-4, 5, (B, M))).float(),
    }


def sign(weight):
    return 1 if weight >= 0 else -1


def test_spike_times_follow_the_formulas(case):
    out = SpikeTimes.apply(*(case[name] for name in ("times", "latent", "thresholds", "fired_at", "best_step", "best_margin")), WINDOW)
    assert out.tolist() == case["fired_at"].tolist()
    out.backward(case["upstream"])
    weights, thresholds, times = np.zeros((M, N)), np.zeros(M), np.zeros((B, N))
    for f in range(B):
        for j in range(M):
            window = max(0.0, 1 - abs(float(case["best_margin"][f, j])) / WINDOW) / WINDOW
            delta = -float(case["upstream"][f, j]) * window
            thresholds[j] -= delta
            for i in range(N):
                latent = float(case["latent"].data[j, i])
                if case["times"][f, i] <= case["best_step"][f, j] and abs(latent) <= 1:
                    weights[j, i] += delta
                times[f, i] -= delta * sign(latent)
    assert case["latent"].grad.tolist() == weights.tolist()
    assert case["thresholds"].grad.tolist() == thresholds.tolist()
    assert case["times"].grad.tolist() == times.tolist()
    assert np.count_nonzero(weights) > 5


def test_normalised_gradients_are_those_of_batch_normalisation():
    """By autograd, of PyTorch's own with the gain σ: of potentials, some of which are not there."""
    rng = np.random.default_rng(4)
    potentials = torch.from_numpy(rng.integers(-30, 31, (40, M))).double().requires_grad_()
    delta, there = torch.from_numpy(rng.normal(size=(40, M))), torch.from_numpy(rng.random((40, M)) < 0.7)
    found = normalised(delta, torch.where(there, potentials.detach() - 3, -math.inf))
    for j in range(M):
        column = potentials[there[:, j], j][:, None]
        gain = column.std(correction=0).detach()
        torch.nn.functional.batch_norm(column, None, None, gain[None], torch.zeros(1).double(), training=True, eps=1e-12).backward(
            delta[there[:, j], j][:, None]
        )
    torch.testing.assert_close(found, potentials.grad)
    assert not found[~there].any()
    assert not normalised(delta, torch.full_like(delta, -math.inf)).any()
    assert torch.isfinite(normalised(delta, torch.full_like(delta, 2.0))).all()  # all alike


def test_a_layer_takes_normalised_gradients_but_for_its_thresholds(case):
    parts = [case[name] for name in ("times", "latent", "thresholds", "fired_at", "best_step", "best_margin")]
    SpikeTimes.apply(*parts, WINDOW).backward(case["upstream"])
    plain = case["thresholds"].grad.clone()
    for name in ("times", "latent", "thresholds"):
        case[name].grad = None
    SpikeTimes.apply(*parts, WINDOW, True).backward(case["upstream"])
    delta = normalised(windowed(case["best_margin"], case["upstream"], WINDOW), case["best_margin"])
    weights = torch.einsum("fj,fji->ji", delta, (case["times"][:, None] <= case["best_step"][..., None]).float())
    torch.testing.assert_close(case["latent"].grad, (weights * (case["latent"].abs() <= 1)).detach())
    torch.testing.assert_close(case["times"].grad, -delta @ binarize(case["latent"].detach()))
    assert torch.equal(case["thresholds"].grad, plain)


def test_margins_follow_the_formulas(case):
    step = torch.tensor([0, 1, 5, 2, 5])
    out = Margins.apply(case["times"], case["latent"], case["thresholds"], case["best_margin"], step)
    assert out.tolist() == case["best_margin"].tolist()
    out.backward(case["upstream"])
    weights, times = np.zeros((M, N)), np.zeros((B, N))
    for f in range(B):
        for k in range(M):
            for i in range(N):
                latent = float(case["latent"].data[k, i])
                if case["times"][f, i] <= step[f] and abs(latent) <= 1:
                    weights[k, i] += float(case["upstream"][f, k])
                times[f, i] -= float(case["upstream"][f, k]) * sign(latent)
    assert case["latent"].grad.tolist() == weights.tolist()
    assert case["thresholds"].grad.tolist() == (-case["upstream"].sum(0)).tolist()
    assert case["times"].grad.tolist() == times.tolist()


def test_nothing_kept_has_a_time_axis(case):
    out = SpikeTimes.apply(*(case[name] for name in ("times", "latent", "thresholds", "fired_at", "best_step", "best_margin")), WINDOW)
    assert sorted(tuple(kept.shape) for kept in out.grad_fn.saved_tensors) == sorted([(B, N), (M, N), (B, M), (B, M)])
    out = Margins.apply(case["times"], case["latent"], case["thresholds"], case["best_margin"], torch.zeros(B))
    assert sorted(tuple(kept.shape) for kept in out.grad_fn.saved_tensors) == sorted([(B, N), (M, N), (B,)])


def test_inputs_without_gradient(case):
    inputs = case["times"].detach().to(torch.uint8)
    out = SpikeTimes.apply(inputs, *(case[n] for n in ("latent", "thresholds", "fired_at", "best_step", "best_margin")), WINDOW)
    out.sum().backward()
    assert case["latent"].grad is not None


def test_binarization_is_that_of_export():
    latent = np.array([-1.5, -1e-30, -0.0, 0.0, 1e-30, 0.3], np.float32)
    assert binarize(torch.from_numpy(latent)).tolist() == exported_sign(latent).tolist() == [-1, -1, 1, 1, 1, 1]


def test_rounding_is_that_of_export():
    thresholds = np.array([-99, -4.0, -3.5, -0.25, 0, 0.25, 1.0, 4.01, 5.0, 5.5, 99], np.float32)
    rounded = round_thresholds(torch.from_numpy(thresholds), 4).tolist()
    assert rounded == exported_rounding(thresholds, 4).tolist() == [-4, -4, -3, 0, 0, 1, 1, 5, 5, 5, 5]


def test_loss_is_blind_to_a_common_shift():
    margins, labels = torch.tensor([[4.0, -2.0, 0.0], [8.0, 8.0, -8.0]]), torch.tensor([0, 1])
    assert margin_loss(margins, labels, 0.5) == margin_loss(margins + 16, labels, 0.5)


def test_timing_loss_is_about_silent_frames_and_wrong_decisions():
    margins = torch.tensor([[4.0, -2.0], [4.0, -2.0], [-4.0, -2.0], [-4.0, -2.0]], requires_grad=True)
    labels, silent = torch.tensor([0, 1, 0, 1]), torch.tensor([False, False, True, True])
    softplus = [math.log1p(math.exp(logit)) for logit in (0.5 * 4, 0.5 * 4, 0.5 * 2)]  # of frame 1's winner, and -m of the labels
    loss = timing_loss(margins, labels, silent, 0.5, fire=2.0, wait=8.0)
    assert loss.item() == pytest.approx((8 * softplus[0] + 2 * softplus[1] + 2 * softplus[2]) / 4, rel=1e-6)
    loss.backward()
    assert (margins.grad != 0).tolist() == [[False, False], [True, False], [True, False], [False, True]]
    assert margins.grad[1, 0] > 0 > margins.grad[2, 0]  # down where it was wrong, up where it was silent
