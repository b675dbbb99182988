"""The training loop: runs the epochs, saves the state after each, warns, and keeps what an interrupted run gave."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from export import scores
from export.errors import prefixed
from export.files import remove_unfinished
from model import advice
from model.conversion_recipe import ConversionRecipe
from model.conversion_trainer import ConversionTrainer
from model.data.dataset import Dataset
from model.pretraining import Pretraining
from model.processes import Processes
from model.recipes import Options, Recipe
from model.resume import load_state, save_state
from model.trainer import Trainer
from model.training_run import Epoch, TrainingRun

Observe = Callable[[TrainingRun, Epoch, float], None]
CHECKPOINT, RESUME, PRETRAINED = "checkpoint.safetensors", "resume.safetensors", "pretrained.safetensors"


def train(
    dataset: Dataset,
    recipe: Options,
    out: str | Path,
    *,
    resume: bool = False,
    say: Any = print,
    observe: Observe | None = None,
    processes: Processes | None = None,
) -> dict[str, scores.Scores]:
    """Train, and write ``out/checkpoint.safetensors``; ``out/resume.safetensors`` after every epoch, and, while it pretrains,
    ``out/pretrained.safetensors``.

    Ctrl-C keeps what the finished epochs gave: the checkpoint is written, but for those of pretraining, then KeyboardInterrupt raised
    again.

    Parameters:
        resume: go on after the last finished epoch of ``out/resume.safetensors``, or of ``out/pretrained.safetensors`` if it did not
            come further, exactly as if never interrupted.
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

    def warn(lines: list[str]) -> None:
        for line in lines:
            say(f"warning: {line}")

    warn(advice.on_data(trainer))
    if isinstance(trainer, Trainer) and trainer.recipe.pretrain:
        resume = _pretrain(trainer, dataset, out, resume, say, observe)
    if resume:
        load_state(out / RESUME, trainer)
        say(f"resumed after epoch {trainer.epoch} of {recipe.epochs}")
    interrupted = False
    try:
        for name, epoch in _epochs(trainer, out / RESUME, observe):
            say(f"{name}: {trainer.describe(epoch)}")
            warn(advice.on_epoch(trainer, epoch))
    except KeyboardInterrupt:
        if trainer.best is None:
            kept = "pretraining is kept, --resume goes on" if resumable(recipe, out) else "there is nothing to keep"
            say(f"interrupted before the first epoch ended: {kept}")
            raise
        interrupted = True
        say(f"interrupted: keeping epoch {trainer.best.epoch}, the best of {trainer.epoch}; --resume goes on")
    result = processes.from_first(lambda: trainer.finish(out / CHECKPOINT))
    warn(processes.from_first(lambda: advice.on_result(trainer)))
    if interrupted:
        raise KeyboardInterrupt
    return result


def resumable(recipe: Options, out: Path) -> bool:
    """Whether a folder has the state of a run, or of its pretraining."""
    return (out / RESUME).is_file() or (isinstance(recipe, Recipe) and recipe.pretrain > 0 and (out / PRETRAINED).is_file())


def start(dataset: Dataset, recipe: Options, processes: Processes) -> TrainingRun:
    """The run of a recipe by its method, before the first epoch.

    Raises:
        UserError: the data set cannot be trained on with this recipe.
    """
    if isinstance(recipe, ConversionRecipe):
        return ConversionTrainer(dataset, recipe, processes)
    assert isinstance(recipe, Recipe)
    return Trainer(dataset, recipe, processes)


def _epochs(trainer: TrainingRun, path: Path, observe: Observe | None) -> Iterator[tuple[str, Epoch]]:
    """Run the epochs that are left, keeping the state in a file after each; its name, and what it gave."""
    processes = trainer.processes

    def keep(epoch: Epoch, seconds: float) -> None:
        if observe is not None:
            observe(trainer, epoch, seconds)
        save_state(path, trainer)

    while trainer.epoch < trainer.recipe.epochs:
        name = f"epoch {trainer.epoch + 1}/{trainer.recipe.epochs}"
        hidden = None if processes.first else True  # None: where there is no terminal
        with tqdm(total=len(trainer.train.labels), desc=name, unit=" frames", leave=False, disable=hidden) as bar:
            began = time.perf_counter()
            epoch = trainer.run_epoch(bar)
        processes.from_first(partial(keep, epoch, time.perf_counter() - began))
        yield name, epoch


def _pretrain(trainer: Trainer, dataset: Dataset, out: Path, resume: bool, say: Any, observe: Observe | None) -> bool:
    """Pretrain a run, or go on with that; whether it is to be resumed from a later state."""
    if resume and (out / RESUME).is_file():
        return True
    with prefixed("pretraining"):
        before = Pretraining(dataset, trainer.recipe, trainer.processes)
        if resume:
            load_state(out / PRETRAINED, before)
    if resume:
        say(f"resumed after pretraining epoch {before.epoch} of {before.recipe.epochs}")
    try:
        for name, epoch in _epochs(before, out / PRETRAINED, observe):
            (out / RESUME).unlink(missing_ok=True)  # of a run before, from which this one must not be resumed
            say(f"pretraining, {name}: {before.describe(epoch)}")
    except KeyboardInterrupt:
        kept = f"epoch {before.epoch} is kept, --resume goes on" if before.epoch else "there is nothing to keep"
        say(f"interrupted in pretraining: {kept}")
        raise
    before.hand_over(trainer)
    return False


def _clear(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in (CHECKPOINT, RESUME, PRETRAINED):
        remove_unfinished(out / name)
