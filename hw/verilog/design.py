"""A circuit between its RTLIL and its Verilog: modules, further names of values, and changes that keep both in step."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from hw.verilog.reserved import RESERVED
from hw.verilog.rtlil import Assign, Bit, Cell, Module, Switch, Value

CONTENT = "$meminit_v2"
"""A memory's content: constants, often a million of them, which no pass over what is read and named need look at."""
OUTPUTS = {"$memrd_v2": ("DATA",), "$dff": ("Q",), "$adff": ("Q",), CONTENT: (), "$memwr_v2": ()}


def unnamed(wire: str) -> bool:
    """Whether nobody gave this wire a name."""
    return wire.startswith(("$", "port$"))


class Design:
    """Modules, and what connects them. Names in it are final once `tidy` has run.

    Attributes:
        modules: by name, the top one first; each is instantiated once.
        aliases: per module, further names of values.
        origins: per module, its name and those of its wires as they were.
    """

    def __init__(self, modules: dict[str, Module]):
        self.modules = modules
        self.top = next(iter(modules.values()))
        self.aliases: dict[str, dict[str, Value]] = {}
        self.origins: dict[str, tuple[str, dict[str, str]]] = {}
        for module in modules.values():
            _drop_empty(module)
            self._collect_aliases(module)

    def instances(self, module: Module) -> Iterator[tuple[Cell, Module]]:
        for cell in module.cells:
            if cell.type in self.modules:
                yield cell, self.modules[cell.type]

    def outputs(self, module: Module, cell: Cell) -> tuple[str, ...]:
        """Names of the connections that a cell drives."""
        if cell.type in self.modules:
            return tuple(wire.name for wire in self.modules[cell.type].ports() if wire.port == "output")
        if cell.type.startswith("$"):
            return OUTPUTS.get(cell.type, ("Y",))
        driven = {
            bit
            for other in module.cells
            if other.type.startswith("$")
            for name in self.outputs(module, other)
            for bit in other.connections[name]
        }
        driven |= {bit for wire in module.wires.values() if wire.port in ("input", "inout") for bit in wire.value}
        return tuple(name for name, value in cell.connections.items() if value and isinstance(value[0], tuple) and value[0] not in driven)

    def reads(self, module: Module) -> Iterator[Value]:
        """All values that something in a module depends on."""
        for cell in module.cells:
            if cell.type == CONTENT:
                continue
            driven = self.outputs(module, cell)
            yield from (value for name, value in cell.connections.items() if name not in driven)
        for statements in module.processes:
            yield from reads_of(statements)
        yield from (connection.value for connection in module.connections)

    def _collect_aliases(self, module: Module) -> None:
        """Take out wires that only repeat others."""
        found = {}
        kept = []
        for connection in module.connections:
            wire = module.wires[connection.target[0][0]]
            if wire.port or connection.target != wire.value:
                kept.append(connection)
            else:
                found[wire.name] = connection.value
        module.connections = kept

        def source(bit: Bit) -> Bit:
            while isinstance(bit, tuple) and bit[0] in found:
                bit = found[bit[0]][bit[1]]
            return bit

        def resolve(value: Value) -> Value:
            return tuple(map(source, value))

        self.aliases[module.name] = {name: resolve(value) for name, value in found.items()}
        for connection in module.connections:
            connection.value = resolve(connection.value)
        for name in found:
            del module.wires[name]


def _drop_empty(module: Module) -> None:
    """Take out wires of no bits, of signals that hold nothing but 0."""
    module.wires = {name: wire for name, wire in module.wires.items() if wire.width}
    module.connections = [connection for connection in module.connections if connection.target]
    for cell in module.cells:
        if not cell.type.startswith("$"):
            cell.connections = {name: value for name, value in cell.connections.items() if value}


def reads_of(statements: Iterable[Assign | Switch]) -> Iterator[Value]:
    """Values that statements depend on."""
    for statement in statements:
        yield statement.value
        if isinstance(statement, Switch):
            for _, body in statement.cases:
                yield from reads_of(body)


def rename_ports(design: Design, cell: Cell, module: Module, names: dict[str, str]) -> None:
    """Rename ports, all at once: every value of the module is looked at."""
    if names:
        cell.connections = {names.get(name, name): value for name, value in cell.connections.items()}
        rename(design, module, names)


def rename(design: Design, module: Module, names: dict[str, str]) -> None:
    """Rename wires."""
    module.wires = {names.get(name, name): wire for name, wire in module.wires.items()}
    for name, wire in module.wires.items():
        wire.name = name
    _replace(design, module, lambda bit: (names.get(bit[0], bit[0]), bit[1]))


def substitute(design: Design, module: Module, bits: dict[Bit, Bit], *, targets: bool = True) -> None:
    """Replace bits wherever something depends on them, and, as ``targets``, where they are driven by operators or processes."""
    _replace(design, module, lambda bit: bits.get(bit, bit), targets)


def _replace(design: Design, module: Module, change: Callable[[tuple[str, int]], Bit], targets: bool = True) -> None:
    def of(value: Value) -> Value:
        return tuple(change(bit) if isinstance(bit, tuple) else bit for bit in value)

    def within(statements: list[Assign | Switch]) -> None:
        for statement in statements:
            statement.value = of(statement.value)
            if isinstance(statement, Assign):
                statement.target = of(statement.target) if targets else statement.target
            else:
                for _, body in statement.cases:
                    within(body)

    for cell in module.cells:
        if cell.type != CONTENT:
            cell.connections = {name: of(value) for name, value in cell.connections.items()}
    for statements in module.processes:
        within(statements)
    for connection in module.connections:
        connection.target, connection.value = of(connection.target), of(connection.value)
    design.aliases[module.name] = {name: of(value) for name, value in design.aliases[module.name].items()}


def in_words(design: Design, module: Module, value: Value, names: Mapping[str, str] = MappingProxyType({})) -> str:
    """A value in words, if it is a wire or a part of one; ``names`` are those that some wires are about to get."""
    for name, named in design.aliases[module.name].items():
        if named == value:
            return name.replace(".", "_")
    wires = {bit[0] for bit in value if isinstance(bit, tuple)}
    if len(wires) != 1:
        return ""
    (wire,) = wires
    name = names.get(wire, wire)
    if unnamed(name):
        return ""
    places = [bit[1] for bit in value if isinstance(bit, tuple)]
    if places == list(range(module.wires[wire].width)):
        return name
    return f"{name}_{places[-1]}_{places[0]}" if len(places) > 1 else f"{name}_{places[0]}"


def base_name(name: str) -> str:
    return re.sub(r"\$\d+$", "", name)


def identifier(name: str, taken: set[str]) -> str:
    """A Verilog identifier that is not taken, made of a name; it is taken then."""
    base = re.sub(r"\$\d+$", "", name)
    base = re.sub(r"[^A-Za-z0-9_]", "_", base.lstrip("$"))
    base = base if base not in RESERVED else f"{base}_"
    result, number = base, 0
    while result in taken:
        number += 1
        result = f"{base}_{number}"
    taken.add(result)
    return result
