"""The sequence of a convolution by rows: of a frame of one step, each row of positions is tested when no later word reaches it.

Words come in the order of the rows of their map, behind a pool, too: so when one comes whose first row of positions is ``f``, none reaches
the rows above ``f`` any more. They are tested before it walks, in ascending order, and their vectors leave; the rows that are left follow
when the step closes. Of the rows from ``f`` on, no word has reached any but those that one word can reach, and so the membranes of as
many rows are kept, in a *ring*: a row takes the place of the one that was tested last.

Membranes are never cleared. Beside them, a bit for each of the ring's positions says whether a word has been there, and if none has, an
operation starts its membranes anew. When a row has been tested, the bits of all rows move up by one, and those of the row that takes its
place are 0. When the last row of the map has been tested they have all been replaced, so that the next frame finds them as a reset does:
nothing is left of a frame, however it ended, since every frame closes its step.

An empty word may close the step again to end its frame. No membranes are left then, of which other frames may have begun to use the ring;
all that is tested is the last position, for a vector that says so, and the layer takes its spikes away.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data

from hw.core.convolution import ConvPlan
from hw.core.memories import RowMemory
from hw.core.plan import LayerPlan
from hw.core.sequencer import Cycles
from hw.core.trees import first_set
from hw.core.walk import SETTLES, ConvCycles, ConvSequencer
from hw.core.words import bits_for


class RowCycles(Cycles):
    """``neuron_folds`` cycles for each kernel place of a word and for each position that is tested, and one for a row of positions of which
    none is; `SETTLES` between the former and the latter."""

    plan: ConvPlan

    def __init__(self, plan: LayerPlan, fetch_to_vector: int):
        super().__init__(plan, fetch_to_vector)
        self._height, self._width, _ = self.plan.connection.output_map
        self._line = 0  # rows of positions that have been tested
        self._touched: set[int] = set()
        self._ripe: set[int] = set()
        self._settled = 0  # from here on, all that words did has been looked at
        self._reached = lru_cache(maxsize=None)(self.plan.reached)
        self._tells_ripe, self._tests_all_first, self._tests_all_always = (
            self.plan.tells_ripe,
            self.plan.tests_all_first,
            self.plan.tests_all_always,
        )

    busy = staticmethod(ConvCycles.busy)

    def _take(self, begin: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        if new_frame:
            self._ripe = {vector // self._folds for vector in self.spiking}
        reached = self._reached(index) if index >= 0 else []
        last = begin
        if reached:
            last = self._sweep(last, reached[0] // self._width, frame) + self._folds * len(reached)
            self._touched.update(reached)
            if self._tells_ripe:
                self._settled = last + SETTLES
        if closes:
            last = self._sweep(last, self._height, frame)
            self._line = 0
            self._touched.clear()
        elif not reached:
            last += 1
        self.free = last
        return begin

    def _sweep(self, last: int, end: int, frame: int) -> int:
        """Test the rows before row ``end`` after cycle ``last``; the last cycle of that."""
        for line in range(self._line, end):
            last = max(last, self._settled)
            tested = False
            for position in self._due(line):
                ends = position == self.plan.positions - 1
                for vector in range(position * self._folds, (position + 1) * self._folds):
                    last = self._test(last + 1, vector, frame, ends and vector == self.plan.positions * self._folds - 1)
                tested = True
            if not tested:
                last += 1
        self._line = max(self._line, end)
        return last

    def _due(self, line: int) -> Iterable[int]:
        """The positions of a row that are tested."""
        row = range(line * self._width, (line + 1) * self._width)
        if self._tests_all_always:
            return row
        final = self.plan.positions - 1
        return [
            position
            for position in row
            if position in self._ripe or position == final or (self._tests_all_first and position not in self._touched)
        ]


class RowSequencer(ConvSequencer):
    """Each word walks the positions that it reaches, after rows above them have been tested, and at each of them all neuron folds: an
    operation per cycle.

    Of a row, those positions are tested of which some neuron is ripe, which shows when a word has been there; those where no word has been,
    if they may spike; and all of them, where neurons may act without input. A row of which none is takes a cycle. The last position of the
    map is always tested, and its vector says that the step is over.
    """

    cycles: ClassVar[type[Cycles]] = RowCycles

    @staticmethod
    def logic(plan: LayerPlan) -> tuple[float, float]:
        """Which of the ring's positions have been reached, which are to be tested, and the first of these, are what grows with it."""
        assert isinstance(plan, ConvPlan)
        return 150.0 + 5.0 * plan.ring, 100.0 + 2 * plan.ring

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
        m.d.comb += [taken.eq(self.i.valid & self.i.ready), self.i.ready.eq(~full | done)]
        first = self._first_step(m, arriving)
        with m.If(done):
            m.d.sync += full.eq(0)
        with m.If(taken):
            m.d.sync += [word.eq(arriving), full.eq(1), first_step.eq(first), walked.eq(0)]

        m.submodules.walks = walks = RowMemory(*self.rom(plan))
        m.d.comb += walks.address.eq(Mux(self.i.ready, arriving.index, word.index) >> plan.neighbour_bits)
        walk = data.View(plan.walk_layout, walks.data)

        # The first row of positions that is not tested.
        height, width, _ = plan.connection.output_map
        line = Signal(bits_for(height))
        line_position = Signal(bits_for(plan.positions))
        line_place = Signal(bits_for(plan.ring))
        ends_line = Signal()
        is_last_line = Signal()
        m.d.comb += is_last_line.eq(line == height - 1)
        with m.If(ends_line):
            m.d.sync += [
                line.eq(Mux(is_last_line, 0, line + 1)),
                line_position.eq(Mux(is_last_line, 0, line_position + width)),
                line_place.eq(Mux(line_place == plan.ring - width, 0, line_place + width)),
            ]

        # What is done in this cycle.
        walks_on = Signal()
        walking = Signal()
        sweeping = Signal()
        tests = Signal()
        m.d.comb += [
            walks_on.eq(word.bits.any() & walk.reaches & ~walked),
            walking.eq(full & walks_on & (line >= walk.line)),
            sweeping.eq(full & Mux(walks_on, line < walk.line, word.last_of_step) & self._all_settled(m, walking)),
            self.tests.eq(tests),
            self.valid.eq(walking | tests),
        ]

        # Where.
        fold, base, last_fold = self._fold_counter(m, moves=walking | tests)
        moves = Signal()
        m.d.comb += moves.eq(walking & last_fold)
        position, row, ends = self._walk(m, plan, word, walk, moves)
        place = Signal(bits_for(plan.ring))  # among those of the rows that are kept
        due = Signal(plan.ring, init=self._untouched(plan, plan.ring))
        touched = Signal(plan.ring)
        columns = Signal(width)
        m.d.comb += columns.eq(Mux(first_step, due[:width], 0) | (is_last_line << width - 1))
        column = first_set(m, columns, name="column")
        last_column = Signal()
        m.d.comb += [
            tests.eq(sweeping & column.any & self.may_test),
            last_column.eq(tests & last_fold & ~column.several),
            ends_line.eq(last_column | (sweeping & ~column.any)),
            done.eq(full & Mux(word.last_of_step, last_column & is_last_line, ~walks_on | (moves & ends))),
        ]
        with m.If(moves & ends & ~done):
            m.d.sync += walked.eq(1)
        with m.If(ends_line):
            m.d.sync += [touched.eq(touched >> width), due.eq(due >> width | self._untouched(plan, width) << plan.ring - width)]
        with m.Elif(moves):
            m.d.sync += touched.eq(touched | (1 << place))
        with m.Elif(tests & last_fold):
            m.d.sync += due.eq(due & ~(1 << place))
        if plan.tells_ripe:
            settled = 1 << self.settled[: len(place)]
            with m.If(self.settles & self.ripe):
                m.d.sync += due.eq(due | settled)
            with m.Elif(self.settles & (self.settled_fold == 0)):
                m.d.sync += due.eq(due & ~settled)

        in_ring = Signal(bits_for(2 * plan.ring))
        m.d.comb += [
            place.eq(Mux(walking, position, column.index)),
            in_ring.eq(line_place + place),
            issued.weight_row.eq(base + row),
            issued.fold.eq(fold),
            issued.position.eq(Mux(walking, position, line_position + column.index)),
            issued.state_row.eq(plan.state_row(fold, word.frame, Mux(in_ring >= plan.ring, in_ring - plan.ring, in_ring))),
            issued.spikes.eq(Mux(walking, word.bits, 0)),
            issued.restart.eq(~touched.bit_select(place, 1)),
            issued.first.eq(first_step),
            issued.integrate.eq(1),
            issued.test.eq(~walking),
            issued.last.eq(last_column & is_last_line),
        ]
        m.d.comb += [issued[name].eq(word[name]) for name in ("time", "last_of_frame", "error", "frame")]
        return m

    @staticmethod
    def _untouched(plan: ConvPlan, positions: int) -> int:
        """A bit for each of so many positions, which no word has reached: whether they are to be tested."""
        return (1 << positions) - 1 if plan.tests_all_first else 0
