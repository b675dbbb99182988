"""Verilog of an accelerator, and a map of its ports for whatever is to be connected to it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from amaranth.back.rtlil import convert as rtlil_of
from amaranth.hdl import Fragment, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from export import UserError, digest
from export.files import write_together
from hw.buses.managed import Wrapper
from hw.buses.registers import register_map
from hw.core.accelerator import Accelerator
from hw.loading.fit import of_codes
from hw.loading.loader import load_content
from hw.verilog.header import comment, header, module_comments, waivers
from hw.verilog.names import tidy
from hw.verilog.rtlil import parse
from hw.verilog.text import write as write_text
from hw.verilog.vhdl import check_name, component

MODULE = "accelerator"


def generate(circuit: Accelerator | Wrapper, *, name: str | None = None) -> str:
    """The circuit as Verilog-2001 text, the same for the same accelerator; the top module is ``top(circuit, name)``.

    Contents of memories are inside: one file is the whole circuit, wherever it lies, whichever folder a tool runs in.

    Parameters:
        name: see `top`.

    Raises:
        UserError: the name cannot be one.
    """
    accelerator = circuit.accelerator if isinstance(circuit, Wrapper) else circuit
    return text_of(circuit, top(circuit, name), comment(header(accelerator, port_map(circuit, name=name))))


def text_of(component: wiring.Component, name: str, about: Sequence[str] = ()) -> str:
    """A component as Verilog-2001 text.

    Parameters:
        name: of the top module, and what the names of all others begin with.
        about: lines before it.
    """
    ports = {}
    for path, member, value in component.signature.flatten(component):
        direction = PortDirection.Input if member.flow is In else PortDirection.Output
        ports["__".join(map(str, path))] = (Value.cast(value), direction)
    fragment = Fragment.get(component, None)
    legal = {port: port.replace("__", "_") for port in ports}  # in VHDL, too
    return text_of_rtlil(rtlil_of(fragment, name, ports=ports, emit_src=False), fragment, name, about, legal)


def text_of_rtlil(
    text: str, fragment: Fragment, name: str, about: Sequence[str] = (), ports: Mapping[str, str] = MappingProxyType({})
) -> str:
    """What Amaranth has written of a fragment as RTLIL, as Verilog-2001; ``ports`` has new names for some."""
    design = tidy(parse(text), ports)
    found = module_comments(fragment, name)
    comments = {new: comment(found.get(old, [])) for new, (old, _) in design.origins.items()}
    return "\n".join([*about, *[""][: len(about)], *waivers("off"), "", write_text(design, comments), *waivers("on"), ""])


def top(circuit: Accelerator | Wrapper, name: str | None = None) -> str:
    """The name of the top module, with which those of all others begin: the one given, or `MODULE`, or that of the wrapper.

    Raises:
        UserError: it cannot be one, in Verilog or VHDL.
    """
    if name is None:
        return circuit.name if isinstance(circuit, Wrapper) else MODULE
    check_name(name)
    return name


def port_map(circuit: Accelerator | Wrapper, *, name: str | None = None) -> dict[str, Any]:
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
                key: {"offset": field.offset, "width": field.width, "signed": bool(getattr(field.shape, "signed", False))}
                for key, field in shape
            }
        ports["_".join(map(str, path))] = entry
    network = accelerator.network
    for port, form in accelerator.word_ports.items():
        if port in ports and form.lane_bits > 1:
            ports[port]["fields"]["bits"] |= {"lanes": form.simd, "signed": form.signed}
    return {
        "top": top(circuit, name),
        "network": {"shape": list(network.shape), "steps": network.steps, "sha256": digest(network)},
        "folding": accelerator.folding.as_dict(),
        "membrane_bits": [plan.membrane_bits for plan in accelerator.plans],
        "frames_in": accelerator.frames_in,
        "p_min": network.encoder.p_min if accelerator.frames_in == "pixels" else None,
        "weights": accelerator.weights,
        **of_codes(network, accelerator.folding),
        "ports": ports,
        **rest,
    }


def outputs(path: Path, weights: str, *, vhdl: bool = False) -> tuple[Path, ...]:
    """The files that `write` writes: the Verilog, the port map, what is loaded, if it is, and the declaration for VHDL, if it is wanted.

    Parameters:
        path: of the Verilog.
        weights: ``"rom"`` or ``"loadable"``.

    Raises:
        UserError: ``path`` has the ending of one of the others.
    """
    beside = {".json": "port map"} | ({".weights": "load"} if weights == "loadable" else {}) | ({".vhd": "declaration"} if vhdl else {})
    if path.suffix in beside:
        raise UserError(f"the Verilog's name must not end in {path.suffix}, which is the {beside[path.suffix]}'s, but is {path}")
    return path, *(path.with_suffix(ending) for ending in beside)


def contents(circuit: Accelerator | Wrapper, path: str | Path, *, name: str | None = None, vhdl: bool = False) -> dict[Path, bytes | str]:
    """What `write` writes, by path."""
    accelerator = circuit.accelerator if isinstance(circuit, Wrapper) else circuit
    paths = outputs(Path(path), accelerator.weights, vhdl=vhdl)
    ports = port_map(circuit, name=name)
    found: list[bytes | str] = [generate(circuit, name=name), json.dumps(ports, indent=2) + "\n"]
    if accelerator.weights == "loadable":
        found.append(load_content(accelerator.plans))
    if vhdl:
        found.append(component(ports))
    return dict(zip(paths, found, strict=True))


def write(circuit: Accelerator | Wrapper, path: str | Path, *, name: str | None = None, vhdl: bool = False) -> tuple[Path, ...]:
    """Write the Verilog to ``path``; beside it its port map, as ``.json``, if weights are loadable, the network's, as ``.weights``, and
    with ``vhdl``, a package with the component's declaration, as ``.vhd``.

    All of these files are written, or none. Returns their paths, in this order.

    Parameters:
        name: see `top`.

    Raises:
        UserError: ``path`` has the ending of one of the others, or the name cannot be one.
        OSError: a file cannot be written.
    """
    return tuple(write_together(contents(circuit, path, name=name, vhdl=vhdl)))
