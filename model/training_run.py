"""What every training run does, epoch by epoch, whatever it trains: the updates, their schedule, and the choice of the epoch."""

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from export import UserError, scores
from model import evaluation
from model.data.dataset import Dataset
from model.processes import Processes
from model.recipes import Options


class Epoch(NamedTuple):
    """What an epoch gave: means over its training frames (shares 0 … 1), and the chosen shift on the validation frames."""

    loss: float
    accuracy: float
    silent: float
    steps: float
    validation: evaluation.OperatingPoint


@dataclass
class Best:
    """The epoch to keep, its unshifted parameters, and the curve of operating points on the validation frames with the chosen one."""

    epoch: int
    point: evaluation.OperatingPoint
    curve: list[evaluation.OperatingPoint]
    parameters: dict[str, torch.Tensor]


class Labelled(Protocol):
    """Frames with labels."""

    @property
    def labels(self) -> Tensor:
        """int64 (frames,)."""


class TrainingRun(ABC):
    """A training run, epoch by epoch. Everything follows from data set, recipe and, to the last bit, the number of threads.

    With ``recipe.average`` ``E``, the parameters that are scored and kept are an exponential mean over the updates, each of which has
    the weight ``1 / (1 + E · updates per epoch)``: of latent weights, whose signs are the ±1 ones, and of all others alike (after
    B. T. Polyak and A. B. Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30(4), 1992, with
    forgetting).

    Parameters:
        processes: where it computes, and what shares the work; by default this process on the CPU.

    Attributes:
        network: the network in its current state.
        optimizer: its optimizer; each group of parameters has the rate ``peak``, from which it falls to 0 along half a cosine.
        recipe: all options.
        train, validation: the frames.
        epoch: finished epochs.
        best: the best epoch so far; None before the first.
        log: the list of `model.metrics` that its epochs go into.
    """

    log: ClassVar[str] = "epochs"

    network: nn.Module
    optimizer: torch.optim.Optimizer
    recipe: Options
    train: Labelled
    validation: Labelled

    def __init__(self, dataset: Dataset, recipe: Options, processes: Processes | None = None) -> None:
        self.dataset, self.recipe = dataset, recipe
        self.processes = processes or Processes()
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.epoch = 0
        self.best: Best | None = None

    @cached_property
    def average(self) -> AveragedModel | None:
        """The exponential mean of the parameters; None: they are not averaged."""
        if not self.recipe.average:
            return None
        batches = -(-len(self.train.labels) // self.recipe.batch_size)
        kept = 1 - 1 / (1 + self.recipe.average * batches)
        return AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(kept))

    @property
    def scored(self) -> Any:
        """The network that is scored and kept."""
        return self.network if self.average is None else self.average.module

    @abstractmethod
    def describe(self, epoch: Epoch) -> str:
        """A line on an epoch."""

    @abstractmethod
    def finish(self, path: str | Path) -> dict[str, scores.Scores]:
        """Write the best epoch as a checkpoint; its scores on the validation frames and, if there are labels, the test frames.

        Raises:
            OSError: the file cannot be written.
        """

    @abstractmethod
    def _inputs(self, batch: Tensor, part: slice) -> Tensor:
        """What the network gets of a part of a batch of indices of training frames."""

    @abstractmethod
    def _update(self, inputs: Tensor, labels: Tensor, progress: float) -> list[float]:
        """One step of the optimizer on this process's frames of a batch; sums over all of its frames of loss, hits, silence, steps."""

    @abstractmethod
    def _validate(self, epoch: int) -> evaluation.OperatingPoint:
        """Score the validation frames, and `_keep` the epoch."""

    @abstractmethod
    def _rank(self, point: evaluation.OperatingPoint) -> Any:
        """What epochs are compared by."""

    def run_epoch(self, bar: tqdm) -> Epoch:
        """One pass over the training frames, and the choice of epoch and shift.

        Raises:
            UserError: the loss is not a number any more.
        """
        order = torch.randperm(len(self.train.labels), generator=self.generator).to(self.processes.device)
        batches = order.split(self.recipe.batch_size)
        totals, seen = np.zeros(4), 0
        for number, batch in enumerate(batches):
            progress = (self.epoch * len(batches) + number + 1) / (self.recipe.epochs * len(batches))
            part = self.processes.share(len(batch))
            totals += self._update(self._inputs(batch, part), self.train.labels[batch[part]], progress)
            if self.average is not None:
                self.average.update_parameters(self.network)
            seen += len(batch)
            loss, accuracy, silent, steps = totals / seen
            bar.set_postfix_str(
                f"loss {loss:.3f}, {100 * accuracy:.1f} % right, {100 * silent:.1f} % silent, {steps:.2f} steps", refresh=False
            )
            bar.update(len(batch))
        point = self._validate(self.epoch + 1)
        if self.processes.count > 1:
            self.processes.check_same("the SHA-256 of all parameters", self._fingerprint())
        self.epoch += 1
        loss, accuracy, silent, steps = (totals / seen).tolist()
        return Epoch(loss, accuracy, silent, steps, point)

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise UserError(
                f"the loss must stay a number, but is {loss} in epoch {self.epoch + 1}: "
                f"try a --learning-rate below {self.recipe.learning_rate}"
            )

    def _schedule(self, progress: float) -> float:
        """Set the rates for an update; the factor of their peaks."""
        factor = (1 + math.cos(math.pi * progress)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        return factor

    def _keep(self, epoch: int, point: evaluation.OperatingPoint, curve: list[evaluation.OperatingPoint]) -> None:
        """Keep the epoch if none before did better (of equals, the latest)."""
        if self.best is None or self._rank(point) >= self._rank(self.best.point):
            parameters = {name: tensor.clone() for name, tensor in self.scored.state_dict().items()}
            self.best = Best(epoch, point, curve, parameters)

    def _fingerprint(self) -> str:
        parameters = (tensor.cpu().numpy().tobytes() for tensor in self.network.state_dict().values())
        return hashlib.sha256(b"".join(parameters)).hexdigest()

    def _provenance(self, result: dict[str, scores.Scores]) -> dict[str, Any]:
        """What a checkpoint says of its run."""
        assert self.best is not None
        return {
            "dataset": Path(self.dataset.name).name,
            "dataset_digest": self.dataset.digest,
            "split": self.dataset.split,
            "seed": self.recipe.seed,
            "recipe": self.recipe.as_dict(),
            "epochs": self.epoch,
            "best_epoch": self.best.epoch,
            "shift": self.best.point.shift,
            "shift_curve": [point.as_dict() for point in self.best.curve],
            "scores": {part: score.as_dict() for part, score in result.items()},
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": str(self.processes.device),
            "processes": self.processes.count,
        }
