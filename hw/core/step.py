"""The loop order ``step``: the words of a step are stored, and replayed for each neuron fold."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory

from hw.core.memories import NO_READ_WRITE_CHECK
from hw.core.plan import LayerPlan
from hw.core.sequencer import Cycles, Sequencer, idle, operation
from hw.core.words import bits_for

FETCH_TO_ISSUE = 1  # cycles from the fetch of a word to its issue


class StepCycles(Cycles):
    """``neuron_folds`` times as many cycles as a step has words, and those of the swaps."""

    def __init__(self, plan: LayerPlan, fetch_to_vector: int):
        super().__init__(plan, fetch_to_vector)
        self._words = 0  # of this step so far
        self._resident: int | None = None

    @staticmethod
    def busy(plan: LayerPlan, words: float, steps: float) -> float:
        return plan.neuron_folds * (words + steps * (plan.swap if plan.swap > 1 else 0))

    def _take(self, begin: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        plan = self.plan
        context = frame % plan.contexts
        swap = plan.swap if plan.swap > 1 else 0
        if self._words == 0 and (plan.neuron_folds > 1 or new_frame or context != self._resident):
            begin += swap
        self._resident = context
        self._words += 1
        if not closes:
            return self._advance(begin, 1)
        taken = test = self._test(begin, 0, frame, plan.neuron_folds == 1)
        for fold in range(1, plan.neuron_folds):
            test = self._test(test + swap + self._words, fold, frame, fold == plan.neuron_folds - 1)
        self.free = test + 1
        self._words = 0
        return taken


class StepSequencer(Sequencer):
    """The words of a step are taken for the first fold, stored, and replayed for each of the others.

    A step of n words takes ``neuron_folds * n`` cycles, and ``neuron_folds * swap`` more where a swap takes more than one (with one fold:
    only where the context changes). One cycle passes between the fetch of a word and its issue.
    """

    fetch_to_issue = FETCH_TO_ISSUE
    cycles = StepCycles

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int] | None:
        """Of the words of a step; of one fold, nothing is replayed."""
        words = max(2, plan.synapse_folds + plan.split_words)
        return (bits_for(plan.synapse_folds) + plan.simd * plan.lane_bits, words) if plan.neuron_folds > 1 else None

    def elaborate(self, platform):
        m = Module()
        plan, word = self._plan, self.i.payload
        kept = data.StructLayout({"index": word.index.shape(), "bits": plan.simd * plan.lane_bits})
        places = max(2, plan.synapse_folds + plan.split_words)
        again = Signal(kept)  # a word of the step, a cycle after its position; with one fold, nothing is replayed
        if plan.neuron_folds > 1:
            m.submodules.step = step = Memory(shape=kept, depth=places, init=[], attrs=NO_READ_WRITE_CHECK)
            write = step.write_port()
            read = step.read_port()
            again = read.data

        ends_pass = Signal()
        fetches = Signal()
        fold, base, last_fold = self._fold_counter(m, moves=fetches & ends_pass)
        position = Signal(range(places))
        last_position = Signal(range(places))
        replaying = Signal()
        closing = Signal(word.shape())  # the word that closed the step
        first_step = self._first_step(m, word)
        replays_first = Signal()

        swapping, beat = self._swaps(m, replaying=replaying, fetches=fetches, ends_pass=ends_pass)
        may_end = Signal()
        m.d.comb += [
            ends_pass.eq(Mux(replaying, position == last_position, word.last_of_step)),
            may_end.eq(self.may_test | ~ends_pass),
            fetches.eq((self.i.valid | replaying) & ~swapping & may_end),
            self.i.ready.eq(~replaying & ~swapping & may_end),
            self.tests.eq(fetches & ends_pass),
        ]
        if plan.neuron_folds > 1:
            m.d.comb += [
                write.addr.eq(position),
                write.data.index.eq(word.index),
                write.data.bits.eq(word.bits),
                write.en.eq(self.i.valid & ~replaying),
                read.addr.eq(position),
            ]
        with m.If(fetches):
            m.d.sync += position.eq(Mux(ends_pass, 0, position + 1))
            with m.If(ends_pass):
                m.d.sync += replaying.eq(~last_fold)
                with m.If(~replaying):
                    m.d.sync += [last_position.eq(position), closing.eq(word), replays_first.eq(first_step)]

        # One cycle later.
        issued = Signal(operation(plan), init=idle(plan))
        fetched = Signal(kept)
        replayed = Signal()
        address = Signal.like(base, name="base")
        frame = Mux(replaying, closing.frame, word.frame)
        m.d.sync += [
            self.valid.eq(fetches | swapping),
            replayed.eq(replaying),
            fetched.index.eq(word.index),
            fetched.bits.eq(word.bits),
            address.eq(base),
            issued.fold.eq(fold),
            issued.state_row.eq(plan.state_row(fold, frame)),
            issued.restart.eq(Mux(replaying, replays_first & (position == 0), word.first)),
            issued.first.eq(Mux(replaying, replays_first, first_step)),
            issued.integrate.eq(~swapping),
            issued.test.eq(fetches & ends_pass),
            issued.last.eq(last_fold),
            issued.beat.eq(beat),
            issued.frame.eq(frame),
        ]
        for name in ("time", "last_of_frame", "error"):
            m.d.sync += issued[name].eq(Mux(replaying, closing[name], word[name]))
        m.d.comb += [
            self.operation.eq(issued),
            self.operation.weight_row.eq(address + Mux(replayed, again.index, fetched.index)),
            self.operation.spikes.eq(Mux(replayed, again.bits, fetched.bits)),
        ]
        return m

    def _swaps(self, m: Module, *, replaying: Signal, fetches: Signal, ends_pass: Signal) -> tuple[Signal, Signal]:
        """Whether potentials are being swapped, before the first word of a pass, and which part of them."""
        plan, word = self._plan, self.i.payload
        beat = Signal(bits_for(plan.swap))
        swapping = Signal()
        if plan.swap > 1:
            swapped = Signal()
            resident = Signal(bits_for(plan.contexts))
            context = word.frame[: len(resident)]
            begins = Signal(init=1)  # the next word is the first of its pass
            stays = Signal()  # its potentials are in the registers already
            if plan.neuron_folds == 1:
                m.d.comb += stays.eq((resident == context) & ~word.first)
            m.d.comb += swapping.eq((self.i.valid | replaying) & begins & ~swapped & ~stays)
            with m.If(swapping):
                m.d.sync += beat.eq(beat + 1)
                with m.If(beat == plan.swap - 1):
                    m.d.sync += [beat.eq(0), swapped.eq(1)]
            with m.If(fetches):
                m.d.sync += [begins.eq(ends_pass), swapped.eq(0), resident.eq(context)]
        return swapping, beat
