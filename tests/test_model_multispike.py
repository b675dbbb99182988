import numpy as np
import pytest
import torch

from export import UserError
from model import multispike
from model.multispike import RULES, SpikingLayer
from model.synapses import Dense, Weighted


def oracle(rule, weights, thresholds, start, greatest, inputs):
    """Coefficients (T, frames, outputs) in plain loops, of inputs (T, frames, inputs)."""
    steps, frames, _ = inputs.shape
    found = np.zeros((steps, frames, len(weights)), int)
    for frame in range(frames):
        for j, row in enumerate(weights):
            total, emitted, theta = 0, 0, int(thresholds[j])
            for step in range(steps):
                total += int(row @ inputs[step, frame])
                v = int(start[j]) + total - theta * emitted
                c = emit(rule, v, theta, emitted, greatest)
                emitted += c
                found[step, frame, j] = c
    return found


def emit(rule, v, theta, emitted, greatest):
    if rule == "rate":
        return int(v >= theta)
    if rule == "ungated":
        return 1 if v >= theta else -1 if v < 0 else 0
    if rule in ("ternary", "symmetric"):
        falls = v < 0 if rule == "ternary" else v <= -theta
        return 1 if v >= theta and emitted < greatest else -1 if falls and emitted > 0 else 0
    change = min(max(emitted + v // theta, 0), greatest) - emitted
    return max(change, 0) if rule == "positive" else change


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(11)
    weights = rng.choice([-1, 1], (9, 12))
    thresholds, start, inputs = rng.integers(1, 9, 9), rng.integers(-5, 9, 9), rng.integers(0, 4, (7, 30, 12))
    return weights, thresholds, start, inputs


def weighted(weights):
    return Weighted(Dense(weights.shape[1], len(weights)), weights)


def layer_of(case, rule, greatest=3):
    weights, thresholds, start, _ = (torch.from_numpy(part).float() for part in case)
    return SpikingLayer(weighted(weights), thresholds, start, RULES[rule], greatest)


def run(case, rule, greatest=3):
    output = weighted(torch.ones(1, len(case[0])))
    return multispike.run([layer_of(case, rule, greatest)], output, torch.from_numpy(case[3]).float())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("greatest", [1, 3, 20])
def test_rules(case, rule, greatest):
    found = run(case, rule, greatest)
    wanted = oracle(rule, *case[:3], greatest, case[3])
    assert np.array_equal(found.coefficients[0].numpy(), wanted)
    assert np.array_equal(found.sums[:, :, 0].numpy(), wanted.sum(axis=2).cumsum(axis=0))
    assert np.array_equal(found.events().numpy(), np.count_nonzero(wanted, axis=2).cumsum(axis=0).T)


@pytest.mark.parametrize("rule", ["ternary", "graded", "symmetric", "ungated", "positive", "rate"])
def test_every_rule_is_one_of_its_own(case, rule):
    others = [run(case, other).coefficients[0] for other in RULES if other != rule]
    assert not any(torch.equal(run(case, rule).coefficients[0], other) for other in others)


def test_graded_is_exact_after_every_step(case):
    weights, thresholds, start, inputs = case
    counts = run(case, "graded").coefficients[0].cumsum(0).numpy()
    sums = (inputs @ weights.T).cumsum(axis=0)
    assert np.array_equal(counts, np.clip((start + sums) // thresholds, 0, 3))


def test_ternary_settles_after_as_many_quiet_steps_as_there_are_levels(case):
    weights, thresholds, start, inputs = case
    quiet = (*case[:3], np.concatenate([inputs, np.zeros((3, *inputs.shape[1:]), int)]))
    counts = run(quiet, "ternary").coefficients[0].sum(0).numpy()
    assert np.array_equal(counts, np.clip((start + inputs.sum(axis=0) @ weights.T) // thresholds, 0, 3))


@pytest.mark.parametrize("rule", ["rate", "ternary", "graded"])
@pytest.mark.parametrize("biased", [None, 4])
def test_a_bias_in_every_step(case, rule, biased):
    """As an input that is always on would have it, the weight of which is the bias; other inputs have the weight ``2^F``."""
    weights, thresholds, start, inputs = case
    bias = np.arange(-4, 5) * 3
    layer = layer_of(case, rule)._replace(bias=torch.from_numpy(bias).float(), fraction=2)
    found = multispike.run([layer], weighted(torch.ones(1, 9)), torch.from_numpy(inputs).float(), biased=biased).coefficients[0]
    wide = np.concatenate([4 * weights, np.diag(bias)], axis=1)
    on = (np.arange(7) < (biased or 7))[:, None, None] * np.ones((30, 9), int)
    assert np.array_equal(found.numpy(), oracle(rule, wide, thresholds, start, 3, np.concatenate([inputs, on], axis=2)))


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 20])
def test_spread(steps):
    counts = torch.arange(16)[None]
    found = multispike.spread(counts, steps)
    wanted = [[p * (t + 1) // steps - p * t // steps for p in range(16)] for t in range(steps)]
    assert found[:, 0].tolist() == wanted
    assert torch.equal(found.sum(0), counts.float())


def test_no_steps():
    with pytest.raises(UserError, match=r"^steps \(T\) must be at least 1, not 0$"):
        multispike.spread(torch.zeros(1, 1), 0)
