"""The sequence of a convolution: each word walks the kernel places from which it reaches a position of the map."""

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from hw.core.convolution import ConvPlan
from hw.core.memories import RowMemory
from hw.core.plan import LayerPlan
from hw.core.rounds import rounds
from hw.core.sequencer import Cycles, Sequencer
from hw.core.trees import first_set
from hw.core.words import bits_for

SETTLES = 2
"""Cycles from an operation to the one in which it shows whether neurons are ripe."""


class ConvCycles(Cycles):
    """``neuron_folds`` cycles for each kernel place of a word, for each position that is tested, and once more per frame; `SETTLES` between
    the former and the latter; after a reset, one for each row of membranes."""

    plan: ConvPlan

    def __init__(self, plan: LayerPlan, fetch_to_vector: int):
        super().__init__(plan, fetch_to_vector)
        self.free = plan.state_rows
        self._touched: set[int] = set()  # in the first step of a frame
        self._first_step = False
        self._settled = 0  # from here on, all that words did has been looked at
        self._reached = lru_cache(maxsize=None)(self.plan.reached)
        self._tells_ripe, self._tests_all_first, self._tests_all_always = (
            self.plan.tells_ripe,
            self.plan.tests_all_first,
            self.plan.tests_all_always,
        )

    @staticmethod
    def busy(plan: LayerPlan, words: float, steps: float) -> float:
        assert isinstance(plan, ConvPlan)
        return plan.neuron_folds * (words + steps * plan.positions * plan.tests_all_always)

    def _take(self, begin: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        folds = self._folds
        self._first_step |= new_frame
        reached = self._reached(index) if index >= 0 else []
        last = begin + folds * (new_frame + len(reached))
        if reached and self._tells_ripe:
            self._settled = last + SETTLES
        if self._tests_all_first and self._first_step:
            self._touched.update(reached)
        if not closes:
            self.free = last if reached else last + 1
            return begin
        last = max(last, self._settled)
        positions = self._tested()
        vectors = [position * folds + fold for position in positions for fold in range(folds)] or [0]
        for vector in vectors:
            last = self._test(last + 1, vector, frame, vector == vectors[-1])
        self.free = last
        self._touched.clear()
        self._first_step = False
        return begin

    def _tested(self) -> Iterable[int]:
        """The positions that are tested when the step closes."""
        if self._tests_all_always:
            return range(self.plan.positions)
        spiking = {vector // self._folds for vector in self.spiking}
        if self._tests_all_first and self._first_step:
            spiking.update(set(range(self.plan.positions)) - self._touched)
        return sorted(spiking)


class ConvSequencer(Sequencer):
    """Each word walks the positions that it reaches, row by row, and at each of them all neuron folds: an operation per cycle.

    When a step closes, positions are tested in ascending order: those of which some neuron is ripe, which shows when a word has been there;
    in the first step of a frame, also those where no word has been, if they may spike; and all of them, where neurons may act without
    input. If there is none, the vector of the first one says so, which has no spikes.

    With the first word of a frame, a position starts anew, and with a reset all of them do (see `hw.core.rounds`).
    """

    cycles: ClassVar[type[Cycles]] = ConvCycles

    @staticmethod
    def rom(plan: LayerPlan) -> tuple[int, list[int]]:
        assert isinstance(plan, ConvPlan)
        return plan.walk_layout.size, plan.walk_rows

    @staticmethod
    def logic(plan: LayerPlan) -> tuple[float, float]:
        """Which positions are to be tested, and the first of them, are what grows with the map."""
        assert isinstance(plan, ConvPlan)
        noted = 0 if plan.tests_all_always else plan.positions
        return 150.0 + 3.0 * noted, 85.0 + noted

    def elaborate(self, platform):
        m = Module()
        plan, arriving, issued = self._plan, self.i.payload, self.operation
        assert isinstance(plan, ConvPlan)
        word = Signal(arriving.shape())
        full = Signal()
        taken = Signal()
        done = Signal()
        first_step = Signal()
        starts = Signal()  # the frame begins: a position is to start anew
        walked = Signal()
        m.d.comb += taken.eq(self.i.valid & self.i.ready)
        first = self._first_step(m, arriving)
        with m.If(done):
            m.d.sync += full.eq(0)
        with m.If(taken):
            m.d.sync += [word.eq(arriving), full.eq(1), first_step.eq(first), walked.eq(0), starts.eq(arriving.first)]

        m.submodules.walks = walks = RowMemory(*self.rom(plan))
        m.d.comb += walks.address.eq(Mux(self.i.ready, arriving.index, word.index) >> plan.neighbour_bits)
        walk = data.View(plan.walk_layout, walks.data)
        cleaning, cleaned = self._clean(m)
        round_ = rounds(
            m, contexts=plan.contexts, count=plan.positions, begins=taken & arriving.first, arriving=arriving.frame, frame=word.frame
        )

        # What is done in this cycle.
        starting = Signal()
        walking = Signal()
        sweeping = Signal()
        walks_on = Signal()
        m.d.comb += [
            walks_on.eq(word.bits.any() & walk.reaches & ~walked),
            starting.eq(full & starts),
            walking.eq(full & ~starts & walks_on),
            sweeping.eq(full & ~starts & ~walks_on & word.last_of_step),
        ]
        tests = Signal()
        m.d.comb += [
            tests.eq(sweeping & self.may_test & self._all_settled(m, walking)),
            self.tests.eq(tests),
            self.valid.eq(cleaning | starting | walking | tests),
            self.i.ready.eq((~full | done) & ~cleaning),
        ]

        # Where.
        nothing = Signal()  # is to be tested
        fold, base, last_fold = self._fold_counter(m, moves=starting | walking | (tests & ~nothing))
        moves = Signal()
        m.d.comb += moves.eq(walking & last_fold)
        position, row, ends = self._walk(m, plan, word, walk, moves)
        swept, is_last, none = self._sweep(m, plan, taken & arriving.first, tests & last_fold)
        last = Mux(nothing, 1, is_last & last_fold)
        m.d.comb += [
            nothing.eq(none),
            done.eq(full & ~starts & Mux(word.last_of_step, tests & last, ~walks_on | (moves & ends))),
        ]
        with m.If(moves & ends & ~done):
            m.d.sync += walked.eq(1)
        with m.If(starting & last_fold):
            m.d.sync += starts.eq(0)

        place = Signal(bits_for(plan.positions))
        m.d.comb += [
            place.eq(Mux(sweeping, swept, Mux(starts, round_, position))),
            issued.weight_row.eq(base + row),
            issued.fold.eq(fold),
            issued.position.eq(place),
            issued.state_row.eq(Mux(cleaning, cleaned, plan.state_row(fold, word.frame, place))),
            issued.tag.eq(Mux(cleaning, cleaned >> _bits_below_position(plan), round_)),
            issued.spikes.eq(Mux(walking, word.bits, 0)),
            issued.restart.eq(starting | cleaning),
            issued.first.eq(first_step),
            issued.integrate.eq(walking | sweeping),
            issued.test.eq(sweeping),
            issued.last.eq(last),
        ]
        m.d.comb += [issued[name].eq(word[name]) for name in ("time", "last_of_frame", "error", "frame")]
        return m

    def _clean(self, m: Module, *, again: Value | None = None) -> tuple[Value, Value]:
        """After a reset, or ``again``: whether rows of membranes are still being made as new, and which one is now."""
        rows = self._plan.state_rows
        clean = Signal()
        row = Signal(range(max(2, rows)))
        with m.If(~clean):
            m.d.sync += [row.eq(row + 1), clean.eq(row == rows - 1)]
        if again is not None:
            with m.If(again):
                m.d.sync += [row.eq(0), clean.eq(0)]
        return ~clean, row

    def _walk(self, m: Module, plan: ConvPlan, word, walk, moves) -> tuple[Value, Value, Value]:
        """The position that is walked, the row of its weights for fold 0, and whether it is the last; ``moves``: on to the next."""
        (down, across), width = plan.connection.strides, plan.connection.output_map[1]
        right, below = across * plan.channel_words, down * plan.connection.kernel_shape[1] * plan.channel_words  # rows of weights
        column = Signal.like(walk.across, name="walked_column")
        line = Signal.like(walk.down, name="walked_line")
        on, of_line = (Signal(bits_for(plan.positions), name=name) for name in ("on", "line_on"))  # added to the position
        back, line_back = (Signal(bits_for(plan.synapse_folds), name=name) for name in ("back", "line_back"))  # taken from the row
        ends_line = Signal()
        ends = Signal()
        m.d.comb += [ends_line.eq(column == walk.across), ends.eq(ends_line & (line == walk.down))]
        with m.If(moves):
            with m.If(~ends_line):
                m.d.sync += [column.eq(column + 1), on.eq(on + 1), back.eq(back + right)]
            with m.Elif(~ends):
                m.d.sync += [column.eq(0), line.eq(line + 1)]
                m.d.sync += [signal.eq(of_line + width) for signal in (on, of_line)]
                m.d.sync += [signal.eq(line_back + below) for signal in (back, line_back)]
            with m.Else():
                m.d.sync += [signal.eq(0) for signal in (column, line, on, of_line, back, line_back)]
        return walk.position + on, Cat(word.index[: plan.neighbour_bits], walk.row) - back, ends

    def _all_settled(self, m: Module, issues) -> Value:
        """Whether it shows what all operations of words have come to; ``issues``: there is one more now."""
        if not self._plan.tells_ripe:
            return Const(1)
        under_way = Signal(SETTLES)
        m.d.sync += under_way.eq(Cat(issues, under_way[:-1]))
        return ~under_way.any()

    def _sweep(self, m: Module, plan: ConvPlan, begins, sweeps) -> tuple[Value, Value, Value]:
        """The position that is tested, whether it is the last, and whether there is none.

        Parameters:
            begins: a frame begins.
            sweeps: on to the next position to be tested.
        """
        if plan.tests_all_always:
            swept = Signal(bits_for(plan.positions))
            last = Signal()
            m.d.comb += last.eq(swept == plan.positions - 1)
            with m.If(sweeps):
                m.d.sync += swept.eq(Mux(last, 0, swept + 1))
            return swept, last, 0
        height, width, _ = plan.connection.output_map
        due = Signal(plan.positions)
        lines = Signal(height, name="due_lines")
        columns = Signal(width, name="due_columns")  # of the first of them
        m.d.comb += lines.eq(Cat(due.word_select(line, width).any() for line in range(height)))
        line = first_set(m, lines, name="line")
        m.d.comb += columns.eq(due.word_select(line.index, width))
        column = first_set(m, columns, name="column")
        swept = Signal(bits_for(plan.positions))
        m.d.comb += swept.eq(line.index * width + column.index)
        place = Signal(plan.positions)
        m.d.comb += place.eq(1 << Mux(self.settles, self.settled, swept))
        with m.If(self.settles & self.ripe):
            m.d.sync += due.eq(due | place)
        with m.Elif((self.settles & (self.settled_fold == 0)) | sweeps):
            m.d.sync += due.eq(due & ~place)
        if plan.tests_all_first:
            with m.If(begins):
                m.d.sync += due.eq((1 << plan.positions) - 1)
        return swept, ~(line.several | column.several), ~line.any


def _bits_below_position(plan: ConvPlan) -> int:
    """Of the number of a row of membranes."""
    return (plan.contexts - 1).bit_length() + (plan.neuron_folds - 1).bit_length()
