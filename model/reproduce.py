"""Runs of a recipe: one with its metrics, or one per seed and the best of them exported."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from export import UserError, save
from export.check import network_from_checkpoint
from export.scores import Scores
from model import metrics, plots, training
from model.data.dataset import Dataset
from model.processes import Processes
from model.recipe_file import RecipeFile

NETWORK = "network.safetensors"
Say = Callable[[str], None]


def run(
    file: RecipeFile,
    dataset: Dataset,
    out: Path,
    command: str,
    *,
    resume: bool = False,
    pictures: bool = True,
    say: Say = print,
    processes: Processes | None = None,
) -> dict[str, Any]:
    """Train once, into ``out``: the checkpoint, its metrics, which are returned, and the pictures of `model.plots`.

    Parameters:
        processes: as in `model.trainer.Trainer`.

    Raises:
        UserError, OSError, KeyboardInterrupt: as `model.training.train`.
    """
    processes = processes or Processes()

    def finish() -> dict[str, Any]:
        network, _ = network_from_checkpoint(out / training.CHECKPOINT)
        log.finish(network, dataset)
        if pictures:
            plots.write(out, network=network)
        return log.content

    with processes.stopped_together():
        log = processes.from_first(lambda: metrics.Log(out / metrics.FILE, file, command, resume=resume))
        training.train(dataset, file.recipe, out, resume=resume, say=say, observe=log.epoch, processes=processes)
        return processes.from_first(finish)


def reproduce(
    file: RecipeFile,
    dataset: Dataset,
    seeds: Sequence[int],
    out: Path,
    command: str,
    *,
    pictures: bool = True,
    say: Say = print,
    processes: Processes | None = None,
) -> list[dict[str, Any]]:
    """Train a recipe with each seed into ``out/seed-S``, and export the best on validation as ``out/network.safetensors``.

    A seed that is finished is skipped, one that was interrupted is resumed.

    Returns:
        The metrics of each seed.

    Raises:
        UserError, OSError, KeyboardInterrupt: as `model.training.train`; or a folder holds a run of something else.
    """
    processes = processes or Processes()
    runs = []
    for seed in seeds:
        folder = out / f"seed-{seed}"
        say(f"seed {seed}: {folder}")
        runs.append(run_or_resume(file.changed(seed=seed), dataset, folder, command, pictures=pictures, say=say, processes=processes))
    chosen = best(runs)
    checkpoint = out / f"seed-{chosen['seed']}" / training.CHECKPOINT

    def export() -> int:
        network, frames = network_from_checkpoint(checkpoint)
        save(network, out / NETWORK)
        return frames

    frames = processes.from_first(export)
    say(f"seed {chosen['seed']} is the best on validation frames; golden model equal to it on all {frames} frames of the check set")
    return runs


def reproduce_folds(
    file: RecipeFile,
    load: Callable[[str], Dataset],
    out: Path,
    command: str,
    *,
    pictures: bool = True,
    say: Say = print,
    processes: Processes | None = None,
) -> list[dict[str, Any]]:
    """Train a recipe on each of its folds with its first seed, into ``out/fold-NAME``, as `reproduce` does with seeds.

    Parameters:
        load: gives the data set of a name.

    Returns:
        The metrics of each fold.

    Raises:
        UserError, OSError, KeyboardInterrupt: as `reproduce`.
    """
    processes, runs = processes or Processes(), []
    for name in file.folds:
        folder = out / f"fold-{Path(name).stem}"
        say(f"{name}: {folder}")
        dataset = processes.together(partial(load, name))
        runs.append(run_or_resume(replace(file, dataset=name), dataset, folder, command, pictures=pictures, say=say, processes=processes))
    return runs


def run_or_resume(
    file: RecipeFile, dataset: Dataset, folder: Path, command: str, *, pictures: bool, say: Say, processes: Processes | None = None
) -> dict[str, Any]:
    """The metrics of the run in a folder: as found if it is finished, else after it was started or resumed.

    Raises:
        UserError, OSError, KeyboardInterrupt: as `model.training.train`; or the folder holds a run of something else.
    """
    processes = processes or Processes()

    def found() -> tuple[dict[str, Any] | None, bool]:
        before = None
        if (folder / metrics.FILE).is_file():
            before = metrics.read(folder / metrics.FILE)
            check_same(before, file, dataset, folder)
            before = before if before["finished"] and (folder / training.CHECKPOINT).is_file() else None
        return before, (folder / training.RESUME).is_file()

    finished, resume = processes.from_first(found)
    if finished is not None:
        say(f"finished on {finished['date']}, nothing to do")
        return finished
    return run(file, dataset, folder, command, resume=resume, pictures=pictures, say=say, processes=processes)


def check_same(before: dict[str, Any], file: RecipeFile, dataset: Dataset, folder: Path) -> None:
    """Refuse a folder with a run by another recipe or on other data.

    Raises:
        UserError: it is one.
    """
    for name, value in file.recipe.as_dict().items():
        if (was := metrics.choices_of(before).get(name)) != value:
            raise UserError(f"{folder}: must be a run with {name} = {value!r}, but has {was!r}: remove it, or choose another --out")
    if before["finished"] and before["dataset_digest"] != dataset.digest:
        raise UserError(f"{folder}: must be a run on the data with digest {dataset.digest}, not {before['dataset_digest']}")


def best(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run to export: the most accurate on its validation frames of those that are not too silent there, of equals the first."""

    def rank(content: dict[str, Any]) -> tuple[bool, float]:
        score = metrics.scores_of(content, "validation")
        return score.silent_share <= content["choices"]["max_silent"], score.strict

    return max(runs, key=rank)


def mean_and_spread(runs: Sequence[dict[str, Any]], part: str) -> tuple[Scores, Scores | None]:
    """Mean of the scores over runs, and their sample standard deviation (of one run: None)."""
    rows = [metrics.scores_of(content, part) for content in runs]
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields(Scores)}
    mean = Scores(**{name: statistics.fmean(column) for name, column in columns.items()})
    if len(rows) < 2:
        return mean, None
    return mean, Scores(**{name: statistics.stdev(column) for name, column in columns.items()})
