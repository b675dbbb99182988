"""From a trained network to a spiking one: threshold balancing, whole numbers, the shift of the readout, and the proof that all are equal.

A hidden neuron of the source gives an activation ``a = clip((S + b) / θ)``, with ``b`` and ``θ`` of `model.quantized`. Balancing chooses
the activation ``λ`` that the greatest count ``L`` stands for, so that a spike is worth ``λ / L``. With what a spike of the layer before is
worth as ``u`` (a spike of the input: 1), its sum is ``S / u``, and the spiking neuron has::

    θ' = max(1, round(θ · λ / (u · L)))      b' = round(b / u)      start = b' + ⌊θ'/2⌋, or b'

or all of them times ``2^F`` before they are rounded, as fixed-point numbers. A bias that is spread is not in the start: ``b / (u · T)`` is
added in every step.

All spikes of a layer must be worth the same, since ±1 weights cannot undo what differs by neuron. Balancing by neuron is offered
nevertheless; what follows then takes the mean for all, which changes the function.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from export import UserError
from export.arrays import is_integer
from export.network import MAX_STEPS
from export.neuron import MAX_FRACTION
from export.reset_neurons import MAX_LEVELS
from model import multispike
from model.conversion_checkpoint import Source
from model.conversion_recipe import BALANCES, CODES
from model.multispike import RULES, Spiking, SpikingLayer
from model.quantized import QuantizedNetwork

PER = ("layer", "neuron")
UNQUANTISED_LEVELS = 15  # L of graded neurons where the source has real activations: words of 4 bits
PERCENTILE = 99.9
CALIBRATION_FRAMES = 1500  # training frames, at most, that starts are calibrated on
BALANCING_FRAMES = 5000  # training frames, at most, that maximum and percentile are taken over
BALANCING_NUMBERS = 1 << 25  # inputs and activations of the frames of both, at most: fewer frames of large networks


@dataclass(frozen=True)
class Conversion:
    """What a network is converted to, and how.

    Attributes:
        code: the neurons' rule, one of ``CODES`` (or a baseline of `model.multispike`, which cannot be exported).
        steps: ``T``.
        levels: ``L``; None: for ``rate`` ``T``, else as the source was trained, or, where its activations are real, ``T`` for
            ``ternary`` and ``UNQUANTISED_LEVELS`` for ``graded``.
        balance: how ``λ`` is chosen: ``trained``, the source's clip; ``max`` or ``percentile`` of the activations of training frames,
            over the layer or by neuron (of a map, by channel); ``rate-norm``, the clip of a source that was trained with rate norm layers.
        percentile: of ``balance`` ``percentile``.
        per: ``layer`` or ``neuron``.
        half: start at ``⌊θ/2⌋``; otherwise at 0.
        calibration: rounds of bias calibration, 0 or more: see `calibrated`.
        inference_loss: rounds of the rate inference loss, 0 or more, for the balance ``rate-norm``: see `model.inference_loss`.
        spread: deal the bias out evenly over the steps; otherwise it is part of the start. With ``F`` of at least ``log2 T``, up to 8,
            which loses nothing where ``T`` is a power of two and the bias whole.
        fraction: ``F``, 0 to 8: fractional bits of thresholds, starts and biases; where these are whole without, it stays 0. None: the
            fewest that cost nothing on validation frames, which `model.convert` finds.

    Raises:
        UserError: a value is not as said.
    """

    code: str = "graded"
    steps: int = 1
    levels: int | None = None
    balance: str = "trained"
    percentile: float = PERCENTILE
    per: str = "layer"
    half: bool = True
    calibration: int = 0
    inference_loss: int = 0
    spread: bool = False
    fraction: int | None = 0

    def __post_init__(self) -> None:
        for name, choices in (("code", (*CODES, *multispike.BASELINES)), ("balance", BALANCES), ("per", PER)):
            if (value := getattr(self, name)) not in choices:
                raise UserError(f"{name} must be one of {', '.join(CODES if name == 'code' else choices)}, not {value!r}")
        for name, value, most in (("steps (T)", self.steps, MAX_STEPS), ("levels (L)", self.levels, MAX_LEVELS)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
                raise UserError(f"{name} must be an integer from 1 to {most}, not {value!r}")
        if not (self.fraction is None or (is_integer(self.fraction) and 0 <= self.fraction <= MAX_FRACTION)):
            raise UserError(f"fraction must be auto or an integer from 0 to {MAX_FRACTION}, not {self.fraction!r}")
        for name in ("calibration", "inference_loss"):
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, int) or value < 0:
                raise UserError(f"{name} must be a number of rounds, at least 0, not {value!r}")
        if self.inference_loss and self.balance != "rate-norm":
            raise UserError(f"inference_loss must be 0 for the balance {self.balance!r}, not {self.inference_loss}: it is for 'rate-norm'")
        if not 0 < self.percentile <= 100:
            raise UserError(f"percentile must be above 0 and at most 100, not {self.percentile!r}")
        if self.code == "rate" and self.levels not in (None, self.steps):
            raise UserError(f"levels must be T = {self.steps} for the code rate, whose counts have no other bound, not {self.levels}")

    def levels_of(self, network: QuantizedNetwork) -> int:
        """``L``.

        Raises:
            UserError: the source cannot be balanced like that.
        """
        trained = [layer for layer in network.hidden if layer.bound is not None]
        if self.balance == "trained" and len(trained) < len(network.hidden):
            raise UserError("balance must be max or percentile for a network without a trained clip, not 'trained'")
        if self.balance == "rate-norm" and any(layer.clip != "rate-norm" for layer in network.hidden):
            raise UserError("balance must be another than 'rate-norm' for a network that was trained without clip = \"rate-norm\"")
        if self.levels is not None or self.code == "rate":
            return self.levels or self.steps
        if network.hidden and network.hidden[0].quantised:
            return network.hidden[0].levels
        return min(MAX_LEVELS, self.steps) if self.code in ("ternary", "ungated", "symmetric") else UNQUANTISED_LEVELS

    @property
    def dealt_bits(self) -> int:
        """Fractional bits that deal a whole bias out over a power of two of steps."""
        return (self.steps - 1).bit_length() if self.spread else 0


def activations(network: QuantizedNetwork, images: Tensor) -> list[Tensor]:
    """What balancing sees: the activations of every hidden layer on images uint8 (frames, …), float (frames, *outputs)."""
    parts = [network.run(images[at : at + network.batch])[0] for at in range(0, len(images), network.batch)]
    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def balancing_frames(network: QuantizedNetwork) -> int:
    """How many training frames balancing and calibration look at, at most."""
    return min(BALANCING_FRAMES, max(1, BALANCING_NUMBERS // sum(network.sizes)))


def balanced(conversion: Conversion, network: QuantizedNetwork, found: Sequence[Tensor]) -> list[Tensor]:
    """``λ`` of each hidden layer: float (1,), or (channels,) by neuron.

    Parameters:
        found: `activations` of training frames; not looked at where the balance is the source's own clip.
    """
    if conversion.balance in ("trained", "rate-norm"):
        return [torch.full((1,), float(layer.levels)) for layer in network.hidden]
    quantile = 100.0 if conversion.balance == "max" else conversion.percentile
    greatest = []
    for layer in found:
        values = layer.flatten(0, -2) if conversion.per == "neuron" else layer.reshape(-1, 1)
        lambdas = np.percentile(values.numpy(), quantile, axis=0)
        greatest.append(torch.from_numpy(np.where(lambdas > 0, lambdas, 1).astype(np.float32)))  # 1: a neuron that is never active
    return greatest


@torch.no_grad()
def fold(conversion: Conversion, network: QuantizedNetwork, found: Sequence[Tensor] = (), *, whole: bool = True) -> Spiking:
    """The spiking network, its readout not shifted yet.

    Parameters:
        found: as in `balanced`.
        whole: round thresholds and biases; otherwise they stay real, to see what rounding costs.

    Raises:
        UserError: the source cannot be balanced like that.
    """
    levels, network = conversion.levels_of(network), network.eval()
    worth, real = torch.ones(1), []
    for layer, greatest in zip(network.hidden, balanced(conversion, network, found), strict=True):
        folded = layer.folded(worth)  # in evaluation, of no sums in particular
        real.append((folded.thresholds * greatest / (worth * levels), folded.bias / worth))
        worth = (greatest / levels).mean().view(1)
    fraction = _fraction(conversion, real) if whole else 0
    hidden = []
    for layer, (thresholds, bias) in zip(network.hidden, real, strict=True):
        thresholds, start, bias = _fixed(conversion, thresholds, bias, fraction) if whole else _real(conversion, thresholds, bias)
        start, dealt = (start, bias) if conversion.spread else (bias + start, None)
        hidden.append(SpikingLayer(layer.weighted(), thresholds, start, RULES[conversion.code], levels, dealt, fraction))
    bias = network.output.folded(worth).bias / worth
    return Spiking(hidden, network.output.weighted(), -(bias.round() if whole else bias), network.bits, conversion.steps)


def _fraction(conversion: Conversion, real: Sequence[tuple[Tensor, Tensor]]) -> int:
    """``F`` of a network with these thresholds and biases."""
    whole = all(torch.equal(values, values.round()) for layer in real for values in layer)
    dealt = conversion.dealt_bits if any(bias.any() for _, bias in real) else 0
    return min(MAX_FRACTION, max(dealt, 0 if whole else conversion.fraction or 0))


def _real(conversion: Conversion, thresholds: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thresholds, starts without bias, and biases, per step where they are spread."""
    half = thresholds / 2 if conversion.half else torch.zeros_like(thresholds)
    return thresholds, half, bias / conversion.steps if conversion.spread else bias


