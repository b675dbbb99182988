import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from export import UserError
from model import conversion_checkpoint, datasets, training
from model.conversion_recipe import ConversionRecipe
from model.conversion_trainer import ConversionTrainer, run
from model.normalisation import MOMENTUM
from model.processes import Processes
from model.recipes import Recipe
from tests.small_data import stripes

RECIPE = ConversionRecipe(hidden=(24,), epochs=4, batch_size=16, learning_rate=0.01, validation=0.25)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(out, recipe=RECIPE, dataset=None, **options):
    lines = []
    return training.train(dataset or stripes(), recipe, out, say=lines.append, **options), lines


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden": (32, 24)},
        {"hidden": ()},
        {"levels": 1},
        {"norm": "l1"},
        {"norm": "linf"},
        {"integer": False},
        {"integer": False, "quantised": False},
        {"integer": False, "quantised": False, "clip": "none"},
        {"clip": "rate-norm"},
        {"bias": False},
        {"bits": 3, "augment": 0.4, "drop_inputs": 0.1, "smoothing": 0.1},
    ],
)
def test_learns_far_above_chance(tmp_path, changes):
    result, _ = train(tmp_path, replace(RECIPE, **{"epochs": 12} | changes))
    assert result["test"].strict > 75  # chance: 25


def test_digits(tmp_path):
    recipe = ConversionRecipe(hidden=(100,), epochs=12, batch_size=64, augment=0.5, validation=0.15)
    assert train(tmp_path, recipe, datasets.load("digits"))[0]["test"].strict > 90


def test_checkpoint_holds_the_network(tmp_path):
    result, _ = train(tmp_path)
    source = conversion_checkpoint.read(tmp_path / "checkpoint.safetensors")
    data = stripes()
    assert np.array_equal(source.images, data.test_images)
    found = run(source.network, torch.from_numpy(source.images))
    assert all(np.array_equal(*pair) for pair in zip(found.activations, source.activations, strict=True))
    assert np.array_equal(found.margins, source.margins)
    assert 100 * (found.margins.argmax(axis=1) == data.test_labels).mean() == result["test"].strict
    assert source.recipe == RECIPE
    assert source.class_names == data.class_names
    assert source.provenance["scores"] == {part: score.as_dict() for part, score in result.items()}


def test_hidden_events_are_counted(tmp_path):
    result, _ = train(tmp_path)
    source = conversion_checkpoint.read(tmp_path / "checkpoint.safetensors")
    assert result["test"].hidden_spikes_by_decision_mean == np.count_nonzero(source.activations[0], axis=1).mean()


def test_the_best_epoch_on_validation_frames_is_kept(tmp_path):
    epochs = []
    train(tmp_path, replace(RECIPE, epochs=8), observe=lambda trainer, epoch, seconds: epochs.append(epoch.validation.strict))
    best = conversion_checkpoint.read(tmp_path / "checkpoint.safetensors").provenance["best_epoch"]
    assert best == max(range(1, 9), key=lambda number: (epochs[number - 1], number))


@pytest.mark.parametrize(("augment", "average"), [(0.0, 0.0), (0.4, 1.5)])
def test_interrupted_and_resumed_equals_never_interrupted(tmp_path, monkeypatch, augment, average):
    recipe = replace(RECIPE, augment=augment, average=average, clip="rate-norm", drop_inputs=0.1)
    train(tmp_path / "whole", recipe)
    original = ConversionTrainer.run_epoch

    def stop(self, bar):
        if self.epoch == 2:
            raise KeyboardInterrupt
        return original(self, bar)

    with monkeypatch.context() as patch:
        patch.setattr(ConversionTrainer, "run_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts", recipe)
    assert train(tmp_path / "parts", recipe, resume=True)[1][0] == "resumed after epoch 2 of 4"
    for file in ("checkpoint.safetensors", "resume.safetensors"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_state_from_before_an_option_was_there(tmp_path, monkeypatch):
    as_dict = ConversionRecipe.as_dict
    with monkeypatch.context() as patch:
        patch.setattr(ConversionRecipe, "as_dict", lambda self: {name: value for name, value in as_dict(self).items() if name != "bias"})
        train(tmp_path)
    assert train(tmp_path, resume=True)[1][0] == "resumed after epoch 4 of 4"
    with pytest.raises(UserError, match=r"to resume, bias must be True as before, not False$"):
        train(tmp_path, replace(RECIPE, bias=False), resume=True)


def test_average_is_kept_and_normalised_as_its_weights_need(tmp_path):
    """The running statistics are means over batches of those of the averaged weights; of a single batch here."""
    trainers = []
    recipe = replace(RECIPE, average=1.0, epochs=1)
    train(tmp_path, recipe, observe=lambda trainer, epoch, seconds: trainers.append(trainer))
    averaged, last = trainers[0].average.module, trainers[0].best.parameters
    source = conversion_checkpoint.read(tmp_path / "checkpoint.safetensors").network
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in averaged.state_dict().items() if "norm" in name)
    assert all(torch.equal(tensor, last[name]) for name, tensor in averaged.state_dict().items())
    assert [layer.norm.momentum for layer in averaged.layers] == [MOMENTUM] * len(averaged.layers)
    frames = trainers[0].train.images[: trainers[0].recipe.batch_size]
    trainers[0].train = trainers[0].train._replace(images=frames, labels=trainers[0].train.labels[: len(frames)])
    trainers[0]._settle(averaged)
    first, sums = averaged.layers[0], averaged.layers[0].sums(averaged.intensities(frames))
    torch.testing.assert_close(first.norm.mean, sums.mean(0))
    torch.testing.assert_close(first.norm.scale, sums.std(0, correction=0))


def test_one_training_serves_all_codes(tmp_path):
    train(tmp_path)
    recipe = replace(RECIPE, code="rate", steps=8, balance="max")
    assert train(tmp_path, recipe, resume=True)[1][0] == "resumed after epoch 4 of 4"
    assert conversion_checkpoint.read(tmp_path / "checkpoint.safetensors").recipe == recipe


def test_a_state_of_the_other_method_is_not_resumed(tmp_path):
    train(tmp_path, Recipe(hidden=(24,), epochs=1, batch_size=16, validation=0.25))
    with pytest.raises(UserError, match=r"to resume, method must be None as before, not 'conversion'"):
        train(tmp_path, resume=True)


def test_a_checkpoint_of_single_spikes_is_refused(tmp_path):
    train(tmp_path, Recipe(hidden=(24,), epochs=1, batch_size=16, validation=0.25))
    with pytest.raises(UserError, match="must be a checkpoint of the method 'conversion', not of single spikes"):
        conversion_checkpoint.read(tmp_path / "checkpoint.safetensors")


def test_spike_times_cannot_be_trained_on(tmp_path):
    data = stripes()
    times = dataclasses.replace(data, train_images=None, train_spike_times=data.train_images.astype(np.int32))
    with pytest.raises(UserError, match="must have training images with labels to be trained on without time, but has none"):
        train(tmp_path, dataset=times)


def test_one_process():
    with pytest.raises(UserError, match="method conversion must train in one process, since it normalises over batches, not in 2"):
        ConversionTrainer(stripes(), RECIPE, Processes(count=2))


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    with pytest.raises(UserError, match="the loss must stay a number"):
        train(tmp_path, replace(RECIPE, learning_rate=1e38, hidden=(24, 24)))
