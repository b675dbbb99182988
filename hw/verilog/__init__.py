"""Verilog of an accelerator, and a map of its ports for whatever is to be connected to it."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from amaranth.back.rtlil import convert
from amaranth.hdl import Fragment, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import data
from amaranth.lib.wiring import In

from export import UserError, digest
from export.files import atomic_write
from hw.buses.managed import Wrapper
from hw.buses.registers import register_map
from hw.core.accelerator import Accelerator
from hw.loading.loader import load_content
from hw.verilog.header import comment, header, module_comments, waivers
from hw.verilog.names import tidy
from hw.verilog.rtlil import parse
from hw.verilog.text import write as write_text

MODULE = "accelerator"


def generate(circuit: Accelerator | Wrapper) -> str:
    """The circuit as Verilog-2001 text, the same for the same accelerator; the top module is ``top(circuit)``.

    Contents of memories are inside: one file is the whole circuit, wherever it lies, whichever folder a tool runs in.
    """
    name = top(circuit)
    ports = {}
    for path, member, value in circuit.signature.flatten(circuit):
        direction = PortDirection.Input if member.flow is In else PortDirection.Output
        ports["__".join(map(str, path))] = (Value.cast(value), direction)
    fragment = Fragment.get(circuit, None)
    design = tidy(parse(convert(fragment, name, ports=ports, emit_src=False)))
    about = module_comments(fragment, name)
    comments = {new: comment(about.get(old, [])) for new, (old, _) in design.origins.items()}
    accelerator = circuit.accelerator if isinstance(circuit, Wrapper) else circuit
    lines = [*comment(header(accelerator, port_map(circuit))), "", *waivers("off"), "", write_text(design, comments), *waivers("on"), ""]
    return "\n".join(lines)


def top(circuit: Accelerator | Wrapper) -> str:
    """The name of the top module: `MODULE`, or that of the wrapper."""
    return circuit.name if isinstance(circuit, Wrapper) else MODULE


def port_map(circuit: Accelerator | Wrapper) -> dict[str, Any]:
    """Every port with its direction and width, the fields inside each payload, and a wrapper's registers, as JSON can hold it."""
    ports: dict[str, Any] = {}
    if isinstance(circuit, Wrapper):
        accelerator, rest = circuit.accelerator, {"registers": register_map(circuit.registers)}
    else:
        accelerator, rest = circuit, {}
        ports["clk"] = {"direction": "input", "width": 1}
        ports["rst"] = {"direction": "input", "width": 1, "note": "synchronous, active high"}
    for path, member, value in circuit.signature.flatten(circuit):
        direction = "input" if member.flow.name == "In" else "output"
        shape = value.shape() if hasattr(value, "shape") else None
        entry: dict[str, Any] = {"direction": direction, "width": len(value.as_value() if hasattr(value, "as_value") else value)}
        if isinstance(shape, data.Layout):
            entry["fields"] = {
                name: {"offset": field.offset, "width": field.width, "signed": bool(getattr(field.shape, "signed", False))}
                for name, field in shape
            }
        ports["__".join(map(str, path))] = entry
    network = accelerator.network
    return {
        "top": top(circuit),
        "network": {"shape": list(network.shape), "steps": network.steps, "sha256": digest(network)},
        "folding": accelerator.folding.as_dict(),
        "membrane_bits": [plan.membrane_bits for plan in accelerator.plans],
        "frames_in": accelerator.frames_in,
        "p_min": network.encoder.p_min if accelerator.frames_in == "pixels" else None,
        "weights": accelerator.weights,
        "ports": ports,
        **rest,
    }


def outputs(path: Path, weights: str) -> tuple[Path, ...]:
    """The files that `write` writes: the Verilog, the port map, and what is loaded, if it is.

    Parameters:
        path: of the Verilog.
        weights: ``"rom"`` or ``"loadable"``.

    Raises:
        UserError: ``path`` has the ending of one of the others.
    """
    beside = {".json": "port map", ".weights": "load"} if weights == "loadable" else {".json": "port map"}
    if path.suffix in beside:
        raise UserError(f"the Verilog's name must not end in {path.suffix}, which is the {beside[path.suffix]}'s, but is {path}")
    return path, *(path.with_suffix(ending) for ending in beside)


def write(circuit: Accelerator | Wrapper, path: str | Path) -> tuple[Path, ...]:
    """Write the Verilog to ``path``; beside it its port map, as ``.json``, and if weights are loadable, the network's, as ``.weights``.

    All of these files are written, or none. Returns their paths, in this order.

    Raises:
        UserError: ``path`` has the ending of one of the others.
        OSError: a file cannot be written.
    """
    accelerator = circuit.accelerator if isinstance(circuit, Wrapper) else circuit
    paths = outputs(Path(path), accelerator.weights)
    contents = [generate(circuit).encode(), (json.dumps(port_map(circuit), indent=2) + "\n").encode()]
    if accelerator.weights == "loadable":
        contents.append(load_content(accelerator.plans))
    with ExitStack() as files:
        for target, content in zip(paths, contents, strict=True):
            files.enter_context(atomic_write(target)).write_bytes(content)
    return paths
