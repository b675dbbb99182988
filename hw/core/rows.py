"""The sequence of a convolution by rows: of a frame of one step, each row of positions is tested when no later word reaches it.

Words come in the order of the rows of their map, behind a pool, too: so when one comes whose first row of positions is ``f``, none reaches
the rows above ``f`` any more. Their positions are tested before it walks, and their vectors leave; the rest follows when the step closes.
So all positions are tested, once and in order; and of the rows from ``f`` on, no word has reached any but those that one word can reach.
The membranes of as many rows are kept, in a *ring*: a position takes the place of the one that was tested so many positions before.

A test leaves the membranes of its place as a frame begins with them; so does a reset with all places, or a load of other potentials to
start from, which takes a cycle per row of the memory. No place is stale, then, when a position takes it: the position that had it before
has been tested, in whatever frame that was, since every frame closes its step, one that is flagged, too; and no word has reached the place
since, as words reach only positions that are not tested, and fewer of these than there are places.

An empty word may close the step again to end its frame. All places are as new then, and one position is tested, for vectors that say so;
the layer takes their spikes away (`hw.core.layer`).
"""

from functools import lru_cache
from typing import ClassVar

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data

from hw.core.convolution import ConvPlan
from hw.core.memories import RowMemory
from hw.core.plan import LayerPlan
from hw.core.sequencer import Cycles
from hw.core.walk import ConvSequencer
from hw.core.words import bits_for


class RowCycles(Cycles):
    """``neuron_folds`` cycles for each kernel place of a word and for each position; after a reset, one for each row of membranes."""

    plan: ConvPlan

    def __init__(self, plan: LayerPlan, fetch_to_vector: int):
        super().__init__(plan, fetch_to_vector)
        self.free = plan.state_rows
        self._vector = 0  # the next that is tested
        self._line = self._folds * self.plan.connection.output_map[1]  # vectors of a row of positions
        self._last = self.plan.positions * self._folds - 1
        self._reached = lru_cache(maxsize=None)(self.plan.reached)

    @staticmethod
    def busy(plan: LayerPlan, words: float, steps: float) -> float:
        return plan.neuron_folds * (words + steps * plan.positions)

    def _take(self, begin: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        reached = self._reached(index) if index >= 0 else []
        self.free = begin
        if reached:
            self._sweep(reached[0] * self._folds // self._line * self._line, frame)
            self.free += self._folds * len(reached)
        if closes:
            self._sweep(self._last + 1, frame)
            self._vector = 0
        elif not reached:
            self.free += 1
        return begin

    def _sweep(self, end: int, frame: int) -> None:
        """Test what comes before vector ``end``."""
        while self._vector < end:
            self.free = self._test(self.free + 1, self._vector, frame, self._vector == self._last)
            self._vector += 1


class RowSequencer(ConvSequencer):
    """Each word walks the positions that it reaches, row by row, and at each of them all neuron folds: an operation per cycle.

    Before a word walks, all folds of the positions above those rows are tested that have not been tested yet, in ascending order; when the
    step closes, all that are left.
    """

    cycles: ClassVar[type[Cycles]] = RowCycles

    @staticmethod
    def logic(plan: LayerPlan) -> tuple[float, float]:
        return 210.0, 110.0

    def elaborate(self, platform):
        m = Module()
        plan, arriving, issued = self._plan, self.i.payload, self.operation
        assert isinstance(plan, ConvPlan)
        word = Signal(arriving.shape())
        full = Signal()
        taken = Signal()
        done = Signal()
        first_step = Signal()
        walked = Signal()
        cleaning, cleaned = self._clean(m, again=self.renews)
        m.d.comb += [taken.eq(self.i.valid & self.i.ready), self.i.ready.eq((~full | done) & ~cleaning)]
        first = self._first_step(m, arriving)
        with m.If(done):
            m.d.sync += full.eq(0)
        with m.If(taken):
            m.d.sync += [word.eq(arriving), full.eq(1), first_step.eq(first), walked.eq(0)]

        m.submodules.walks = walks = RowMemory(*self.rom(plan))
        m.d.comb += walks.address.eq(Mux(self.i.ready, arriving.index, word.index) >> plan.neighbour_bits)
        walk = data.View(plan.walk_layout, walks.data)

        # What is done in this cycle.
        height, width, _ = plan.connection.output_map
        line = Signal(bits_for(height))  # of the position that is tested next
        walks_on = Signal()
        walking = Signal()
        tests = Signal()
        m.d.comb += [
            walks_on.eq(word.bits.any() & walk.reaches & ~walked),
            walking.eq(full & walks_on & (line >= walk.line)),
            tests.eq(full & Mux(walks_on, line < walk.line, word.last_of_step) & self.may_test),
            self.tests.eq(tests),
            self.valid.eq(cleaning | walking | tests),
        ]
        fold, base, last_fold = self._fold_counter(m, moves=walking | tests)
        moves = Signal()
        tested = Signal()
        is_last = Signal()
        m.d.comb += [moves.eq(walking & last_fold), tested.eq(tests & last_fold)]
        on, row, ends = self._walk(m, plan, word, walk, moves)
        m.d.comb += done.eq(full & Mux(word.last_of_step, tested & is_last, ~walks_on | (moves & ends)))
        with m.If(moves & ends & ~done):
            m.d.sync += walked.eq(1)

        # Where: the position that is tested next, and its place in the ring.
        column = Signal(bits_for(width))
        swept = Signal(bits_for(plan.positions))
        place = Signal(bits_for(plan.ring))
        in_ring = Signal(bits_for(2 * plan.ring))
        m.d.comb += [is_last.eq(~first_step | (swept == plan.positions - 1)), in_ring.eq(place + Mux(walking, on, 0))]
        with m.If(tested):
            m.d.sync += [swept.eq(swept + 1), column.eq(column + 1), place.eq(Mux(place == plan.ring - 1, 0, place + 1))]
            with m.If(column == width - 1):
                m.d.sync += [column.eq(0), line.eq(line + 1)]
            with m.If(is_last):
                m.d.sync += [swept.eq(0), column.eq(0), line.eq(0)]

        m.d.comb += [
            issued.weight_row.eq(base + row),
            issued.fold.eq(Mux(cleaning, cleaned[: (plan.neuron_folds - 1).bit_length()], fold)),
            issued.state_row.eq(
                Mux(cleaning, cleaned, plan.state_row(fold, word.frame, Mux(in_ring >= plan.ring, in_ring - plan.ring, in_ring)))
            ),
            issued.spikes.eq(Mux(walking, word.bits, 0)),
            issued.restart.eq(cleaning),
            issued.first.eq(first_step),
            issued.integrate.eq(1),
            issued.test.eq(tests),
            issued.last.eq(is_last & last_fold),
        ]
        if plan.addressed:
            m.d.comb += issued.position.eq(swept)
        m.d.comb += [issued[name].eq(word[name]) for name in ("time", "last_of_frame", "error", "frame")]
        return m
