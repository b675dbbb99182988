"""Accuracy under each tie rule, silence, steps and spikes [S6]."""

from dataclasses import asdict, dataclass

import numpy as np

from export.arrays import array
from export.errors import UserError
from export.reference import Result, Summary


@dataclass(frozen=True)
class Scores:
    """Scores of a set of frames; the first five in percent.

    Attributes:
        strict: the decision is right: largest margin among all outputs at ``t*``, lowest index on a tie.
        first_index: the earliest output, lowest index on a tie, is right; silent frames use the margin.
        lenient: the label is among the earliest outputs; silent frames use the margin.
        fired: ``strict`` with silent frames counted wrong.
        silent_share: frames in which no output spiked.
        steps_mean: mean of the steps taken, ``t* + 1``.
        hidden_spikes_by_decision_mean: mean number of hidden spikes with ``t <= t*``, per frame.
    """

    strict: float
    first_index: float
    lenient: float
    fired: float
    silent_share: float
    steps_mean: float
    hidden_spikes_by_decision_mean: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def score(result: Result | Summary, labels: np.ndarray) -> Scores:
    """Score the decisions against integer labels (frames,).

    Raises:
        UserError: there are no frames, or not one label per frame.
    """
    summary = result.summary if isinstance(result, Result) else result
    decisions, output_times = summary.decisions, summary.output_times
    labels, frames = check_labels(labels, *output_times.shape), len(output_times)
    strict = decisions.class_index == labels
    earliest = output_times == output_times.min(axis=1, keepdims=True)
    first_index = np.where(decisions.silent, strict, earliest.argmax(axis=1) == labels)
    lenient = np.where(decisions.silent, strict, earliest[np.arange(frames), labels])
    return Scores(
        strict=_percent(strict),
        first_index=_percent(first_index),
        lenient=_percent(lenient),
        fired=_percent(strict & ~decisions.silent),
        silent_share=_percent(decisions.silent),
        steps_mean=float((decisions.step + 1).mean()),
        hidden_spikes_by_decision_mean=float(summary.hidden_spikes.mean()),
    )


def check_labels(labels: np.ndarray, frames: int, classes: int) -> np.ndarray:
    """The labels, integers (frames,), if frames can be scored against them.

    Raises:
        UserError: there are no frames, or not one label per frame.
    """
    labels = array("labels", labels)
    if frames == 0 or labels.shape != (frames,):
        raise UserError(f"scores need at least one frame and one label per frame, not {frames} frames and labels of shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise UserError(f"labels must be integers, not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(f"labels must be from 0 to {classes - 1}, not {labels.min()} to {labels.max()}")
    return labels


def _percent(hits: np.ndarray) -> float:
    return 100 * float(hits.mean())
