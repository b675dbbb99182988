import json
from dataclasses import replace

import pytest
import torch

from export import UserError
from model import codes, conversion, conversion_checkpoint, results, training
from model.conversion import Conversion
from model.conversion_recipe import ConversionRecipe
from model.kept import Project, keep
from tests.small_data import stripes

RECIPE = ConversionRecipe(hidden=(24, 16), epochs=6, batch_size=16, learning_rate=0.01, validation=0.25)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    out = tmp_path_factory.mktemp("source")
    training.train(stripes(), RECIPE, out, say=lambda line: None)
    return conversion_checkpoint.read(out / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def content(source):
    return codes.measure([source], stripes(), "test", (1, 3), ("trained", "max"), {"levels": None}, "python -m model codes")


def test_a_row_for_each_code_step_and_balance(content):
    found = [(row["balance"], row["code"], row["steps"]) for row in content["rows"]]
    exported = ["rate", "ternary", "graded", "rate, calibrated", "ternary, calibrated"]
    names = [*exported, "rate, bias spread", "ternary, bias spread", "rate, start 0", "ungated", "symmetric", "positive"]
    assert found == [(balance, name, steps) for balance in ("trained", "max") for name in names for steps in (1, 3)]
    assert [row["baseline"] for row in content["rows"]][:22:2] == [False] * 7 + [True] * 4


@pytest.mark.parametrize(
    ("code", "options"),
    [("rate", {}), ("rate, start 0", {"half": False}), ("ungated", {}), ("graded", {}), ("ternary, bias spread", {"spread": True})],
)
def test_rows_are_what_was_measured(source, content, code, options):
    run = conversion.fold(Conversion(code.partition(",")[0], 3, **options), source.network).run(torch.from_numpy(stripes().test_images))
    margins = run.sums[-1] + source.network.output.folded(torch.zeros(1)).bias
    row = next(row for row in content["rows"] if (row["balance"], row["code"], row["steps"]) == ("trained", code, 3))
    right = (margins.argmax(1).numpy() == stripes().test_labels).mean()
    assert row["strict"] == 100 * right
    assert row["hidden_events_mean"] == sum(int((part != 0).sum()) for part in run.coefficients) / 100


def test_some_codes_only(source, content):
    arguments = (1, 3), ("max",), {"levels": None}, "python -m model codes"
    some = codes.measure([source], stripes(), "test", *arguments, ("ternary, bias spread", "rate"))
    wanted = {("max", "ternary, bias spread"), ("max", "rate")}
    assert [row for row in content["rows"] if (row["balance"], row["code"]) in wanted] == sorted(some["rows"], key=lambda row: row["code"])
    assert codes.claims(some) == []
    plain = source._replace(recipe=replace(source.recipe, bias=False))
    with pytest.raises(UserError, match=r"code must be one of 'rate', 'ternary', .*'positive', not 'ternary, bias spread'"):
        codes.measure([plain], stripes(), "test", *arguments, ("ternary, bias spread",))


def test_graded_has_the_accuracy_of_its_source(source, content):
    rows = [row for row in content["rows"] if row["code"] == "graded" and row["balance"] == "trained"]
    assert {row["strict"] for row in rows} == {content["source"]} == {source.provenance["scores"]["test"]["strict"]}
    assert {row["levels"] for row in rows} == {3}


def test_means_of_seeds(source, content, tmp_path):
    training.train(stripes(), replace(RECIPE, seed=1), tmp_path, say=lambda line: None)
    other = conversion_checkpoint.read(tmp_path / "checkpoint.safetensors")
    options = "test", (1, 3), ("trained", "max"), {"levels": None}, "python -m model codes"
    both, alone = codes.measure([source, other], stripes(), *options), codes.measure([other], stripes(), *options)
    assert (content["seeds"], both["seeds"]) == ([0], [0, 1])
    for one, two, row in zip(content["rows"], alone["rows"], both["rows"], strict=True):
        assert (one["code"], one["steps"], one["strict_spread"]) == (row["code"], row["steps"], 0)
        assert row["strict"] == pytest.approx((one["strict"] + two["strict"]) / 2)
        assert row["strict_spread"] == pytest.approx(abs(one["strict"] - two["strict"]) / 2**0.5)
        assert row["hidden_events_mean"] == pytest.approx((one["hidden_events_mean"] + two["hidden_events_mean"]) / 2)
    assert any(row["strict_spread"] for row in both["rows"])
    line = codes.text(both).splitlines()[0]
    assert line == f"36-24-16-4, 100 test frames, seeds 0, 1: the network it comes from has {codes.accuracy(both, 'source', True)}"


def test_sources_of_two_recipes_are_refused(source):
    other = source._replace(recipe=replace(RECIPE, epochs=7))
    with pytest.raises(UserError, match="must be of one recipe, seeds apart, but number 2 is of another than the first"):
        codes.measure([source, other], stripes(), "test", (1,), None, {}, "")


def test_files(content, tmp_path):
    table, picture = codes.write(content, tmp_path / "codes.json")
    assert codes.FORMAT.read(table) == json.loads(table.read_text()) == content
    text = picture.read_text()
    assert picture == tmp_path / "codes.svg"
    for words in ("balance trained", "balance max", "graded", "ungated (PyTorch only)", "the network it comes from"):
        assert words in text


def test_text(content):
    lines = codes.text(content).splitlines()
    assert lines[0] == f"36-24-16-4, 100 test frames, seed 0: the network it comes from has {content['source']:.2f} %"
    assert lines[1].split() == ["balance", "code", "T", "=", "1", "T", "=", "3"]
    first = content["rows"][:2]
    assert lines[2].split()[:2] == ["trained", "rate"]
    assert [word for word in lines[2].split()[2:] if word != "%"] == [
        part for row in first for part in (f"{row['strict']:.2f}", f"{row['hidden_events_mean']:.1f}")
    ]
    assert [line.split()[1] for line in lines[10:13]] == ["ungated", "symmetric", "positive"]
    assert [" * " in line for line in lines[2:13]] == [False] * 7 + [True] * 4
    assert lines[25:] == codes.claims(content)


def rows(*values):
    return [
        {"balance": "max", "code": code, "steps": steps, "strict": strict, "hidden_events_mean": events}
        for code, steps, strict, events in values
    ]


def test_claims():
    table = rows(
        ("rate", 1, 90.0, 10.0), ("rate", 2, 95.0, 20.0), ("ternary", 1, 90.0, 11.0), ("ternary", 2, 94.0, 21.0),
        ("graded", 1, 96.0, 12.0), ("graded", 2, 96.0, 24.0),
    )  # fmt: skip
    assert codes.claims({"rows": table}) == [
        "max: at equal T, ternary is at least as accurate as rate at T = 1, of 1, 2",
        "max: at equal T, graded is at least as accurate as ternary at T = 1, 2, of 1, 2",
        "max: 95.00 % take rate 20.0 hidden events at T = 2, graded 12.0 at T = 1",
    ]
    table[2]["strict"], table[4]["strict"], table[5]["strict"] = 80.0, 94.0, 93.0
    assert [line.partition("max: ")[2] for line in codes.claims({"rows": table})] == [
        "at equal T, ternary is at least as accurate as rate at no T, of 1, 2",
        "at equal T, graded is at least as accurate as ternary at T = 1, of 1, 2",
        "95.00 % take rate 20.0 hidden events at T = 2, graded does not reach them",
    ]


def test_a_kept_table_is_a_section_of_the_results(content, tmp_path):
    project = Project(tmp_path)
    project.folder.mkdir(parents=True)
    (project.folder / "rows.toml").write_text("")
    table, _ = codes.write(content | {"command": "python -m model codes x"}, tmp_path / "codes-stripes.json")
    assert keep(table, project) == [project.folder / "codes-stripes.json"]
    page = results.page(project)
    assert "## Spike codes: stripes, 36-24-16-4" in page
    row = content["rows"][0]
    assert f"| trained | rate | {row['strict']:.2f} %, {row['hidden_events_mean']:.1f} |" in page
    assert "| trained | ungated * | " in page
    assert all(f"* {line}." in page for line in codes.claims(content))


def test_balances_of_a_network(source):
    assert codes.possible(source) == ["trained", "max", "percentile"]
    other = source._replace(recipe=replace(RECIPE, clip="rate-norm"))
    assert codes.possible(other) == ["rate-norm", "max", "percentile"]
    other = source._replace(recipe=replace(RECIPE, clip="none", quantised=False, integer=False))
    assert codes.possible(other) == ["max", "percentile"]


def test_other_data_are_refused(source):
    other = replace(stripes(), digest="1" * 64)
    with pytest.raises(UserError, match=f"^data set must be the one of the training, with digest {'0' * 64}, not {'1' * 64}$"):
        codes.measure([source], other, "test", (1,), None, {}, "")


def test_no_test_labels(source):
    with pytest.raises(UserError, match="must have labels for its test part, y_test, to be scored, but has none"):
        codes.measure([source], replace(stripes(), test_labels=None), "test", (1,), None, {}, "")
