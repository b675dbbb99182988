"""All options of a network that is trained to be converted, and of its conversion."""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from export import UserError
from export.network import MAX_STEPS
from export.recode import CODES
from export.reset_neurons import MAX_LEVELS
from model.recipes import Options

METHOD = "conversion"
NORMS = ("batch", "l1", "linf")
PRECISIONS = ("float32", "bfloat16")
CLIPS = ("trained", "rate-norm", "none")
BALANCES = ("trained", "max", "percentile", "rate-norm")
CONVERSION = ("code", "steps", "balance", "calibration", "inference_loss", "spread")  # options that training does not depend on


@dataclass(frozen=True)
class ConversionRecipe(Options):
    """The hyperparameters of the method ``conversion``: a network with ±1 weights is trained, then converted to a spike code.

    Attributes:
        hidden, structure: as in `Options`.
        levels: ``L``, the greatest count of a hidden neuron.
        bits: upper bits of the 8-bit intensities that the network sees.
        norm: the normalisation of sums: ``batch``, ``l1`` or ``linf``, as in `model.normalisation.Normalisation`.
        clip: how activations are bounded: ``trained``, ``rate-norm`` or ``none``, as in `model.quantized.QuantizedLayer`.
        quantised: whether hidden activations are whole counts in training already.
        integer: whether thresholds and biases are whole in the forward pass of training already.
        bias: whether hidden neurons have one; without it, a potential grows evenly, which the codes ``rate`` and ``ternary`` need.
        precision: of sums and activations in training, ``float32`` or ``bfloat16``, as in `model.quantized_layers.QuantizedLayer`;
            ``bfloat16`` takes half the time where the processor has it.
        code, steps, balance, calibration, inference_loss, spread: what the trained network is converted to, as in
            `model.conversion.Conversion`.
        epochs: passes over the training frames.
        seed: of the split, the initial weights, the order of frames and the augmentation.
        batch_size: frames per update.
        learning_rate: Adam's; falls to 0 along half a cosine.
        augment: reach in pixels of `model.augmentation.RandomDistortion`, anew for each frame and epoch; 0: off.
        elastic: reach in pixels of its elastic displacements.
        shifts: whether augmentation is by whole pixels only: shifts.
        mirror: whether augmentation swaps left and right, too.
        drop_inputs: share of the inputs that are 0, anew for each frame and epoch.
        smoothing: share of the target that goes to all classes alike (label smoothing).
        validation: training frames held out to choose epoch and shift: a share below 1, or a number of frames.
        average: as in `model.training_run.TrainingRun`, in epochs; 0: off.

    Raises:
        UserError: a value is out of range, or two do not go together.
    """

    converts: ClassVar[bool] = True
    usual: ClassVar[tuple[int, ...]] = (256,)
    hidden: tuple[int, ...] = cast("tuple[int, ...]", None)
    structure: str | None = None
    levels: int = 3
    bits: int = 4
    norm: str = "batch"
    clip: str = "trained"
    quantised: bool = True
    integer: bool = True
    bias: bool = True
    precision: str = "float32"
    code: str = "graded"
    steps: int = 1
    balance: str = "trained"
    calibration: int = 0
    inference_loss: int = 0
    spread: bool = False
    epochs: int = 30
    seed: int = 0
    batch_size: int = 256
    learning_rate: float = 0.002
    augment: float = 0.0
    elastic: float = 0.0
    shifts: bool = False
    mirror: bool = False
    drop_inputs: float = 0.0
    smoothing: float = 0.0
    validation: float = 0.1
    average: float = 0.0

    def __post_init__(self) -> None:
        self._check(
            [("levels", 1, MAX_LEVELS), ("bits", 1, 8), ("steps", 1, MAX_STEPS), ("calibration", 0, None), ("inference_loss", 0, None)],
            [(("drop_inputs", "smoothing"), lambda value: 0 <= value < 1, "a share from 0 to below 1")],
        )
        for name, choices in (("norm", NORMS), ("clip", CLIPS), ("precision", PRECISIONS), ("code", CODES), ("balance", BALANCES)):
            if (value := getattr(self, name)) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if self.integer and not self.quantised:
            raise UserError("integer must be false where quantised is false")
        if self.quantised and self.clip == "none":
            raise UserError("quantised must be false where clip is 'none'")
        if self.precision == "bfloat16" and not self.quantised:
            raise UserError("quantised must be true where precision is 'bfloat16'")
        if self.inference_loss and (self.clip, self.balance, self.quantised) != ("rate-norm", "rate-norm", False):
            raise UserError(
                "clip and balance must be 'rate-norm' and quantised false where inference_loss is above 0, "
                f"not {self.clip!r}, {self.balance!r} and {str(self.quantised).lower()}"
            )

    def check_balance(self) -> None:
        """Refuse a balance that the trained network cannot have.

        Raises:
            UserError: it is one.
        """
        if self.balance == "rate-norm" and self.clip != "rate-norm":
            raise UserError(f"balance must be another than 'rate-norm' where clip is {self.clip!r}")
        if self.balance == "trained" and self.clip == "none":
            raise UserError("balance must be max or percentile where clip is 'none', not 'trained'")

    def as_dict(self) -> dict[str, Any]:
        return {"method": METHOD} | super().as_dict()

    def training(self) -> dict[str, Any]:
        """Without those of the conversion: one training serves them all."""
        return {name: value for name, value in self.as_dict().items() if name not in CONVERSION}
