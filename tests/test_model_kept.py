import json
import shutil
from pathlib import Path

import pytest

import export
from export import UserError
from export.artifact import load
from model import kept, metrics, recipe_file, reproduce
from model.kept import Project
from tests.small_data import FIGURES, stripes

RECIPE = 'dataset = "stripes.npz"\nseeds = [0, 1]\nhidden = [12]\nepochs = 2\nbatch_size = 16\nlearning_rate = 0.01\nvalidation = 0.25\n'


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project with one recipe, and the folder with its runs."""
    root = tmp_path_factory.mktemp("project")
    project = Project(root / "project")
    project.recipe("own").parent.mkdir(parents=True)
    project.recipe("own").write_text(RECIPE)
    file, options = recipe_file.read(project.recipe("own")), {"pictures": False, "say": lambda line: None}
    reproduce.Runner("the command", **options).reproduce(file, stripes(), (0, 1), root / "runs")
    return root


@pytest.fixture
def project(trained, tmp_path):
    shutil.copytree(trained / "project", tmp_path / "project")
    shutil.copytree(trained / "runs", tmp_path / "runs")
    return Project(tmp_path / "project")


@pytest.fixture
def runs(project):
    return project.root.parent / "runs"


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_keep_runs(project, runs):
    stale = project.folder / "own-seed-7.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    names = ["docs/results/own-seed-0.json", "docs/results/own-seed-1.json", "artifacts/own.safetensors"]
    assert kept.keep(runs, project) == [project.root / name for name in names]
    assert not stale.exists()
    for seed, content in enumerate(project.runs()["own"]):
        assert content == metrics.read(runs / f"seed-{seed}" / "metrics.json") | {"epochs": []}
    assert project.artifact("own").read_bytes() == (runs / "network.safetensors").read_bytes()
    assert kept.problems(project) == []


def test_keep_folds(project, runs):
    shutil.copytree(runs / "seed-0", runs / "fold-other")
    assert refused(runs, project) == f"{runs}: must have runs on the folds [], not ['stripes.npz']"
    project.recipe("own").write_text(RECIPE + 'folds = ["some/other.npz"]\n')
    assert refused(runs, project) == f"{runs}: must have runs on the folds ['other.npz'], not ['stripes.npz']"
    change(runs / "fold-other" / "metrics.json", dataset="other.npz")
    assert [path.name for path in kept.keep(runs, project)][2:] == ["own-fold-other.json", "own.safetensors"]
    assert project.folds() == {"own": [project.runs()["own"][0] | {"dataset": "other.npz"}]}
    assert kept.problems(project) == []
    project.recipe("own").write_text(RECIPE + 'folds = ["other.npz", "third.npz"]\n')
    assert kept.problems(project) == ["own: must have runs on the folds ['other.npz', 'third.npz'], not ['other.npz']"]
    change(project.folder / "own-fold-other.json", dataset="third.npz")
    with pytest.raises(UserError, match=r"own-fold-other\.json: must be of a finished run, and have the name of its recipe and fold$"):
        kept.problems(project)


def refused(path, project):
    with pytest.raises(UserError) as caught:
        kept.keep(path, project)
    assert not project.folder.exists()
    return str(caught.value)


def test_no_runs(project, runs):
    assert refused(runs / "seed-0", project) == f"{runs}/seed-0: must have runs, seed-S/metrics.json, but has none"


def test_a_seed_is_missing(project, runs):
    shutil.rmtree(runs / "seed-1")
    assert refused(runs, project) == f"{runs}: must have runs with seeds [0, 1], not [0]"


def test_not_finished(project, runs):
    change(runs / "seed-1" / "metrics.json", finished=False)
    assert refused(runs, project) == f"{runs}: the run with seed 1 must be finished, but is not"


def test_by_another_recipe(project, runs):
    path = project.recipe("own")
    path.write_text(RECIPE.replace("epochs = 2", "epochs = 3"))
    assert refused(runs, project) == f"{runs}: the run with seed 0 must be by the recipe as it is now, but is not"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        kept.keep(runs, project)


def test_a_choice_that_came_later_is_at_its_default(project, runs):
    path = runs / "seed-0" / "metrics.json"
    choices = metrics.read(path)["choices"]
    change(path, choices={name: value for name, value in choices.items() if name not in ("fire", "wait")})
    kept.keep(runs, project)
    assert kept.problems(project) == []
    change(project.folder / "own-seed-0.json", choices=choices | {"fire": 1.0})
    assert kept.problems(project) == ["own: the run with seed 0 must be by the recipe as it is now, but is not"]


def test_network_is_not_the_best(project, runs):
    digests = {content["seed"]: content["digest"] for content in (metrics.read(runs / f"seed-{seed}" / "metrics.json") for seed in (0, 1))}
    best = load(runs / "network.safetensors").provenance["seed"]
    other, _ = export.check.network_from_checkpoint(runs / f"seed-{1 - best}" / "checkpoint.safetensors")
    export.save(other, runs / "network.safetensors")
    assert refused(runs, project) == (f"{runs}/network.safetensors: must be the network of seed {best}, {digests[best]}, with its scores")


def test_problems(project, runs):
    kept.keep(runs, project)
    chosen = load(project.artifact("own"))
    thresholds = chosen.layers[0].neuron.thresholds.copy()
    thresholds[0] -= 1
    layers = (export.Layer(export.Dense(chosen.layers[0].connection.weights), export.Single(thresholds)), chosen.layers[1])
    export.save(export.Network(layers, 8, chosen.encoder, chosen.class_names, chosen.provenance), project.artifact("own"))
    seed, digest = chosen.provenance["seed"], export.digest(chosen)
    assert kept.problems(project) == [f"{project.artifact('own')}: must be the network of seed {seed}, {digest}, with its scores"]
    project.artifact("own").unlink()
    assert kept.problems(project) == [f"{project.artifact('own')}: is missing, though runs are kept"]
    export.save(chosen, project.artifact("own"))
    assert kept.problems(project) == []
    content = project.runs()["own"][seed]
    scores = content["scores"] | {"test": content["scores"]["test"] | {"strict": 99.9}}
    path = project.folder / f"own-seed-{seed}.json"
    change(path, scores=scores)
    assert kept.problems(project) == [f"{project.artifact('own')}: must be the network of seed {seed}, {digest}, with its scores"]
    change(path, scores=content["scores"])
    project.recipe("own").write_text(RECIPE.replace("[0, 1]", "[0, 1, 2]").replace("12", "13"))
    assert kept.problems(project) == [
        "own: must have runs with seeds [0, 1, 2], not [0, 1]",
        "own: the run with seed 0 must be by the recipe as it is now, but is not",
        "own: the run with seed 1 must be by the recipe as it is now, but is not",
    ]


@pytest.mark.parametrize("changes", [{"seed": 3}, {"recipe": "other"}, {"finished": False}])
def test_kept_under_another_name(project, runs, changes):
    kept.keep(runs, project)
    path = project.folder / "own-seed-0.json"
    change(path, **changes)
    with pytest.raises(UserError) as caught:
        project.runs()
    assert str(caught.value) == f"{path}: must be of a finished run, and have the name of its recipe and seed"


def test_nothing_kept(tmp_path):
    project = Project(tmp_path)
    assert (project.runs(), project.tables("bench-"), kept.problems(project)) == ({}, [], [])


def test_keep_table(project, tmp_path):
    path = tmp_path / "bench-speed.json"
    path.write_text(json.dumps(FIGURES))
    assert kept.keep(path, project) == [project.folder / "bench-speed.json"]
    assert project.tables("bench-") == [FIGURES]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("speed.json", {}, "must be the folder of a recipe's runs, or a file bench-NAME.json or ablation-NAME.json"),
        ("bench-speed.txt", {}, "must be the folder of a recipe's runs, or a file bench-NAME.json or ablation-NAME.json"),
        ("ablation-speed.json", {}, "format must be 'firstspike-ablation', not 'firstspike-figures'"),
        ("bench-speed.json", {"version": 2}, "version must be 1, the one this release reads, not 2"),
        ("bench-speed.json", {"title": None}, "header field 'title' must be str, not None"),
        ("bench-speed.json", {"figures": [3]}, "figures[0] must have name, value, unit, not 3"),
        ("bench-speed.json", {"figures": [{"name": "a", "value": "3", "unit": ""}]}, "figures[0] must have name, value, unit, not "),
    ],
)
def test_no_table(project, tmp_path, name, changes, message):
    path = tmp_path / name
    path.write_text(json.dumps(FIGURES | changes))
    assert refused(path, project).startswith(f"{path}: {message}")


def test_missing_table(project):
    with pytest.raises(FileNotFoundError):
        kept.keep(Path("bench-x.json"), project)


def test_what_is_committed_agrees():
    """Kept runs are by the recipes as they are, and the networks in ``artifacts`` are theirs, and small."""
    project = Project()
    assert kept.problems(project) == []
    for path in project.artifact("x").parent.glob("*.safetensors"):
        assert path.stat().st_size <= 400_000
        assert min(load(path).shape) > 0
