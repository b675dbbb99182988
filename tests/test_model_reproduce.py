import dataclasses
import json
import shutil

import pytest

import export
from export import UserError
from export.artifact import read_tensors
from export.scores import Scores
from model import metrics, reproduce, training
from model.recipe_file import RecipeFile
from model.recipes import Recipe
from model.reproduce import Runner
from model.trainer import Trainer
from tests.small_data import stripes

RECIPE = Recipe(hidden=(16,), epochs=3, batch_size=16, learning_rate=0.01, validation=0.25, max_silent=20.0)
FILE = RecipeFile("own", "stripes", (0, 1), RECIPE)


def go(out, file=FILE, seeds=(0, 1), dataset=None):
    lines = []
    runs = Runner("the command", pictures=False, say=lines.append).reproduce(file, dataset or stripes(), seeds, out)
    return runs, lines


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    return out, *go(out)


@pytest.fixture
def copy(done, tmp_path):
    """A folder of one's own to damage."""
    shutil.copytree(done[0], tmp_path / "out")
    return tmp_path / "out"


def test_runs(done):
    out, runs, _ = done
    assert [content["seed"] for content in runs] == [0, 1]
    for content in runs:
        folder = out / f"seed-{content['seed']}"
        assert content == metrics.read(folder / "metrics.json")
        assert content["command"] == "the command"
        assert read_tensors(folder / "checkpoint.safetensors")[1]["provenance"]["seed"] == content["seed"]


def test_best_on_validation_is_exported(done):
    out, runs, lines = done
    chosen = max(runs, key=lambda content: content["scores"]["validation"]["strict"])
    network = export.load(out / "network.safetensors")
    assert export.digest(network) == chosen["digest"]
    assert network.provenance["seed"] == chosen["seed"]
    assert lines[-1] == (
        f"seed {chosen['seed']} is the best on validation frames; golden model equal to it on all 100 frames of the check set"
    )


def test_finished_seeds_are_skipped(copy, monkeypatch):
    monkeypatch.setattr(training, "train", None)
    runs, lines = go(copy)
    assert lines[1] == f"finished on {runs[0]['date']}, nothing to do"
    assert runs == [metrics.read(copy / f"seed-{seed}" / "metrics.json") for seed in (0, 1)]


@pytest.mark.parametrize("epochs", [0, 2])
def test_interrupted_seed_is_resumed(done, tmp_path, monkeypatch, epochs):
    run_epoch = Trainer.run_epoch

    def run(self, bar):
        if (self.recipe.seed, self.epoch) == (1, epochs):
            raise KeyboardInterrupt
        return run_epoch(self, bar)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", run)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path)
    runs, lines = go(tmp_path)
    assert lines[1].endswith("nothing to do")
    assert (f"resumed after epoch {epochs} of 3" in lines) == (epochs > 0)
    whole = read_tensors(done[0] / "seed-1" / "checkpoint.safetensors")
    parts = read_tensors(tmp_path / "seed-1" / "checkpoint.safetensors")
    assert {name: tensor.tolist() for name, tensor in whole[0].items()} == {name: tensor.tolist() for name, tensor in parts[0].items()}
    assert runs[1]["digest"] == done[1][1]["digest"]
    assert [record["epoch"] for record in runs[1]["epochs"]] == [1, 2, 3]
    timeless = [
        [{key: value for key, value in record.items() if key != "seconds"} for record in r["epochs"]] for r in (runs[1], done[1][1])
    ]
    assert timeless[0] == timeless[1]
    assert runs[1]["sessions"] == (2 if epochs else 1)


