"""Names for a circuit that a person reads: taken from the signals in the source, the same whatever else the design holds.

Amaranth keeps the names of signals, but numbers what meets in one scope (``o__valid$36``) and what crosses the border of a module in parts
(``port$2699$0``), with numbers that change with everything around. Here the former become ``instance_port``; the latter are put together to
the port that was meant, or named after what they are connected to. Two wires with the same content are made one.
"""

from collections.abc import Mapping
from types import MappingProxyType

from hw.verilog.design import Design, base_name, identifier, in_words, rename, rename_ports, substitute, unnamed
from hw.verilog.ports import drop_unused_inputs, drop_unused_outputs, merge_ports, name_partial_outputs
from hw.verilog.reserved import RESERVED
from hw.verilog.rtlil import Assign, Module, Value, Wire


def tidy(modules: dict[str, Module], ports: Mapping[str, str] = MappingProxyType({})) -> Design:
    """Give everything its name.

    Parameters:
        modules: as `hw.verilog.rtlil.parse` gives them; they are changed.
        ports: new names of ports of the top module, by their old ones.
    """
    design = Design(modules)
    order = list(modules.values())
    for module in order:
        drop_unused_outputs(design, module)
    for module in reversed(order):
        for cell, inner in design.instances(module):
            drop_unused_inputs(design, cell, inner)
            merge_ports(design, cell, inner)
            name_partial_outputs(design, cell, inner)
    names = {design.top.name: _name_wires(design, design.top, ports)}
    for module in order:
        for cell, inner in design.instances(module):
            names[inner.name] = _name_wires(design, inner, {})
            cell.connections = {names[inner.name].get(port, port): value for port, value in cell.connections.items()}
    taken: set[str] = set()
    renamed = {module.name: identifier(module.name, taken) for module in order}
    design.origins = {renamed[name]: (name, {new: old for old, new in of.items()}) for name, of in names.items()}
    for module in order:
        for cell, _ in design.instances(module):
            cell.type = renamed[cell.type]
    for module in order:
        design.aliases[renamed[module.name]] = design.aliases.pop(module.name)
        module.name = renamed[module.name]
    design.modules = {module.name: module for module in order}
    return design


def _name_wires(design: Design, module: Module, renamed: Mapping[str, str]) -> dict[str, str]:
    """Names inside a module, and of parts of values at the ports of what is in it; the new names by the old ones."""
    ports = [wire.name for wire in module.ports() if module is design.top or not (set("$.") & set(wire.name) or wire.name in RESERVED)]
    names = {name: renamed.get(name, name) for name in ports}
    taken = set(names.values())
    _own_outputs(design, module)

    def choose(wire: str, name: str) -> None:
        if wire not in names:
            names[wire] = identifier(name, taken)

    # What an instance drives is named after it; then what goes to one under the same name.
    for drives in (True, False):
        for cell, inner in design.instances(module):
            for port, value in cell.connections.items():
                wire = value[0][0] if value and isinstance(value[0], tuple) else ""
                if wire not in module.wires or value != module.wires[wire].value or (inner.wires[port].port == "output") != drives:
                    continue
                if base_name(wire) == base_name(port) or (drives and (unnamed(wire) or "__" in wire)):
                    choose(wire, f"{base_name(cell.name)}_{base_name(port)}")
    for alias, value in design.aliases[module.name].items():  # a private wire that has a name after all
        wire = value[0][0] if value and isinstance(value[0], tuple) else ""
        if unnamed(wire) and not unnamed(alias) and "." not in alias and value == module.wires[wire].value:
            choose(wire, base_name(alias))
    for wire in module.wires:
        if not unnamed(wire) or wire.startswith("$s") or wire.startswith("$l"):
            choose(wire, wire)
    rename(design, module, names)
    _name_aliases(design, module, names, taken)
    for cell, inner in design.instances(module):
        cell.name = identifier(cell.name, taken)
        inside = set(inner.wires)
        parts = {
            port.name: in_words(design, module, cell.connections[port.name]) for port in inner.ports() if port.name.startswith("port$")
        }
        rename_ports(design, cell, inner, {port: identifier(text or "part", inside) for port, text in parts.items()})
    return names


def _own_outputs(design: Design, module: Module) -> None:
    """What an instance drives is one wire per port."""
    for cell, inner in design.instances(module):
        for port in [wire for wire in inner.ports() if wire.port == "output"]:
            value = cell.connections[port.name]
            parts = list(dict.fromkeys(bit[0] for bit in value if isinstance(bit, tuple)))
            if len(parts) == 1 and module.wires[parts[0]].value == value:
                continue
            own = Wire(f"${cell.name}${port.name}", port.width)
            module.wires[own.name] = own
            cell.connections[port.name] = own.value
            substitute(design, module, dict(zip(value, own.value, strict=True)))
            for part in parts:
                if module.wires[part].port:
                    bits = dict(zip(value, own.value, strict=True))
                    module.connections.append(Assign(module.wires[part].value, tuple(bits[bit] for bit in module.wires[part].value)))
                else:
                    del module.wires[part]


def _name_aliases(design: Design, module: Module, names: dict[str, str], taken: set[str]) -> None:
    """Fields after what they are fields of; one name per value."""
    kept: dict[Value, str] = {wire.value: wire.name for wire in module.wires.values()}
    aliases: dict[str, Value] = {}
    for with_field in (False, True):
        for name, value in design.aliases[module.name].items():
            base, _, field = name.partition(".")
            if bool(field) != with_field or unnamed(base) or value in kept or not any(isinstance(bit, tuple) for bit in value):
                continue
            if field:
                base = names.get(base) or kept.get(design.aliases[module.name].get(base, ()), base)
            elif "$" in name:
                base = _instance_name(design, module, name, value)
            kept[value] = identifier(f"{base_name(base)}_{field}" if field else base, taken)
            aliases[kept[value]] = value
    design.aliases[module.name] = aliases


def _instance_name(design: Design, module: Module, name: str, value: Value) -> str:
    """A name that several signals have, with that of the instance it is connected to."""
    for cell, _ in design.instances(module):
        for port, connected in cell.connections.items():
            if connected == value and base_name(port) == base_name(name):
                return f"{cell.name}_{base_name(port)}"
    return base_name(name)
