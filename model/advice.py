"""Warnings about a training run, a line each, with advice."""

import numpy as np

from model import evaluation
from model.trainer import Trainer
from model.training_run import Epoch, TrainingRun

IDLE = 0.05  # of a hidden layer's neurons: the share from which it is worth a line


def on_data(trainer: TrainingRun) -> list[str]:
    """Before training: classes without frames, frames without spikes."""
    names = trainer.dataset.class_names
    present, held_out = (set(labels.unique().tolist()) for labels in (trainer.train.labels, trainer.validation.labels))
    lines = [
        f"no training frame has class {name!r}, so it cannot be learned: add frames of it, or leave the class out"
        for index, name in enumerate(names)
        if index not in present
    ]
    lines += [
        f"no validation frame has class {name!r}, so epoch and shift are chosen without it: hold out more frames with --validation"
        for index, name in enumerate(names)
        if index in present - held_out
    ]
    if not isinstance(trainer, Trainer):
        return lines
    frames, empty = len(trainer.train.times), int((trainer.train.times >= trainer.recipe.steps).all(1).sum())
    if empty:
        p_min = trainer.encoder.p_min
        mend = "leave them out" if p_min is None else f"lower p_min, which is {p_min}, or take more --steps, so that fainter inputs spike"
        share = f"{empty} of {frames} training frames ({100 * empty / frames:.1f} %)"
        lines.append(f"{share} have no input spike, so nothing tells their classes apart: {mend}")
    return lines


def on_epoch(trainer: TrainingRun, epoch: Epoch) -> list[str]:
    """After an epoch: a spiking network whose outputs never fire."""
    if not isinstance(trainer, Trainer):
        return []
    advice = "lower silent_start and silent_end in the recipe, or take more --steps"
    return [f"no output fired in any training frame of epoch {trainer.epoch}: {advice}"] if epoch.silent == 1 else []


def on_result(trainer: TrainingRun) -> list[str]:
    """At the end, on the validation frames: decisions all at step 0, outputs that never fire, hidden neurons that are constant."""
    if not isinstance(trainer, Trainer):
        return []
    result, _ = evaluation.run(trainer.network, trainer.validation.times)
    *hidden, outputs = result.events
    steps = trainer.recipe.steps
    lines = [
        f"the output of class {trainer.dataset.class_names[index]!r} never fires on the validation frames: "
        "train for more epochs, or allow fewer silent frames with --max-silent"
        for index in np.flatnonzero(np.bincount(outputs.neuron, minlength=outputs.shape[2]) == 0)
    ]
    if steps > 1 and not result.decisions.step.any():
        lines.append(
            "every validation frame is decided at step 0, before later spikes have come: "
            "train for more epochs, or with a higher silent_start"
        )
    for number, (events, layer) in enumerate(zip(hidden, trainer.network.layers, strict=False), 1):
        frames, _, neurons = events.shape
        channels = layer.outputs  # of a map; of a dense layer, the neurons
        counts = np.bincount(events.neuron % channels * steps + events.step, minlength=channels * steps).reshape(channels, steps)
        never = int((counts.sum(axis=1) == 0).sum())
        always = int((counts == frames * (neurons // channels)).any(axis=1).sum())
        if never + always > IDLE * channels:
            shares = (
                f"{never} ({100 * never / channels:.1f} %) never fire on the validation frames, {always} ({100 * always / channels:.1f} %)"
            )
            lines.append(
                f"of the {channels} {'neurons' if neurons == channels else 'channels'} of hidden layer {number}, {shares} always fire "
                "at the same step, so they tell nothing: train for more epochs, or with a smaller network"
            )
    return lines