def test_killed_between_metrics_and_state(done, tmp_path, monkeypatch):
    """The file of metrics may be one epoch ahead of the state."""
    save_state = training.save_state

    def save(path, trainer):
        if trainer.epoch == 2:
            raise Killed
        save_state(path, trainer)

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_state", save)
        with pytest.raises(Killed):
            go(tmp_path, seeds=(1,))
    assert len(metrics.read(tmp_path / "seed-1" / "metrics.json")["epochs"]) == 2
    runs, lines = go(tmp_path, seeds=(1,))
    assert "resumed after epoch 1 of 3" in lines
    assert [record["epoch"] for record in runs[0]["epochs"]] == [1, 2, 3]
    assert runs[0]["digest"] == done[1][1]["digest"]


class Killed(BaseException):
    """As good as SIGKILL: nothing catches it."""


def unfinished(folder):
    content = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(content | {"finished": False}))


def test_all_epochs_done_but_no_checkpoint(copy, done):
    (copy / "seed-0" / "checkpoint.safetensors").unlink()
    runs, lines = go(copy)
    assert lines[1] == "resumed after epoch 3 of 3"
    assert len(runs[0]["epochs"]) == 3
    assert runs[0]["digest"] == done[1][0]["digest"]


def test_metrics_lost(copy):
    (copy / "seed-0" / "metrics.json").unlink()
    runs, _ = go(copy)
    assert runs[0]["epochs"] == []
    assert runs[0]["machine"]["device"] == "cpu"


def refused(out, **options):
    with pytest.raises(UserError) as caught:
        go(out, **options)
    return str(caught.value)


def test_folder_of_another_recipe(copy):
    file = FILE.changed(hidden=(8,))
    message = f"{copy}/seed-0: must be a run with hidden = [8], but has [16]: remove it, or choose another --out"
    assert refused(copy, file=file) == message
    unfinished(copy / "seed-0")
    assert refused(copy, file=file) == message


def test_folder_of_other_data(copy):
    dataset = dataclasses.replace(stripes(), digest="1" * 64)
    assert refused(copy, dataset=dataset) == f"{copy}/seed-0: must be a run on the data with digest {'1' * 64}, not {'0' * 64}"


def test_folds(tmp_path):
    lines, asked = [], []

    def load(name):
        asked.append(name)
        return dataclasses.replace(stripes(), name=name, digest=str(len(asked)) * 64)

    def go_on(file):
        return Runner("the command", pictures=False, say=lines.append).reproduce_folds(file, load, tmp_path)

    runs = go_on(dataclasses.replace(FILE.changed(epochs=1), folds=("a", "some/b.npz")))
    assert asked == ["a", "some/b.npz"]
    assert [line for line in lines if str(tmp_path) in line] == [f"a: {tmp_path}/fold-a", f"some/b.npz: {tmp_path}/fold-b"]
    assert [(content["dataset"], content["dataset_digest"][0], content["seed"]) for content in runs] == [("a", "1", 0), ("b.npz", "2", 0)]
    assert runs == [metrics.read(tmp_path / f"fold-{name}" / "metrics.json") for name in "ab"]
    assert go_on(FILE) == []


def fake(seed, strict, silent):
    score = Scores(strict, strict, strict, strict - silent, silent, 2.0, 3.0)
    return {"seed": seed, "choices": {"max_silent": 5.0}, "scores": {"validation": score.as_dict(), "test": score.as_dict()}}


def test_best():
    runs = [fake(0, 97.0, 4.0), fake(1, 98.0, 5.0), fake(2, 99.0, 5.1), fake(3, 98.0, 2.0)]
    assert reproduce.best(runs)["seed"] == 1
    assert reproduce.best(runs[2:3])["seed"] == 2


def test_mean_and_sample_standard_deviation():
    mean, spread = reproduce.mean_and_spread([fake(0, 97.0, 4.0), fake(1, 98.0, 4.0), fake(2, 99.0, 4.0)], "test")
    assert (mean.strict, mean.silent_share, spread.strict, spread.silent_share) == (98.0, 4.0, 1.0, 0.0)
    assert reproduce.mean_and_spread([fake(0, 97.0, 4.0)], "test")[1] is None
