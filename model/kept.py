"""Results that are kept in ``docs/results``: metrics of runs, tables of benchmarks, of ablations and of spike codes; and the networks that
belong to them.

A table is a JSON object, a benchmark's of format ``firstspike-figures``, an ablation's of ``firstspike-ablation``, one of spike codes of
``firstspike-codes``; ``docs/model.md`` has their fields.
"""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from shutil import copyfile
from typing import Any

from export import Network, UserError, digest, load
from export.files import atomic_write
from export.store import Format, Store
from model import ablate, codes, metrics, recipe_file
from model.recipe_file import RecipeFile
from model.reproduce import NETWORK, best

MADE: dict[str, type] = {"title": str, "command": str, "date": str, "machine": dict}
TABLES = {
    "bench-": Format("firstspike-figures", 1, MADE | {"figures": list}, {"figures": {"name": str, "value": (int, float), "unit": str}}),
    "ablation-": Format(
        ablate.FORMAT,
        ablate.VERSION,
        MADE | {"recipe": str, "changes": dict, "seeds": list, "variants": list},
        {"variants": {"name": str, "changes": dict, "runs": list}},
    ),
    "codes-": codes.FORMAT,
}
"""Tables, by how the file's name begins."""


class Project(Store):
    """The store, with recipes and their runs."""

    @property
    def page(self) -> Path:
        return self.root / "docs" / "results.md"

    def recipe(self, name: str) -> Path:
        return self.root / "recipes" / f"{name}.toml"

    def runs(self) -> dict[str, list[dict[str, Any]]]:
        """The metrics of all kept runs, by recipe, in the order of their seeds.

        Raises:
            UserError: a file is something else, or has another name than its run.
        """
        return self._read("seed", lambda content: content["seed"])

    def folds(self) -> dict[str, list[dict[str, Any]]]:
        """The metrics of all kept runs on folds, by recipe, in the order of the folds' names.

        Raises:
            UserError: a file is something else, or has another name than its run.
        """
        return self._read("fold", lambda content: Path(content["dataset"]).stem)

    def _read(self, kind: str, which: Callable[[dict[str, Any]], Any]) -> dict[str, list[dict[str, Any]]]:
        found = []
        for path in self.folder.glob(f"*-{kind}-*.json"):
            found.append(content := metrics.read(path))
            if not content["finished"] or path.name != f"{content['recipe']}-{kind}-{which(content)}.json":
                raise UserError(f"{path}: must be of a finished run, and have the name of its recipe and {kind}")
        found.sort(key=lambda content: (content["recipe"], which(content)))
        return {name: list(group) for name, group in groupby(found, key=lambda content: content["recipe"])}

    def tables(self, beginning: str) -> list[dict[str, Any]]:
        """The kept tables whose files' names begin so, in the order of their names.

        Raises:
            UserError: a file is something else.
        """
        return self.read_all(f"{beginning}*", TABLES[beginning])


def read_table(path: Path) -> dict[str, Any]:
    """A table of a benchmark, an ablation or spike codes; the file's name says which.

    Raises:
        UserError: the file is something else.
        OSError: it cannot be read.
    """
    beginning = next((beginning for beginning in TABLES if path.name.startswith(beginning) and path.suffix == ".json"), None)
    if beginning is None:
        raise UserError(f"{path}: must be the folder of a recipe's runs, or a file {' or '.join(f'{name}NAME.json' for name in TABLES)}")
    return TABLES[beginning].read(path)


def problems(project: Project) -> list[str]:
    """What does not agree: kept runs with the recipe as it is now, and with the network in ``artifacts``; a line for each.

    Raises:
        UserError: a file is not what it should be.
        OSError: a file cannot be read.
    """
    found = []
    kept_folds = project.folds()
    for name, runs in project.runs().items():
        file, path = recipe_file.read(project.recipe(name)), project.artifact(name)
        found += [f"{name}: {line}" for line in disagreements(file, runs, kept_folds.get(name, []))]
        chosen = best(runs)
        if not path.is_file():
            found.append(f"{path}: is missing, though runs are kept")
        elif not belongs(load(path), chosen):
            found.append(f"{path}: must be the network of seed {chosen['seed']}, {chosen['digest']}, with its scores")
    return found


def disagreements(file: RecipeFile, runs: list[dict[str, Any]], folds: list[dict[str, Any]]) -> list[str]:
    """What of these runs is not as the recipe file has it; a line for each."""
    found = []
    wanted, there = sorted(file.seeds), sorted(content["seed"] for content in runs)
    if wanted != there:
        found.append(f"must have runs with seeds {wanted}, not {there}")
    wanted_folds, there_folds = sorted(Path(name).name for name in file.folds), sorted(content["dataset"] for content in folds)
    if wanted_folds != there_folds:
        found.append(f"must have runs on the folds {wanted_folds}, not {there_folds}")
    for kind, part in (("seed", runs), ("dataset", folds)):
        for content in part:
            which = f"the run with {kind} {content[kind]}"
            seed = content["seed"] if kind == "seed" else file.seeds[0]
            choices = file.changed(seed=seed).recipe.as_dict()
            if not content["finished"]:
                found.append(f"{which} must be finished, but is not")
            if (content["recipe"], metrics.choices_of(content)) != (file.name, choices) or (
                kind == "seed" and content["dataset"] != Path(file.dataset).name
            ):
                found.append(f"{which} must be by the recipe as it is now, but is not")
    return found


def belongs(network: Network, content: dict[str, Any]) -> bool:
    """Whether a network is what a run gave."""
    return digest(network) == content["digest"] and network.provenance.get("scores") == content["scores"]


def keep(path: Path, project: Project) -> list[Path]:
    """Keep a result: of a folder that `model.reproduce` filled, its metrics and its network; of a table, the file. The files written.

    Metrics are kept without their records of epochs, which stay beside the checkpoint.

    Raises:
        UserError: a run is missing, not finished, or not by the recipe as it is now; the network is not the best run's; or the file is
            something else.
        OSError: a file cannot be read or written.
    """
    if path.is_dir():
        return _keep_runs(path, project)
    return [project.keep(path.stem, read_table(path))]


def _keep_runs(folder: Path, project: Project) -> list[Path]:
    runs, folds = ([metrics.read(path) for path in sorted(folder.glob(f"{kind}-*/{metrics.FILE}"))] for kind in ("seed", "fold"))
    if not runs:
        raise UserError(f"{folder}: must have runs, seed-S/{metrics.FILE}, but has none")
    runs.sort(key=lambda content: content["seed"])
    name = runs[0]["recipe"]
    for line in disagreements(recipe_file.read(project.recipe(name)), runs, folds):
        raise UserError(f"{folder}: {line}")
    chosen = best(runs)
    if not belongs(load(folder / NETWORK), chosen):
        raise UserError(f"{folder / NETWORK}: must be the network of seed {chosen['seed']}, {chosen['digest']}, with its scores")
    written = {project.folder / f"{name}-seed-{content['seed']}.json": content for content in runs}
    written |= {project.folder / f"{name}-fold-{Path(content['dataset']).stem}.json": content for content in folds}
    for path, content in written.items():
        project.keep(path.stem, content | {"epochs": []})
    for kind in ("seed", "fold"):
        for path in set(project.folder.glob(f"{name}-{kind}-*.json")) - set(written):
            path.unlink()
    with atomic_write(project.artifact(name)) as temporary:
        copyfile(folder / NETWORK, temporary)
    return [*written, project.artifact(name)]
