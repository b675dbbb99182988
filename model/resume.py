"""The state of a training run between two epochs, in one file; a resumed run equals an uninterrupted one bit for bit."""

from pathlib import Path
from typing import Any

import torch

from export import UserError
from export.artifact import check_format, get, read_tensors
from export.errors import prefixed
from model import checkpoint, evaluation
from model.recipe_file import with_defaults
from model.training_run import Best, TrainingRun

FORMAT, VERSION = "firstspike-resume", 1


def save_state(path: str | Path, trainer: TrainingRun) -> None:
    """Write the state of a run after an epoch, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    assert trainer.best is not None
    tensors = {f"network.{name}": tensor for name, tensor in trainer.network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in trainer.best.parameters.items()}
    if trainer.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in trainer.average.state_dict().items()}
    for index, moments in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
    tensors["generator"] = trainer.generator.get_state()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "recipe": trainer.recipe.as_dict(),
        "dataset_digest": trainer.dataset.digest,
        "epoch": trainer.epoch,
        "best_epoch": trainer.best.epoch,
        "point": trainer.best.point.as_dict(),
        "curve": [point.as_dict() for point in trainer.best.curve],
    }
    checkpoint.save(path, {name: tensor.cpu().numpy() for name, tensor in tensors.items()}, header)


def load_state(path: str | Path, trainer: TrainingRun) -> None:
    """Take a fresh run to the state in the file.

    Raises:
        UserError: there is no such file, it is damaged, or it belongs to another data set or recipe.
    """
    tensors, header = trainer.processes.from_first(lambda: _read(path, trainer))
    try:
        _restore(tensors, header, trainer)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: must be the whole state of a training run: {error}") from None


def _read(path: str | Path, trainer: TrainingRun) -> tuple[dict[str, Any], dict[str, Any]]:
    if not Path(path).is_file():
        raise UserError(f"{path}: must be there to resume from, but is missing: train without --resume first")
    tensors, header = read_tensors(path)
    with prefixed(path):
        check_format(header, FORMAT, VERSION)
        _check_same(header, trainer)
    return tensors, header


def _check_same(header: dict[str, Any], trainer: TrainingRun) -> None:
    recipe = with_defaults(get(header, "recipe", dict))
    for name, value in trainer.recipe.training().items():
        if recipe.get(name) != value:
            raise UserError(f"to resume, {name} must be {recipe.get(name)!r} as before, not {value!r}")
    if header.get("dataset_digest") != trainer.dataset.digest:
        before, now = header.get("dataset_digest"), trainer.dataset.digest
        raise UserError(f"to resume, the data set must be the same, with digest {before}, not {now}")


def _restore(tensors: dict[str, Any], header: dict[str, Any], trainer: TrainingRun) -> None:
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "best": {}, "average": {}, "optimizer": {}}
    for name, array in tensors.items():
        group, _, rest = name.partition(".")
        if group in parts:
            parts[group][rest] = torch.from_numpy(array)
    trainer.network.load_state_dict(parts["network"])
    if trainer.average is not None:
        trainer.average.load_state_dict(parts["average"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, moment = name.partition(".")
        moments.setdefault(int(index), {})[moment] = tensor
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    trainer.generator.set_state(torch.from_numpy(tensors["generator"]))
    curve = [evaluation.OperatingPoint(**point) for point in get(header, "curve", list)]
    point = evaluation.OperatingPoint(**get(header, "point", dict))
    trainer.best = Best(get(header, "best_epoch", int), point, curve, parts["best"])
    trainer.epoch = get(header, "epoch", int)
