"""What a graph means beyond its nodes: metadata of the graph and of its neurons."""

import json
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from export.encoder import Encoder
from export.errors import UserError
from export.network import MAX_STEPS, Network

KEY = "firstspike"
VERSION = 1
RESET, SUBTRACT, INITIAL = "reset", "subtract", "initial"
STATEMENT = (
    "One time step is one Euler step of length 1. All spikes of a step are added before a potential is compared with its threshold, once "
    "per step; a spike is seen by the next layer in the same step. A frame begins with all potentials at 'initial' (0 where there is none) "
    "and has 'steps' steps. Neurons with reset 'subtract' lose v_threshold with each spike, instead of going to v_reset; their 'initial' "
    "has half a unit more than an integer potential has, so that > and >= are the same. Neurons without it go to v_reset, from which they "
    "cannot fire again in the frame. The outputs are potentials above thresholds: the frame is decided at the first step that ends with "
    "one of at least 0, or at the last step, for the greatest, the lowest index on a tie. 'encoder' says how 8-bit intensities become "
    "input spikes; a spike with a coefficient is an input of that size."
)


@dataclass(frozen=True)
class Frames:
    """What a frame is.

    Attributes:
        steps: ``T``.
        encoder: of the inputs.
        class_names: one per output, or none.
        early: a frame is decided at the first step with an output of at least 0, if there is one; else it is decided at the last step.
    """

    steps: int
    encoder: Encoder
    class_names: tuple[str, ...] = ()
    early: bool = False


def metadata_of(network: Network) -> dict[str, Any]:
    """Metadata of a network's graph."""
    encoder = network.encoder
    thresholds = None if encoder.thresholds is None else list(encoder.thresholds)
    fields = {
        "version": VERSION,
        "steps": network.steps,
        "encoder": {"kind": encoder.kind, "p_min": encoder.p_min, "bits": encoder.bits, "thresholds": thresholds},
        "class_names": list(network.class_names),
    }
    return {KEY: json.dumps(fields, sort_keys=True), "conventions": STATEMENT}


def frames_of(graph: nir.NIRGraph, steps: int | None) -> Frames:
    """What a frame of a graph is: by its metadata if it has ours, and otherwise plain spikes from outside, decided at the last step.

    Parameters:
        graph: the graph.
        steps: ``T``, of a graph without our metadata.

    Raises:
        UserError: the metadata are damaged or of another version, or ``steps`` is missing, out of range, or another than theirs.
    """
    if KEY not in graph.metadata:
        if steps is None:
            raise UserError("must say how many time steps a frame has, in metadata as ours or by --steps")
        if not 1 <= steps <= 255:
            raise UserError(f"steps must be from 1 to 255 where inputs may spike in each, not {steps}")
        return Frames(steps, Encoder("none", bits=None if steps == 1 else steps.bit_length()))
    try:
        fields = json.loads(graph.metadata[KEY])
        version = fields["version"]
        found = Frames(fields["steps"], Encoder(**fields["encoder"]), tuple(map(str, fields["class_names"])), early=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError(f"metadata '{KEY}' must be as 'python -m export nir' writes them") from None
    if version != VERSION:
        raise UserError(f"metadata '{KEY}' must be of version {VERSION}, not {version!r:.60}")
    if not isinstance(found.steps, int) or not 1 <= found.steps <= MAX_STEPS:
        raise UserError(f"metadata '{KEY}' must have steps from 1 to {MAX_STEPS}, not {found.steps!r:.60}")
    if steps not in (None, found.steps):
        raise UserError(f"--steps must be left out, or {found.steps}, as the metadata say, not {steps}")
    return found


def subtracts(node: nir.NIRNode) -> bool:
    """Whether a neuron's metadata say that a spike subtracts the threshold."""
    return bool(node.metadata.get(RESET) == SUBTRACT)


def initial(node: nir.NIRNode) -> np.ndarray:
    """The potentials that a frame begins with, float64, in the neurons' shape.

    Raises:
        UserError: they are of another shape.
    """
    found = np.asarray(node.metadata.get(INITIAL, np.zeros_like(node.r)), np.float64)
    if found.shape != node.r.shape or not np.isfinite(found).all():
        raise UserError(f"'{INITIAL}' must be finite numbers of shape {node.r.shape}, not {found.shape}")
    return found
