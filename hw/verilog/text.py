"""Verilog-2001 of a circuit that has its names: registers in clocked blocks, what is computed on the way inside expressions.

Every expression is as wide as its context, since operands are extended bit by bit before they are written. So nothing depends on Verilog's
rules for widths and signs, and an expression may stand wherever the wire that it drives may.
"""

from collections.abc import Iterable, Iterator

from hw.verilog.choices import Tree, choice, width_of
from hw.verilog.design import Design, unnamed
from hw.verilog.operators import LONG, Expression, constant
from hw.verilog.rtlil import Assign, Cell, Memory, Module, Switch, Value, Wire, place_of
from hw.verilog.values import Values, in_braces, range_of, without_hold


def write(design: Design, comments: dict[str, list[str]]) -> str:
    """All modules, the top one first.

    Parameters:
        design: with its names.
        comments: lines to stand before modules, by name.
    """
    return "\n".join(_Writer(design, module).text(comments.get(module.name, [])) for module in design.modules.values())


class _Writer(Values):
    """Writes a module."""

    def text(self, comments: list[str]) -> str:
        for wire in [self.module.wires[name] for name in self.drivers if name in self.names]:
            self._define(f"assign {self.names[wire.name]}", self.drivers[wire.name], wire.width)
        for name, parts in self.choices.items():
            self._write_process(name, parts)
        for memory in self.module.memories.values():
            self._write_memory(memory)
        for name, (cell, statements) in self.registers.items():
            self._write_register(name, cell, statements)
        for cell in self.module.cells:
            if not cell.type.startswith("$"):
                self._write_instance(cell)
        lines = comments.copy()
        lines += [f"module {self.module.name} (", ",\n".join(map(self._port, _in_order(self.module))), ");"]
        lines += self._declarations()
        return "\n".join([*lines, *self.body, "endmodule", ""])

    def _port(self, wire: Wire) -> str:
        kind = "reg " if self._stores(wire.name) else "wire"
        attributes = _attributes(wire, self.module is self.design.top)
        return f"{attributes}  {wire.port:<6} {kind} {range_of(wire.width)}{wire.name}"

    def _stores(self, name: str) -> bool:
        """Whether Verilog wants a wire to be a ``reg``."""
        reads = [cell for cell in self.module.cells if cell.type == "$memrd_v2" and cell.number("CLK_ENABLE")]
        return any(cell.connections["DATA"][0][0] == name for cell in reads) or name in self.registers

    def _declarations(self) -> list[str]:
        lines = []
        for wire in self.module.wires.values():
            if wire.port or wire.name not in self.names or (unnamed(wire.name) and wire.name in self.drivers):
                continue
            if wire.name in self.used or self._stores(wire.name):
                kind = "reg" if self._stores(wire.name) else "wire"
                attributes = _attributes(wire, wire.name in self.registers)
                lines.append(f"{attributes}  {kind} {range_of(wire.width)}{self.names[wire.name]};")
        return [*lines, *self.fields, ""]

    def _write_process(self, name: str, parts: list[Tree]) -> None:
        texts = []
        for part in reversed(parts):
            expression = choice(part, self._write, self._define_choice)
            if len(parts) > 1 and len(expression.text) > LONG:
                expression = self._define_choice(expression, width_of(part))
            texts.append(expression.text)
        self._assign(f"assign {self._name(self.module.wires[name])}", Expression(texts[0]) if len(texts) == 1 else in_braces(texts))

    def _define_choice(self, expression: Expression, width: int) -> Expression:
        name = self._new_name("choice")
        self._assign(f"wire {range_of(width)}{name}", expression)
        return Expression(name)

    def _write_register(self, name: str, cell: Cell, statements: list[Assign | Switch]) -> None:
        statements = _reset_first(without_hold(statements, cell), len(cell.connections["Q"]))
        edges = f"{_edge(cell)} {self._write(cell.connections['CLK']).text}"
        if cell.type == "$adff":
            reset, on = cell.connections["ARST"], str(cell.number("ARST_POLARITY"))
            edges += f" or {_edge(cell, 'ARST')} {self._name(self.module.wires[reset[0][0]])}"
            content: Value = tuple(reversed(cell.parameters["ARST_VALUE"].partition("'")[2]))
            statements = [Switch(reset, [([on], [Assign(cell.connections["Q"], content)]), ([], statements)])]
        lines = list(self._statements(statements, name, len(cell.connections["Q"]), "    "))
        head = f"  always @({edges})"
        init = self.module.wires[name].attributes.get("init")
        self.body += ["", *([f"  initial {name} = {_value(init)};"] if init else [])]
        self.body += [f"{head} begin", *lines, "  end"] if len(statements) > 1 else [head, *lines]

    def _statements(self, statements: Iterable[Assign | Switch], target: str, width: int, indent: str) -> Iterator[str]:
        for statement in statements:
            if isinstance(statement, Assign):
                low, bits = place_of(statement.target), len(statement.target)
                part = "" if bits == width else f"[{low}]" if bits == 1 else f"[{low + bits - 1}:{low}]"
                yield f"{indent}{target}{part} <= {self._write(statement.value).text};"
            else:
                yield from self._switch(statement, target, width, indent)

    def _switch(self, switch: Switch, target: str, width: int, indent: str) -> Iterator[str]:
        if all(isinstance(bit, str) for bit in switch.value):
            pattern = "".join(str(bit) for bit in reversed(switch.value))
            body = next((body for patterns, body in switch.cases if not patterns or pattern in patterns), [])
            yield from self._statements(body, target, width, indent)
            return

        def lines_of(body: list[Assign | Switch], deeper: str) -> list[str]:
            return list(self._statements(body, target, width, indent + deeper))

        if not any(lines_of(body, "") for _, body in switch.cases):
            return
        value = self._write(switch.value)
        if len(switch.value) == 1:
            yes, no = (next((body for patterns, body in switch.cases if not patterns or digit in patterns), []) for digit in "10")
            if yes:
                yield from _block(f"{indent}if ({value.text})", lines_of(yes, "  "), indent)
            else:
                yield from _block(f"{indent}if (!{value.within('unary')})", lines_of(no, "  "), indent)
                return
            if len(no) == 1 and isinstance(no[0], Switch) and len(no[0].value) == 1:
                first, *rest = lines_of(no, "")
                yield f"{indent}else {first.strip()}"
                yield from rest
            elif no:
                yield from _block(f"{indent}else", lines_of(no, "  "), indent)
            return
        fuzzy = any("-" in pattern for patterns, _ in switch.cases for pattern in patterns)
        yield f"{indent}{'casez' if fuzzy else 'case'} ({value.text})"
        for patterns, body in switch.cases:
            labels = ", ".join(f"{len(pattern)}'b{pattern.replace('-', '?')}" for pattern in patterns) or "default"
            lines = lines_of(body, "    ")
            if len(lines) == 1:
                yield f"{indent}  {labels}: {lines[0].strip()}"
            else:
                yield from _block(f"{indent}  {labels}:", lines, indent + "  ")
        if all(patterns for patterns, _ in switch.cases):
            yield f"{indent}  default: ;"
        yield f"{indent}endcase"

    def _write_memory(self, memory: Memory) -> None:
        name = memory.name
        cells = [cell for cell in self.module.cells if cell.parameters.get("MEMID", "").strip('"').lstrip("\\") == name]
        self.body += ["", f"{_attributes(memory, True)}  reg {range_of(memory.width)}{name} [0:{memory.depth - 1}];"]
        for cell in cells:
            if cell.type == "$meminit_v2":
                content = cell.connections["DATA"]
                rows = [constant(content[at : at + memory.width], narrow=0) for at in range(0, len(content), memory.width)]
                if len(set(rows)) == 1:
                    row = self._new_name("row")
                    loop = f"for ({row} = 0; {row} < {memory.depth}; {row} = {row} + 1)"
                    self.body += [f"  integer {row};", f"  initial {loop} {name}[{row}] = {rows[0]};"]
                else:
                    self.body += ["  initial begin", *(f"    {name}[{row}] = {text};" for row, text in enumerate(rows)), "  end"]
        writes = [cell for cell in cells if cell.type == "$memwr_v2"]
        for cell in writes:
            row = f"{name}[{self._write(cell.connections['ADDR']).text}]"
            lines = self._memory_lines(cell, row, [])
            self.body += [f"  always @({_edge(cell)} {self._write(cell.connections['CLK']).text}) begin", *lines, "  end"]
        for cell in cells:
            if cell.type == "$memrd_v2" and cell.connections["DATA"][0][0] in self.used:
                self._write_memory_read(name, cell, writes)

    def _memory_lines(self, write: Cell, target: str, conditions: list[str]) -> list[str]:
        """Statements that take over what is written, under further conditions, in as many parts as can be written on their own."""
        data, enable = write.connections["DATA"], write.connections["EN"]
        lines = []
        at = 0
        while at < len(data):
            end = at + 1
            while end < len(data) and enable[end] == enable[at]:
                end += 1
            part = "" if end - at == len(data) else f"[{end - 1}:{at}]" if end - at > 1 else f"[{at}]"
            all_conditions = [*conditions, *(self._write((bit,)).within("&") for bit in enable[at : at + 1] if bit != "1")]
            condition = f"if ({' & '.join(all_conditions)}) " if all_conditions else ""
            lines.append(f"    {condition}{target}{part} <= {self._write(data[at:end]).text};")
            at = end
        return lines

    def _write_memory_read(self, memory: str, cell: Cell, writes: list[Cell]) -> None:
        wire = self.module.wires[cell.connections["DATA"][0][0]]
        assert wire.value == cell.connections["DATA"]
        target, address = self._name(wire), self._write(cell.connections["ADDR"]).text
        if not cell.number("CLK_ENABLE"):
            self.body.append(f"  assign {target} = {memory}[{address}];")
            return
        enable = cell.connections["EN"]
        conditions = [] if enable == ("1",) else [self._write(enable).within("&")]
        lines = [f"    {f'if ({conditions[0]}) ' if conditions else ''}{target} <= {memory}[{address}];"]
        transparent = reversed(cell.parameters["TRANSPARENCY_MASK"].partition("'")[2])
        for write in [write for write, shows in zip(writes, transparent, strict=False) if shows == "1"]:
            same = self._new_name("same_row")
            self.body.append(f"  wire {same} = {address} == {self._write(write.connections['ADDR']).text};")
            lines += self._memory_lines(write, target, [*conditions, same])
        self.body += [f"  always @({_edge(cell)} {self._write(cell.connections['CLK']).text}) begin", *lines, "  end"]

    def _write_instance(self, cell: Cell) -> None:
        driven = self.design.outputs(self.module, cell)
        ports = []
        names = [wire.name for wire in _in_order(self.design.modules[cell.type])] if cell.type in self.design.modules else cell.connections
        for port in names:
            value = cell.connections[port]
            unused = port in driven and value[0][0] not in self.used
            ports.append(f"    .{port}({'' if unused else self._write(value).text})")
        parameters = ",\n".join(f"    .{name}({_value(text)})" for name, text in cell.parameters.items())
        head = f"  {cell.type} " + (f"#(\n{parameters}\n  ) " if parameters else "") + f"{cell.name} ("
        attributes = "" if cell.type in self.design.modules else _attributes(cell, True)
        self.body += ["", attributes + head, ",\n".join(ports), "  );"]


