"""``docs/results.md``, made from what is kept in ``docs/results``."""

from dataclasses import fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from export import UserError, pages
from export.scores import Scores
from model import codes, recipe_file
from model.kept import Project
from model.metrics import LOSSES, losses_of, most_silent
from model.reproduce import best, mean_and_spread

TEMPLATE = Path(__file__).parent / "templates" / "results.md.j2"
ROWS = {"title": str, "before": str, "reach": float}  # of docs/results/rows.toml; a row need not have a reach
CURVE_POINTS = 10  # of the curve of operating points, or one or two more
NAMES = {
    "strict": "strict, %", "first_index": "first_index, %", "lenient": "lenient, %", "fired": "fired, %", "silent_share": "silent, %",
    "steps_mean": "steps", "hidden_spikes_by_decision_mean": "hidden spikes",
}  # fmt: skip


def write(project: Project) -> Path:
    """Write the page; its path.

    Raises:
        UserError: a kept file is not what it should be.
        OSError: a file cannot be read or written.
    """
    return pages.write(project.page, page(project))


def page(project: Project) -> str:
    """The page, in Markdown.

    Raises:
        UserError: a kept file is not what it should be.
        OSError: a file cannot be read.
    """
    return pages.fill(
        TEMPLATE,
        {"toml": toml},
        rows=rows(project),
        benches=[{"about": ""} | table for table in project.tables("bench-")],
        codes=[codes_of(table) for table in project.tables("codes-")],
        ablations=[ablation(table) for table in project.tables("ablation-")],
        names=NAMES,
        machine=machine,
        accuracy=codes.accuracy,
    )


def rows(project: Project) -> list[dict[str, Any]]:
    """The rows of the page: what ``rows.toml`` says of each, its recipe, and what its kept runs gave.

    Raises:
        UserError: a file is not what it should be, or runs are kept for which there is no row.
        OSError: a file cannot be read.
    """
    path = project.folder / "rows.toml"
    kept, folds, said = project.runs(), project.folds(), recipe_file.read_toml(path)
    if strangers := sorted(set(kept) - set(said)):
        raise UserError(f"{path}: must have a row [{strangers[0]}], since runs of that recipe are kept")
    found = []
    for name, row in said.items():
        if not isinstance(row, dict) or not {"title", "before"} <= set(row) <= set(ROWS):
            raise UserError(f"{path}: row '{name}' must have title, before and, if there is one, reach, not {row!r:.60}")
        try:
            row = {field: recipe_file.typed(field, value, ROWS[field]) for field, value in row.items()}
        except UserError as error:
            raise UserError(f"{path}: row '{name}': {error}") from None
        row = {"reach": None} | row | {"name": name, "file": recipe_file.read(project.recipe(name)), "runs": kept.get(name, [])}
        found.append(row | (outcome(row["runs"], folds.get(name, [])) if row["runs"] else {}))
    return found


def outcome(runs: list[dict[str, Any]], folds: list[dict[str, Any]]) -> dict[str, Any]:
    """What the runs of a recipe gave on test frames, and its runs on folds: mean and spread; the chosen run and its operating points."""
    mean, spread = summary(runs, "test")
    fold_mean, fold_spread = summary(folds, "test") if folds else (None, None)
    chosen = best(runs)
    return {
        "mean": mean,
        "spread": spread,
        "folds": folds,
        "fold_mean": fold_mean,
        "fold_spread": fold_spread,
        "chosen": chosen,
        "curve": curve(chosen["shift_curve"], chosen["shift"]),
        "too_silent": mean["silent_share"] > most_silent(chosen),
        "losses": losses(runs),
    }


def summary(runs: list[dict[str, Any]], part: str) -> tuple[dict[str, float], dict[str, float] | None]:
    """Mean and spread of scores, as `model.reproduce.mean_and_spread` has them."""
    mean, spread = mean_and_spread(runs, part)
    return mean.as_dict(), None if spread is None else spread.as_dict()


def losses(runs: list[dict[str, Any]]) -> dict[str, tuple[float, float | None]] | None:
    """Mean and spread of what the runs' conversions lost on test frames, and of what was not settled; None unless all have logged it.

    Raises:
        UserError: a run's losses are not whole.
    """
    found = [row for content in runs if (row := losses_of(content, "test"))]
    if len(found) < len(runs):
        return None
    columns = {name: [row[name] for row in found] for name in LOSSES}
    columns["all"] = [row["conversion"] + row["rounding"] + row["exit"] for row in found]
    if all("settling_steps" in content["conversion"] for content in runs):
        columns |= {name: [content["conversion"][name] for content in runs] for name in ("unsettled_share", "settling_steps")}
    return {name: (fmean(column), stdev(column) if len(runs) > 1 else None) for name, column in columns.items()}


def curve(points: list[dict[str, float]], shift: int) -> list[dict[str, float]]:
    """A few operating points, the chosen one among them: from the first that is not all step 0 to half of the frames silent."""
    chosen = next(index for index, point in enumerate(points) if point["shift"] == shift)
    first = max((index for index in range(chosen) if points[index]["steps_mean"] < 1.01), default=0)
    last = min((index for index in range(chosen + 1, len(points)) if points[index]["silent_share"] > 50), default=len(points) - 1)
    stride = max(1, round((last - first) / CURVE_POINTS))
    return points[chosen - (chosen - first) // stride * stride : last + 1 : stride]


def ablation(table: dict[str, Any]) -> dict[str, Any]:
    """An ablation with the mean and the spread of each variant's scores on validation frames."""
    variants = []
    for variant in table["variants"]:
        mean, spread = summary(variant["runs"], "validation")
        variants.append(variant | {"mean": mean, "spread": spread})
    return {"about": ""} | table | {"variants": variants}


def codes_of(table: dict[str, Any]) -> dict[str, Any]:
    """A table of spike codes with its steps, its claims, and a line for each balance and code: its cells by step."""
    lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table["rows"]:
        lines.setdefault((row["balance"], row["code"]), []).append(row)
    steps = [row["steps"] for row in next(iter(lines.values()))]
    return table | {"steps": steps, "lines": list(lines.values()), "claims": codes.claims(table)}


def toml(value: Any) -> str:
    """A value of a recipe as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def machine(made: dict[str, Any]) -> str:
    """A machine in words; only what is known of it."""
    known = made.get
    parts = [
        known("cpu"),
        f"{known('cores')} cores" if known("cores") else None,
        known("device") if known("device") != "cpu" else None,
        f"PyTorch {known('torch')}" if known("torch") else None,
        f"{known('processes')} processes" if known("processes", 1) > 1 else None,
        f"{known('threads')} thread{'s' * (known('threads') != 1)}" if known("threads") else None,
    ]
    return ", ".join(str(part) for part in parts if part)


assert list(NAMES) == [field.name for field in fields(Scores)]
