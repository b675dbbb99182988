"""Amaranth's circuits as plain data: reads the RTLIL text that Amaranth writes.

A value is a tuple of bits, least significant first. A bit is a pair of a wire's name and a place in it, or one of the characters of a
constant: 0, 1, x, z, and - in patterns. Names are without their first backslash; those of what has no name begin with a dollar.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

Bit = tuple[str, int] | str
Value = tuple[Bit, ...]
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s]+')


@dataclass
class Wire:
    """A wire; ``port`` is ``"input"``, ``"output"``, ``"inout"`` or empty."""

    name: str
    width: int
    port: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        return tuple((self.name, place) for place in range(self.width))

    @property
    def value(self) -> Value:
        return self.places


@dataclass
class Memory:
    """A memory of ``depth`` rows."""

    name: str
    width: int
    depth: int
    attributes: dict[str, str]


@dataclass
class Cell:
    """An operator (its type begins with a dollar), or an instance of a module. ``outputs`` are names of connections."""

    type: str
    name: str
    attributes: dict[str, str]
    parameters: dict[str, str] = field(default_factory=dict)
    connections: dict[str, Value] = field(default_factory=dict)

    def number(self, parameter: str) -> int:
        """A parameter, which Amaranth writes as a decimal number or as bits."""
        text = self.parameters[parameter]
        return int(text.partition("'")[2], 2) if "'" in text else int(text)


@dataclass
class Assign:
    """A value is given; what comes later in the same process overrides it."""

    target: Value
    value: Value


@dataclass
class Switch:
    """The first case one of whose patterns fits the value; no patterns fit always."""

    value: Value
    cases: list[tuple[list[str], list["Assign | Switch"]]] = field(default_factory=list)


@dataclass
class Module:
    """A module, in which everything is kept in the order of the text."""

    name: str
    wires: dict[str, Wire] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    processes: list[list[Assign | Switch]] = field(default_factory=list)
    connections: list[Assign] = field(default_factory=list)

    def ports(self) -> list[Wire]:
        return [wire for wire in self.wires.values() if wire.port]


def place_of(part: Value) -> int:
    """Where a part of a wire begins."""
    assert isinstance(part[0], tuple)
    return part[0][1]


def parse(text: str) -> dict[str, Module]:
    """The modules by name, the top one first."""
    modules: dict[str, Module] = {}
    lines = iter(TOKEN.findall(line) for line in text.splitlines())
    attributes: dict[str, str] = {}
    for tokens in lines:
        if tokens[:1] == ["module"]:
            module = _module(_name(tokens[1]), lines)
            modules[module.name] = module
    del attributes
    return modules


def _module(name: str, lines: Iterator[list[str]]) -> Module:
    module = Module(name)
    attributes: dict[str, str] = {}
    for tokens in lines:
        match tokens:
            case []:
                continue
            case ["attribute", key, value]:
                attributes[_name(key)] = value
                continue
            case ["wire", "width", width, *kind, wire]:
                port = kind[0] if kind and kind[0] in ("input", "output", "inout") else ""
                module.wires[_name(wire)] = Wire(_name(wire), int(width), port, attributes)
            case ["memory", "width", width, "size", depth, memory]:
                module.memories[_name(memory)] = Memory(_name(memory), int(width), int(depth), attributes)
            case ["cell", kind, cell]:
                module.cells.append(_cell(Cell(_name(kind), _name(cell), attributes), lines, module))
            case ["process", _]:
                module.processes.append(_statements(lines, module))
            case ["connect", *values]:
                module.connections.append(_assign(values, module))
            case ["end"]:
                return module
            case _:
                raise ValueError(f"RTLIL: {' '.join(tokens)}")
        attributes = {}
    raise ValueError("RTLIL ends inside a module")


def _cell(cell: Cell, lines: Iterator[list[str]], module: Module) -> Cell:
    for tokens in lines:
        match tokens:
            case ["parameter", *_, name, value]:
                cell.parameters[_name(name)] = value
            case ["connect", name, *value]:
                cell.connections[_name(name)], rest = _value(value, module)
                assert not rest
            case ["end"]:
                break
    return cell


def _statements(lines: Iterator[list[str]], module: Module) -> list[Assign | Switch]:
    """Statements up to the end of a process."""
    statements: list[Assign | Switch] = []
    for tokens in lines:
        match tokens:
            case ["assign", *values]:
                statements.append(_assign(values, module))
            case ["switch", *value]:
                statements.append(_switch(Switch(_value(value, module)[0]), lines, module))
            case ["end"]:
                break
    return statements


def _switch(switch: Switch, lines: Iterator[list[str]], module: Module) -> Switch:
    for tokens in lines:
        match tokens:
            case ["case", *patterns]:
                switch.cases.append(([pattern.rstrip(",").partition("'")[2] for pattern in patterns], []))
            case ["assign", *values]:
                switch.cases[-1][1].append(_assign(values, module))
            case ["switch", *value]:
                switch.cases[-1][1].append(_switch(Switch(_value(value, module)[0]), lines, module))
            case ["end"]:
                break
    return switch


def _assign(tokens: list[str], module: Module) -> Assign:
    target, rest = _value(tokens, module)
    value, rest = _value(rest, module)
    assert not rest
    return Assign(target, value)


def _value(tokens: list[str], module: Module) -> tuple[Value, list[str]]:
    """The value that tokens begin with, and the tokens after it."""
    head, rest = tokens[0], tokens[1:]
    if head == "{}":
        return (), rest
    if head == "{":
        parts: list[Value] = []
        while rest[0] != "}":
            part, rest = _value(rest, module)
            parts.append(part)
        return tuple(bit for part in reversed(parts) for bit in part), rest[1:]
    if "'" in head and head[0].isdecimal():
        return tuple(reversed(head.partition("'")[2])), rest
    name = _name(head)
    if rest and rest[0].startswith("["):
        high, _, low = rest[0][1:-1].partition(":")
        return tuple((name, bit) for bit in range(int(low or high), int(high) + 1)), rest[1:]
    return module.wires[name].value, rest


def _name(text: str) -> str:
    return text.removeprefix("\\")
