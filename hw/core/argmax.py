"""The largest of several numbers and its place, one level of comparisons per cycle."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.core.words import bits_for


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
