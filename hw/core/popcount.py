"""Counting bits with a balanced tree of adders (a chain would be slow in the circuit, and slow to elaborate)."""

from amaranth.hdl import Const, Value


def popcount(bits: Value) -> Value:
    """The number of ones in ``bits``, just wide enough for ``len(bits)``. Combinational."""
    terms = [(bits[k], 1) for k in range(len(bits))] or [(Const(0, 1), 0)]
    while len(terms) > 1:
        pairs = [_add(*terms[k : k + 2]) for k in range(0, len(terms) - 1, 2)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0][0]


def _add(left: tuple[Value, int], right: tuple[Value, int]) -> tuple[Value, int]:
    most = left[1] + right[1]
    return (left[0] + right[0])[: most.bit_length()], most
