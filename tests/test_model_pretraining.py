"""Pretraining without time: what is handed over, and runs that are interrupted in it."""

import dataclasses
import json

import pytest
import torch
from tqdm import tqdm

from export import UserError
from model import metrics, training
from model.pretraining import Pretraining
from model.processes import Processes
from model.recipe_file import RecipeFile
from model.recipes import Recipe
from model.reproduce import Runner
from model.trainer import Trainer
from tests.small_data import striped_planes, stripes

RECIPE = Recipe(
    structure="6C3p1-P2-8C2-5-4", steps=2, epochs=2, pretrain=2, batch_size=16, validation=0.25, max_silent=20.0, silent_start=20.0
)


@pytest.mark.parametrize("changes", [{}, {"structure": None, "hidden": (9, 7)}])
def test_what_is_handed_over_computes_the_same(changes):
    """With the pixels of upper halves as the spikes of a step: every hidden activation a spike, and margins that differ by one shift."""
    recipe, data = dataclasses.replace(RECIPE, **changes), striped_planes()
    before, trainer = Pretraining(data, recipe), Trainer(data, recipe)
    with tqdm(disable=True) as bar:
        before.run_epoch(bar)
        before.run_epoch(bar)
    before.hand_over(trainer)
    images = torch.from_numpy(before.dataset.test_images)
    counts, margins = before.network.eval().run(images)  # of the averaged network, which was handed over
    fired_at, found = trainer.network.run(torch.where(images >= 128, 0, recipe.steps))
    assert 0 < sum(layer.sum() for layer in counts) < sum(layer.numel() for layer in counts)
    for spikes, activations in zip(fired_at[:-1], counts, strict=True):
        assert torch.equal(spikes == 0, activations.flatten(1) == 1)
    shift = margins - found[0]
    assert torch.equal(shift, shift[0, 0].expand_as(shift))


def test_the_level_of_the_outputs_follows_the_share_of_silent_frames():
    data, recipe = striped_planes(2000), dataclasses.replace(RECIPE, structure="16C3p1-P2-32C2-32-4", pretrain=6)
    before, trainer = Pretraining(data, recipe), Trainer(data, recipe)
    with tqdm(disable=True) as bar:
        for _ in range(recipe.pretrain):
            before.run_epoch(bar)
    before.hand_over(trainer)
    silent = (trainer.network.run(trainer.train.times)[1] < 0).all(2).all(0).float().mean()
    assert 0.1 < silent < 0.25


