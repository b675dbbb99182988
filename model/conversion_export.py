"""A converted network as arrays of integers, and the proof that the golden model and PyTorch make the same of it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

import export
from export import Encoder, Layer, Network, UserError, reference
from export.events import Events
from export.neuron import Neuron
from model import conversion, evaluation
from model.conversion import Conversion
from model.conversion_checkpoint import Source
from model.multispike import Spiking
from model.synapses import Weighted


def export_neurons() -> dict[str, Any]:
    """The neuron classes of `export`, by code."""
    return {"rate": export.Rate, "ternary": export.Ternary, "graded": export.Graded}


def to_network(spiking: Spiking, how: Conversion, source: Source, provenance: dict[str, Any]) -> Network:
    """The network as arrays of integers."""
    layers = []
    for layer in spiking.hidden:
        options: dict[str, Any] = {"initial": _integers(layer.start), "fraction": layer.fraction}
        if layer.bias is not None:
            options["bias"] = _integers(layer.bias)
        if how.code != "rate":
            options["levels"] = layer.greatest
        neuron = export_neurons()[how.code](_integers(layer.thresholds), **options)
        layers.append(_layer(layer.weighted, neuron))
    layers.append(_layer(spiking.output, export.Readout(_integers(spiking.thresholds))))
    return Network(tuple(layers), how.steps, Encoder("spread", bits=spiking.bits), source.class_names, provenance)


def _layer(weighted: Weighted, neuron: Neuron) -> Layer:
    connection, pool = weighted.exported()
    return Layer(connection, neuron, pool)


def _integers(values: Tensor) -> np.ndarray:
    return values.numpy().astype(np.int64)


def check(network: Network, spiking: Spiking, source: Source, exact: bool) -> None:
    """Run the check set in the golden model and in PyTorch.

    Parameters:
        exact: compare with what the trained network made of it, too.

    Raises:
        UserError: an event or a decision differs.
    """
    for here in spiking.batches(len(source.images)):
        images, at = source.images[here], here.start
        run, golden = spiking.run(torch.from_numpy(images)), reference.run(network, network.encode(images))
        for index, part in enumerate(run.coefficients):
            _compare(f"layer {index}", network.layers[index], at, events_of(part), golden.events[index])
        decisions = evaluation.decide(spiking.margins(run.sums))
        for name in reference.DECISION_FIELDS:
            trained, seen = getattr(decisions, name), getattr(golden.decisions, name)
            if len(places := np.flatnonzero(trained != seen)):
                frame = places[0]
                raise UserError(
                    f"the golden model must equal PyTorch, but the decision's {name} differs in {len(places)} frames, "
                    f"first in frame {at + frame}: PyTorch {int(trained[frame])}, golden {int(seen[frame])}"
                )
        if exact:
            conversion.check_exact(source, run, at)


def events_of(coefficients: Tensor) -> Events:
    """Events of a layer's coefficients, (T, frames, *outputs)."""
    coefficients = coefficients.flatten(2)
    steps, frames, outputs = coefficients.shape
    frame, step, neuron = coefficients.permute(1, 0, 2).nonzero(as_tuple=True)
    values = coefficients[step, frame, neuron]
    return Events.sort((frames, steps, outputs), frame.numpy(), step.numpy(), neuron.numpy(), values.numpy())


def _compare(name: str, layer: Layer, first: int, trained: Events, golden: Events) -> None:
    if trained.equals(golden):
        return
    dense = []
    for events in (trained, golden):
        array = np.zeros(trained.shape, np.int64)
        array[events.frame, events.step, events.neuron] = events.coefficient
        dense.append(array)
    places = np.argwhere(dense[0] != dense[1])
    frame, step, neuron = places[0]
    raise UserError(
        f"the golden model must equal PyTorch, but {name} differs in {len(places)} coefficients, first in frame {first + frame}, "
        f"step {step}, neuron {neuron}{_position(layer, int(neuron))}: "
        f"PyTorch {dense[0][frame, step, neuron]}, golden {dense[1][frame, step, neuron]}"
    )


def _position(layer: Layer, neuron: int) -> str:
    """Where a neuron is, if the layer is a map."""
    if layer.output_map is None:
        return ""
    y, x, channel = np.unravel_index(neuron, layer.output_map)
    return f" (row {y}, column {x}, channel {channel})"
