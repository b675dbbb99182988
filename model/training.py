"""The training loop: runs the epochs, saves the state after each, warns, and keeps what an interrupted run gave."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from export import scores
from export.files import remove_unfinished
from model import advice
from model.conversion_recipe import ConversionRecipe
from model.conversion_trainer import ConversionTrainer
from model.data.dataset import Dataset
from model.processes import Processes
from model.recipes import Options, Recipe
from model.resume import load_state, save_state
from model.trainer import Trainer
from model.training_run import Epoch, TrainingRun

CHECKPOINT, RESUME = "checkpoint.safetensors", "resume.safetensors"


def train(
    dataset: Dataset,
    recipe: Options,
    out: str | Path,
    *,
    resume: bool = False,
    say: Any = print,
    observe: Callable[[TrainingRun, Epoch, float], None] | None = None,
    processes: Processes | None = None,
) -> dict[str, scores.Scores]:
    """Train, and write ``out/checkpoint.safetensors``; ``out/resume.safetensors`` after every epoch.

    Ctrl-C keeps what the finished epochs gave: the checkpoint is written, then KeyboardInterrupt raised again.

    Parameters:
        resume: go on after the last finished epoch of ``out/resume.safetensors``, exactly as if never interrupted.
        say: takes a line for the user.
        observe: takes the run, what an epoch gave, and the seconds that it took, before the state after that epoch is saved.
        processes: as in `TrainingRun`. Only the first writes, and only there ``observe`` is called.

    Raises:
        UserError: data set and recipe do not fit, there is nothing to resume, or the loss is not a number any more.
        OSError: a file cannot be read or written.
        KeyboardInterrupt: the user stopped the training.
    """
    out = Path(out)
    processes = processes or Processes()
    processes.from_first(lambda: _clear(out))  # what cannot be written is better known before the work
    for what, value in (("the recipe", recipe.as_dict()), ("the data set's digest", dataset.digest), ("PyTorch", torch.__version__)):
        processes.check_same(what, value)
    trainer = processes.together(lambda: start(dataset, recipe, processes))
    if resume:
        load_state(out / RESUME, trainer)
        say(f"resumed after epoch {trainer.epoch} of {recipe.epochs}")

    def warn(lines: list[str]) -> None:
        for line in lines:
            say(f"warning: {line}")

    def keep(epoch: Epoch, seconds: float) -> None:
        if observe is not None:
            observe(trainer, epoch, seconds)
        save_state(out / RESUME, trainer)

    warn(advice.on_data(trainer))
    interrupted = False
    try:
        while trainer.epoch < recipe.epochs:
            name = f"epoch {trainer.epoch + 1}/{recipe.epochs}"
            hidden = None if processes.first else True  # None: where there is no terminal
            with tqdm(total=len(trainer.train.labels), desc=name, unit=" frames", leave=False, disable=hidden) as bar:
                began = time.perf_counter()
                epoch = trainer.run_epoch(bar)
            processes.from_first(partial(keep, epoch, time.perf_counter() - began))
            say(f"{name}: {trainer.describe(epoch)}")
            warn(advice.on_epoch(trainer, epoch))
    except KeyboardInterrupt:
        if trainer.best is None:
            say("interrupted before the first epoch ended: there is nothing to keep")
            raise
        interrupted = True
        say(f"interrupted: keeping epoch {trainer.best.epoch}, the best of {trainer.epoch}; --resume goes on")
    result = processes.from_first(lambda: trainer.finish(out / CHECKPOINT))
    warn(processes.from_first(lambda: advice.on_result(trainer)))
    if interrupted:
        raise KeyboardInterrupt
    return result


def start(dataset: Dataset, recipe: Options, processes: Processes) -> TrainingRun:
    """The run of a recipe by its method, before the first epoch.

    Raises:
        UserError: the data set cannot be trained on with this recipe.
    """
    if isinstance(recipe, ConversionRecipe):
        return ConversionTrainer(dataset, recipe, processes)
    assert isinstance(recipe, Recipe)
    return Trainer(dataset, recipe, processes)


def _clear(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in (CHECKPOINT, RESUME):
        remove_unfinished(out / name)
