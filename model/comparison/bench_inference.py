"""``python -m model bench inference``: a network of this project beside one trained and run by BS4NN's rule."""

from collections.abc import Callable
from dataclasses import dataclass
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
from model.data.dataset import Dataset
from model.encoding import as_spike_times
from model.trainer import spike_times

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


@dataclass(frozen=True)
class Row:
    """A line of the table: name, unit, decimals, its value on either side, and which ratio stands beside it."""

    name: str
    unit: str
    decimals: int
    value: Callable[[Side], float]
    ratio: str = ""


ROWS = (
    Row("strict accuracy", "%", 2, lambda side: side.scores.strict),
    Row("first_index accuracy", "%", 2, lambda side: side.scores.first_index),
    Row("lenient accuracy (ties are right)", "%", 2, lambda side: side.scores.lenient),
    Row("fired accuracy (silence is wrong)", "%", 2, lambda side: side.scores.fired),
    Row("silent frames", "%", 2, lambda side: side.scores.silent_share),
    Row("steps taken, mean", "", 2, lambda side: side.scores.steps_mean, "steps"),
    Row("hidden spikes by the decision, mean", "", 1, lambda side: side.scores.hidden_spikes_by_decision_mean, "hidden_spikes"),
    Row("input spikes by the decision, mean", "", 1, lambda side: side.input_spikes_by_decision_mean, "input_spikes"),
    Row("dense to the decision, a frame", "µs", 1, lambda side: 1e6 * side.dense_seconds, "dense"),
    Row("dense through all steps, a frame", "µs", 1, lambda side: 1e6 * side.dense_all_steps_seconds, "dense_all_steps"),
    Row("event-driven to the decision, a frame", "µs", 1, lambda side: 1e6 * side.event_driven_seconds, "event_driven"),
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

    @property
    def title(self) -> str:
        return f"Inference beside BS4NN, {'-'.join(map(str, self.sizes))} on {self.dataset}"

    @property
    def about(self) -> str:
        """How it was measured, in words."""
        return (
            f"{self.frames:,} test frames; {clock()}, median of {self.rounds} rounds. BS4NN: {bs4nn.STEPS} steps, trained here for "
            f"{self.bs4nn_recipe.epochs} epochs, of which {self.bs4nn_epoch} was best on validation frames. "
            f"This project: {self.steps} steps."
        )

    @property
    def of_authors(self) -> bool:
        """Whether the figures of BS4NN's authors are for this network and data set."""
        return (self.dataset, self.sizes) == ("mnist", (784, 600, 10))

    def figures(self) -> list[dict[str, Any]]:
        """All figures, each with name, value and unit."""
        found, ratios = [], self.ratios
        for row in ROWS:
            for name, side in (("BS4NN", self.bs4nn), ("this project", self.ours)):
                found.append({"name": f"{row.name}, {name}", "value": row.value(side), "unit": row.unit})
            if row.ratio:
                found.append({"name": f"{row.name}, BS4NN / this project", "value": ratios[row.ratio], "unit": "×"})
        if self.of_authors:
            for name, theirs, ratio in (("steps taken", AUTHORS_STEPS, "steps"), ("hidden spikes", AUTHORS_HIDDEN_SPIKES, "hidden_spikes")):
                value = ratios[f"{ratio}_of_authors_network"]
                found.append({"name": f"{name}, {theirs} of BS4NN's authors' network / this project", "value": value, "unit": "×"})
        return found

    def __str__(self) -> str:
        ratios = self.ratios
        lines = [self.title, self.about, f"{'':42}{'BS4NN':>14}{'this project':>14}{'ratio':>10}"]
        for row in ROWS:
            cells = "".join(f"{row.value(side):14,.{row.decimals}f}" for side in (self.bs4nn, self.ours))
            ratio = f"{ratios[row.ratio]:9.1f}×" if row.ratio else ""
            lines.append(f"{row.name + (row.unit and ', ' + row.unit):42}{cells}{ratio}")
        if self.of_authors:
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
