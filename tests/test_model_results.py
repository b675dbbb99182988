import json
import re

import pytest

from export import UserError
from export.scores import Scores
from model import results
from model.kept import Project
from tests.small_data import FIGURES

CURVE = [
    {"shift": shift, "strict": 90.0 + shift, "silent_share": silent, "steps_mean": steps, "hidden_spikes_by_decision_mean": 10.0 * steps}
    for shift, silent, steps in (
        (-3, 0.0, 1.0),
        (-2, 0.0, 1.0),
        (-1, 1.0, 1.5),
        (0, 3.0, 2.0),
        (1, 40.0, 3.0),
        (2, 60.0, 4.0),
        (3, 90.0, 8.0),
    )
]


def score(strict, silent=4.0):
    return Scores(strict, strict - 0.1, strict + 0.1, strict - silent, silent, 2.0, 100.0).as_dict()


def run(seed, strict, validation, silent=4.0):
    return {
        "format": "firstspike-metrics", "version": 1, "finished": True, "seed": seed, "recipe": "own", "dataset": "own",
        "choices": {"max_silent": 5.0, "epochs": 30, "steps": 8}, "command": "python -m model reproduce recipes/own.toml",
        "date": "2027-01-02T03:04:05Z", "commit": "0123456789abcdef+",
        "machine": {"cpu": "a processor", "cores": 2, "device": "cpu", "threads": 1, "torch": "2.13.0", "python": "3.11"},
        "wall_seconds": 300.5, "seconds_per_epoch": 10.25, "frames_per_second": 5500.0, "epochs": [], "dataset_digest": "0" * 64,
        "best_epoch": 29, "shift": 0, "shift_curve": CURVE, "scores": {"validation": score(validation), "test": score(strict, silent)},
        "digest": f"{seed}" * 64, "network": "784-600-10",
    }  # fmt: skip


ABLATION = {
    "format": "firstspike-ablation", "version": 1, "title": "What it buys", "about": "", "recipe": "own", "changes": {"epochs": 6},
    "command": "python -m model ablate …", "date": "2027-01-02T03:04:05Z", "machine": {"cpu": "a processor"}, "seeds": [0, 1],
    "variants": [
        {"name": "as it is", "changes": {}, "runs": [{"seed": s, "scores": {"validation": score(97.0 + s)}} for s in (0, 1)]},
        {"name": "no window", "changes": {"window": 0.1, "hidden": [3]}, "runs": [{"seed": 0, "scores": {"validation": score(96.0)}}]},
    ],
}  # fmt: skip


@pytest.fixture
def project(tmp_path):
    """With a row that has runs, and one that has none."""
    project = Project(tmp_path)
    project.folder.mkdir(parents=True)
    for name in ("own", "later"):
        project.recipe(name).parent.mkdir(exist_ok=True)
        project.recipe(name).write_text('dataset = "own"\nseeds = [0, 1, 2]\n')
    rows = '[own]\ntitle = "Own data"\nbefore = "nothing"\nreach = {}\n[later]\ntitle = "Later"\nbefore = "–"\n'
    (project.folder / "rows.toml").write_text(rows.format("98.0"))
    for content in (run(0, 97.0, 97.0), run(1, 98.0, 99.0), run(2, 99.0, 98.0)):
        (project.folder / f"own-seed-{content['seed']}.json").write_text(json.dumps(content))
    return project


def lines(project):
    return results.page(project).splitlines()


def test_overview(project):
    page = lines(project)
    assert "| [own](#own) | Own data | 8 | 98.00 ± 1.00 | 4.00 ± 0.00 | 2.00 ± 0.00 | ≥ 98.0, reached | nothing |" in page
    assert "| later | Later | 8 | no run is kept | | | – | – |" in page


