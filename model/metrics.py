"""``metrics.json``, a run's log beside its checkpoint, written after every epoch and at the end."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export import Network, UserError, digest
from export.artifact import check_format, get
from export.errors import prefixed
from export.files import remove_unfinished
from export.scores import Scores
from export.store import read_json, write_json
from model.data.dataset import Dataset
from model.machine import commit, machine, now
from model.recipe_file import RecipeFile, with_defaults
from model.structure import notation

if TYPE_CHECKING:
    from model.training_run import Epoch, TrainingRun

FILE = "metrics.json"
FORMAT, VERSION = "firstspike-metrics", 1
PARTS = ("validation", "test")
LOSSES = ("source", "conversion", "rounding", "exit")
CONVERSION = ("losses", "settling_steps", "unsettled_share")  # what is logged of a conversion, the latter two of the code `ternary`
FIELDS: dict[str, type] = {
    "finished": bool, "recipe": str, "choices": dict, "seed": int, "dataset": str, "command": str, "date": str, "machine": dict,
    "wall_seconds": float, "epochs": list,
}  # fmt: skip
FIELDS_FINISHED: dict[str, type] = {
    "dataset_digest": str, "best_epoch": int, "shift": int, "shift_curve": list, "scores": dict, "digest": str,
}  # fmt: skip


class Log:
    """Writes the metrics of one run; ``docs/model.md`` lists them.

    Attributes:
        content: what is in the file.

    Parameters:
        path: the file.
        file: what is trained, and by what recipe.
        command: the command line that does it.
        resume: go on with the epochs that the file has.

    Raises:
        UserError: to resume, there is a file, but it is no log of a run.
    """

    def __init__(self, path: Path, file: RecipeFile, command: str, *, resume: bool) -> None:
        self.path, self.began = path, time.perf_counter()
        remove_unfinished(path)
        before = read(path) if resume and path.is_file() else {}
        self.seconds_before = before.get("wall_seconds", 0.0)
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "finished": False,
            "recipe": file.name,
            "choices": file.recipe.as_dict(),
            "seed": file.recipe.seed,
            "dataset": Path(file.dataset).name,
            "command": command,
            "date": before.get("date", now()),
            "sessions": before.get("sessions", 0) + 1,
            "commit": commit(),
            "machine": before.get("machine", {}),
            "wall_seconds": 0.0,
            "seconds_per_epoch": before.get("seconds_per_epoch"),
            "frames_per_second": before.get("frames_per_second"),
            "epochs": before.get("epochs", []),
            "pretraining": before.get("pretraining", []),
        }

    def epoch(self, trainer: "TrainingRun", epoch: "Epoch", seconds: float) -> None:
        """Log an epoch of the run, or of its pretraining; ``seconds`` include its validation.

        It replaces what was logged of it, and of later epochs, whose seconds no longer count.
        """
        self.content["machine"] = machine(str(trainer.processes.device)) | {"processes": trainer.processes.count}
        records = [record for record in self.content[trainer.log] if record["epoch"] < trainer.epoch]
        self.seconds_before -= sum(record["seconds"] for record in self.content[trainer.log][len(records) :])
        records.append(
            {
                "epoch": trainer.epoch,
                "seconds": seconds,
                "loss": epoch.loss,
                "strict": 100 * epoch.accuracy,
                "silent_share": 100 * epoch.silent,
                "steps_mean": epoch.steps,
                "validation": epoch.validation.as_dict(),
            }
        )
        self.content[trainer.log] = records
        if records := self.content["epochs"]:
            mean = sum(record["seconds"] for record in records) / len(records)
            self.content |= {"seconds_per_epoch": mean, "frames_per_second": len(trainer.train.labels) / mean}
        self._write()

    def finish(self, network: Network, dataset: Dataset) -> None:
        """Log the result; ``network`` as exported from the checkpoint."""
        provenance = network.provenance
        self.content |= {"finished": True, "dataset_digest": dataset.digest, "network": notation(network)}
        self.content["image_shape"] = None if dataset.image_shape is None else list(dataset.image_shape)
        self.content |= {name: provenance[name] for name in ("best_epoch", "shift", "shift_curve")}
        self.content["scores"] = {part: provenance["scores"][part] for part in PARTS if part in provenance["scores"]}
        self.content["digest"] = digest(network)
        if converted := provenance.get("conversion"):
            self.content["conversion"] = {name: converted[name] for name in CONVERSION if name in converted}
        if not self.content["machine"]:  # all epochs were there before, but no metrics
            self.content["machine"] = machine()
        self._write()

    def _write(self) -> None:
        self.content["wall_seconds"] = self.seconds_before + time.perf_counter() - self.began
        write_json(self.path, self.content)


def read(path: Path) -> dict[str, Any]:
    """Metrics out of a file.

    Raises:
        UserError: its content is not valid.
        OSError: it cannot be read.
    """
    content = read_json(path)
    with prefixed(path):
        check_format(content, FORMAT, VERSION)
        for name, kind in FIELDS.items():
            get(content, name, kind)
        if content["finished"]:
            for name, kind in FIELDS_FINISHED.items():
                get(content, name, kind)
            for part in content["scores"]:
                scores_of(content, part)
                losses_of(content, part)
    return content


def choices_of(content: dict[str, Any]) -> dict[str, Any]:
    """A run's options; those that are newer than the file are at their defaults."""
    return with_defaults(content["choices"])


def most_silent(content: dict[str, Any]) -> float:
    """The most silent frames that a run's shift may leave, in percent; 100 where the method sets no limit."""
    return choices_of(content).get("max_silent", 100.0)


def scores_of(content: dict[str, Any], part: str) -> Scores:
    """The scores of the ``validation`` or ``test`` part of a finished run.

    Raises:
        UserError: they are not there, or not whole.
    """
    values = content["scores"].get(part)
    names = list(Scores.__dataclass_fields__)
    if not isinstance(values, dict) or sorted(values) != sorted(names) or not all(isinstance(value, float) for value in values.values()):
        raise UserError(f"scores must have a part '{part}' with the numbers {', '.join(names)}, not {values!r:.60}")
    return Scores(**values)


def losses_of(content: dict[str, Any], part: str) -> dict[str, float] | None:
    """The losses of a finished run's conversion, as in `model.convert.Converted`; None if none is logged.

    Raises:
        UserError: they are not whole.
    """
    if "conversion" not in content:
        return None
    values = get(get(content, "conversion", dict), "losses", dict).get(part)
    if not isinstance(values, dict) or sorted(values) != sorted(LOSSES) or not all(isinstance(value, float) for value in values.values()):
        raise UserError(f"conversion must have losses of part '{part}' with the numbers {', '.join(LOSSES)}, not {values!r:.60}")
    return values
