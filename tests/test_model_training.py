import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from tqdm import tqdm

from export import UserError, reference, scores
from export.artifact import read_tensors
from export.check import network_from_checkpoint
from model import checkpoint, evaluation, training
from model.data.dataset import Dataset
from model.encoding import as_spike_times
from model.recipes import Recipe
from model.trainer import Trainer
from tests.small_data import stripes

RECIPE = Recipe(hidden=(24,), epochs=4, batch_size=16, learning_rate=0.01, validation=0.25, max_silent=20.0)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train(out, dataset=None, recipe=RECIPE, **options):
    lines = []
    result = training.train(dataset or stripes(), recipe, out, say=lines.append, **options)
    return result, lines


def stop_after(monkeypatch, epochs):
    """Ctrl-C while epoch ``epochs + 1`` runs."""
    run_epoch = Trainer.run_epoch

    def run(self, bar):
        if self.epoch == epochs:
            self._update(self.train.times[:16], self.train.labels[:16], 0.5)  # it was in the middle of something
            raise KeyboardInterrupt
        return run_epoch(self, bar)

    monkeypatch.setattr(Trainer, "run_epoch", run)


@pytest.mark.parametrize(
    ("hidden", "changes"),
    [
        ((24,), {}),
        ((32, 24), {"epochs": 15}),
        ((), {}),
        ((24,), {"augment": 0.4}),
        ((24,), {"steps": 3}),
        ((24,), {"steps": 300}),
        ((24,), {"p_min": 100}),
        ((24,), {"drop_spikes": 0.1}),
        ((24,), {"average": 0.5}),
    ],
)
def test_learns_far_above_chance(tmp_path, hidden, changes):
    result, _ = train(tmp_path, recipe=dataclasses.replace(RECIPE, **({"hidden": hidden, "epochs": 8} | changes)))
    assert result["test"].strict > 70  # chance: 25


def test_checkpoint_is_what_export_takes(tmp_path):
    result, _ = train(tmp_path)
    network, frames = network_from_checkpoint(tmp_path / "checkpoint.safetensors")
    assert frames == 100
    data = stripes()
    golden = reference.run(network, network.encode(data.test_images))
    assert scores.score(golden, data.test_labels) == result["test"]
    assert network.shape == (36, 24, 4)
    assert network.encoder.p_min == 32
    assert network.class_names == data.class_names
    provenance = network.provenance
    assert provenance["scores"] == {part: score.as_dict() for part, score in result.items()}
    assert (provenance["dataset"], provenance["dataset_digest"], provenance["seed"]) == ("stripes", "0" * 64, 0)
    assert provenance["recipe"] == RECIPE.as_dict()
    assert provenance["epochs"] == 4


def test_shift_is_chosen_on_validation_frames(tmp_path):
    result, _ = train(tmp_path)
    provenance = read_tensors(tmp_path / "checkpoint.safetensors")[1]["provenance"]
    curve = [evaluation.OperatingPoint(**point) for point in provenance["shift_curve"]]
    chosen = evaluation.choose_shift(curve, RECIPE.max_silent)
    assert provenance["shift"] == chosen.shift
    assert result["validation"].strict == chosen.strict
    assert result["validation"].silent_share == chosen.silent_share <= RECIPE.max_silent
    data = dataclasses.replace(stripes(), test_labels=np.roll(stripes().test_labels, 1))  # the test labels have no say
    train(tmp_path / "other", data)
    assert tensors_of(tmp_path / "other") == tensors_of(tmp_path)


def tensors_of(directory):
    return {name: tensor.tolist() for name, tensor in read_tensors(directory / "checkpoint.safetensors")[0].items()}


