"""Combinational processes as conditional expressions.

A continuous assignment is evaluated at time 0 by every simulator, whatever it depends on. A block ``always @*`` first waits for an event,
which never comes if it depends on constants only, or on registers that keep their first content.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from hw.verilog.operators import LONG, Expression, constant
from hw.verilog.rtlil import Assign, Switch, Value, place_of

BITS: tuple[Value, Value] = (("0",), ("1",))
Test = tuple[Value, tuple[str, ...]]


@dataclass(frozen=True)
class Choice:
    """One of two values of equal width: ``yes`` if each of the tests holds, that is if one of the patterns fits the value."""

    tests: tuple[Test, ...]
    yes: "Tree"
    no: "Tree"


Tree = Value | Choice


def trees(statements: list[Assign | Switch], low: int, high: int) -> list[Tree]:
    """What a process gives the bits ``low`` to ``high`` of its target: as few parts as have conditions in common, the lowest first."""
    statements = list(_within(statements, low, high))
    cuts = sorted({cut for cut in _cuts(statements) if low < cut < high})
    if not cuts:
        return [_value(statements, low, high, ())]
    middle = cuts[len(cuts) // 2]
    lower, upper = trees(statements, low, middle), trees(statements, middle, high)
    both = _together(lower[-1], upper[0])
    return [*lower, *upper] if both is None else [*lower[:-1], both, *upper[1:]]


def values_of(tree: Tree) -> Iterator[Value]:
    """The values that are written for a tree."""
    for node in _nodes(tree):
        if isinstance(node, Choice):
            yield from (value for test in node.tests for value, _ in _parts(test))
        else:
            yield node


def width_of(tree: Tree) -> int:
    while isinstance(tree, Choice):
        tree = tree.yes
    return len(tree)


def choice(tree: Tree, write: Callable[[Value], Expression], define: Callable[[Expression, int], Expression]) -> Expression:
    """The expression of a tree.

    Parameters:
        write: writes a value.
        define: gives an expression of this width a wire, for what is used more than once or long.
    """
    uses = Counter(id(child) for node in _nodes(tree) if isinstance(node, Choice) for child in (node.yes, node.no))
    defined: dict[int, Expression] = {}

    def inner(node: Tree) -> Expression:
        if not isinstance(node, Choice):
            return write(node)
        if id(node) not in defined:
            expression = outer(node)
            if uses[id(node)] == 1 and len(expression.text) <= LONG:
                return expression
            defined[id(node)] = define(expression, width_of(node))
        return defined[id(node)]

    def condition(node: Choice) -> Expression:
        return _all("&", [_any(test, write) for test in node.tests])

    def outer(node: Choice) -> Expression:
        kind = _kind(node)
        rows: list[Expression] = []
        rest: Tree = node
        while isinstance(rest, Choice) and (rest is node or uses[id(rest)] == 1) and _kind(rest) == kind:
            test = condition(rest)
            if kind == "?":
                test = Expression(f"{test.within('?')} ? {inner(rest.yes).within('?')}")
            elif rest.yes not in BITS:
                return _all(kind, [*rows, test if kind == "&" else _not(test), inner(rest.yes)])
            rows.append(_not(test) if kind == "&" else test)
            rest = rest.no
        if kind == "?":
            return Expression(_lines(" :", [*(row.text for row in rows), inner(rest).text]), "?")
        return _all(kind, rows if rest == BITS["&|".index(kind) ^ 1] else [*rows, inner(rest)])

    return outer(tree) if isinstance(tree, Choice) else write(tree)


def _kind(node: Choice) -> str:
    """The operator of a choice: of single bits, one of which is constant, it is ``&`` or ``|``."""
    if node.yes in BITS:
        return "&|"[BITS.index(node.yes)]
    return "&|"[BITS.index(node.no)] if node.no in BITS else "?"


def _nodes(tree: Tree) -> Iterator[Tree]:
    """All of a tree, parts that are shared once."""
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            if isinstance(node, Choice):
                waiting += [node.no, node.yes]


def _within(statements: list[Assign | Switch], low: int, high: int) -> Iterator[Assign | Switch]:
    """Those that may change some of these bits."""
    for statement in statements:
        if isinstance(statement, Switch):
            cases = [(patterns, list(_within(body, low, high))) for patterns, body in statement.cases]
            if any(body for _, body in cases):
                yield Switch(statement.value, cases)
        elif place_of(statement.target) < high and place_of(statement.target) + len(statement.target) > low:
            yield statement


def _cuts(statements: list[Assign | Switch]) -> Iterator[int]:
    for statement in statements:
        if isinstance(statement, Switch):
            for _, body in statement.cases:
                yield from _cuts(body)
        else:
            yield from (place_of(statement.target), place_of(statement.target) + len(statement.target))


def _value(statements: list[Assign | Switch], low: int, high: int, before: Tree) -> Tree:
    """What bits become that are only assigned together, and are ``before``."""
    for statement in statements:
        if isinstance(statement, Assign):
            at = place_of(statement.target)
            before = statement.value[low - at : high - at]
        else:
            before = _case(statement, low, high, before)
    return before


def _case(switch: Switch, low: int, high: int, before: Tree) -> Tree:
    if all(isinstance(bit, str) for bit in switch.value):
        pattern = "".join(str(bit) for bit in reversed(switch.value))
        return _value(next((body for patterns, body in switch.cases if not patterns or pattern in patterns), []), low, high, before)
    seen = {pattern for patterns, _ in switch.cases for pattern in patterns if "-" not in pattern}
    result = before
    for number, (patterns, body) in reversed(list(enumerate(switch.cases, 1))):
        value = _value(body, low, high, before)
        if not patterns or (number == len(switch.cases) and len(seen) == 1 << len(switch.value)):
            result = value
        elif value != result:
            tests: tuple[Test, ...] = ((switch.value, tuple(patterns)),)
            if isinstance(value, Choice) and value.no == result:
                tests, value = (*tests, *value.tests), value.yes
            if len(tests) == 1 and tests[0][1] == ("0",) and not isinstance(result, Choice):
                tests, value, result = ((tests[0][0], ("1",)),), result, value
            result = Choice(tests, value, result)
    return result


def _together(low: Tree, high: Tree) -> Tree | None:
    """Two trees of neighbouring bits as one, if their conditions are the same."""
    if isinstance(low, Choice) and isinstance(high, Choice):
        if low.tests != high.tests:
            return None
        yes, no = _together(low.yes, high.yes), _together(low.no, high.no)
        return None if yes is None or no is None else Choice(low.tests, yes, no)
    return None if isinstance(low, Choice) or isinstance(high, Choice) else (*low, *high)


def _parts(test: Test) -> Iterator[tuple[Value, str]]:
    """The comparisons of a test: parts of its value, and what bits they must have."""
    value, patterns = test
    for pattern in patterns:
        places = range(len(pattern) - 1, -1, -1)
        for fixed, run in groupby(zip(places, pattern, strict=True), lambda pair: pair[1] != "-"):
            bits = list(run)
            if fixed:
                yield value[bits[-1][0] : bits[0][0] + 1], "".join(digit for _, digit in bits)


def _any(test: Test, write: Callable[[Value], Expression]) -> Expression:
    fits = []
    for pattern in test[1]:
        same = []
        for value, digits in _parts((test[0], (pattern,))):
            text = write(value)
            if len(digits) == 1:
                same.append(text if digits == "1" else _not(text))
            else:
                same.append(Expression(f"{text.within('==')} == {constant(tuple(reversed(digits)))}", "=="))
        fits.append(_all("&", same))
    return _all("|", fits)


def _not(expression: Expression) -> Expression:
    return Expression(f"!{expression.within('unary')}", "unary")


def _all(operator: str, terms: list[Expression]) -> Expression:
    if len(terms) == 1:
        return terms[0]
    return Expression(_lines(f" {operator}", [term.within(operator) for term in terms]), operator)


def _lines(separator: str, texts: list[str]) -> str:
    """In one line if it is short enough."""
    line = f"{separator} ".join(texts)
    return line if len(line) <= LONG and "\n" not in line else "\n    " + f"{separator}\n    ".join(texts)