def test_reached_only_by_the_mean_and_with_few_silent_frames(project):
    for content, reached in ((run(0, 96.9, 97.0), False), (run(0, 97.0, 97.0), True), (run(0, 97.0, 97.0, silent=7.1), False)):
        (project.folder / "own-seed-0.json").write_text(json.dumps(content))
        assert any("≥ 98.0, reached" in line for line in lines(project)) == reached
        assert any("≥ 98.0, not reached" in line for line in lines(project)) != reached


def test_row(project):
    page = lines(project)
    assert "| 0 | 97.00 | 96.90 | 97.10 | 93.00 | 4.00 | 2.00 | 100.0 | 97.00 | 4.00 | 29 of 30 | 0 |" in page
    assert "| mean | 98.00 | 97.90 | 98.10 | 94.00 | 4.00 | 2.00 | 100.0 | | | | |" in page
    assert "| ± | 1.00 | 1.00 | 1.00 | 1.00 | 0.00 | 0.00 | 0.0 | | | | |" in page
    command, on = "`python -m model reproduce recipes/own.toml`", "a processor, 2 cores, PyTorch 2.13.0, 1 thread"
    made = f"| seed 2 | {command} | 2027-01-02 | {on} | 0123456789ab+ | 5,500 | 10.25 | 300 |"
    assert made in page
    text = "\n".join(page)
    assert (
        "Seed 1, the best on validation frames, is\n[`artifacts/own.safetensors`](../artifacts/own.safetensors), digest `1111111111111111…`"
        in text
    )


def test_folds(project):
    for name, strict in (("own-without-b", 90.0), ("own-without-a", 94.0)):
        (project.folder / f"own-fold-{name}.json").write_text(json.dumps(run(0, strict, 99.0) | {"dataset": name}))
    page = lines(project)
    at = page.index("Other splits of the data, the same recipe with seed 0 trained on each:")
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in page[at + 4 : at + 8]]
    assert rows == [["own-without-a", "94.00"], ["own-without-b", "90.00"], ["mean", "92.00"], ["±", "2.83"]]
    assert [line.split("|")[1].strip() for line in page if "`python -m model reproduce" in line] == [
        *("seed 0", "seed 1", "seed 2"),
        *("own-without-a", "own-without-b"),
    ]
    assert "\n\n\n" not in "\n".join(page)


def test_losses_of_conversions(project):
    """One that has logged them, rounded to 0 with no sign, and one of before they were logged; recipes of single spikes have no line."""
    assert "## Conversions" not in lines(project)
    text = 'dataset = "own"\nmethod = "conversion"\n'
    project.recipe("own").write_text(text + 'code = "ternary"\nsteps = 4\ncalibration = 2\n')
    for seed, spikes in enumerate((0.1, 0.0, 0.2)):
        losses = {"source": 98.0 + seed, "conversion": spikes, "rounding": -0.001, "exit": -0.05}
        settled = {"settling_steps": 2 + seed % 2, "unsettled_share": 0.25}
        content = run(seed, 97.0, 97.0) | {"conversion": {"losses": {"test": losses, "validation": losses}} | settled}
        (project.folder / f"own-seed-{seed}.json").write_text(json.dumps(content))
    cells = "99.00 ± 1.00 | 0.10 ± 0.10 | 0.00 ± 0.00 | -0.05 ± 0.00 | 0.05 ± 0.10 | 0.25 ± 0.00 | 2.3 ± 0.6"
    assert f"| [own](#own) | ternary, `T` = 4, calibrated | {cells} |" in lines(project)
    (project.folder / "own-seed-2.json").write_text(json.dumps(run(2, 97.0, 97.0)))
    assert "| [own](#own) | ternary, `T` = 4, calibrated |" + " – |" * 7 in lines(project)


def test_one_seed_has_no_spread(project):
    for seed in (1, 2):
        (project.folder / f"own-seed-{seed}.json").unlink()
    page = lines(project)
    assert "| [own](#own) | Own data | 8 | 97.00 | 4.00 | 2.00 | ≥ 98.0, not reached | nothing |" in page
    assert not any(line.startswith("| ± |") for line in page)


