"""A network in a circuit that was generated for a larger one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export import Dense, Layer, Network, Single, UserError
from export.artifact import describe_codes
from export.text import dashed
from hw.core.folding import Folding
from hw.core.plan import LayerPlan, signed_bits


@dataclass(frozen=True)
class Capacity:
    """The capacity of a circuit whose weights are loaded.

    Attributes:
        shape: sizes of the network that it was generated for.
        steps: ``T``.
        p_min: smallest intensity that spikes; None where it takes spike words, whatever they were made of.
        folding: as it was generated.
        membrane_bits: of each layer.
        codes: encoder, connections and neurons as a file of version 2 has them; None where all layers are dense, and inputs and neurons
            spike once.
        parameter_bits: of each layer, of such.
    """

    shape: tuple[int, ...]
    steps: int
    p_min: int | None
    folding: Folding
    membrane_bits: tuple[int, ...]
    codes: dict[str, Any] | None = None
    parameter_bits: tuple[int, ...] | None = None


def of_codes(network: Network, folding: Folding) -> dict[str, Any]:
    """What a circuit's description says of maps, and of spikes with coefficients; nothing where there are none."""
    codes = describe_codes(network)
    if codes is None:
        return {}
    return {"codes": codes, "parameter_bits": [plan.parameter_bits for plan in folding.plans(network)]}


def fit(network: Network, capacity: Capacity) -> tuple[Network, tuple[LayerPlan, ...]]:
    """The network with neurons added up to the circuit's sizes, and its plans, as the circuit has them.

    Raises:
        UserError: the circuit cannot run it; the message says what does not fit.
    """
    if network.steps != capacity.steps:
        raise UserError(f"the network's T must be the circuit's, {capacity.steps}, not {network.steps}")
    if capacity.p_min is not None:
        for name, own, others in (("encoder", network.encoder.kind, "latency"), ("p_min", network.encoder.p_min, capacity.p_min)):
            if own != others:
                raise UserError(f"the network's {name} must be the circuit's, {others}, not {own}")
    if (codes := describe_codes(network)) != capacity.codes:
        said, wanted = _flat(codes), _flat(capacity.codes)
        named = next(name for name in [*wanted, *said] if said.get(name) != wanted.get(name))
        raise UserError(f"the network's {named} must be the circuit's, {wanted.get(named, 'none')}, not {said.get(named, 'none')}")
    if codes is not None:
        return network, _plans_of_codes(network, capacity)
    larger = fit_into(network, capacity.shape)
    for layer, (needed, bits) in enumerate(zip(membrane_bits(network, capacity.shape), capacity.membrane_bits, strict=True)):
        if needed > bits:
            raise UserError(f"margins of layer {layer} must fit into the circuit's {bits} bits, but need {needed}")
    return larger, capacity.folding.plans(larger, membrane_bits=capacity.membrane_bits)


def _flat(codes: dict[str, Any] | None) -> dict[str, Any]:
    """What codes say, each with a name, such as "levels of layer 0"."""
    if codes is None:
        return {"layers": "dense", "spikes": "one per neuron"}
    maps = any("pool" in layer or layer["connection"] != Dense.kind for layer in codes["layers"])
    once = all(layer["neuron"] == Single.kind for layer in codes["layers"][:-1])
    kinds = {"layers": "with maps" if maps else "dense", "spikes": "one per neuron" if once else "with coefficients"}
    layers = {f"{name} of layer {index}": value for index, layer in enumerate(codes["layers"]) for name, value in layer.items()}
    return kinds | {f"encoder's {name}": value for name, value in codes["encoder"].items()} | layers


def _plans_of_codes(network: Network, capacity: Capacity) -> tuple[LayerPlan, ...]:
    """The plans of a network that has just the circuit's sizes."""
    if network.shape != capacity.shape:
        what = "with maps" if any(network.maps) else "whose spikes have coefficients"
        raise UserError(f"a network {what} must have the circuit's sizes, {dashed(capacity.shape)}, not {dashed(network.shape)}")
    needed = capacity.folding.plans(network)
    plans = capacity.folding.plans(network, membrane_bits=capacity.membrane_bits, parameter_bits=capacity.parameter_bits)
    for layer, (own, given) in enumerate(zip(needed, plans, strict=True)):
        for what, name in (("potentials", "membrane_bits"), ("thresholds", "parameter_bits")):
            if getattr(own, name) > getattr(given, name):
                raise UserError(
                    f"{what} of layer {layer} must fit into the circuit's {getattr(given, name)} bits, but need {getattr(own, name)}"
                )
    return plans


def fit_into(network: Network, shape: Sequence[int]) -> Network:
    """The same network with neurons added, up to the sizes of ``shape``; every decision, and every spike of its own neurons, stays.

    * Added inputs never spike; that is the sender's part: intensity 0, or time ``T``. Their weights are +1.
    * Added hidden neurons never fire: ``θ = n + 1`` for ``n`` inputs that are not added ones, and weights +1. Their margins ``V - θ`` lie
      between ``-(n + 1)`` and -1.
    * Added outputs are copies of output 0. They fire when it does and have its margin, and of equal margins the lowest index wins [S5]; so
      ``t*``, class and margin stay. Their margins need no more bits than those of output 0.

    Parameters:
        network: what is to run.
        shape: sizes from the inputs to the outputs, as many as the network's, none of them smaller.

    Raises:
        UserError: it does not fit.
    """
    if len(shape) != len(network.shape) or any(own > size for own, size in zip(network.shape, shape, strict=True)):
        raise UserError(f"a network of {dashed(network.shape)} does not fit into a circuit of {dashed(shape)}: no size may be greater")
    if not all(layer.is_dense and layer.neuron.kind == "single" for layer in network.layers):
        raise UserError("only dense layers of neurons that spike once can be loaded into a larger circuit")
    if shape[0] > network.inputs and network.encoder.p_min == 0:
        raise UserError(f"a network whose p_min is 0 must have the circuit's {shape[0]} inputs, not {network.inputs}: all of them spike")
    layers = []
    for index, (layer, (inputs, outputs)) in enumerate(zip(network.layers, itertools.pairwise(shape), strict=True)):
        weights = np.ones((outputs, inputs), np.int8)
        weights[: layer.outputs, : layer.inputs] = layer.connection.weights
        thresholds = np.full(outputs, layer.inputs + 1)
        thresholds[: layer.outputs] = layer.neuron.thresholds
        if index == len(network.layers) - 1:
            weights[layer.outputs :], thresholds[layer.outputs :] = weights[0], thresholds[0]
        layers.append(Layer(Dense(weights), Single(thresholds)))
    names = (*network.class_names, *(f"added {k}" for k in range(network.outputs, shape[-1])))
    return Network(tuple(layers), network.steps, network.encoder, names, network.provenance)


def membrane_bits(network: Network, shape: Sequence[int]) -> tuple[int, ...]:
    """Bits of a signed ``V - θ`` of each layer of ``fit_into(network, shape)``, whose added inputs never spike."""
    bits = []
    for layer, outputs in zip(network.layers, shape[1:], strict=True):
        least, greatest = layer.margin_range((0, 1), network.steps)
        if layer is not network.layers[-1] and outputs > layer.outputs:
            least, greatest = min(least, -(layer.inputs + 1)), max(greatest, -1)
        bits.append(signed_bits(least, greatest))
    return tuple(bits)
