"""Ablation: variants of a recipe, each with one change, scored on validation frames only."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export import UserError
from export.errors import prefixed
from model import metrics, recipe_file
from model.data.dataset import Dataset
from model.machine import commit, machine, now
from model.recipe_file import RecipeFile
from model.reproduce import Runner

FORMAT, VERSION = "firstspike-ablation", 1
UNCHANGED = "as it is"  # the name of the first variant
FIELDS: dict[str, tuple[Any, Any]] = {  # of a file of variants: type, and value where it is left out
    "title": (str, None), "about": (str, ""), "seeds": (None, [0]), "all": (dict, {}), "variants": (dict, {}),
}  # fmt: skip


@dataclass(frozen=True)
class Ablation:
    """A recipe and its variants.

    Attributes:
        name: the file's, without ``.toml``.
        title: of the table.
        about: a sentence or two on it; may be empty.
        file: the recipe, with the changes for all variants.
        changes: those changes, such as fewer epochs.
        seeds: of the runs of each variant.
        variants: the changes of each, by name; none for the first.
    """

    name: str
    title: str
    about: str
    file: RecipeFile
    changes: dict[str, Any]
    seeds: tuple[int, ...]
    variants: dict[str, dict[str, Any]]


def read(path: Path, file: RecipeFile) -> Ablation:
    """Read a file of variants of a recipe: ``title``, ``about``, ``seeds``, a table ``all``, and a table ``variants.NAME`` for each.

    Raises:
        UserError: a field is unknown or of another type, or a value is out of range.
        OSError: it cannot be read.
    """
    content = recipe_file.read_toml(path)
    with prefixed(path):
        if unknown := sorted(set(content) - set(FIELDS)):
            raise UserError(f"field must be one of {', '.join(FIELDS)}, not {unknown[0]!r:.60}")
        content = {name: content.get(name, default) for name, (_, default) in FIELDS.items()}
        title, about, everywhere, tables = (recipe_file.typed(name, content[name], kind) for name, (kind, _) in FIELDS.items() if kind)
        seeds = recipe_file.seeds_of(content["seeds"])
        changes = _changes("all", everywhere, file)
        file = file.changed(**changes)
        variants: dict[str, dict[str, Any]] = {UNCHANGED: {}}
        variants |= {name: _changes(f"variants.{name}", table, file) for name, table in tables.items()}
        if len({folder_name(name) for name in variants} - {""}) < len(tables) + 1:
            raise UserError(f"variants must have different names, letters and digits alone, and not {UNCHANGED!r}: {list(tables)}")
    return Ablation(path.stem, title, about, file, changes, seeds, variants)


def _changes(name: str, table: Any, file: RecipeFile) -> dict[str, Any]:
    with prefixed(name):
        changes = recipe_file.choices(recipe_file.typed("it", table, dict), type(file.recipe))
        file.changed(**changes)  # in range
    return changes


def folder_name(variant: str) -> str:
    """A variant's name as that of a folder."""
    return re.sub(r"[^a-z0-9]+", "-", variant.lower()).strip("-")


def ablate(ablation: Ablation, dataset: Dataset, out: Path, runner: Runner) -> Path:
    """Train every variant with every seed into ``out/VARIANT/seed-S``, and write their scores on validation frames as one table.

    The test frames are put aside first: no run sees them. A run that is finished is skipped, one that was interrupted is resumed.

    Returns:
        The table, ``out/ablation-NAME.json``.

    Raises:
        UserError, OSError, KeyboardInterrupt: as `Runner.run_or_resume`.
    """
    dataset = replace(dataset, test_images=None, test_labels=None, test_spike_times=None)
    rows = []
    for name, changes in ablation.variants.items():
        runs = []
        for seed in ablation.seeds:
            folder = out / folder_name(name) / f"seed-{seed}"
            runner.say(f"{name}, seed {seed}: {folder}")
            content = runner.run_or_resume(ablation.file.changed(**changes, seed=seed), dataset, folder)
            runs.append({"seed": seed, "scores": content["scores"], "seconds_per_epoch": content["seconds_per_epoch"]})
        rows.append({"name": name, "changes": changes, "runs": runs})
    path = out / f"ablation-{ablation.name}.json"
    made = {"command": runner.command, "date": now(), "commit": commit(), "machine": machine(str(runner.processes.device))}
    what = {"title": ablation.title, "about": ablation.about, "recipe": ablation.file.name, "changes": ablation.changes}
    content = {"format": FORMAT, "version": VERSION, **what, **made, "seeds": list(ablation.seeds), "variants": rows}
    runner.processes.from_first(lambda: metrics.write_json(path, content))
    return path
