import dataclasses
import json
import re

import pytest

from export import UserError
from model import ablate, kept, metrics, recipe_file
from model.recipe_file import RecipeFile
from model.recipes import Recipe
from model.reproduce import Runner
from tests.small_data import stripes

FILE = RecipeFile("own", "stripes", (0, 1, 2), Recipe(hidden=(12,), epochs=20, batch_size=16, validation=0.25))
VARIANTS = """
title = "What it buys"
seeds = [0, 1]
all.epochs = 1
[variants."T = 4"]
steps = 4
[variants.deeper]
hidden = [8, 8]
epochs = 2
"""


def read(tmp_path, text=VARIANTS):
    path = tmp_path / "rule.toml"
    path.write_text(text)
    return ablate.read(path, FILE)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("ablation")
    lines = []
    path = ablate.ablate(read(out), stripes(), out, Runner("the command", pictures=False, say=lines.append))
    return out, path, lines


def test_read(tmp_path):
    ablation = read(tmp_path)
    assert (ablation.name, ablation.title, ablation.about, ablation.seeds) == ("rule", "What it buys", "", (0, 1))
    assert (ablation.changes, ablation.file.recipe.epochs) == ({"epochs": 1}, 1)
    assert ablation.variants == {"as it is": {}, "T = 4": {"steps": 4}, "deeper": {"hidden": (8, 8), "epochs": 2}}


def test_committed_variants():
    directory = recipe_file.DIRECTORY
    for path in (directory / "ablations").glob("*.toml"):
        recipe = re.search(r"model ablate (recipes/\S+) recipes/ablations/(\S+)", path.read_text())
        assert recipe[2] == path.name
        assert len(ablate.read(path, recipe_file.read(directory.parent / recipe[1])).variants) > 1


def test_table(done):
    out, path, _ = done
    assert path == out / "ablation-rule.json"
    content = kept.read_table(path)
    assert (content["recipe"], content["changes"], content["command"], content["seeds"]) == ("own", {"epochs": 1}, "the command", [0, 1])
    assert [variant["name"] for variant in content["variants"]] == ["as it is", "T = 4", "deeper"]
    assert content["variants"][2]["changes"] == {"hidden": [8, 8], "epochs": 2}
    for folder, variant in zip(("as-it-is", "t-4", "deeper"), content["variants"], strict=True):
        for seed, run in enumerate(variant["runs"]):
            mine = metrics.read(out / folder / f"seed-{seed}" / "metrics.json")
            assert run == {"seed": seed, "scores": mine["scores"], "seconds_per_epoch": mine["seconds_per_epoch"]}
            changes = {"epochs": 1, "seed": seed} | variant["changes"]
            assert mine["choices"] == dataclasses.replace(FILE.recipe, **changes).as_dict()


def test_no_run_sees_the_test_frames(done):
    for path in done[0].glob("*/*/metrics.json"):
        assert set(metrics.read(path)["scores"]) == {"validation"}
    assert '"test"' not in done[1].read_text()


def test_finished_runs_are_skipped(done, tmp_path):
    lines = []
    before = json.loads(done[1].read_text())
    ablate.ablate(read(tmp_path), stripes(), done[0], Runner("the command", pictures=False, say=lines.append))
    assert sum(line.endswith("nothing to do") for line in lines) == 6
    assert json.loads(done[1].read_text())["variants"] == before["variants"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 3", "title must be a string, not 3"),
        ("", "title must be a string, but is missing"),
        ('title = "x"\nvariant.a = 3', "field must be one of title, about, seeds, all, variants, not 'variant'"),
        ('title = "x"\nseeds = []', "seeds must be different integers, at least one, not []"),
        ('title = "x"\nall = 3', "all must be a table, not 3"),
        ('title = "x"\nall.epoch = 3', "all: field must be one of hidden, "),
        ('title = "x"\nvariants.a = 3', "variants.a: it must be a table, not 3"),
        ('title = "x"\nvariants.a.epochs = 0', "variants.a: epochs must be an integer, at least 1, not 0"),
        ('title = "x"\nvariants.a.epochs = "many"', "variants.a: epochs must be an integer, not 'many'"),
        (
            'title = "x"\nvariants."a+".epochs = 1\nvariants."A".epochs = 1',
            "variants must have different names, letters and digits alone, ",
        ),
        ('title = "x"\nvariants."As it is".epochs = 1', "variants must have different names, letters and digits alone, "),
        ('title = "x"\nvariants."θ".epochs = 1', "variants must have different names, letters and digits alone, "),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/rule.toml: {message}")
