"""What is wrong with data or network is said in a line, at the time it is known."""

import dataclasses

import numpy as np
import pytest
import torch

from model import advice, training
from model.recipes import Recipe
from model.trainer import Trainer
from tests.small_data import stripes
from tests.test_model_training import spike_times_only

RECIPE = Recipe(hidden=(24,), epochs=2, batch_size=16, learning_rate=0.01, validation=0.25, max_silent=20.0)


def warnings(out, dataset=None, **changes):
    """The lines with warnings, without the word, each with the number of lines on epochs before it."""
    lines, found, epochs = [], [], 0
    training.train(dataset or stripes(), dataclasses.replace(RECIPE, **changes), out, say=lines.append)
    for line in lines:
        epochs += line.startswith("epoch ")
        if line.startswith("warning: "):
            found.append((epochs, line.removeprefix("warning: ")))
    return found


def test_classes_that_are_missing(tmp_path):
    data = stripes()
    kept = (data.train_labels != 2) & ((data.train_labels != 1) | (np.arange(100) == 1))  # one frame of class 1, none of class 2
    data = dataclasses.replace(data, train_images=data.train_images[kept], train_labels=data.train_labels[kept])
    assert warnings(tmp_path, data)[:2] == [
        (0, "no training frame has class 'row 2', so it cannot be learned: add frames of it, or leave the class out"),
        (0, "no validation frame has class 'row 1', so epoch and shift are chosen without it: hold out more frames with --validation"),
    ]


@pytest.mark.parametrize(
    ("changes", "p_min"),
    [({}, 32), ({"p_min": 200}, 200)],
)
def test_images_without_spikes(tmp_path, changes, p_min):
    data = stripes()
    images = data.train_images.copy()
    images[::3] = 31  # below p_min at 8 steps
    data = dataclasses.replace(data, train_images=images)
    trainer = Trainer(data, dataclasses.replace(RECIPE, **changes))
    empty = int((trainer.train.times == 8).all(1).sum())
    assert 20 <= empty < 75
    line = f"{empty} of 75 training frames ({100 * empty / 75:.1f} %) have no input spike, so nothing tells their classes apart: "
    assert advice.on_data(trainer) == [f"{line}lower p_min, which is {p_min}, or take more --steps, so that fainter inputs spike"]


def test_spike_times_that_are_all_never():
    data = spike_times_only()
    times = data.train_spike_times.copy()
    times[:] = np.where(np.arange(100)[:, None] == 7, 8, times)
    lines = advice.on_data(Trainer(dataclasses.replace(data, train_spike_times=times), RECIPE))
    assert lines == ["1 of 75 training frames (1.3 %) have no input spike, so nothing tells their classes apart: leave them out"]


def test_outputs_that_never_fire_are_seen_while_training(tmp_path):
    found = warnings(tmp_path, epochs=4, silent_start=100.0, silent_end=100.0)  # all silent is what it then strives for
    advised = "lower silent_start and silent_end in the recipe, or take more --steps"
    assert [f"no output fired in any training frame of epoch {epochs}: {advised}" for epochs in (3, 4)] == [line for _, line in found[:2]]
    assert [epochs for epochs, _ in found[:2]] == [3, 4]
    assert not any("no output fired" in line for _, line in warnings(tmp_path))


def trained(change):
    trainer = Trainer(stripes(), dataclasses.replace(RECIPE, hidden=(20, 10)))
    with torch.no_grad():
        change(trainer.network)
    return [line for line in advice.on_result(trainer) if line.startswith("of the ")]


def set_thresholds(layer, never, always):
    layer.thresholds[:never] = layer.inputs + 1
    layer.thresholds[never : never + always] = -layer.inputs


def test_hidden_neurons_that_tell_nothing():
    line = "of the 10 neurons of hidden layer 2, 2 (20.0 %) never fire on the validation frames, 1 (10.0 %) always fire at the same step, "
    advised = f"{line}so they tell nothing: train for more epochs, or with a smaller network"
    assert trained(lambda network: set_thresholds(network.layers[1], 2, 1)) == [advised]
    assert trained(lambda network: set_thresholds(network.layers[0], 0, 2))[0].startswith(
        "of the 20 neurons of hidden layer 1, 0 (0.0 %) never fire on the validation frames, 2 (10.0 %) always fire at the same step, "
    )


def test_a_few_such_neurons_are_no_news():
    assert trained(lambda network: None) == []
    assert trained(lambda network: set_thresholds(network.layers[0], 1, 0)) == []


def test_nothing_to_say(tmp_path):
    assert [line for epochs, line in warnings(tmp_path, hidden=(12,), epochs=8) if epochs < 8] == []
