"""A network of augmented spikes in other spike codes, and in other numbers of steps."""

from dataclasses import replace

import numpy as np

from export.arrays import is_integer
from export.errors import UserError
from export.network import MAX_STEPS, Network
from export.neuron import Neuron
from export.neurons import Readout
from export.reset_neurons import Graded, Rate, Ternary

CODES = ("rate", "ternary", "graded")


def recode(network: Network, code: str, steps: int) -> Network:
    """The same network in another code.

    Counts of ``graded`` neurons are the same, whatever ``T``, and those of ``ternary`` ones when they have settled [S11]. Those of ``rate``
    neurons go to ``T`` where the others go to ``L``: with what a spike of the layer before is worth as ``u`` (a spike of the input: 1; else
    ``L / T``), ``θ' = max(1, round(θ · L / (T · u)))`` and the bias ``initial - ⌊θ / 2⌋`` is divided by ``u`` and rounded. A bias that is
    added in every step keeps its sum over the frame: rounded for ``rate``, and else only where it is a whole number per step.

    Parameters:
        network: with hidden neurons ``graded`` or ``ternary`` whose counts begin at 0, and inputs that are spread over the steps.
        code: one of `CODES`.
        steps: ``T``.

    Raises:
        UserError: the network is of another kind, or ``code`` or ``steps`` is not as said.
    """
    if code not in CODES:
        raise UserError(f"code must be one of {', '.join(CODES)}, not {code!r}")
    if not is_integer(steps) or not 1 <= steps <= MAX_STEPS:
        raise UserError(f"steps (T) must be an integer from 1 to {MAX_STEPS}, not {steps!r}")
    if network.encoder.kind != "spread":
        raise UserError(f"inputs of a network in another code must be spread over the steps, not encoded by '{network.encoder.kind}'")
    layers, worth = [], 1.0
    for index, layer in enumerate(network.layers):
        neuron, worth = _recoded(layer.neuron, code, (network.steps, steps), worth, f"layer {index}")
        layers.append(replace(layer, neuron=neuron))
    return replace(network, layers=tuple(layers), steps=steps)


def without_early_exit(network: Network) -> Network:
    """The same network with output thresholds that no potential reaches: each frame is decided after its last step, for the same class.

    Raises:
        UserError: the last layer's neurons are not of kind ``readout``, whose thresholds may be any.
    """
    *hidden, last = network.layers
    if not isinstance(last.neuron, Readout):
        raise UserError(f"neurons of the last layer must be readout, to be decided after the last step, not {last.neuron.kind}")
    greatest = last.margin_range(network.totals[-2], network.steps)[1]
    return replace(
        network, layers=(*hidden, replace(last, neuron=replace(last.neuron, thresholds=last.neuron.thresholds + max(0, greatest + 1))))
    )


def _recoded(neuron: Neuron, code: str, steps: tuple[int, int], worth: float, name: str) -> tuple[Neuron, float]:
    """Neurons in another code, and what a spike of theirs is worth; ``steps`` are ``T`` before and after."""
    if isinstance(neuron, Readout):
        return replace(neuron, thresholds=np.rint(neuron.thresholds / worth).astype(np.int64)), 1.0
    if not isinstance(neuron, Ternary) or neuron.signed:
        raise UserError(f"neurons of {name} must be graded or ternary, with counts from 0, not {neuron.kind}")
    sums = neuron.bias.astype(np.int64) * steps[0]
    if code != "rate":
        if (sums % steps[1]).any():
            raise UserError(f"steps (T) must divide the sums of the bias of {name} over a frame of {steps[0]} steps, not {steps[1]}")
        kind, bias = Graded if code == "graded" else Ternary, sums // steps[1]
        return kind(neuron.thresholds, neuron.initial, levels=neuron.levels, bias=bias, fraction=neuron.fraction), 1.0
    of_spike = neuron.levels / steps[1]
    thresholds = np.maximum(1, np.rint(neuron.thresholds * of_spike / worth)).astype(np.int64)
    start = np.rint((neuron.initial - neuron.thresholds // 2) / worth).astype(np.int64) + thresholds // 2
    bias = np.rint(sums / (steps[1] * worth)).astype(np.int64)
    return Rate(thresholds, start, bias=bias, fraction=neuron.fraction), of_spike
