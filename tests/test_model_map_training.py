"""Single spikes in convolutions, from training to the artifact."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import export
from export import UserError, reference, scores
from export.artifact import read_tensors
from export.check import network_from_checkpoint
from model import advice, checkpoint, evaluate, training
from model.encoding import as_spike_times
from model.map_network import MapNetwork
from model.recipes import Recipe
from model.structure import notation
from model.trainer import Trainer
from tests.small_data import striped_planes, stripes

RECIPE = Recipe(
    structure="16C3p1-P2-16C2-4", epochs=4, batch_size=8, learning_rate=0.01, validation=0.25, max_silent=20.0, silent_end=20.0, window=1.0
)
DISTORTED = dataclasses.replace(RECIPE, augment=0.3, mirror=True, epochs=2)


def train(out, recipe=RECIPE, **options):
    lines = []
    return training.train(striped_planes(), recipe, out, say=lines.append, **options), lines


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Where a network was trained, and its scores."""
    out = tmp_path_factory.mktemp("trained")
    return out / "checkpoint.safetensors", train(out)[0]


def test_the_golden_model_scores_what_was_promised(trained, tmp_path):
    """From PyTorch over the artifact, on images as a user has them, plane by plane."""
    path, result = trained
    assert result["test"].strict > 80  # chance: 25
    network, frames = network_from_checkpoint(path)
    assert (frames, notation(network)) == (100, "2x6x5-16C3p1-P2-16C2-4")
    export.save(network, tmp_path / "network.safetensors")
    network, data = export.load(tmp_path / "network.safetensors"), striped_planes()
    golden = reference.run(network, network.encode(data.test_images.reshape(-1, 2, 6, 5)))
    assert scores.score(golden, data.test_labels) == result["test"]
    for file in (path, tmp_path / "network.safetensors"):
        assert evaluate.evaluate(file, data, "test")[1] == result["test"]
        subject = evaluate.StoredNetwork.read(file)
        curve = subject.shift_curve(*subject.frames(data, "test"))
        assert next(point for point in curve if point.shift == 0).strict == result["test"].strict


def test_latent_weights_come_back(trained):
    network, _, _ = checkpoint.read(trained[0])
    tensors, _ = read_tensors(trained[0])
    assert isinstance(network, MapNetwork)
    for index, layer in enumerate(network.layers):
        assert torch.equal(layer.weights, torch.from_numpy(tensors[f"layers.{index}.weights"]))
        assert torch.equal(layer.thresholds, torch.from_numpy(tensors[f"layers.{index}.thresholds"]))


