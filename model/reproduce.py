"""Runs of a recipe: one, or one per seed and the best of them exported."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from export import Network, UserError, save
from export.check import network_from_checkpoint
from export.scores import Scores
from model import convert, metrics, plots, training
from model.conversion_recipe import ConversionRecipe
from model.data.dataset import Dataset
from model.processes import Processes
from model.recipe_file import RecipeFile

NETWORK = "network.safetensors"


@dataclass(frozen=True)
class Runner:
    """Trains recipes, each run into a folder of its own.

    Every method raises UserError, OSError and KeyboardInterrupt as `model.training.train` does.

    Attributes:
        command: the command line, for the metrics.
        pictures: whether each run is drawn (`model.plots`).
        say: takes a line for the user.
        processes: as in `model.trainer.Trainer`.
    """

    command: str
    pictures: bool = True
    say: Callable[[str], None] = print
    processes: Processes = field(default_factory=Processes)

    def run(self, file: RecipeFile, dataset: Dataset, out: Path, *, resume: bool = False) -> dict[str, Any]:
        """Train once, into ``out``: the checkpoint, its metrics, which are returned, and the pictures."""

        def finish() -> dict[str, Any]:
            network, _ = self._network(file, dataset, out)
            if file.recipe.converts:
                save(network, out / NETWORK)
            log.finish(network, dataset)
            if self.pictures:
                plots.write(out, network=network)
            return log.content

        if isinstance(file.recipe, ConversionRecipe):
            file.recipe.check_balance()
        with self.processes.stopped_together():
            log = self.processes.from_first(lambda: metrics.Log(out / metrics.FILE, file, self.command, resume=resume))
            training.train(dataset, file.recipe, out, resume=resume, say=self.say, observe=log.epoch, processes=self.processes)
            return self.processes.from_first(finish)

    def _network(self, file: RecipeFile, dataset: Dataset, folder: Path) -> tuple[Network, int]:
        """The network of a run, and the frames on which the golden model has just been proven equal to it."""
        if not file.recipe.converts:
            return network_from_checkpoint(folder / training.CHECKPOINT)
        done = convert.by_recipe(folder / training.CHECKPOINT, dataset)
        self.say(convert.describe(done))
        return done.network, done.frames

    def run_or_resume(self, file: RecipeFile, dataset: Dataset, folder: Path) -> dict[str, Any]:
        """The metrics of the run in a folder: as found if it is finished, else after it was started or resumed.

        Raises:
            UserError: the folder holds a run by another recipe or on other data.
        """

        def found() -> tuple[dict[str, Any] | None, bool]:
            before = None
            if (folder / metrics.FILE).is_file():
                before = metrics.read(folder / metrics.FILE)
                check_same(before, file, dataset, folder)
                before = before if before["finished"] and (folder / training.CHECKPOINT).is_file() else None
            return before, training.resumable(file.recipe, folder)

        finished, resume = self.processes.from_first(found)
        if finished is not None:
            self.say(f"finished on {finished['date']}, nothing to do")
            return finished
        return self.run(file, dataset, folder, resume=resume)

    def reproduce(self, file: RecipeFile, dataset: Dataset, seeds: Sequence[int], out: Path) -> list[dict[str, Any]]:
        """Train a recipe with each seed into ``out/seed-S``, and export the best on validation as ``out/network.safetensors``.

        Returns:
            The metrics of each seed, as `run_or_resume` gives them.
        """
        runs = []
        for seed in seeds:
            folder = out / f"seed-{seed}"
            self.say(f"seed {seed}: {folder}")
            runs.append(self.run_or_resume(file.changed(seed=seed), dataset, folder))
        seed = best(runs)["seed"]

        def export() -> int:
            network, frames = self._network(file, dataset, out / f"seed-{seed}")
            save(network, out / NETWORK)
            return frames

        frames = self.processes.from_first(export)
        self.say(f"seed {seed} is the best on validation frames; golden model equal to it on all {frames} frames of the check set")
        return runs

    def reproduce_folds(self, file: RecipeFile, load: Callable[[str], Dataset], out: Path) -> list[dict[str, Any]]:
        """Train a recipe on each of its folds with its first seed, into ``out/fold-NAME``.

        Parameters:
            load: gives the data set of a name.

        Returns:
            The metrics of each fold, as `run_or_resume` gives them.
        """
        runs = []
        for name in file.folds:
            folder = out / f"fold-{Path(name).stem}"
            self.say(f"{name}: {folder}")
            dataset = self.processes.together(partial(load, name))
            runs.append(self.run_or_resume(replace(file, dataset=name), dataset, folder))
        return runs


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
        return score.silent_share <= metrics.most_silent(content), score.strict

    return max(runs, key=rank)


def mean_and_spread(runs: Sequence[dict[str, Any]], part: str) -> tuple[Scores, Scores | None]:
    """Mean of the scores over runs, and their sample standard deviation (of one run: None)."""
    rows = [metrics.scores_of(content, part) for content in runs]
    columns = {column.name: [getattr(row, column.name) for row in rows] for column in fields(Scores)}
    mean = Scores(**{name: statistics.fmean(column) for name, column in columns.items()})
    if len(rows) < 2:
        return mean, None
    return mean, Scores(**{name: statistics.stdev(column) for name, column in columns.items()})
