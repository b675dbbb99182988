"""Balanced trees over the bits, flags or numbers of a vector: `popcount`, `first_set` and `ArgMax`.

A tree is of logarithmic depth; a chain would be slow in the circuit, and slow to elaborate.
"""

from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.words import bits_for


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


class ArgMax(wiring.Component):
    """A tree of comparisons with a register after each level; of equal numbers, the one at the lowest place wins [S5].

    Latency: `latency` cycles. Throughput: one row per cycle.

    Parameters:
        count: numbers to compare.
        width: bits of one, signed.
        always: the first so many places are always in the race; the others only with ``all_present``.

    Members:
        values: the numbers, place 0 least significant.
        all_present: whether the places from ``always`` on take part.
        value, place: the winner.
    """

    def __init__(self, *, count: int, width: int, always: int):
        self._count, self._width, self._always = count, width, always
        super().__init__(
            {
                "values": In(count * width),
                "all_present": In(1),
                "value": Out(signed(width)),
                "place": Out(bits_for(count)),
            }
        )

    @property
    def latency(self) -> int:
        """Levels of comparisons."""
        return (self._count - 1).bit_length()

    def elaborate(self, platform):
        m = Module()
        present: Value = self.all_present
        racers = [
            (self.values.word_select(p, self._width).as_signed(), Const(p, bits_for(self._count)), p < self._always)
            for p in range(self._count)
        ]
        for level in range(self.latency):
            winners = []
            for k in range(0, len(racers), 2):
                value = Signal(signed(self._width), name=f"value_{level}_{k // 2}")
                place = Signal(bits_for(self._count), name=f"place_{level}_{k // 2}")
                low_value, low_place, low_always = racers[k]
                next_value, next_place = low_value, low_place
                if k + 1 < len(racers):
                    high_value, high_place, high_always = racers[k + 1]
                    high_wins = Signal(name=f"high_wins_{level}_{k // 2}")
                    m.d.comb += high_wins.eq((high_value > low_value) & (1 if high_always else present))
                    next_value = Mux(high_wins, high_value, low_value)
                    next_place = Mux(high_wins, high_place, low_place)
                m.d.sync += [value.eq(next_value), place.eq(next_place)]
                winners.append((value, place, low_always))
            still_present = Signal(name=f"present_{level}")
            m.d.sync += still_present.eq(present)
            racers, present = winners, still_present
        m.d.comb += [self.value.eq(racers[0][0]), self.place.eq(racers[0][1])]
        return m