def test_resumed_and_repeated_runs_are_equal(tmp_path, monkeypatch):
    lines = {name: train(tmp_path / name, DISTORTED)[1] for name in ("whole", "again")}
    assert lines["whole"] == lines["again"]
    run_epoch = Trainer.run_epoch

    def stopped(trainer, bar):
        if trainer.epoch == 1:
            raise KeyboardInterrupt
        return run_epoch(trainer, bar)

    monkeypatch.setattr(Trainer, "run_epoch", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", DISTORTED)
    monkeypatch.undo()
    train(tmp_path / "resumed", DISTORTED, resume=True)
    for name in ("again", "resumed"):
        for file in ("checkpoint.safetensors", "resume.safetensors"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_frames_without_spikes_leave_initial_thresholds():
    network = Trainer(striped_planes(), RECIPE).network
    before = network.layers[0].thresholds.detach().clone()
    network.initialize_thresholds(torch.full((3, network.inputs), network.steps), 0.25, 0.03)
    assert torch.equal(network.layers[0].thresholds, before)


def test_a_large_networks_check_set_has_the_spikes_of_its_first_frames(trained, tmp_path, monkeypatch):
    network, encoder, header = checkpoint.read(trained[0])
    data = striped_planes().arranged(network.input_map)
    times = encoder.encode(data.test_images, network.steps)
    check, _ = evaluate.evaluation.run(network, as_spike_times(times, network.steps))
    monkeypatch.setattr(checkpoint, "SPIKE_TIMES", 6000)
    checkpoint.write(tmp_path / "c", network, encoder, tuple(header["class_names"]), {}, times, check)
    tensors, header = read_tensors(tmp_path / "c")
    assert [len(tensors[f"check.{name}"]) for name in ("inputs", "step", "spike_times.0")] == [100, 100, 11]  # of 516 neurons
    assert network_from_checkpoint(tmp_path / "c")[1] == 100
    tensors["check.spike_times.1"][10, 3] ^= 1
    checkpoint.save(tmp_path / "c", tensors, header)
    with pytest.raises(UserError, match=r"check.spike_times.1 differs in 1 places, first at frame 10, neuron 3: "):
        network_from_checkpoint(tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, _: header["layers"].pop(), "layers.2: must be described by an object with a known connection, not None"),
        (
            lambda header, _: header["layers"][0].update(connection="c"),
            "layers.0: must be described by an object with a known connection, ",
        ),
        (lambda header, _: header["layers"][0].update(map=[6, 5, 1]), "layers.0: map must have the 60 inputs, not 6 x 5 x 1"),
        (lambda header, _: header["layers"][1].update(kernel=[3, 2]), "layers.1: weights must have 96 columns, not 64"),
        (lambda header, _: header["layers"][1]["pool"].update(kind="sum"), "a pool must be of kind max to be trained on, not sum"),
        (lambda header, _: header.update(layers={}), "header field 'layers' must be list, not {}"),
        (lambda _, tensors: tensors.pop("layers.1.thresholds"), "tensor 'layers.1.thresholds' must be there, but is missing"),
    ],
)
def test_wrong_checkpoints(trained, tmp_path, change, message):
    tensors, header = read_tensors(trained[0])
    change(header, tensors)
    checkpoint.save(tmp_path / "c", tensors, header)
    with pytest.raises(UserError) as caught:
        checkpoint.read(tmp_path / "c")
    assert str(caught.value).startswith(f"{tmp_path / 'c'}: {message}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"structure": "8C3-P2-6C3-4"},
            "6C3 of the structure: kernels must be at most as large as the map with its padding, 2 x 1, not 3 x 3",
        ),
        ({"structure": "8C3-5"}, "structure must end with the data set's 4 classes, not with 5"),
        ({"structure": "8C3-4", "hidden": (3,)}, "hidden must be left out where there is a structure, not [3]"),
        ({"structure": "8C3"}, "structure must end with the number of classes, not with 8C3"),
    ],
)
def test_structures_that_do_not_fit(changes, message):
    with pytest.raises(UserError) as caught:
        Trainer(striped_planes(), dataclasses.replace(RECIPE, **changes))
    assert str(caught.value) == message


def test_recipe():
    assert (RECIPE.hidden, Recipe().hidden) == ((), (128,))
    assert Recipe(**json.loads(json.dumps(RECIPE.as_dict()))) == RECIPE
    assert isinstance(Trainer(stripes(), dataclasses.replace(RECIPE, structure="9-4")).network.layers[0].weights, torch.Tensor)


def test_channels_that_tell_nothing(trained):
    trainer = Trainer(striped_planes(), RECIPE)
    network, _, _ = checkpoint.read(trained[0])
    trainer.network.load_state_dict(network.state_dict())
    with torch.no_grad():
        trainer.network.layers[0].thresholds.fill_(99.0)
    line = next(line for line in advice.on_result(trainer) if "layer 1" in line)
    assert line.startswith("of the 16 channels of hidden layer 1, 16 (100.0 %) never fire on the validation frames, 0 (0.0 %) always fire")


def test_inputs_of_several_planes_are_distorted_and_put_in_order():
    """Without a distortion worth the name, the frames are those of the data set."""
    plain, distorted = (Trainer(striped_planes(), dataclasses.replace(RECIPE, augment=augment)) for augment in (0.0, 1e-6))
    batch = torch.arange(20)
    assert torch.equal(plain._inputs(batch, slice(None)), distorted._inputs(batch, slice(None)))
    assert np.array_equal(plain.train.times[0].numpy(), plain._inputs(batch, slice(0, 1))[0].numpy())