def test_deterministic(tmp_path):
    recipe = dataclasses.replace(RECIPE, augment=0.4, epochs=2)
    for name in ("a", "b"):
        train(tmp_path / name, recipe=recipe)
    for file in ("checkpoint.safetensors", "resume.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    train(tmp_path / "c", recipe=dataclasses.replace(recipe, seed=1))
    assert tensors_of(tmp_path / "c") != tensors_of(tmp_path / "a")


@pytest.mark.parametrize("changes", [{}, {"augment": 0.4}, {"average": 1.5}])
def test_interrupted_and_resumed_equals_never_interrupted(tmp_path, monkeypatch, changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    train(tmp_path / "whole", recipe=recipe)
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts", recipe=recipe)
    _, lines = train(tmp_path / "parts", recipe=recipe, resume=True)
    assert lines[0] == "resumed after epoch 2 of 4"
    for file in ("checkpoint.safetensors", "resume.safetensors"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_average_is_kept_and_the_training_does_not_depend_on_it():
    """The mean as a recursion, update by update; of one epoch alone, which is the best then."""
    recipe = dataclasses.replace(RECIPE, epochs=1)
    plain, averaged = (Trainer(stripes(), dataclasses.replace(recipe, average=average)) for average in (0.0, 2.0))
    updates = math.ceil(len(plain.train.labels) / recipe.batch_size)
    update, expected = plain._update, []

    def follow(*arguments):
        found = update(*arguments)
        values = [parameter.detach().clone() for parameter in plain.network.parameters()]
        weight = 1 / (1 + 2.0 * updates) if expected else 1.0
        expected[:] = [before.lerp(now, weight) for before, now in zip(expected or values, values, strict=True)]
        return found

    plain._update = follow
    for trainer in (plain, averaged):
        with tqdm(disable=True) as bar:
            trainer.run_epoch(bar)
    assert all(torch.equal(*pair) for pair in zip(plain.network.parameters(), averaged.network.parameters(), strict=True))
    torch.testing.assert_close(list(averaged.scored.parameters()), expected)
    torch.testing.assert_close(averaged.best.parameters, averaged.scored.state_dict(), rtol=0, atol=0)
    assert not torch.equal(averaged.best.parameters["layers.0.weights"], plain.best.parameters["layers.0.weights"])


def test_ctrl_c_keeps_what_the_finished_epochs_gave(tmp_path, monkeypatch):
    stop_after(monkeypatch, 2)
    lines = []
    with pytest.raises(KeyboardInterrupt):
        training.train(stripes(), RECIPE, tmp_path, say=lines.append)
    network, _ = network_from_checkpoint(tmp_path / "checkpoint.safetensors")
    assert network.provenance["epochs"] == 2
    best = network.provenance["best_epoch"]
    assert f"interrupted: keeping epoch {best}, the best of 2; --resume goes on" in lines


def test_ctrl_c_before_the_first_epoch_ends(tmp_path, monkeypatch):
    stop_after(monkeypatch, 0)
    lines = []
    with pytest.raises(KeyboardInterrupt):
        training.train(stripes(), RECIPE, tmp_path, say=lines.append)
    assert lines == ["interrupted before the first epoch ended: there is nothing to keep"]
    assert list(tmp_path.iterdir()) == []


def test_resume_when_done_writes_the_same_checkpoint(tmp_path):
    train(tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    train(tmp_path, resume=True)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def refused(out, dataset=None, recipe=RECIPE, **options):
    with pytest.raises(UserError) as caught:
        train(out, dataset, recipe, **options)
    return str(caught.value)


def test_nothing_to_resume(tmp_path):
    assert refused(tmp_path, resume=True) == (
        f"{tmp_path}/resume.safetensors: must be there to resume from, but is missing: train without --resume first"
    )


def test_resume_with_another_recipe_or_data_set(tmp_path):
    train(tmp_path)
    path = tmp_path / "resume.safetensors"
    changed = dataclasses.replace(RECIPE, hidden=(12,))
    assert refused(tmp_path, recipe=changed, resume=True) == f"{path}: to resume, hidden must be [24] as before, not [12]"
    changed = dataclasses.replace(stripes(), digest="1" * 64)
    assert refused(tmp_path, changed, resume=True) == (
        f"{path}: to resume, the data set must be the same, with digest {'0' * 64}, not {'1' * 64}"
    )


def test_resume_from_damaged_files(tmp_path):
    train(tmp_path)
    path = tmp_path / "resume.safetensors"
    tensors, header = read_tensors(path)
    checkpoint.save(path, {name: tensor for name, tensor in tensors.items() if name != "network.layers.0.weights"}, header)
    assert refused(tmp_path, resume=True).startswith(f"{path}: must be the whole state of a training run: ")
    path.write_bytes(path.read_bytes()[:1000])
    assert refused(tmp_path, resume=True).startswith(f"{path}: must be a whole safetensors file: ")
    path.write_bytes((tmp_path / "checkpoint.safetensors").read_bytes())
    assert refused(tmp_path, resume=True) == f"{path}: format must be 'firstspike-resume', not 'firstspike-checkpoint'"


def test_loss_that_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr("model.trainer.margin_loss", lambda margins, labels, scale: margins.sum() * math.nan)
    assert refused(tmp_path) == "the loss must stay a number, but is nan in epoch 1: try a --learning-rate below 0.01"


def test_missing_class(tmp_path):
    data = stripes()
    kept = data.train_labels != 2
    data = dataclasses.replace(data, train_images=data.train_images[kept], train_labels=data.train_labels[kept])
    _, lines = train(tmp_path, data)
    assert lines[0] == ("warning: no training frame has class 'row 2', so it cannot be learned: add frames of it, or leave the class out")


def test_all_decided_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "choose_shift", lambda curve, max_silent: curve[0])
    _, lines = train(tmp_path, recipe=dataclasses.replace(RECIPE, hidden=(24,), epochs=1))
    assert (
        "warning: every validation frame is decided at step 0, before later spikes have come: "
        "train for more epochs, or with a higher silent_start"
    ) in lines
    monkeypatch.undo()
    _, lines = train(tmp_path)
    assert not any("step 0" in line for line in lines)


def test_output_that_never_fires(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "choose_shift", lambda curve, max_silent: curve[-1])
    recipe = dataclasses.replace(RECIPE, hidden=(3,), epochs=1)
    _, lines = train(tmp_path, recipe=recipe)
    assert (
        "warning: the output of class 'row 3' never fires on the validation frames: "
        "train for more epochs, or allow fewer silent frames with --max-silent"
    ) in lines


def spike_times_only(**changes):
    times = np.where(stripes().train_images > 100, 2, 8).astype(np.int32)
    parts = {"train_spike_times": times, "train_labels": stripes().train_labels}
    return Dataset("times", tuple("abcd"), "2" * 64, "as in the file", **(parts | changes))


def test_spike_times_from_outside_and_no_test_part(tmp_path):
    result, _ = train(tmp_path, spike_times_only())
    assert set(result) == {"validation"}
    network, frames = network_from_checkpoint(tmp_path / "checkpoint.safetensors")
    assert network.encoder.kind == "none"
    assert frames == 25  # without a test part the validation frames are the check set


@pytest.mark.parametrize(
    ("dataset", "recipe", "message"),
    [
        (spike_times_only(train_labels=None), RECIPE, "times must have training frames with labels to train on, but has none"),
        (
            spike_times_only(),
            dataclasses.replace(RECIPE, steps=4),
            "times: spike times must be from 0 to 4 (4 = never), but reach 8: see --steps",
        ),
        (
            spike_times_only(),
            dataclasses.replace(RECIPE, p_min=3),
            "encoder 'none' takes no p_min, not 3",
        ),
        (
            spike_times_only(),
            dataclasses.replace(RECIPE, augment=1.0),
            "augment must be 0 for inputs that are no image (frames, height, width), not 1.0",
        ),
        (
            stripes(),
            dataclasses.replace(RECIPE, validation=100),
            "validation must leave frames on both sides: 100 of 100 training frames would be held out",
        ),
    ],
)
def test_data_and_recipe_that_do_not_fit(tmp_path, dataset, recipe, message):
    assert refused(tmp_path, dataset, recipe) == message
    assert list(tmp_path.iterdir()) == []


def test_header_is_json_without_surprises(tmp_path):
    train(tmp_path, recipe=dataclasses.replace(RECIPE, epochs=1))
    tensors, header = read_tensors(tmp_path / "checkpoint.safetensors")
    assert set(header) == {"format", "version", "steps", "encoder", "class_names", "provenance"}
    assert header["encoder"] == {"kind": "latency", "p_min": 32}
    json.dumps(header, allow_nan=False)
    dtypes = {name: str(tensor.dtype) for name, tensor in tensors.items()}
    assert dtypes == {
        **{f"layers.{index}.{part}": "float32" for index in (0, 1) for part in ("weights", "thresholds")},
        **{f"check.{name}": "int32" for name in ("inputs", "spike_times.0", "spike_times.1", "class_index", "step", "margin")},
        "check.silent": "uint8",
    }


def test_checkpoint_back_in_pytorch(tmp_path):
    train(tmp_path)
    network, encoder, header = checkpoint.read(tmp_path / "checkpoint.safetensors")
    times = as_spike_times(encoder.encode(stripes().test_images, 8), 8)
    tensors, _ = read_tensors(tmp_path / "checkpoint.safetensors")
    result, _ = evaluation.run(network, times)
    assert result.spike_times[1].tolist() == tensors["check.spike_times.1"].tolist()
    assert header["provenance"]["scores"]["test"]["strict"] == scores.score(result, stripes().test_labels).strict
