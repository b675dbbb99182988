"""Whole data sets through a PyTorch network, as arrays like the golden model's; and the choice of an operating point."""

import math
from dataclasses import asdict, dataclass

import numpy as np
from torch import Tensor

from export import reference
from model.layers import SingleSpikeNetwork

BATCH = 500  # frames worked on at a time: bounds the memory
NUMBERS = 1 << 23  # of one layer, in all steps, that are worked on at a time, likewise


def frames_at_a_time(numbers: int) -> int:
    """How many frames are worked on at a time, if the largest layer has so many numbers for each."""
    return min(BATCH, max(1, NUMBERS // numbers))


def run(network: SingleSpikeNetwork, times: Tensor) -> tuple[reference.Result, np.ndarray]:
    """The spikes of every layer and the decisions, as `export.reference.run` gives them, and the margins int32 (T, frames, outputs).

    Parameters:
        network: the network.
        times: spike times (frames, inputs).
    """
    device, size = network.layers[0].weights.device, frames_at_a_time(max(network.sizes))
    results, margins = [], []
    for at in range(0, max(1, len(times)), size):
        fired_at, found = network.run(times[at : at + size].to(device))
        margins.append(found.cpu().numpy().astype(np.int32))
        spike_times = tuple(layer.cpu().numpy().astype(np.int32) for layer in fired_at)
        results.append(reference.Result.from_spike_times(spike_times, decide(margins[-1]), len(found)))
    return reference.Result.concatenate(results), np.concatenate(margins, axis=1)


def decide(margins: np.ndarray) -> reference.Decisions:
    """The decisions that follow from the margins (T, frames, outputs) of every step [S5]."""
    steps, frames, _ = margins.shape
    fires = (margins >= 0).any(axis=2)  # (T, frames)
    silent = np.logical_not(fires.any(axis=0))
    step = np.where(silent, steps - 1, fires.argmax(axis=0))
    at_decision = margins[step, np.arange(frames)]
    return reference.Decisions(
        class_index=at_decision.argmax(axis=1).astype(np.int32),  # the lowest index on a tie
        step=step.astype(np.int32),
        margin=at_decision.max(axis=1).astype(np.int32),
        silent=silent,
    )


@dataclass(frozen=True)
class OperatingPoint:
    """Scores with one shift added to all output thresholds, as in `export.scores.Scores`."""

    shift: int
    strict: float
    silent_share: float
    steps_mean: float
    hidden_spikes_by_decision_mean: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def shift_curve(
    result: reference.Result, margins: np.ndarray, thresholds: np.ndarray, fan_in: int, labels: np.ndarray
) -> list[OperatingPoint]:
    """Operating points between speed, silence and accuracy: one for each shift of all output thresholds, up to ±2·√fan-in.

    Hidden layers do not see the output thresholds, so one run of the network serves all points.

    Parameters:
        result: of the unshifted network, as `run` gives it.
        margins: int32 (T, frames, outputs), likewise.
        thresholds: integers (outputs,), unshifted; shifted ones are clipped to ``-fan_in … fan_in + 1``.
        fan_in: inputs of the output layer.
        labels: integers (frames,).
    """
    reach = math.ceil(2 * math.sqrt(fan_in))
    spikes = hidden_spikes(result, len(margins))
    points = []
    for shift in range(-reach, reach + 1):
        change = np.clip(thresholds + shift, -fan_in, fan_in + 1) - thresholds
        points.append(operating_point(shift, decide(margins - change.astype(np.int32)), spikes, labels))
    return points


def operating_point(shift: int, decisions: reference.Decisions, spikes: np.ndarray, labels: np.ndarray) -> OperatingPoint:
    """The scores of decisions.

    Parameters:
        spikes: hidden spikes up to and with each step, integers (frames, T).
        labels: integers (frames,).
    """
    strict, silent = 100 * float((decisions.class_index == labels).mean()), 100 * float(decisions.silent.mean())
    hidden = float(spikes[np.arange(len(spikes)), decisions.step].mean())
    return OperatingPoint(shift, strict, silent, float((decisions.step + 1).mean()), hidden)


def hidden_spikes(result: reference.Result, steps: int) -> np.ndarray:
    """The number of hidden spikes up to and with each step, int64 (frames, T)."""
    frames = len(result)
    counts = np.zeros(frames * steps, np.int64)
    for events in result.events[:-1]:
        counts += np.bincount(events.frame * steps + events.step, minlength=len(counts))
    return counts.reshape(frames, steps).cumsum(axis=1)


def choose_shift(curve: list[OperatingPoint], max_silent: float) -> OperatingPoint:
    """The most accurate point with at most ``max_silent`` percent of silent frames, of equals the fastest; if none, the least silent."""
    allowed = [point for point in curve if point.silent_share <= max_silent]
    if not allowed:
        return min(curve, key=lambda point: (point.silent_share, -point.strict))
    return max(allowed, key=lambda point: (point.strict, -point.steps_mean))
