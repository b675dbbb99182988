"""Values of a module as Verilog expressions."""

from collections import Counter
from collections.abc import Iterator

from hw.verilog.choices import Tree, trees, values_of
from hw.verilog.design import Design, reads_of, substitute, unnamed
from hw.verilog.operators import KINDS, LONG, NARROWING, Expression, constant, operands, operation, width_of
from hw.verilog.rtlil import Assign, Bit, Cell, Module, Switch, Value, Wire, place_of


class Values:
    """What drives what in a module, and how values are written.

    A wire without a name that is used once, and whole, is written as the expression behind it. A further name of a value, a field's for
    instance, is used where that value is. What has to be declared for an expression is added to ``fields`` or to ``body``.

    Attributes:
        drivers: operators, by the wires that they drive.
        processes: likewise.
        registers: likewise, with what they take on.
        used: wires that something depends on.
        names: of wires, as far as they have one in the text.
        fields: declarations of parts of named wires.
        body: all else, in order.
    """

    def __init__(self, design: Design, module: Module):
        self.design, self.module = design, module
        self._index_aliases()
        self.drivers: dict[str, Cell] = {}
        module.processes += [[connection] for connection in module.connections]
        module.connections = []
        self.processes = {_target(statements): statements for statements in module.processes}
        self.registers: dict[str, tuple[Cell, list[Assign | Switch]]] = {}
        fields = self._split_fields()
        self._sort_cells()
        self.choices = dict(self._choose(fields))
        self._drop_unused()
        self._narrow()
        self.uses, self.parts = self._count_uses()
        self.names = {name: name for name in (*module.wires, *self.aliases) if not unnamed(name)}
        self.taken = {*self.names, *module.memories, *(cell.name for cell in module.cells)}
        self.numbers: Counter[str] = Counter()
        self.fields: list[str] = []  # parts of named wires
        self.body: list[str] = []
        self.written: set[str] = set()

    def _index_aliases(self) -> None:
        self.aliases = self.design.aliases[self.module.name]
        self.starts: dict[Bit, list[str]] = {}  # names of values by their first bit, the longest first
        for alias in sorted(self.aliases, key=lambda alias: -len(self.aliases[alias])):
            self.starts.setdefault(self.aliases[alias][0], []).append(alias)

    def _split_fields(self) -> dict[str, dict[int, Wire]]:
        """Wires for fields that are read by themselves, by what they are fields of. A field may depend on others of the same signal, which
        would look like a loop."""
        read = {piece for value in self.design.reads(self.module) for piece in self._pieces(value) if isinstance(piece, str)}
        fields: dict[str, dict[int, Wire]] = {}
        bits: dict[Bit, Bit] = {}
        for name in sorted(read, key=lambda name: (len(self.aliases[name]), name)):
            value, wire = self.aliases[name], Wire(name, len(self.aliases[name]))
            whole = value[0][0]
            if whole in self.processes and not any(isinstance(bit, str) or bit in bits or bit[0] != whole for bit in value):
                bits |= zip(value, wire.value, strict=True)
                fields.setdefault(whole, {})[place_of(value)] = wire
        for wire in (wire for of in fields.values() for wire in of.values()):
            del self.aliases[wire.name]
            self.module.wires[wire.name] = wire
        substitute(self.design, self.module, bits, targets=False)
        self._index_aliases()
        return fields

    def _choose(self, fields: dict[str, dict[int, Wire]]) -> Iterator[tuple[str, list[Tree]]]:
        """What processes give wires and their fields."""
        for name, statements in self.processes.items():
            places = self.module.wires[name].value
            for at, field in fields.get(name, {}).items():
                yield field.name, trees(statements, at, at + field.width)
                statements = [*statements, Assign(places[at : at + field.width], field.value)]
            yield name, trees(statements, 0, len(places))

    def _sort_cells(self) -> None:
        for cell in self.module.cells:
            if cell.type in ("$dff", "$adff"):
                register = cell.connections["Q"][0][0]
                assert self.module.wires[register].value == cell.connections["Q"], register
                self.registers[register] = cell, self._own_process(cell)
            elif cell.type.startswith("$") and cell.type not in ("$memrd_v2", "$memwr_v2", "$meminit_v2"):
                self.drivers[cell.connections["Y"][0][0]] = cell

    def _own_process(self, cell: Cell) -> list[Assign | Switch]:
        """What a register takes on: the process that computes nothing else, or one assignment."""
        value = cell.connections["D"]
        wire = value[0][0]
        if wire in self.processes and unnamed(wire) and value == self.module.wires[wire].value:
            uses = sum(bit[0] == wire for read in self.design.reads(self.module) for bit in read if isinstance(bit, tuple))
            if uses == len(value):
                return self.processes.pop(wire)
        return [Assign(cell.connections["Q"], value)]

    def _drop_unused(self) -> None:
        """Leave out what drives wires that nothing depends on."""
        while True:
            used = {bit[0] for value in self._reads() for bit in value if isinstance(bit, tuple)}
            used |= {wire.name for wire in self.module.ports()}
            kinds: tuple[dict, ...] = (self.drivers, self.choices, self.registers)
            unused = [(kind, wire) for kind in kinds for wire in kind if wire not in used]
            for kind, wire in unused:
                del kind[wire]
            if not unused:
                break
        self.used = used

    def _narrow(self) -> None:
        """Leave out upper bits, carries for instance, that nothing depends on, of wires that nobody named."""
        while True:
            needed: dict[str, int] = {}
            for bit in {bit for value in self._reads() for bit in value if isinstance(bit, tuple)}:
                needed[bit[0]] = max(needed.get(bit[0], 0), bit[1] + 1)
            wide = [(wire, cell) for wire, cell in self.drivers.items() if unnamed(wire) and cell.type in NARROWING]
            wide = [(wire, cell) for wire, cell in wide if needed[wire] < self.module.wires[wire].width]
            if not wide:
                break
            for wire, cell in wide:
                self.module.wires[wire].width = needed[wire]
                cell.connections["Y"] = self.module.wires[wire].value
            self._drop_unused()

    def _reads(self) -> Iterator[Value]:
        """All values that are written down, but for what names stand for."""
        for cell in self.module.cells:
            if cell.type == "$memrd_v2":
                yield from (cell.connections[name] for name in ("ADDR", "EN", "CLK"))
            elif cell.type == "$memwr_v2":
                yield from cell.connections.values()
            elif not cell.type.startswith("$"):
                driven = self.design.outputs(self.module, cell)
                yield from (value for name, value in cell.connections.items() if name not in driven)
        for cell in self.drivers.values():
            yield from operands(cell).values()
        for cell, statements in self.registers.values():
            yield from (cell.connections[name] for name in ("CLK", "ARST") if name in cell.connections)
            yield from reads_of(without_hold(statements, cell))
        for parts in self.choices.values():
            yield from (value for part in parts for value in values_of(part))

    def _count_uses(self) -> tuple[Counter[str], set[str]]:
        """How often wires are written down, and which of them in parts."""
        uses: Counter[str] = Counter()
        parts: set[str] = set()
        aliases: set[str] = set()

        def count(value: Value, *, raw: bool) -> None:
            for piece in self._pieces(value, raw=raw):
                name = piece[0][0] if isinstance(piece, tuple) and isinstance(piece[0], tuple) else None
                if isinstance(piece, str):
                    aliases.add(piece)
                elif name is not None:
                    uses[name] += 1
                    if len(piece) < self.module.wires[name].width:
                        parts.add(name)

        for value in self._reads():
            count(value, raw=False)
        for alias in aliases:
            count(self.aliases[alias], raw=True)
        return uses, parts

    def _pieces(self, value: Value, *, raw: bool = False) -> list[Value | str]:
        """A value, cut into constants, wires, parts of wires, and names of values; least significant first.

        Parameters:
            raw: without names of values, as they are declared.
        """
        pieces: list[Value | str] = []
        at = 0
        while at < len(value):
            end = at + 1
            first = value[at]
            if isinstance(first, tuple):
                while end < len(value) and value[end] == (first[0], first[1] + end - at):
                    end += 1
                whole = end - at == self.module.wires[first[0]].width
                for alias in () if raw or (whole and not unnamed(first[0])) else self.starts.get(first, ()):
                    named = self.aliases[alias]
                    if len(named) >= end - at and value[at : at + len(named)] == named:
                        pieces.append(alias)
                        end = at + len(named)
                        break
                else:
                    pieces.append(value[at:end])
            else:
                while end < len(value) and isinstance(value[end], str):
                    end += 1
                pieces.append(value[at:end])
            at = end
        return pieces

    def _write(self, value: Value, *, raw: bool = False) -> Expression:
        pieces = self._pieces(value, raw=raw)
        if len(pieces) == 1:
            return self._write_piece(pieces[0])
        texts: list[str] = []
        for piece, copies in _runs(list(reversed(pieces))):
            text = self._write_piece(piece).text
            texts.append(f"{{{copies}{{{text}}}}}" if copies > 1 else text)
        return Expression(texts[0]) if len(texts) == 1 else in_braces(texts)

    def _write_piece(self, piece: Value | str) -> Expression:
        if isinstance(piece, str):
            self._declare_alias(piece)
            return Expression(piece)
        if isinstance(piece[0], str):
            return Expression(constant(piece))
        name = piece[0][0]
        wire = self.module.wires[name]
        if len(piece) == wire.width:
            return self._write_wire(wire)
        low, high = place_of(piece), place_of(piece) + len(piece) - 1
        return Expression(f"{self._name(wire)}[{high}:{low}]" if high > low else f"{self._name(wire)}[{low}]")

    def _write_wire(self, wire: Wire) -> Expression:
        """A whole wire: its name, or what it is."""
        if wire.name in self.names or wire.name not in self.drivers:
            return Expression(self._name(wire))
        cell = self.drivers[wire.name]
        if wire.name not in self.parts and self.uses[wire.name] == 1 and width_of(cell) == wire.width:
            expression = operation(cell, self._write)
            if len(expression.text) <= LONG:
                return expression
            return Expression(self._name(wire, expression))
        return Expression(self._name(wire))

    def _name(self, wire: Wire, expression: Expression | None = None) -> str:
        """The name of a wire; one that has none gets it here, with its declaration."""
        if wire.name in self.names:
            return self.names[wire.name]
        cell = self.drivers.get(wire.name)
        name = self.names[wire.name] = self._new_name(KINDS[cell.type] if cell else "value")
        if cell is None:
            return name  # of a process, or a memory
        self._define(f"wire {range_of(wire.width)}{name}", cell, wire.width, expression)
        return name

    def _define(self, target: str, cell: Cell, width: int, expression: Expression | None = None) -> None:
        """Give a wire the result of an operator."""
        expression = expression or operation(cell, self._write)
        if width_of(cell) > width:
            wide = self._new_name(KINDS[cell.type])
            self._assign(f"wire {range_of(width_of(cell))}{wide}", expression)
            expression = Expression(f"{wide}[{width - 1}:0]" if width > 1 else f"{wide}[0]")
        self._assign(target, expression)

    def _assign(self, target: str, expression: Expression) -> None:
        self.body.append(f"  {target} = {expression.text};".replace("= \n", "=\n"))

    def _new_name(self, kind: str) -> str:
        while True:
            self.numbers[kind] += 1
            if (name := f"{kind}_{self.numbers[kind]}") not in self.taken:
                self.taken.add(name)
                return name

    def _declare_alias(self, alias: str) -> None:
        if alias not in self.written:
            self.written.add(alias)
            value = self.aliases[alias]
            text = self._write(value, raw=True).text
            of_named = all(isinstance(bit, str) or not unnamed(bit[0]) for bit in value)
            (self.fields if of_named else self.body).append(f"  wire {range_of(len(value))}{alias} = {text};")


def in_braces(texts: list[str]) -> Expression:
    line = ", ".join(texts)
    return Expression(f"{{{line}}}" if len(line) <= LONG else "{\n    " + ",\n    ".join(texts) + "\n  }")


def _target(statements: list[Assign | Switch]) -> str:
    """The wire that a process drives."""
    first = statements[0]
    assert isinstance(first, Assign)
    return first.target[0][0]


def without_hold(statements: list[Assign | Switch], cell: Cell) -> list[Assign | Switch]:
    """Without the statement that a register keeps what it has, which needs no words."""
    first = statements[0]
    return statements[1:] if isinstance(first, Assign) and first.value == cell.connections["Q"] else statements


def range_of(width: int) -> str:
    return f"[{width - 1}:0] " if width > 1 else ""


def _runs(pieces: list[Value | str]) -> Iterator[tuple[Value | str, int]]:
    """Pieces, and how often in a row each comes."""
    at = 0
    while at < len(pieces):
        end = at
        while end < len(pieces) and pieces[end] == pieces[at]:
            end += 1
        yield pieces[at], end - at
        at = end
