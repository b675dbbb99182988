import json
import re

import pytest

from export import UserError
from model import metrics
from model.evaluation import OperatingPoint
from model.recipe_file import RecipeFile
from model.recipes import Recipe
from model.reproduce import Runner
from tests.small_data import stripes

FILE = RecipeFile("own", "some/where/stripes.npz", (2,), Recipe(hidden=(12,), epochs=2, batch_size=16, validation=0.25, seed=2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished run."""
    folder = tmp_path_factory.mktemp("run")
    Runner("python -m model train own.toml", pictures=False, say=lambda line: None).run(FILE, stripes(), folder)
    return folder


def test_everything_is_there(trained):
    content = metrics.read(trained / "metrics.json")
    assert content["finished"]
    assert (content["recipe"], content["dataset"], content["dataset_digest"], content["seed"]) == ("own", "stripes.npz", "0" * 64, 2)
    assert content["choices"] == FILE.recipe.as_dict()
    assert content["command"] == "python -m model train own.toml"
    assert content["sessions"] == 1
    assert (content["network"], content["image_shape"]) == ("36-12-4", [6, 6])
    assert set(content["machine"]) == {"cpu", "cores", "device", "threads", "torch", "python", "processes"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", content["date"])
    assert set(content["scores"]) == {"validation", "test"}
    assert metrics.losses_of(content, "test") is None  # nothing was converted


def test_epochs(trained):
    content = metrics.read(trained / "metrics.json")
    records = content["epochs"]
    assert [record["epoch"] for record in records] == [1, 2]
    for record in records:
        assert set(record) == {"epoch", "seconds", "loss", "strict", "silent_share", "steps_mean", "validation"}
        assert 0 <= record["strict"] <= 100
        assert record["strict"] * 75 / 100 == pytest.approx(round(record["strict"] * 75 / 100))  # of 75 training frames
        OperatingPoint(**record["validation"])
    seconds = sum(record["seconds"] for record in records)
    assert content["seconds_per_epoch"] == seconds / 2
    assert content["frames_per_second"] == 75 / (seconds / 2)
    assert content["wall_seconds"] >= seconds


def test_what_was_chosen(trained):
    content = metrics.read(trained / "metrics.json")
    point = content["epochs"][content["best_epoch"] - 1]["validation"]
    assert point in content["shift_curve"]
    assert (point["shift"], point["strict"]) == (content["shift"], content["scores"]["validation"]["strict"])


def test_one_line_per_row(trained):
    lines = (trained / "metrics.json").read_text().splitlines()
    content = json.loads("\n".join(lines))
    assert len(lines) == 2 + len(content) + sum(1 + len(content[name]) for name in ("epochs", "shift_curve"))


def test_nothing_is_half_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        metrics.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def changed(trained, tmp_path, **changes):
    content = json.loads((trained / "metrics.json").read_text()) | changes
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "x"}, "format must be 'firstspike-metrics', not 'x'"),
        ({"version": 2}, "version must be 1, the one this release reads, not 2"),
        ({"choices": None}, "header field 'choices' must be dict, not None"),
        ({"seed": True}, "header field 'seed' must be int, not True"),
        ({"digest": None}, "header field 'digest' must be str, not None"),
        ({"scores": {"test": {"strict": 3.0}}}, "scores must have a part 'test' with the numbers strict, first_index, lenient, fired, "),
        ({"scores": {"test": 3}}, "scores must have a part 'test' with the numbers strict, first_index, lenient, fired, "),
        ({"conversion": {}}, "header field 'losses' must be dict, not None"),
        (
            {"conversion": {"losses": {"validation": {"source": 98.0}}}},
            "conversion must have losses of part 'validation' with the numbers source, conversion, rounding, exit, not {'source': 98.0}",
        ),
    ],
)
def test_other_content(trained, tmp_path, changes, message):
    path = changed(trained, tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        metrics.read(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_unfinished_needs_no_scores(trained, tmp_path):
    assert metrics.read(changed(trained, tmp_path, finished=False, scores=None, digest=None))["finished"] is False


@pytest.mark.parametrize(
    ("text", "message"), [("{", "must be JSON: "), ("[]", "must be a JSON object, not list"), ("[" * 100000, "must be JSON: ")]
)
def test_no_json_object(tmp_path, text, message):
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        metrics.read(path)
    assert str(caught.value).startswith(f"{path}: {message}")
