"""The ``xnor`` form's sequence: all spikes so far are gathered in a vector, which every neuron fold walks when a step closes."""

from amaranth.hdl import Module, Mux, Signal

from hw.core.plan import LayerPlan
from hw.core.sequencer import Cycles, Sequencer, operation
from hw.core.words import bits_for


class XnorCycles(Cycles):
    """A cycle per word, and then ``neuron_folds * synapse_folds`` per step."""

    @staticmethod
    def busy(plan: LayerPlan, words: float, steps: float) -> float:
        return words + steps * plan.neuron_folds * plan.synapse_folds

    def _take(self, begin: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        taken = self._advance(begin, 1)
        if closes:
            folds = self.plan.neuron_folds
            for fold in range(folds):
                self.free = self._test(self.free + self.plan.synapse_folds - 1, fold, frame, fold == folds - 1) + 1
        return taken


class XnorSequencer(Sequencer):
    """Words gather in one vector per context, of all spikes so far; when a step closes, every fold walks that vector.

    A word takes one cycle; then a step ``neuron_folds * synapse_folds``, in which no word is taken.
    """

    cycles = XnorCycles

    def elaborate(self, platform):
        m = Module()
        plan, word = self._plan, self.i.payload
        walk = Signal(operation(plan))  # what stays the same, and the weight row
        vector_bits = plan.synapse_folds * plan.simd
        seen = [Signal(vector_bits, name=f"seen_{context}") for context in range(plan.contexts)]
        walked = Signal(vector_bits)
        fold = Signal(bits_for(plan.neuron_folds))
        index = Signal(bits_for(plan.synapse_folds))
        walking = Signal()
        last_index = Signal()
        last_fold = Signal()
        moves = Signal()
        for context, vector in enumerate(seen):
            mine = word.frame[: bits_for(plan.contexts)] == context if plan.contexts > 1 else 1
            with m.If(self.i.valid & self.i.ready & mine):
                for k in range(plan.synapse_folds):
                    slot = vector.word_select(k, plan.simd)
                    m.d.sync += slot.eq(Mux(word.first, 0, slot) | Mux(word.index == k, word.bits, 0))
            with m.If(walk.frame[: bits_for(plan.contexts)] == context if plan.contexts > 1 else 1):
                m.d.comb += walked.eq(vector)
        m.d.comb += [
            self.i.ready.eq(~walking),
            last_index.eq(index == plan.synapse_folds - 1),
            last_fold.eq(fold == plan.neuron_folds - 1 if plan.neuron_folds > 1 else 1),
            moves.eq(walking & (self.may_test | ~last_index)),
            self.valid.eq(moves),
            self.tests.eq(moves & last_index),
            self.operation.eq(walk),
            self.operation.fold.eq(fold),
            self.operation.state_row.eq(plan.state_row(fold, walk.frame)),
            self.operation.spikes.eq(walked.word_select(index, plan.simd)),
            self.operation.restart.eq(index == 0),
            self.operation.integrate.eq(1),
            self.operation.test.eq(last_index),
            self.operation.last.eq(last_fold),
        ]
        first_step = self._first_step(m, word)
        with m.If(self.i.valid & self.i.ready & word.last_of_step):
            m.d.sync += [walking.eq(1), walk.first.eq(first_step)]
            m.d.sync += [walk[name].eq(word[name]) for name in ("time", "last_of_frame", "error", "frame")]
        with m.If(moves):
            m.d.sync += [index.eq(Mux(last_index, 0, index + 1)), walk.weight_row.eq(walk.weight_row + 1)]
            with m.If(last_index):
                m.d.sync += fold.eq(fold + 1)
                with m.If(last_fold):
                    m.d.sync += [fold.eq(0), walk.weight_row.eq(0), walking.eq(0)]
        return m
