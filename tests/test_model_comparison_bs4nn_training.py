"""BS4NN's training: updates are those of the whole gradient, it learns, and what was trained is kept."""

import dataclasses

import pytest
import torch

from export import UserError
from model import datasets
from model.comparison import bs4nn
from model.comparison.bs4nn_training import Bs4nnRecipe, load_or_train, train, update
from tests.small_data import stripes

QUICK = Bs4nnRecipe((36, 20, 4), epochs=1, batch=20, validation=20, rise=50)


def test_frames_left_out_of_an_update_have_no_gradient():
    generator = torch.Generator().manual_seed(1)
    layers = [bs4nn.Layer(torch.rand(pair, generator=generator) * 3 - 1, 50.0) for pair in ((12, 9), (9, 4))]  # θ / α = 2
    times = torch.randint(0, 257, (60, 12), generator=generator)
    spikes = [times, *bs4nn.forward(layers, times)]
    labels = spikes[-1].argmin(1)
    labels[40:] = torch.randint(0, 4, (20,), generator=generator)
    target = bs4nn.targets(spikes[-1], labels)
    assert 10 < (target == spikes[-1]).all(1).sum() < 50
    for layer, gradient, after in zip(
        layers, bs4nn.gradients(layers, spikes, target), update(layers, times, labels, 0.5, 0.25), strict=True
    ):
        assert torch.equal(after.latent, layer.latent - 0.5 * gradient.latent)
        assert after.scale == layer.scale - 0.25 * gradient.scale != layer.scale


def test_schedule():
    recipe = Bs4nnRecipe((4, 3, 2), batch=10, rise=50)
    assert [recipe.factor(seen, 1000) for seen in (0, 10, 500, 990)] == [0.2, 0.4 * 0.99, 0.5, pytest.approx(0.01)]


def test_initial_weights_are_positive():
    first, second, last = Bs4nnRecipe((50, 40, 30, 20)).initial(torch.Generator().manual_seed(0))
    assert [layer.latent.shape for layer in (first, second, last)] == [(50, 40), (40, 30), (30, 20)]
    assert [round(float(layer.latent.max())) for layer in (first, second, last)] == [5, 5, 48]
    assert all(layer.latent.min() >= 0 and layer.scale == 5 for layer in (first, second, last))


def test_it_learns():
    lines = []
    trained = train(datasets.load("digits"), Bs4nnRecipe((64, 60, 10), epochs=4, batch=16, validation=200, rise=500), lines.append)
    assert trained.validation.strict > 60
    assert len(lines) == 4
    assert f"BS4NN, epoch {trained.epoch}/4: validation strict {trained.validation.strict:.2f} %" in lines[trained.epoch - 1]


def test_kept(tmp_path):
    path, lines = tmp_path / "folder" / "kept.safetensors", []
    first = load_or_train(path, stripes(), QUICK, lines.append)
    again = load_or_train(path, stripes(), QUICK, lines.append)
    assert len(lines) == 2
    assert lines[-1] == f"BS4NN network: {path}, trained before"
    for one, other in zip(first.layers, again.layers, strict=True):
        assert torch.equal(one.latent, other.latent)
        assert one.scale == other.scale
    assert dataclasses.replace(first, layers=[]) == dataclasses.replace(again, layers=[])
    other = load_or_train(path, stripes(), dataclasses.replace(QUICK, seed=1), lines.append)
    assert lines[2] == f"BS4NN network: {path} is of another recipe or data set, and is replaced"
    assert not torch.equal(other.layers[0].latent, first.layers[0].latent)


def test_damaged(tmp_path):
    path = tmp_path / "kept.safetensors"
    path.write_bytes(b"no network")
    with pytest.raises(UserError, match=rf"^{path} must be a BS4NN network that this command kept, but is not one: delete it$"):
        load_or_train(path, stripes(), QUICK, print)


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (
            dataclasses.replace(stripes(), train_images=None),
            {},
            "stripes must have training images with labels to train BS4NN on, but has none",
        ),
        (stripes(), {"validation": 100}, "validation must leave frames on both sides: 100 of 100 training images would be held out"),
    ],
)
def test_refused(data, changes, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        train(data, dataclasses.replace(QUICK, **changes), print)