def test_curve(project):
    page = lines(project)
    assert "| shift | -2 | -1 | 0 | 1 | 2 |" in page
    assert "| hidden spikes | 10.0 | 15.0 | 20.0 | 30.0 | 40.0 |" in page


@pytest.mark.parametrize("reach", [1, 5, 49, 80])
def test_curve_is_short_and_has_the_chosen_point(reach):
    points = [{"shift": shift, "steps_mean": 2.0, "silent_share": 1.0} for shift in range(-reach, reach + 1)]
    for chosen in (-reach, 0, 1, reach):
        some = results.curve(points, chosen)
        assert chosen in [point["shift"] for point in some]
        assert 2 <= len(some) <= 13


def test_tables(project):
    (project.folder / "bench-speed.json").write_text(json.dumps(FIGURES))
    (project.folder / "ablation-rule.json").write_text(json.dumps(ABLATION))
    page = lines(project)
    assert page[page.index("## Side by side") + 2] == "`python -m model bench`, 2027-01-02; a processor, 2 cores."
    assert [line for line in page if line.startswith(("| ratio", "| frames"))] == ["| ratio | 31.50 × |", "| frames | 10,000 |"]
    text = "\n".join(page)
    assert "All by\n[`recipes/own.toml`](../recipes/own.toml) with `epochs = 6`; seeds 0, 1.\n" in text
    row = next(line for line in page if line.startswith("| as it is"))
    assert row.startswith("| as it is | – | 97.50 ± 0.71 | 97.40 ± 0.71 |")
    assert "| no window | `window = 0.1`, `hidden = [3]` | 96.00 | 95.90 | 96.10 | 92.00 | 4.00 | 2.00 | 100.0 |" in page


def test_every_table_row_has_as_many_cells_as_its_head(project):
    (project.folder / "bench-speed.json").write_text(json.dumps(FIGURES))
    (project.folder / "ablation-rule.json").write_text(json.dumps(ABLATION))
    page = results.page(project)
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)]
    assert len(tables) == 6
    for table in tables:
        assert re.fullmatch(r"\|(---\|)+", table[1])
        assert {line.count("|") for line in table} == {table[1].count("|")}
    assert "\n\n\n" not in page


def refused(project):
    with pytest.raises(UserError) as caught:
        results.page(project)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("own = 3", "row 'own' must have title, before and, if there is one, reach, not 3"),
        ('[own]\ntitle = "x"', "row 'own' must have title, before and, if there is one, reach, not {'title': 'x'}"),
        ('[own]\ntitle = "x"\nbefore = 3', "row 'own': before must be a string, not 3"),
        ('[later]\ntitle = "x"\nbefore = "y"', "must have a row [own], since runs of that recipe are kept"),
        ("[own", "must be TOML: "),
    ],
)
def test_rows_with_mistakes(project, rows, message):
    path = project.folder / "rows.toml"
    path.write_text(rows)
    assert refused(project).startswith(f"{path}: {message}")


def test_page_is_what_the_committed_files_give():
    project = Project()
    assert project.page.read_text(encoding="utf-8") == results.page(project), "run python -m model results"


def test_machine():
    assert (
        results.machine({"cpu": "x", "cores": 2, "device": "cuda:0 (y)", "threads": 2, "torch": "2"})
        == "x, 2 cores, cuda:0 (y), PyTorch 2, 2 threads"
    )
    assert results.machine({"cpu": "x", "processes": 2, "threads": 1}) == "x, 2 processes, 1 thread"
    assert results.machine({"cpu": "x", "processes": 1}) == "x"
    assert results.machine({}) == ""


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (0.5, "0.5"), (5000.0, "5000"), ([600], "[600]"), ("late", '"late"')])
def test_toml(value, text):
    assert results.toml(value) == text
