"""Operators as Verilog expressions."""

from collections.abc import Callable
from dataclasses import dataclass

from hw.verilog.rtlil import Bit, Cell, Value

LONG = 100
"""Characters from which on an expression gets a wire of its own, and a list a line per part."""

BINARY = {"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-", "$mul": "*"}
COMPARING = {"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="}
REDUCING = {"$reduce_and": "&", "$reduce_or": "|", "$reduce_xor": "^", "$reduce_bool": "|"}
NARROWING = (*BINARY, "$not", "$neg", "$mux")
"""Operators whose lower bits do not depend on the upper bits of what they take."""
SHIFTING = {"$shl": "<<", "$shr": ">>", "$shift": ">>", "$sshr": ">>>"}
DIVIDING = {"$divfloor": "/", "$modfloor": "%"}
KINDS = {
    **{"$and": "both", "$or": "either", "$xor": "differing", "$not": "inverse", "$neg": "negative", "$mux": "choice"},
    **{
        "$add": "sum",
        "$sub": "difference",
        "$mul": "product",
        "$shl": "shifted",
        "$shr": "shifted",
        "$sshr": "shifted",
        "$shift": "shifted",
    },
    **{"$eq": "equal", "$ne": "unequal", "$lt": "less", "$le": "at_most", "$gt": "greater", "$ge": "at_least"},
    **{"$divfloor": "quotient", "$modfloor": "remainder"},
    **{"$reduce_and": "all", "$reduce_or": "any", "$reduce_xor": "odd", "$reduce_bool": "any"},
}
"""What wires that nobody named are called, by the operator that drives them."""


@dataclass(frozen=True)
class Expression:
    """A Verilog expression; ``operator`` is its outermost one, empty for what needs no parentheses anywhere."""

    text: str
    operator: str = ""

    def within(self, operator: str) -> str:
        """As an operand of another operator; chains of the same one need no parentheses where it does not matter."""
        alone = not self.operator or (self.operator == "unary" and operator not in ("unary", "reduction"))
        return self.text if alone or (self.operator == operator and operator in "&|^+*") else f"({self.text})"


def operands(cell: Cell) -> dict[str, Value]:
    """The operands of an operator, extended and cut to the width in which it works.

    Raises:
        ValueError: no such operator is known.
    """
    kind, connections = cell.type, cell.connections
    result = len(connections["Y"])
    signed = cell.parameters.get("A_SIGNED", "0") != "0"
    if kind in NARROWING:
        width = result
    elif kind in COMPARING:
        width = max(len(connections["A"]), len(connections["B"]))
    elif kind in DIVIDING and not signed:
        width = max(result, len(connections["A"]), len(connections["B"]))
    elif kind in REDUCING:
        width = len(connections["A"])
    elif kind in SHIFTING and (kind == "$sshr" or cell.parameters["B_SIGNED"] == "0"):
        width = max(result, len(connections["A"])) if kind != "$shl" else result
        return {"A": _resized(connections["A"], width, signed), "B": connections["B"]}
    else:
        raise ValueError(f"cannot write operator {kind} as Verilog")
    return {name: _resized(value, width, signed) if name != "S" else value for name, value in connections.items() if name != "Y"}


def width_of(cell: Cell) -> int:
    """The width of an operator's expression, which may be more than that of its result."""
    return len(operands(cell)["A"]) if cell.type in (*SHIFTING, *DIVIDING) else len(cell.connections["Y"])


def operation(cell: Cell, write: Callable[[Value], Expression]) -> Expression:
    """The expression of an operator, `width_of` bits wide.

    Parameters:
        write: writes an operand.
    """
    kind, values = cell.type, operands(cell)
    if kind in SHIFTING and not values["B"]:
        return write(values["A"])
    if not values["A"]:  # as wide as a signal that holds but 0
        return Expression(constant(("1" if kind in ("$eq", "$le", "$ge", "$reduce_and") else "0",)))
    parts = {name: write(value) for name, value in values.items()}
    if kind in BINARY:
        operator = BINARY[kind]
        right = parts["B"].within(operator if operator in "&|^" else "")
        return Expression(f"{parts['A'].within(operator)} {operator} {right}", operator)
    if kind in COMPARING:
        operator = COMPARING[kind]
        if kind in ("$eq", "$ne") and values["B"] in (("0",), ("1",)):  # of single bits
            same = (kind == "$eq") == (values["B"] == ("1",))
            return parts["A"] if same else Expression(f"!{parts['A'].within('unary')}", "unary")
        if cell.parameters["A_SIGNED"] != "0" and kind not in ("$eq", "$ne"):
            return Expression(f"$signed({parts['A'].text}) {operator} $signed({parts['B'].text})", operator)
        return Expression(f"{parts['A'].within(operator)} {operator} {parts['B'].within(operator)}", operator)
    if kind in REDUCING:
        if len(cell.connections["A"]) == 1:
            return parts["A"]
        return Expression(f"{REDUCING[kind]}{parts['A'].within('reduction')}", "reduction")
    if kind == "$mux":
        return Expression(f"{parts['S'].within('?')} ? {parts['B'].within('?')} : {parts['A'].within('?')}", "?")
    if kind in DIVIDING:
        return Expression(f"{parts['A'].within('/')} {DIVIDING[kind]} {parts['B'].within('/')}", DIVIDING[kind])
    if kind == "$sshr":
        return Expression(f"$unsigned($signed({parts['A'].text}) >>> {parts['B'].within('>>')})")
    if kind in SHIFTING:
        return Expression(f"{parts['A'].within('shift')} {SHIFTING[kind]} {parts['B'].within('shift')}", "shift")
    sign = "-" if kind == "$neg" else "!" if len(cell.connections["Y"]) == 1 else "~"
    return Expression(f"{sign}{parts['A'].within('unary')}", "unary")


def constant(bits: Value, *, narrow: int = 4) -> str:
    """A constant: hexadecimal, but binary up to ``narrow`` bits, and where there are others than 0 and 1."""
    digits = "".join(str(bit) for bit in reversed(bits))
    if len(bits) <= narrow or set(digits) - {"0", "1"}:
        return f"{len(bits)}'b{digits}"
    return f"{len(bits)}'h{int(digits, 2):0{-(-len(bits) // 4)}x}"


def _resized(value: Value, width: int, signed: bool) -> Value:
    fill: Bit = value[-1] if signed and value else "0"
    return (*value[:width], *(fill,) * (width - len(value)))
