"""``python -m export CHECKPOINT --out NETWORK``, ``python -m export import MODEL.onnx|FILE.nir --out NETWORK``,
``python -m export nir NETWORK --out FILE.nir`` and ``python -m export inspect NETWORK``."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from export.artifact import digest, load, save
from export.check import network_from_checkpoint
from export.cli import Parser, run
from export.connections import Connection
from export.convolution import Conv2d
from export.files import refuse_overwriting
from export.maps import crossed
from export.network import Network
from export.reset_neurons import Rate, Ternary
from export.text import counted, dashed


def export(checkpoint: Path, out: Path) -> int:
    network, frames = network_from_checkpoint(checkpoint)
    refuse_overwriting(checkpoint, out)
    sha256 = save(network, out)
    print(f"golden model equal to the trained network on all {frames} frames of the check set")
    print(f"{out}: {dashed(network.shape)}, T = {network.steps}, {out.stat().st_size} bytes, sha256 {sha256}")
    return 0


def describe(network: Network) -> str:
    """A page of text on the network: all that is known of it but the provenance's ``shift_curve``, which would fill more pages."""
    encoder = network.encoder
    detail = "" if encoder.p_min is None else f" (p_min {encoder.p_min})"
    detail += "" if encoder.bits is None else f" ({counted(encoder.bits, 'bit')})"
    detail += "" if encoder.thresholds is None else f" (thresholds {', '.join(map(str, encoder.thresholds))})"
    lines = [
        f"network     {dashed(network.shape)}",
        f"steps       {network.steps}",
        f"encoder     {encoder.kind}{detail}",
        f"classes     {', '.join(network.class_names)}",
        f"sha256      {digest(network)}",
    ]
    for index, (layer, totals) in enumerate(zip(network.layers, network.totals, strict=False)):
        connection, neuron = layer.connection, layer.neuron
        ends = (layer.input_map, layer.inputs), (layer.output_map, layer.outputs)
        parts = [" → ".join(crossed(found) if found else str(size) for found, size in ends)]
        if layer.pool is not None:
            parts.append(f"{layer.pool.kind} pool {crossed(layer.pool.window)}")
        parts += [connection.kind + kernel(connection), neuron.kind]
        if isinstance(neuron, Ternary):
            parts.append("levels {} … {}".format(*neuron.counts))
        parts += [f"weights +1: {np.mean(connection.weights > 0):.1%}", "thresholds " + spread(neuron.thresholds)]
        if isinstance(neuron, Rate):
            parts.append("starts " + spread(neuron.initial))
            parts += ["bias per step " + spread(neuron.bias)] if neuron.has_bias else []
        parts += [f"fraction {counted(neuron.fraction, 'bit')}"] if neuron.fraction else []
        never = int(neuron.never(*layer.sum_range(totals), network.steps).sum())
        lines.append(f"layer {index}     {', '.join(parts)}, never fires: {never}")
    provenance = {name: value for name, value in network.provenance.items() if name != "shift_curve"}
    lines.append("provenance  " + layout(provenance, 12))
    return "\n".join(lines)


def kernel(connection: Connection) -> str:
    """What is said of a convolution beside its kind."""
    if not isinstance(connection, Conv2d):
        return ""
    stride, padding = crossed(connection.strides), crossed(connection.paddings)
    return f" {crossed(connection.kernel_shape)} (stride {stride}, padding {padding})"


def spread(numbers: np.ndarray) -> str:
    """From where to where numbers go."""
    return f"{numbers.min()} … {numbers.max()} (median {np.median(numbers):g})"


def layout(value: Any, indent: int) -> str:
    """A value as JSON, each part on one line where it fits."""
    line = json.dumps(value, sort_keys=True)
    if indent + len(line) <= 120 or not isinstance(value, dict | list) or not value or indent > 40:
        return line
    inner = indent + 2
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {layout(part, inner)}" for key, part in sorted(value.items())]
    else:
        parts = [layout(part, inner) for part in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}\n{' ' * inner}" + f",\n{' ' * inner}".join(parts) + f"\n{' ' * indent}{closing}"


def names_nir(arguments: list[str]) -> bool:
    """Whether the arguments of ``import`` name a NIR file to read."""
    return any(name.endswith(".nir") and not name.startswith("-") and before != "--out" for before, name in pairwise(["", *arguments]))


def main() -> int:
    if sys.argv[1:2] == ["inspect"]:
        parser = Parser(prog="python -m export inspect", description="Show what an artifact holds.")
        parser.add_argument("network", type=Path, help="network.safetensors")
        print(describe(load(parser.parse_args(sys.argv[2:]).network)))
        return 0
    if sys.argv[1:2] == ["nir"] or (sys.argv[1:2] == ["import"] and names_nir(sys.argv[2:])):
        from export.nir import command as nir_command  # the only commands that need the package nir

        return (nir_command.export_main if sys.argv[1] == "nir" else nir_command.import_main)(sys.argv[2:])
    if sys.argv[1:2] == ["import"]:
        from export.qonnx import command  # the only command that needs the package onnx

        return command.main(sys.argv[2:])
    parser = Parser(
        prog="python -m export",
        description="Write the artifact of a trained checkpoint, after proving the golden model equal to it on its check set. "
        "'python -m export import MODEL.onnx|FILE.nir --out NETWORK' makes one of a QONNX or a NIR file, 'python -m export nir NETWORK "
        "--out FILE.nir' a NIR file of one, 'python -m export inspect NETWORK' shows one.",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint.safetensors, as training writes it")
    parser.add_argument("--out", type=Path, required=True, help="network.safetensors to write")
    arguments = parser.parse_args()
    return export(arguments.checkpoint, arguments.out)


if __name__ == "__main__":
    run(main)
