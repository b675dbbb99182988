"""The first bit that is set, found with a tree: a chain of as many multiplexers as there are bits would be slow."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value


@dataclass(frozen=True)
class FirstSet:
    """What is set among some bits.

    Attributes:
        index: of the lowest bit that is set, 0 if none is; ⌈log2⌉ bits.
        some: whether any is.
        several: whether more than one is.
    """

    index: Value
    some: Value
    several: Value


def first_set(m: Module, bits: Value) -> FirstSet:
    """Find out, combinationally: neighbours are combined pairwise, ⌈log2⌉ levels deep."""
    nodes = [FirstSet(Const(0, 0), bits[k], Const(0, 1)) for k in range(len(bits))]
    for level in range((len(bits) - 1).bit_length()):
        pairs = [_pair(m, nodes[k], nodes[k + 1], level) for k in range(0, len(nodes) - 1, 2)]
        nodes = pairs + nodes[2 * len(pairs) :]
    return nodes[0]


def _pair(m: Module, low: FirstSet, high: FirstSet, level: int) -> FirstSet:
    """One more bit of index: the one that tells the halves apart. Only the higher half can be incomplete."""
    both = FirstSet(Signal(level + 1, name=f"first_{level}"), Signal(name=f"some_{level}"), Signal(name=f"several_{level}"))
    m.d.comb += [
        both.index.eq(Cat(Mux(low.some, low.index, high.index)[:level], ~low.some & high.some)),
        both.some.eq(low.some | high.some),
        both.several.eq(low.several | high.several | (low.some & high.some)),
    ]
    return both
