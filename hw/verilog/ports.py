"""Ports of modules as the source has them: unused ones left out, parts of one signal put together."""

from hw.verilog.design import Design, identifier, in_words, rename_ports, substitute
from hw.verilog.rtlil import Assign, Bit, Cell, Module, Value, Wire


def drop_unused_outputs(design: Design, module: Module) -> None:
    """Of what is in a module, that nothing in it depends on."""
    used = {bit for value in design.reads(module) for bit in value} | {bit for wire in module.ports() for bit in wire.value}
    dropped: set[Bit] = set()
    for cell, inner in design.instances(module):
        for wire in inner.ports():
            if wire.port == "output" and not used.intersection(cell.connections[wire.name]):
                wire.port = ""
                dropped.update(cell.connections.pop(wire.name))
    module.wires = {name: wire for name, wire in module.wires.items() if (name, 0) not in dropped}
    aliases = design.aliases[module.name]
    design.aliases[module.name] = {name: value for name, value in aliases.items() if not dropped.intersection(value)}


def drop_unused_inputs(design: Design, cell: Cell, module: Module) -> None:
    used = {bit for value in design.reads(module) for bit in value} | {
        bit for value in design.aliases[module.name].values() for bit in value
    }
    for wire in module.ports():
        if wire.port == "input" and not used.intersection(wire.value):
            del module.wires[wire.name], cell.connections[wire.name]


def merge_ports(design: Design, cell: Cell, module: Module) -> None:
    """Put ports together that are the parts of one signal."""
    sources: dict[Bit, tuple[str, int]] = {  # bits behind ports in parts, and where they come out
        bit: place
        for port in module.ports()
        if port.name.startswith("port$")
        for bit, place in zip(_behind(module, port), port.places, strict=True)
    }
    for name, value in list(design.aliases[module.name].items()):
        if not all(bit in sources for bit in value):
            continue
        places = tuple(sources[bit] for bit in value)
        ports = [module.wires[part] for part in dict.fromkeys(place[0] for place in places)]
        directions = {port.port for port in ports}
        if len(directions) != 1 or not len(set(places)) == len(places) == sum(port.width for port in ports):
            continue
        merged = Wire(name, len(value), directions.pop())
        cell.connections[name] = tuple(cell.connections[part][bit] for part, bit in places)
        del design.aliases[module.name][name]
        for port in ports:
            del cell.connections[port.name]
            if (port.value == _behind(module, port)) and merged.port == "output":
                port.port = ""
            else:
                del module.wires[port.name]
        module.connections = [made for made in module.connections if made.target[0][0] in module.wires]
        module.wires[name] = merged
        if merged.port == "output":
            module.connections.append(Assign(merged.value, value))
        else:
            substitute(design, module, dict(zip(value, merged.value, strict=True)))
        sources = {bit: place for bit, place in sources.items() if bit not in value}


def _behind(module: Module, port: Wire) -> Value:
    """The value that a port shows."""
    return next((connection.value for connection in module.connections if connection.target == port.value), port.value)


def name_partial_outputs(design: Design, cell: Cell, module: Module) -> None:
    taken, names = set(module.wires), dict[str, str]()
    for wire in [wire for wire in module.ports() if wire.name.startswith("port$")]:
        if wire.port == "output":
            text = in_words(design, module, _behind(module, wire), names)
            names[wire.name] = identifier(text or "part", taken)
    rename_ports(design, cell, module, names)
