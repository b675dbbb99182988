"""The loop order ``event``: each word visits all neuron folds."""

from amaranth.hdl import Module

from hw.core.plan import LayerPlan
from hw.core.sequencer import Cycles, Sequencer


class EventCycles(Cycles):
    """``neuron_folds`` cycles per word."""

    @staticmethod
    def busy(plan: LayerPlan, words: float, steps: float) -> float:
        return plan.neuron_folds * words

    def _take(self, begin: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        folds = self.plan.neuron_folds
        if closes:
            for fold in range(folds):
                begin = self._test(begin, fold, frame, fold == folds - 1) + 1
            folds = 0
        return self._advance(begin, folds)


class EventSequencer(Sequencer):
    """Each word visits every fold in turn: ``neuron_folds`` cycles per word; a step costs nothing more."""

    cycles = EventCycles

    def elaborate(self, platform):
        m = Module()
        plan, word, issued = self._plan, self.i.payload, self.operation
        fold, base, last = self._fold_counter(m, moves=self.valid)
        m.d.comb += [
            self.valid.eq(self.i.valid & (self.may_test | ~word.last_of_step)),
            self.tests.eq(self.valid & word.last_of_step),
            self.i.ready.eq(last & (self.may_test | ~word.last_of_step)),
            issued.weight_row.eq(base + word.index),
            issued.fold.eq(fold),
            issued.state_row.eq(plan.state_row(fold, word.frame)),
            issued.spikes.eq(word.bits),
            issued.restart.eq(word.first),
            issued.first.eq(self._first_step(m, word)),
            issued.integrate.eq(1),
            issued.test.eq(word.last_of_step),
            issued.last.eq(last),
            issued.time.eq(word.time),
            issued.last_of_frame.eq(word.last_of_frame),
            issued.error.eq(word.error),
            issued.frame.eq(word.frame),
        ]
        return m