@pytest.mark.parametrize(("stopped", "epoch"), [(Pretraining, 1), (Trainer, 0), (Trainer, 1)])
def test_interrupted_and_resumed_equals_never_interrupted(tmp_path, monkeypatch, stopped, epoch):
    def train(name, **options):
        lines = []
        training.train(striped_planes(), RECIPE, tmp_path / name, say=lines.append, **options)
        return lines

    whole = train("whole")
    assert [line.partition(":")[0] for line in whole[:4]] == [
        *("pretraining, epoch 1/2", "pretraining, epoch 2/2"), "epoch 1/2", "epoch 2/2"
    ]  # fmt: skip
    run_epoch = stopped.run_epoch

    def stop(trainer, bar):
        if type(trainer) is stopped and trainer.epoch == epoch:
            raise KeyboardInterrupt
        return run_epoch(trainer, bar)

    said = []
    with monkeypatch.context() as patch:
        patch.setattr(stopped, "run_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(striped_planes(), RECIPE, tmp_path / "parts", say=said.append)
    messages = {
        (Pretraining, 1): "interrupted in pretraining: epoch 1 is kept, --resume goes on",
        (Trainer, 0): "interrupted before the first epoch ended: pretraining is kept, --resume goes on",
        (Trainer, 1): "interrupted: keeping epoch 1, the best of 1; --resume goes on",
    }
    assert messages[stopped, epoch] in said
    assert training.resumable(RECIPE, tmp_path / "parts")
    assert train("parts", resume=True)[-1] == whole[-1]
    for file in ("checkpoint.safetensors", "resume.safetensors"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_from_the_start_replaces_another(tmp_path, monkeypatch, epochs):
    """As soon as it has a state of its own; till then, nothing is lost."""
    training.train(striped_planes(), RECIPE, tmp_path, say=lambda line: None)
    run_epoch, lines = Pretraining.run_epoch, []

    def stop(trainer, bar):
        if trainer.epoch == epochs:
            raise KeyboardInterrupt
        return run_epoch(trainer, bar)

    monkeypatch.setattr(Pretraining, "run_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        training.train(striped_planes(), RECIPE, tmp_path, say=lines.append)
    kept = "epoch 1 is kept, --resume goes on" if epochs else "there is nothing to keep"
    assert lines[-1] == f"interrupted in pretraining: {kept}"
    assert (tmp_path / "resume.safetensors").exists() == (epochs == 0)
    assert training.resumable(RECIPE, tmp_path)


def test_reproduce_goes_on_with_pretraining(tmp_path, monkeypatch):
    file, lines = RecipeFile("planes", "planes", (0,), RECIPE), []
    runner = Runner("test", pictures=False, say=lines.append)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            runner.reproduce(file, striped_planes(), (0,), tmp_path)
    runner.reproduce(file, striped_planes(), (0,), tmp_path)
    assert "resumed after pretraining epoch 2 of 2" in lines
    assert sum(line.startswith("pretraining, epoch") for line in lines) == 2
    log = metrics.read(tmp_path / "seed-0" / metrics.FILE)
    assert [record["epoch"] for record in log["pretraining"]] == [record["epoch"] for record in log["epochs"]] == [1, 2]
    assert log["sessions"] == 2
    assert log["wall_seconds"] > sum(record["seconds"] for record in log["pretraining"])


def test_epochs_that_are_done_anew_count_once(tmp_path):
    """From the same pretraining: the time of the run before is not that of this one."""
    file, runner, path = RecipeFile("planes", "planes", (0,), RECIPE), Runner("test", pictures=False), tmp_path / metrics.FILE
    log = runner.run(file, striped_planes(), tmp_path)
    for record in log["epochs"]:
        record["seconds"] += 1000
    path.write_text(json.dumps(log | {"wall_seconds": log["wall_seconds"] + 2000}))
    (tmp_path / "resume.safetensors").unlink()
    log = runner.run(file, striped_planes(), tmp_path, resume=True)
    assert sum(record["seconds"] for record in log["pretraining"]) < log["wall_seconds"] < 1000


def refused(tmp_path, data, recipe, **options):
    with pytest.raises(UserError) as caught:
        training.train(data, recipe, tmp_path, say=lambda line: None, **options)
    return str(caught.value)


def test_what_cannot_be_pretrained(tmp_path):
    for changes, off in (({"pretrain": 2}, "pretrain must be 0"), ({"pretrain": 0, "normalise": True}, "normalise must be false")):
        with pytest.raises(UserError) as caught:
            Trainer(striped_planes(), dataclasses.replace(RECIPE, **changes), Processes(count=2))
        assert str(caught.value) == f"{off} in several processes, since it is over whole batches"
    spikes = dataclasses.replace(stripes(), train_images=None, train_spike_times=stripes().train_images.astype("int32") % 3)
    recipe = dataclasses.replace(RECIPE, structure=None, hidden=(5,))
    assert refused(tmp_path, spikes, recipe) == (
        "pretraining: stripes must have training images with labels to be trained on without time, but has none"
    )
    with pytest.raises(UserError, match="pretrain must be an integer, at least 0, not -1"):
        dataclasses.replace(RECIPE, pretrain=-1)


def test_resumed_with_other_options(tmp_path, monkeypatch):
    """Those that pretraining does not depend on may be others."""
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            training.train(striped_planes(), RECIPE, tmp_path, say=lambda line: None)
    said = refused(tmp_path, striped_planes(), dataclasses.replace(RECIPE, pretrain=3), resume=True)
    assert said == f"pretraining: {tmp_path}/pretrained.safetensors: to resume, epochs must be 2 as before, not 3"
    other, lines = dataclasses.replace(RECIPE, learning_rate=0.001, epochs=1), []
    training.train(striped_planes(), other, tmp_path, say=lines.append, resume=True)
    assert lines[0] == "resumed after pretraining epoch 2 of 2"


def test_pools_that_take_the_greatest_do_not_add_up():
    """Wherever they are, bfloat16 has their inputs."""
    data = stripes(side=20)
    assert Pretraining(data, dataclasses.replace(RECIPE, structure="4C3-P17-8-4")).network.layers[1].synapses.summed == 1
