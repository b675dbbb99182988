"""Scores of a stored network on a data set: a checkpoint in PyTorch, an exported network in the golden model."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export import Encoder, Network, UserError, load, reference, scores
from export.artifact import read_class_names, read_tensors
from export.check import CHECKPOINT_FORMAT
from export.events import Events
from export.files import atomic_write
from model import checkpoint, evaluation
from model.data.dataset import Dataset
from model.encoding import as_spike_times
from model.evaluation import OperatingPoint
from model.layers import SingleSpikeNetwork
from model.trainer import spike_times


@dataclass(frozen=True, eq=False)
class StoredNetwork:
    """A checkpoint or an artifact.

    Attributes:
        trained: in PyTorch; None of a network that is of no kind that `model.trainer` trains.
        golden: for the golden model, if the file is an artifact.
        encoder: how it takes images.
        class_names: one per output.
    """

    trained: SingleSpikeNetwork | None
    golden: Network | None
    encoder: Encoder
    class_names: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path, device: torch.device | None = None) -> "StoredNetwork":
        """Read a file; its header tells which it is. A checkpoint computes on ``device``.

        Raises:
            UserError: it is neither, or damaged.
            OSError: the file cannot be read.
        """
        if read_tensors(path)[1].get("format") == CHECKPOINT_FORMAT:
            trained, encoder, header = checkpoint.read(path)
            return cls(trained.to(device or "cpu"), None, encoder, read_class_names(header))
        network = load(path)
        try:
            twin: SingleSpikeNetwork | None = checkpoint.to_torch(network)
        except UserError:  # the golden model takes more kinds of networks
            twin = None
        return cls(twin, network, network.encoder, network.class_names)

    @property
    def by(self) -> str:
        """``golden model`` or ``PyTorch``."""
        return "golden model" if self.golden else "PyTorch"

    def _network(self) -> Network | SingleSpikeNetwork:
        network = self.golden or self.trained
        assert network is not None
        return network

    def frames(self, dataset: Dataset, part: str) -> tuple[np.ndarray | Events, np.ndarray]:
        """Spike times int32 (frames, inputs), or events, and labels of the ``train`` or ``test`` part.

        Raises:
            UserError: there is no such part, it has no labels, or it does not fit the network.
        """
        labels = getattr(dataset, f"{part}_labels")
        network = self._network()
        if dataset.inputs != (inputs := network.inputs):
            raise UserError(f"the network takes {inputs} inputs, but {dataset.name} has {dataset.inputs}")
        dataset = dataset.arranged(network.maps[0] if isinstance(network, Network) else network.input_map)
        times = spike_times(dataset, part, self.encoder, network.steps)
        if labels is None:
            raise UserError(f"{dataset.name} must have labels for its {part} part, y_{part}, to be scored, but has none")
        if len(dataset.class_names) > len(self.class_names):
            raise UserError(f"the network has {len(self.class_names)} classes, but {dataset.name} has {len(dataset.class_names)}")
        return times, labels

    def run(self, times: np.ndarray | Events) -> reference.Summary:
        """What scores need of these frames."""
        if self.golden:
            return reference.summarize(self.golden, times)
        assert self.trained is not None
        assert isinstance(times, np.ndarray)
        return evaluation.run(self.trained, as_spike_times(times, self.trained.steps))[0].summary

    def shift_curve(self, times: np.ndarray | Events, labels: np.ndarray) -> list[OperatingPoint]:
        """The operating points on these frames, by PyTorch.

        Raises:
            UserError: neurons spike more than once, or maps are not as training has them.
        """
        if self.trained is None or isinstance(times, Events):
            which = "a network that was trained by single spikes"
            raise UserError(f"the shift curve must be of {which}; of others, convert keeps it in the provenance")
        last = self.trained.layers[-1]
        result, margins = evaluation.run(self.trained, as_spike_times(times, self.trained.steps))
        return evaluation.shift_curve(result, margins, last.integer_thresholds().cpu().numpy(), last.inputs, labels)


def evaluate(
    path: Path, dataset: Dataset, part: str, device: torch.device | None = None
) -> tuple[StoredNetwork, scores.Scores, dict[str, Any]]:
    """The stored network, its scores, and the same as a JSON object with what they were measured on.

    Raises:
        UserError: the file is damaged, or data set and network do not fit.
        OSError: the file cannot be read.
    """
    subject = StoredNetwork.read(path, device)
    times, labels = subject.frames(dataset, part)
    score = scores.score(subject.run(times), labels)
    data = {"dataset": Path(dataset.name).name, "dataset_digest": dataset.digest, "part": part, "frames": len(labels)}
    return subject, score, {"network": path.name, "by": subject.by} | data | score.as_dict()


def write_curve(curve: list[OperatingPoint], path: Path) -> Path:
    """Write the curve as CSV to ``path`` and as a plot beside it; the plot's path."""
    from model import drawing, plots  # drawing takes a second to load

    rows = [point.as_dict() for point in curve]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return drawing.save(lambda: plots.operating_points(rows, 0), path.with_suffix(".svg"))
