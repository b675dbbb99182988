"""All options of a training run."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, cast

from export import UserError
from model.structure import Stage, parse

Fits = Callable[[Any], bool]


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class Options:
    """What the recipes of all methods have: layers, epochs, a seed, a batch size, a learning rate, augmentation, and held-out frames.

    Attributes:
        converts: the trained network has no time, and is converted to a spiking one.
        usual: sizes of the hidden layers where neither ``hidden`` nor ``structure`` says another.
        hidden: sizes of the hidden layers, all dense; none is allowed. By default ``usual``, or none where there is a ``structure``.
        structure: the layers with convolutions and pools, and the number of classes, as in `model.structure`, instead of ``hidden``.
    """

    converts: ClassVar[bool] = False
    usual: ClassVar[tuple[int, ...]]
    hidden: tuple[int, ...]
    structure: str | None
    epochs: int
    seed: int
    batch_size: int
    learning_rate: float
    augment: float
    elastic: float
    mirror: bool
    validation: float
    average: float

    def _check(self, integers: Iterable[tuple[str, int, int | None]], numbers: Iterable[tuple[Iterable[str], Fits, str]]) -> None:
        """Refuse values that are out of range.

        Parameters:
            integers: names with the least and the greatest value; None: no greatest.
            numbers: names, what their values must be, and that in words.
        """
        if self.hidden is None:
            object.__setattr__(self, "hidden", self.usual if self.structure is None else ())
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if any(not _is_integer(size) or size < 1 for size in self.hidden):
            raise UserError(f"hidden must be positive integers, not {list(self.hidden)}")
        for name, least, most in (("epochs", 1, None), ("seed", 0, (1 << 32) - 1), ("batch_size", 1, None), *integers):
            value = getattr(self, name)
            if not _is_integer(value) or value < least or (most is not None and value > most):
                up_to = "" if most is None else f" and at most {most}"
                raise UserError(f"{name} must be an integer, at least {least}{up_to}, not {value!r}")
        common: list[tuple[Iterable[str], Fits, str]] = [
            (("learning_rate", "validation"), lambda value: 0 < value < math.inf, "a positive number"),
            (("augment", "elastic"), lambda value: 0 <= value < math.inf, "a number of pixels, at least 0"),
            (("average",), lambda value: 0 <= value < math.inf, "a number of epochs, at least 0"),
        ]
        for names, fits, what in (*common, *numbers):
            for name in names:
                if not fits(value := getattr(self, name)):
                    raise UserError(f"{name} must be {what}, not {value!r}")
        for name, off in (("elastic", "0"), ("mirror", "false")):
            if getattr(self, name) and not self.augment:
                raise UserError(f"{name} must be {off} where augment is 0")
        if self.structure is not None:
            if self.hidden:
                raise UserError(f"hidden must be left out where there is a structure, not {list(self.hidden)}")
            parse(self.structure)

    def stages(self, classes: int) -> tuple[Stage, ...]:
        """The layers, with that of so many outputs.

        Raises:
            UserError: the structure is for another number of classes.
        """
        if self.structure is None:
            return (*map(Stage, self.hidden), Stage(classes))
        stages = parse(self.structure)
        if stages[-1].channels != classes:
            raise UserError(f"structure must end with the data set's {classes} classes, not with {stages[-1]}")
        return stages

    def as_dict(self) -> dict[str, Any]:
        """All options, as JSON and TOML have them."""
        return {field.name: getattr(self, field.name) for field in fields(cast("Any", self))} | {"hidden": list(self.hidden)}

    def training(self) -> dict[str, Any]:
        """The options that a trained network depends on."""
        return self.as_dict()

    def changed(self, **changes: Any) -> Self:
        """A copy with other options.

        Raises:
            UserError: an option is unknown, or a value is out of range.
        """
        if unknown := sorted(set(changes) - set(self.as_dict())):
            raise UserError(f"{unknown[0]} must not be given: it is no option of this recipe's method")
        return cast("Self", replace(cast("Any", self), **changes))

    def held_out(self, frames: int) -> int:
        """The number of training frames held out for validation.

        Raises:
            UserError: nothing would be left on one side.
        """
        held_out = round(self.validation * frames) if self.validation < 1 else int(self.validation)
        if not 0 < held_out < frames:
            raise UserError(f"validation must leave frames on both sides: {held_out} of {frames} training frames would be held out")
        return held_out


@dataclass(frozen=True)
class Recipe(Options):
    """The hyperparameters of a training run by the method ``bstdg``: single spikes.

    Attributes:
        hidden, structure: as in `Options`.
        steps: ``T``, the number of time steps.
        epochs: passes over the training frames.
        pretrain: passes before that without time, as in `model.pretraining`.
        seed: of the split, the initial weights, the order of frames and the augmentation.
        batch_size: frames per update.
        learning_rate: Adam's, for the latent weights; falls to 0 along half a cosine.
        threshold_rate: the same for the thresholds, in units of potential; 0: only the level of the outputs is trained, by homeostasis,
            and hidden ones follow the mean with ``normalise``.
        p_min: the encoder's smallest intensity that spikes; None stands for its default.
        augment: reach in pixels of `model.augmentation.RandomDistortion`, anew for each frame and epoch; 0: off.
        elastic: reach in pixels of its elastic displacements.
        mirror: whether augmentation swaps left and right, too.
        drop_spikes: share of the inputs that are kept from spiking, anew for each frame and epoch.
        validation: training frames held out to choose epoch and shift: a share below 1, or a number of frames.
        average: as in `model.training_run.TrainingRun`, in epochs; 0: off.
        max_silent: the most silent frames that the chosen shift may leave, in percent of the validation frames.
        silent_start, silent_end: percent of silent frames that the output thresholds are held at, at the first and last update.
        window: half-width of the gradient's window, in units of √fan-in.
        gradient_at: the step that a hidden neuron's gradient is taken at, as in `model.layers.SingleSpikeLayer`.
        normalise: whether hidden layers take the gradient of batch normalisation of their potentials, as in
            `model.layers.SingleSpikeLayer`.
        loss_scale: logits per unit of potential, in units of 1/√fan-in of the output layer.
        fire, wait: weights of the two parts of `model.bstdg.timing_loss`.

    Raises:
        UserError: a value is out of range.
    """

    usual: ClassVar[tuple[int, ...]] = (128,)
    hidden: tuple[int, ...] = cast("tuple[int, ...]", None)
    structure: str | None = None
    steps: int = 8
    epochs: int = 30
    pretrain: int = 0
    seed: int = 0
    batch_size: int = 256
    learning_rate: float = 0.002
    threshold_rate: float = 0.05
    p_min: int | None = None
    augment: float = 0.0
    elastic: float = 0.0
    mirror: bool = False
    drop_spikes: float = 0.0
    validation: float = 0.1
    average: float = 0.0
    max_silent: float = 5.0
    silent_start: float = 40.0
    silent_end: float = 4.0
    window: float = 0.5
    gradient_at: str = "peak"
    normalise: bool = False
    loss_scale: float = 3.7
    fire: float = 0.0
    wait: float = 0.0

    def __post_init__(self) -> None:
        self._check(
            [("steps", 1, 1 << 15), ("pretrain", 0, None)],
            [
                (("window", "loss_scale"), lambda value: 0 < value < math.inf, "a positive number"),
                (("threshold_rate", "fire", "wait"), lambda value: 0 <= value < math.inf, "a number, at least 0"),
                (("drop_spikes",), lambda value: 0 <= value < 1, "a share from 0 to below 1"),
                (("max_silent", "silent_start", "silent_end"), lambda value: 0 < value <= 100, "in percent, above 0 and at most 100"),
            ],
        )

    def silent_target(self, progress: float) -> float:
        """The share of silent frames (0 … 1) to hold at ``progress`` (0 … 1): exponential, and constant over the last fifth."""
        progress = min(1.0, progress / 0.8)
        return (self.silent_start / 100) ** (1 - progress) * (self.silent_end / 100) ** progress
