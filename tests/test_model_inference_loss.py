from dataclasses import replace

import numpy as np
import pytest
import torch

from export import UserError
from model import conversion, conversion_checkpoint, convert, inference_loss, training
from model.conversion import Conversion
from model.conversion_recipe import ConversionRecipe
from model.inference_loss import WEIGHT, refined
from model.quantized import QuantizedNetwork
from model.structure import Stage
from model.synapses import chain
from tests.small_data import stripes

RECIPE = ConversionRecipe(
    hidden=(24, 16), epochs=8, batch_size=16, learning_rate=0.01, validation=0.25, clip="rate-norm", quantised=False, integer=False,
    code="rate", steps=2, balance="rate-norm",
)  # fmt: skip
ROUNDS = 12


@pytest.fixture(scope="module", params=[True, False], ids=["bias", "no-bias"])
def source(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("rate-norm")
    training.train(stripes(), replace(RECIPE, bias=request.param), out, say=lambda line: None)
    return conversion_checkpoint.read(out / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def parts(source):
    train, parts = convert.parts_of(source, stripes())
    return train.images, parts["validation"]


def omega(network, images):
    """The mean of ``Ω`` over the hidden layers, by NumPy."""
    rates = [layer.numpy().astype(np.float64) for layer in network.run(images)[0]]
    assert all(rate.min() >= 0 and rate.max() <= 1 for rate in rates)
    return np.mean([rate.sum() / (rate**2).sum() for rate in rates])


def ratios(network):
    return torch.cat([torch.sigmoid(layer.bound.detach()) for layer in network.hidden])


def check_training(network, images):
    done, losses = refined(network, images, ROUNDS)
    assert len(losses) == ROUNDS + 1
    assert losses[-1] < losses[0]
    assert bool((ratios(done) != ratios(network)).all())
    return done, losses


def test_the_loss_is_that_of_the_two_networks(source, parts):
    done, losses = check_training(source.network, parts[0])
    with torch.no_grad():
        before, after = (network(parts[0]).double().numpy() for network in (source.network, done))
    cosine = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert losses[0] == pytest.approx(WEIGHT * omega(source.network, parts[0]), rel=1e-5)
    assert losses[-1] == pytest.approx(1 - cosine.mean() + WEIGHT * omega(done, parts[0]), rel=1e-5)
    assert omega(done, parts[0]) < omega(source.network, parts[0])


def test_frozen_ratios_are_found(source, parts, monkeypatch):
    monkeypatch.setattr(inference_loss, "LEARNING_RATE", 0.0)
    with pytest.raises(AssertionError):
        check_training(source.network, parts[0])


def test_nothing_but_the_clips_is_another(source, parts):
    """The sums of a layer in units of its own clip, before that is applied, are those of a network whose clips alone were changed."""
    before, (done, _) = source.network, refined(source.network, parts[0], ROUNDS)
    shares = (ratios(done) / ratios(before)).tolist()
    inputs = mine = before.intensities(parts[0])
    for layer, other, share in zip(before.hidden, done.hidden, shares, strict=True):
        assert torch.equal(layer.weights, other.weights)
        thresholds, bias = layer.folded(torch.ones(1))
        inputs = (((layer.sums(inputs) + bias) / thresholds).clamp(0, share)).detach()
        mine = other(mine).detach()
        torch.testing.assert_close(mine * share, inputs, atol=1e-5, rtol=1e-5)


def test_the_source_stays_and_it_is_deterministic(source, parts):
    kept = {name: tensor.clone() for name, tensor in source.network.state_dict().items()}
    once, twice = (refined(source.network, parts[0], ROUNDS) for _ in range(2))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in source.network.state_dict().items())
    assert once[1] == twice[1]
    assert all(torch.equal(a, b) for a, b in zip(once[0].state_dict().values(), twice[0].state_dict().values(), strict=True))
    same, losses = refined(source.network, parts[0], 0)
    assert losses == []
    assert all(torch.equal(a, b) for a, b in zip(same.state_dict().values(), kept.values(), strict=True))


def test_the_rate_code_is_better_in_two_steps(source, parts):
    images, validation = parts
    how, labels = Conversion("rate", 2, balance="rate-norm"), validation.labels.numpy()
    before, after = (
        convert.outcome(conversion.fold(how, network), validation.images).strict(labels)
        for network in (source.network, refined(source.network, images, ROUNDS)[0])
    )
    assert after >= before


def test_a_conversion_says_so(source):
    plain, done = (
        convert.convert(source, stripes(), Conversion("rate", 2, balance="rate-norm", inference_loss=rounds)) for rounds in (0, ROUNDS)
    )
    assert done.network.provenance["conversion"]["inference_loss"] == ROUNDS
    assert convert.describe(done).startswith(
        "rate, T = 2, L = 2, balance rate-norm, ratios after 12 rounds of the rate inference loss\nvalidation: source "
    )
    assert "inference" not in convert.describe(plain)
    thresholds = [converted.network.layers[0].neuron.thresholds for converted in (plain, done)]
    assert (thresholds[1] < thresholds[0]).any()
    assert not done.exact


def test_a_recipe_can_ask_for_it(source, tmp_path):
    recipe = replace(RECIPE, epochs=1, inference_loss=3)
    training.train(stripes(), recipe, tmp_path, say=lambda line: None)
    done = convert.by_recipe(tmp_path / "checkpoint.safetensors", stripes())
    assert done.network.provenance["conversion"]["inference_loss"] == 3
    assert recipe.training() == replace(recipe, inference_loss=0).training()


@pytest.mark.parametrize("changes", [{"clip": "trained", "balance": "max"}, {"quantised": True}, {"balance": "percentile"}])
def test_recipes_that_cannot(changes):
    with pytest.raises(
        UserError, match=r"^clip and balance must be 'rate-norm' and quantised false where inference_loss is above 0, not '"
    ):
        replace(RECIPE, inference_loss=3, **changes)


@pytest.mark.parametrize("options", [{"clip": "trained"}, {"clip": "rate-norm", "quantised": True}])
def test_networks_that_cannot(options):
    network = QuantizedNetwork(chain([Stage(8), Stage(4)], 36), 3, integer=False, **({"quantised": False} | options))
    with pytest.raises(
        UserError, match=r"^inference_loss must be 0 for a network that was trained without clip = \"rate-norm\" or with quan"
    ):
        refined(network, torch.zeros(2, 36, dtype=torch.uint8), 1)
