"""``python -m model bench inference``: a network of this project beside one trained and run by BS4NN's rule."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export import Network, UserError, reference, scores
from export.scores import Scores
from export.text import dashed
from model.comparison import bs4nn
from model.comparison.bs4nn_training import Bs4nnRecipe, Trained
from model.comparison.evaluators import TimedNetwork, dense, evaluate
from model.comparison.event_driven import event_driven
from model.comparison.measuring import Comparison, Row, clock, interleave
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


def rows(theirs: Side, ours: Side) -> list[Row]:
    """The table's rows."""
    quantities: list[tuple[str, str, int, Callable[[Side], float], bool]] = [
        ("strict accuracy", "%", 2, lambda side: side.scores.strict, False),
        ("first_index accuracy", "%", 2, lambda side: side.scores.first_index, False),
        ("lenient accuracy (ties are right)", "%", 2, lambda side: side.scores.lenient, False),
        ("fired accuracy (silence is wrong)", "%", 2, lambda side: side.scores.fired, False),
        ("silent frames", "%", 2, lambda side: side.scores.silent_share, False),
        ("steps taken, mean", "", 2, lambda side: side.scores.steps_mean, True),
        ("hidden spikes by the decision, mean", "", 1, lambda side: side.scores.hidden_spikes_by_decision_mean, True),
        ("input spikes by the decision, mean", "", 1, lambda side: side.input_spikes_by_decision_mean, True),
        ("dense to the decision, a frame", "µs", 1, lambda side: 1e6 * side.dense_seconds, True),
        ("dense through all steps, a frame", "µs", 1, lambda side: 1e6 * side.dense_all_steps_seconds, True),
        ("event-driven to the decision, a frame", "µs", 1, lambda side: 1e6 * side.event_driven_seconds, True),
    ]
    return [Row(name, unit, decimals, value(theirs), value(ours), ratio) for name, unit, decimals, value, ratio in quantities]


def of_authors(dataset: str, shape: tuple[int, ...], ours: Scores) -> list[tuple[str, float, str]]:
    """The authors' own network over this project's, if their figures are for this network and data set."""
    if (dataset, shape) != ("mnist", (784, 600, 10)):
        return []
    whose = "of BS4NN's authors' network / this project"
    return [
        (f"steps taken, {AUTHORS_STEPS} {whose}", AUTHORS_STEPS / ours.steps_mean, "×"),
        (f"hidden spikes, {AUTHORS_HIDDEN_SPIKES} {whose}", AUTHORS_HIDDEN_SPIKES / ours.hidden_spikes_by_decision_mean, "×"),
    ]


def check(network: Network, dataset: Dataset) -> None:
    """Refuse what `measure` cannot compare, before anything is trained.

    Raises:
        UserError: the data set has no labelled test images, or another number of inputs or classes than the network.
    """
    if dataset.test_images is None or dataset.test_labels is None:
        raise UserError(f"{dataset.name} must have test images with labels to be compared on, but has none")
    classes = len(dataset.class_names)
    if (dataset.inputs, classes) != (network.inputs, network.outputs):
        raise UserError(
            f"the network has {network.inputs} inputs and {network.outputs} outputs, but {dataset.name} has {dataset.inputs} inputs "
            f"and {classes} classes"
        )


def measure(
    network: Network, trained: Trained, recipe: Bs4nnRecipe, dataset: Dataset, *, frames: int | None = None, rounds: int = ROUNDS
) -> Comparison:
    """Run both on the same test frames by both evaluators, in turns, after their results were found to be equal.

    Timed is the way from spike times to decisions; encoding, a look-up in a table on both sides, is not.

    Parameters:
        network: this project's.
        trained, recipe: BS4NN's.
        dataset: its test images are used.
        frames: how many of them, from the first on; None stands for all.
        rounds: rounds of one run of each.

    Raises:
        UserError: what `check` refuses.
    """
    check(network, dataset)
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
    seconds = interleave(dict(sorted(functions.items(), key=lambda item: item[0][1])), rounds)
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
    name = Path(dataset.name).name
    about = (
        f"{len(labels):,} test frames; {clock()}, median of {rounds} rounds. BS4NN: {bs4nn.STEPS} steps, trained here for {recipe.epochs} "
        f"epochs, of which {trained.epoch} was best on validation frames. This project: {network.steps} steps."
    )
    title = f"Inference beside BS4NN, {dashed(network.shape)} on {name}"
    theirs, ours = measured["bs4nn"], measured["ours"]
    return Comparison(title, about, "BS4NN", rows(theirs, ours), of_authors(name, network.shape, ours.scores))


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