def _fixed(conversion: Conversion, thresholds: Tensor, bias: Tensor, fraction: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same, as whole numbers times ``2^-F``; half of a threshold that is whole already is rounded down to a whole number, too."""
    scale = 2**fraction
    unit = scale if torch.equal(thresholds, thresholds.round()) else 1
    thresholds, half, bias = _real(conversion, (thresholds * scale).round().clamp(min=1), bias * scale)
    return thresholds, torch.floor(half / unit) * unit, bias.round()


def _mean(parts: Sequence[Tensor]) -> Tensor:
    """The mean of each channel over frames and positions, float (channels,), of parts float (frames, …, channels)."""
    places = [part.flatten(0, -2) for part in parts]
    return (torch.stack([part.sum(0, dtype=torch.float64) for part in places]).sum(0) / sum(map(len, places))).float()


def calibrated(conversion: Conversion, spiking: Spiking, network: QuantizedNetwork, images: Tensor) -> Spiking:
    """The spiking network with starts that make each neuron's mean count what the source's activation stands for, layer by layer.

    What a neuron counts too much on average, times ``θ``, is taken from its start, once per round. After the bias shift of Y. Li et al.,
    "A Free Lunch From ANN: Towards Efficient, Accurate Spiking Neural Networks Calibration", ICML 2021, section 4.

    Parameters:
        images: training frames, uint8 (frames, …), at most `balancing_frames`.
    """
    if not conversion.calibration:
        return spiking
    layers = list(spiking.hidden)
    whole = all(torch.equal(layer.thresholds, layer.thresholds.round()) for layer in layers)
    found = activations(network, images)
    inputs = [spiking.spikes(images[part]).to(torch.int16) for part in spiking.batches(len(images))]
    for index, (part, greatest) in enumerate(zip(found, balanced(conversion, network, found), strict=True)):
        layer = layers[index]
        wanted = _mean([(part * layer.greatest / greatest).clamp(0, layer.greatest)])
        for _ in range(conversion.calibration):
            counted = _mean([multispike.run_layer(layer, part.float()).sum(0) for part in inputs])
            start = layer.start - (counted - wanted) * layer.thresholds
            layer = layer._replace(start=start.round() if whole else start)
        layers[index] = layer
        inputs = [multispike.run_layer(layer, part.float()).to(torch.int16) for part in inputs]  # whole, and small: half the memory
    return spiking._replace(hidden=layers)


def is_exact(conversion: Conversion, source: Source) -> bool:
    """Whether a conversion must give the source's own numbers [S11]: graded, of whole numbers, with the trained levels.

    A bias that is spread is whole where ``T`` is a power of two, and not too many steps.
    """
    recipe = source.recipe
    same = (
        conversion.levels in (None, recipe.levels)
        and conversion.balance in ("trained", "rate-norm")
        and conversion.half
        and (not conversion.spread or (1 << conversion.dealt_bits == conversion.steps and conversion.dealt_bits <= MAX_FRACTION))
        and not conversion.calibration
    )
    return conversion.code == "graded" and recipe.integer and same


def check_exact(source: Source, run: multispike.Run, first: int = 0) -> None:
    """Refuse a conversion that is not the source, count for count, on its check set.

    Parameters:
        run: of frames of the check set, from the ``first``.

    Raises:
        UserError: a count or a margin differs.
    """
    for index, (part, wanted) in enumerate(zip(run.coefficients, source.activations, strict=True)):
        wanted = wanted[first : first + part.shape[1]]
        _check_same(f"the count of a neuron of layer {index}", part.sum(0)[: len(wanted)].flatten(1).numpy(), wanted, first)
    bias = source.network.output.folded(torch.zeros(1)).bias
    _check_same("the margin of an output", (run.sums[-1] + bias.detach()).numpy(), source.margins[first : first + run.sums.shape[1]], first)


def _check_same(what: str, found: np.ndarray, wanted: np.ndarray, first: int) -> None:
    if found.shape != wanted.shape:
        raise UserError(f"{what} must be there for all of {wanted.shape}, not {found.shape}")
    different = np.argwhere(found != wanted)
    if len(different):
        frame, neuron = different[0]
        raise UserError(
            f"{what} must be the trained network's, but differs in {len(different)} places, "
            f"first at frame {first + frame}, neuron {neuron}: trained {wanted[frame, neuron]:g}, converted {found[frame, neuron]:g}"
        )
