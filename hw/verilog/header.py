"""What the Verilog says about itself: a header, the waivers, and a line before each module."""

import json
from typing import Any

import amaranth
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from export import digest
from export.text import counted, dashed
from hw.core.accelerator import Accelerator

VERSION = "0.6"
"""Of the generator. It changes when the Verilog of a network does."""

WAIVERS = {
    "DECLFILENAME": "one file has all modules",
    "UNUSEDSIGNAL": "payloads pass whole to modules that need some of their fields",
    "CASEOVERLAP": "the first pattern that fits counts, as in a chain of else if",
}
"""Warnings of Verilator that are turned off for the file, and why."""

ASCII = str.maketrans({"θ": "theta", "→": "->", "…": "...", "·": "*", "×": "x", "–": "-", "⌈": "ceil(", "⌉": ")", "Δ": "delta ", "⁠": ""})


def header(accelerator: Accelerator, port_map: dict[str, Any]) -> list[str]:
    """Comments that begin the file: what it is, of what, how it is folded, and its ports."""
    network = accelerator.network
    encoder = f"latency code from p_min = {network.encoder.p_min}" if network.encoder.kind == "latency" else "none"
    lines = [
        f"{port_map['top']}: a binarized single-spike network as a circuit.",
        "",
        f"generator  firstspike {VERSION}, Amaranth {amaranth.__version__}",
        f"network    {dashed(network.shape)}, T = {network.steps}, encoder: {encoder}",
        f"artifact   SHA-256 {digest(network)}",
        f"weights    {accelerator.weights}",
        f"frames in  {accelerator.frames_in}",
        f"folding    {json.dumps(accelerator.folding.as_dict())}",
    ]
    for index, plan in enumerate(accelerator.plans):
        inputs = f"{plan.layer.inputs} inputs in {counted(plan.input_words, 'word')} of SIMD = {plan.simd}"
        if (pool := plan.layer.pool) is not None:
            inputs += f", pooled by {pool.kind} to {pool.outputs}"
        at = f"at {counted(plan.positions, 'position')} " if plan.layer.output_map is not None else ""
        neurons = f"{plan.layer.outputs} neurons {at}in {counted(plan.neuron_folds, 'group')} of PE = {plan.pe}"
        lines.append(f"layer {index}    {inputs}, {neurons}, {plan.form} form, potentials of {plan.membrane_bits} bits")
    lines += ["", f"{'port':<26}{'direction':<11}{'width':>5}  fields from bit 0"]
    for name, port in port_map["ports"].items():
        fields = ", ".join(f"{field}[{entry['width']}]" for field, entry in port.get("fields", {}).items())
        lines.append(f"{name:<26}{port['direction']:<11}{port['width']:>5}  {fields or port.get('note', '')}".rstrip())
    return lines


def module_comments(fragment: Fragment, name: str) -> dict[str, list[str]]:
    """The first sentence that the source says of each component, by the name of its module in RTLIL."""
    comments = {}
    for origin in fragment.origins or ():
        if isinstance(origin, wiring.Component) and (text := type(origin).__doc__):
            first = text.split("\n\n")[0]
            comments[name] = [f"{type(origin).__name__}: {' '.join(first.split())}"]
            break
    for inner, inner_name, _ in fragment.subfragments:
        if inner_name is not None:
            comments |= module_comments(inner, f"{name}.{inner_name}")
    return comments


def waivers(state: str) -> list[str]:
    """Comments that turn warnings ``off`` or ``on``."""
    return [f"/* verilator lint_{state} {name} */" + (f"  // {reason}" if state == "off" else "") for name, reason in WAIVERS.items()]


def comment(lines: list[str]) -> list[str]:
    """Lines as comments, in ASCII: not all tools that read Verilog know other signs."""
    plain = [line.translate(ASCII).replace("``", "").replace("`", "").encode("ascii", "replace").decode() for line in lines]
    return [f"// {line}".rstrip() for line in plain]
