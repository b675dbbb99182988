"""The first of many flags, in a tree."""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from hw.core.words import bits_for


class Found(NamedTuple):
    """What `first_set` finds.

    Attributes:
        any: there is a flag.
        several: there is more than one.
        index: number of the lowest, 0 where there is none.
        rest: the flags but for the lowest.
    """

    any: Value
    several: Value
    index: Value
    rest: Value


def first_set(m: Module, flags: Value, *, name: str) -> Found:
    """The lowest of ``flags``. Combinational, of logarithmic depth."""
    found = Found(
        Signal(name=f"{name}_any"),
        Signal(name=f"{name}_several"),
        Signal(bits_for(len(flags)), name=f"{name}_first"),
        Signal(len(flags), name=f"{name}_rest"),
    )
    some, several, index = _tree(flags, 0, 1 << (len(flags) - 1).bit_length())
    m.d.comb += [found.any.eq(some), found.several.eq(several), found.index.eq(index), found.rest.eq(flags & ~(1 << found.index))]
    return found


def _tree(flags: Value, begin: int, size: int) -> tuple[Value, Value, Value]:
    """Of ``size`` flags from ``begin`` on: are there any, are there several, and the number of the lowest."""
    if begin >= len(flags):
        return Const(0, 1), Const(0, 1), Const(0, (size - 1).bit_length())
    if size == 1:
        return flags[begin], Const(0, 1), Const(0, 0)
    half = size // 2
    low, low_several, low_index = _tree(flags, begin, half)
    high, high_several, high_index = _tree(flags, begin + half, half)
    index = ~low & high
    if half > 1:  # a multiplexer of no bits would be two in Verilog
        index = Cat(Mux(low, low_index, high_index), index)
    return low | high, low_several | high_several | (low & high), index
