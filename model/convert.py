"""The act of converting: balance, choose the shift of the readout on validation frames, export, and prove the golden model equal."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from export import Network, UserError, reference, scores
from export.neuron import MAX_FRACTION
from export.text import counted
from model import conversion, conversion_checkpoint, evaluation
from model.conversion import CALIBRATION_FRAMES, Conversion, balancing_frames
from model.conversion_checkpoint import Source
from model.conversion_export import check, export_neurons, to_network
from model.conversion_recipe import CONVERSION
from model.conversion_trainer import Images, split
from model.data.dataset import Dataset
from model.evaluation import OperatingPoint
from model.inference_loss import refined
from model.multispike import Spiking

SHIFTS = 100  # points of the curve between speed and accuracy, about


class Outcome(NamedTuple):
    """What frames give at the output, unshifted.

    Attributes:
        margins: (T, frames, classes), whole unless the network is not.
        events: hidden spikes up to and with each step, int64 (frames, T).
    """

    margins: np.ndarray
    events: np.ndarray

    def strict(self, labels: np.ndarray) -> float:
        """The accuracy after the last step, in percent."""
        return 100 * float((self.margins[-1].argmax(axis=1) == labels).mean())

    def scores(self, shift: int, labels: np.ndarray) -> scores.Scores:
        """Scores with the shift added to the output thresholds."""
        margins = self.margins - shift
        decisions = evaluation.decide(margins)
        reached = margins >= 0
        times = np.where(reached.any(axis=0), reached.argmax(axis=0), len(margins)).astype(np.int32)
        return scores.score(reference.Summary(decisions, times, self.events[np.arange(len(times)), decisions.step]), labels)


def outcome(spiking: Spiking, images: Tensor) -> Outcome:
    """Run images uint8 (frames, …); the coefficients are not kept."""
    parts = []
    for frames in spiking.batches(len(images)):
        run = spiking.run(images[frames])
        parts.append((spiking.margins(run.sums), run.events().numpy()))
    return Outcome(np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts]))


def shift_curve(found: Outcome, labels: np.ndarray) -> list[OperatingPoint]:
    """Operating points between speed and accuracy: shifts from where every frame is decided at step 0 to where none is before the last."""
    best = found.margins.max(axis=2)  # (T, frames)
    shifts = np.quantile(best, np.linspace(0, 1, SHIFTS + 1), method="lower").astype(np.int64)
    curve = []
    for shift in np.unique(np.append(shifts, int(best.max()) + 1)).tolist():
        curve.append(evaluation.operating_point(shift, evaluation.decide(found.margins - shift), found.events, labels))
    return curve


def choose_shift(curve: list[OperatingPoint], least: float) -> OperatingPoint:
    """The earliest point of those that are at least so accurate, in percent; of equals the least silent."""
    allowed = [point for point in curve if point.strict >= least]
    return min(allowed, key=lambda point: (point.steps_mean, point.silent_share))


@dataclass(frozen=True)
class Converted:
    """A network to export, and how it compares.

    Attributes:
        network: with all of this in its provenance.
        losses: by part, ``source``, ``conversion``, ``rounding`` and ``exit``: the source's accuracy, and what it loses, in points: by
            the spikes, by whole thresholds and biases, and by deciding before the last step.
        frames: of the check set, on all of which golden model and PyTorch are equal.
        exact: every margin there is the trained network's own, and every count on the first ``counted`` frames.
    """

    network: Network
    losses: dict[str, dict[str, float]]
    frames: int
    exact: bool
    counted: int


def balancing_activations(source: Source, train: Images, balances: Sequence[str]) -> list[Tensor]:
    """Activations of training frames, if any of the balances needs them."""
    if not set(balances) & {"max", "percentile"}:
        return []
    return conversion.activations(source.network, train.images[: balancing_frames(source.network)])


def folded(source: Source, train: Images, how: Conversion, found: Sequence[Tensor], *, whole: bool = True) -> Spiking:
    """The spiking network before its readout is shifted; parameters as in `model.conversion.fold`."""
    spiking = conversion.fold(how, source.network, found, whole=whole)
    return conversion.calibrated(how, spiking, source.network, train.images[: min(CALIBRATION_FRAMES, balancing_frames(source.network))])


def parts_of(source: Source, dataset: Dataset) -> tuple[Images, dict[str, Images]]:
    """Training frames to balance on; validation frames and, with labels, test frames to score.

    Raises:
        UserError: these are not the data that the source was trained on.
    """
    if dataset.digest != (digest := source.provenance.get("dataset_digest")):
        raise UserError(f"data set must be the one of the training, with digest {digest}, not {dataset.digest}")
    dataset = dataset.arranged(source.network.input_map)
    train, validation = split(dataset, source.recipe)
    parts = {"validation": validation}
    if dataset.test_images is not None and dataset.test_labels is not None:
        parts["test"] = Images.of(dataset.test_images, dataset.test_labels)
    return train, parts


def convert(source: Source, dataset: Dataset, how: Conversion) -> Converted:
    """Convert a trained network.

    Raises:
        UserError: the source cannot be converted like that, the data are others, or the golden model differs from PyTorch.
    """
    if how.code not in export_neurons():
        raise UserError(f"code must be one of {', '.join(export_neurons())}, not {how.code!r}: a baseline cannot be exported")
    train, parts = parts_of(source, dataset)
    if how.inference_loss:
        source = source._replace(network=refined(source.network, train.images[: balancing_frames(source.network)], how.inference_loss)[0])
    found = balancing_activations(source, train, (how.balance,))
    how = with_fraction(source, train, how, found, parts["validation"])
    spiking, real = (folded(source, train, how, found, whole=whole) for whole in (True, False))
    outcomes = {part: outcome(spiking, frames.images) for part, frames in parts.items()}
    labels = {part: frames.labels.numpy() for part, frames in parts.items()}
    curve = shift_curve(outcomes["validation"], labels["validation"])
    point = choose_shift(curve, outcomes["validation"].strict(labels["validation"]))
    spiking = spiking._replace(thresholds=spiking.thresholds + point.shift)
    result = {part: outcomes[part].scores(point.shift, labels[part]) for part in parts}
    losses = {}
    for part, frames in parts.items():
        trained = source.provenance["scores"][part]["strict"]
        unrounded, whole = outcome(real, frames.images).strict(labels[part]), outcomes[part].strict(labels[part])
        losses[part] = {
            "source": trained, "conversion": trained - unrounded, "rounding": unrounded - whole, "exit": whole - result[part].strict,
        }  # fmt: skip
    provenance = source.provenance | {
        "scores": {part: score.as_dict() for part, score in result.items()},
        "shift": point.shift,
        "shift_curve": [point.as_dict() for point in curve],
        "conversion": asdict(replace(how, levels=how.levels_of(source.network), fraction=spiking.fraction)) | {"losses": losses},
    }
    if how.code == "ternary":
        unsettled = spiking.unsettled(torch.from_numpy(source.images))
        counts = len(source.images) * spiking.neurons
        provenance["conversion"] |= {"unsettled_share": 100 * unsettled[0] / max(1, counts), "settling_steps": unsettled.index(0)}
    network = to_network(spiking, how, source, provenance)
    exact = conversion.is_exact(how, source)
    check(network, spiking, source, exact)
    return Converted(network, losses, len(source.images), exact, source.counted)


def with_fraction(source: Source, train: Images, how: Conversion, found: Sequence[Tensor], validation: Images) -> Conversion:
    """The conversion with the fewest fractional bits that cost nothing on validation frames, or, where all do, those that cost least."""
    if how.fraction is not None:
        return how
    labels, accuracies = validation.labels.numpy(), {}
    unrounded = outcome(folded(source, train, how, found, whole=False), validation.images).strict(labels)
    for fraction in range(MAX_FRACTION + 1):
        spiking = folded(source, train, replace(how, fraction=fraction), found)
        if spiking.fraction not in accuracies:
            accuracies[spiking.fraction] = outcome(spiking, validation.images).strict(labels)
        if accuracies[spiking.fraction] >= unrounded:
            return replace(how, fraction=spiking.fraction)
    return replace(how, fraction=max(accuracies, key=lambda fraction: accuracies[fraction]))


def by_recipe(checkpoint: str | Path, dataset: Dataset) -> Converted:
    """A run's network, converted as its recipe says.

    Raises:
        UserError: as `convert`, or the file is damaged.
        OSError: it cannot be read.
    """
    source = conversion_checkpoint.read(checkpoint)
    return convert(source, dataset, Conversion(**choices_of(source)))


def choices_of(source: Source) -> dict[str, Any]:
    """What a recipe says of the conversion."""
    return {name: getattr(source.recipe, name) for name in CONVERSION}


def describe(done: Converted) -> str:
    """Lines on a conversion: what it lost, and what was proven equal."""
    how = done.network.provenance["conversion"]
    lines = [f"{how['code']}, T = {how['steps']}, L = {how['levels']}, balance {how['balance']}"]
    if how["inference_loss"]:
        lines[0] += f", ratios after {counted(how['inference_loss'], 'round')} of the rate inference loss"
    lines[0] += ", bias spread" * how["spread"] + (f", F = {how['fraction']}" if how["fraction"] else "")
    for part, losses in done.losses.items():
        score = done.network.provenance["scores"][part]
        lines.append(
            f"{part + ':':11} source {losses['source']:.2f} %, lost to the conversion {losses['conversion']:.2f}, to rounding "
            f"{losses['rounding']:.2f}, to early exit {losses['exit']:.2f}; {score['strict']:.2f} % in {score['steps_mean']:.2f} steps "
            f"with {score['hidden_spikes_by_decision_mean']:.1f} hidden events"
        )
    if how["code"] == "ternary":
        lines.append(
            f"{how['unsettled_share']:.3f} % of the hidden counts of the check set are not settled after the last step, "
            f"all of them after {how['settling_steps']} more without input"
        )
    equal = "golden model equal to PyTorch, event for event"
    if done.exact:
        equal += ", and to the trained network, count for count" + f" on the first {done.counted}" * (done.counted < done.frames) + ","
    return "\n".join([*lines, f"{equal} on all {done.frames} frames of the check set"])