def _in_order(module: Module) -> list[Wire]:
    """The ports, clock and reset first."""
    return sorted(module.ports(), key=lambda wire: ("clk", "rst").index(wire.name) if wire.name in ("clk", "rst") else 2)


def _block(head: str, lines: list[str], indent: str) -> list[str]:
    """Statements as one, after what they depend on."""
    if not lines:
        return [f"{head};"]
    return [head, *lines] if len(lines) == 1 else [f"{head} begin", *lines, f"{indent}end"]


def _reset_first(statements: list[Assign | Switch], width: int) -> list[Assign | Switch]:
    """A condition under which all that came before is overridden, before it."""
    match statements:
        case [_, *_, Switch(cases=[(["1"], [Assign() as last])]) as switch] if len(last.target) == width:
            return [Switch(switch.value, [(["1"], [last]), ([], statements[:-1])])]
    return statements


def _edge(cell: Cell, of: str = "CLK") -> str:
    return "posedge" if cell.number(f"{of}_POLARITY") else "negedge"


def _value(text: str) -> str:
    """A constant of RTLIL."""
    if "'" not in text:
        return text
    return constant(tuple(reversed(text.partition("'")[2])))


def _attributes(item: Wire | Memory | Cell, kept: bool) -> str:
    """Attributes that the source gave it."""
    lines = [f"  (* {name} = {_value(text)} *)\n" for name, text in item.attributes.items() if name != "init"]
    return "".join(lines) if kept else ""
