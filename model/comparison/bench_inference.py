"""``python -m model bench inference``: a network of this project beside one trained and run by BS4NN's rule."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from export import Network, UserError, reference, scores
from export.scores import Scores
from model.comparison import bs4nn
from model.comparison.bs4nn_training import Bs4nnRecipe, Trained
from model.comparison.evaluators import TimedNetwork, dense, evaluate
from model.comparison.event_driven import event_driven
from model.comparison.timing import alternate, clock
from model.datasets import Dataset
from model.encoding import as_spike_times
from model.training import spike_times

ROUNDS = 3
ALL_STEPS_FRAMES = 1000  # that take all steps: enough to time them
AUTHORS_STEPS, AUTHORS_HIDDEN_SPIKES = 113, 201  # means of the BS4NN authors' own network on MNIST


@dataclass(frozen=True)
class Side:
    """One network on the test frames; seconds are medians, per frame.

    Attributes:
        scores: accuracy under each tie rule, silence, steps, hidden spikes.
        input_spikes_by_decision_mean: input spikes that took part in the decision, per frame.
        dense_seconds: step by step, until the decision.
        dense_all_steps_seconds: step by step, through all steps whatever is decided.
        event_driven_seconds: event by event, until the decision.
    """

    scores: Scores
    input_spikes_by_decision_mean: float
    dense_seconds: float
    dense_all_steps_seconds: float
    event_driven_seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


ROWS: tuple[tuple[str, Callable[[Side], float], str, str], ...] = (  # name, value, format, which ratio
    ("strict accuracy, %", lambda side: side.scores.strict, ".2f", ""),
    ("first_index, %", lambda side: side.scores.first_index, ".2f", ""),
    ("lenient (ties are right), %", lambda side: side.scores.lenient, ".2f", ""),
    ("fired (silent frames are wrong), %", lambda side: side.scores.fired, ".2f", ""),
    ("silent frames, %", lambda side: side.scores.silent_share, ".2f", ""),
    ("steps taken, mean", lambda side: side.scores.steps_mean, ".2f", "steps"),
    ("hidden spikes by the decision, mean", lambda side: side.scores.hidden_spikes_by_decision_mean, ".1f", "hidden_spikes"),
    ("input spikes by the decision, mean", lambda side: side.input_spikes_by_decision_mean, ".1f", "input_spikes"),
    ("dense to the decision, µs per frame", lambda side: 1e6 * side.dense_seconds, ",.1f", "dense"),
    ("dense, all steps, µs per frame", lambda side: 1e6 * side.dense_all_steps_seconds, ",.1f", "dense_all_steps"),
    ("event-driven, µs per frame", lambda side: 1e6 * side.event_driven_seconds, ",.1f", "event_driven"),
)


@dataclass(frozen=True)
class InferenceBench:
    """Both sides, and what was run."""

    dataset: str
    sizes: tuple[int, ...]
    steps: int
    frames: int
    rounds: int
    bs4nn: Side
    ours: Side
    bs4nn_recipe: Bs4nnRecipe
    bs4nn_epoch: int
    bs4nn_validation: Scores

    @property
    def ratios(self) -> dict[str, float]:
        """BS4NN over this project."""
        theirs, ours = self.bs4nn, self.ours
        return {
            "steps": theirs.scores.steps_mean / ours.scores.steps_mean,
            "steps_of_authors_network": AUTHORS_STEPS / ours.scores.steps_mean,
            "hidden_spikes": theirs.scores.hidden_spikes_by_decision_mean / ours.scores.hidden_spikes_by_decision_mean,
            "hidden_spikes_of_authors_network": AUTHORS_HIDDEN_SPIKES / ours.scores.hidden_spikes_by_decision_mean,
            "input_spikes": theirs.input_spikes_by_decision_mean / ours.input_spikes_by_decision_mean,
            "dense": theirs.dense_seconds / ours.dense_seconds,
            "dense_all_steps": theirs.dense_all_steps_seconds / ours.dense_all_steps_seconds,
            "event_driven": theirs.event_driven_seconds / ours.event_driven_seconds,
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        constants = {"authors_steps": AUTHORS_STEPS, "authors_hidden_spikes": AUTHORS_HIDDEN_SPIKES}
        return asdict(self) | {"clock": clock(), "ratios": self.ratios} | constants

    def __str__(self) -> str:
        ratios = self.ratios
        lines = [
            f"{'-'.join(map(str, self.sizes))}, {self.frames:,} test frames of {self.dataset}; median of {self.rounds} rounds, {clock()}",
            f"BS4NN: {bs4nn.STEPS} steps, trained {self.bs4nn_recipe.epochs} epochs; this project: {self.steps} steps",
            f"{'':38}{'BS4NN':>14}{'this project':>14}{'ratio':>10}",
        ]
        for name, value, form, ratio in ROWS:
            cells = "".join(f"{format(value(side), form):>14}" for side in (self.bs4nn, self.ours))
            lines.append(f"{name:38}{cells}{f'{ratios[ratio]:9.1f}×' if ratio else ''}")
        if (self.dataset, self.sizes) == ("mnist", (784, 600, 10)):
            lines.append(
                f"BS4NN's authors' own network takes {AUTHORS_STEPS} steps and {AUTHORS_HIDDEN_SPIKES} hidden spikes: "
                f"{ratios['steps_of_authors_network']:.1f}× and {ratios['hidden_spikes_of_authors_network']:.1f}×"
            )
        return "\n".join(lines)


def check(network: Network, dataset: Dataset, frames: int | None, rounds: int) -> None:
    """Refuse what `measure` cannot compare, before anything is trained.

    Raises:
        UserError: the data set has no labelled test images, or another number of inputs or classes than the network; or a number is not
            positive.
    """
    if dataset.test_images is None or dataset.test_labels is None:
        raise UserError(f"{dataset.name} must have test images with labels to be compared on, but has none")
    classes = len(dataset.class_names)
    if (dataset.inputs, classes) != (network.inputs, network.outputs):
        raise UserError(
            f"the network has {network.inputs} inputs and {network.outputs} outputs, but {dataset.name} has {dataset.inputs} inputs "
            f"and {classes} classes"
        )
    for name, value in (("frames", frames), ("rounds", rounds)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be a positive integer, not {value}")


def measure(
    network: Network, trained: Trained, recipe: Bs4nnRecipe, dataset: Dataset, *, frames: int | None = None, rounds: int = ROUNDS
) -> InferenceBench:
    """Run both on the same test frames: each by both evaluators, turn about, after their results were found to be equal.

    Timed is the way from spike times to decisions, on chunks of frames; encoding, a look-up in a table on both sides, is not.

    Parameters:
        network: this project's.
        trained, recipe: BS4NN's.
        dataset: its test images are used.
        frames: how many of them, from the first on; None stands for all.
        rounds: rounds of one run of each.

    Raises:
        UserError: what `check` refuses.
    """
    check(network, dataset, frames, rounds)
    assert dataset.test_images is not None
    assert dataset.test_labels is not None
    labels = dataset.test_labels[:frames]
    times = as_spike_times(spike_times(dataset, "test", network.encoder, network.steps)[:frames], network.steps)
    sides = {
        "bs4nn": (bs4nn.timed(trained.layers), bs4nn.encode(dataset.test_images[:frames])),
        "ours": (TimedNetwork.of(network), times),
    }
    results = {name: _agreed(*side) for name, side in sides.items()}
    golden = reference.run(network, times.numpy())
    _must_be_equal(results["ours"].decisions, golden.decisions, "the evaluators and the golden model")
    functions: dict[tuple[str, str], Callable[[], object]] = {}
    for name, (timed, inputs) in sides.items():
        functions[name, "dense"] = partial(evaluate, dense, timed, inputs)
        functions[name, "event_driven"] = partial(evaluate, event_driven, timed, inputs)
        functions[name, "all"] = partial(evaluate, partial(dense, to_the_end=True), timed, inputs[:ALL_STEPS_FRAMES])
    seconds = alternate(dict(sorted(functions.items(), key=lambda item: item[0][1])), rounds)
    measured = {
        name: Side(
            scores=scores.score(results[name], labels),
            input_spikes_by_decision_mean=_input_spikes(*side, results[name]),
            dense_seconds=seconds[name, "dense"] / len(labels),
            dense_all_steps_seconds=seconds[name, "all"] / len(labels[:ALL_STEPS_FRAMES]),
            event_driven_seconds=seconds[name, "event_driven"] / len(labels),
        )
        for name, side in sides.items()
    }
    about = (Path(dataset.name).name, network.shape, network.steps, len(labels), rounds)
    return InferenceBench(*about, measured["bs4nn"], measured["ours"], recipe, trained.epoch, trained.validation)


def _agreed(network: TimedNetwork, times: Tensor) -> reference.Result:
    """What both evaluators give."""
    first, second = evaluate(dense, network, times), evaluate(event_driven, network, times)
    _must_be_equal(first.decisions, second.decisions, "both evaluators")
    if not all(np.array_equal(*pair) for pair in zip(first.spike_times, second.spike_times, strict=True)):
        raise RuntimeError("both evaluators must give the same spike times, but do not")
    return second


def _must_be_equal(first: reference.Decisions, second: reference.Decisions, who: str) -> None:
    if not all(np.array_equal(getattr(first, name), getattr(second, name)) for name in reference.DECISION_FIELDS):
        raise RuntimeError(f"{who} must give the same decisions, but do not")


def _input_spikes(network: TimedNetwork, times: Tensor, result: reference.Result) -> float:
    """Mean number of input spikes that had come to the outputs by the decision, on their way through the hidden layers."""
    latest = torch.from_numpy(result.decisions.step) - (len(network.weights) - 1) * network.delay
    return float(((times <= latest[:, None]) & (times < network.steps)).sum() / len(times))
