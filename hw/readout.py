"""The decision, taken at the first step in which an output spikes [S5]."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.folding import LayerPlan
from hw.streams import rows
from hw.words import bits_for

ROW_TO_RESULT = 2  # cycles from the deciding row to the result


def result_layout(plan: LayerPlan) -> data.StructLayout:
    """A frame's result, from the last layer's plan.

    ``class_index``, ``step`` (t*), ``margin`` (V - θ of the class at t*), ``silent`` (no output spiked), ``error`` (the frame broke a
    rule).
    """
    return data.StructLayout(
        {
            "class_index": bits_for(plan.layer.outputs),
            "step": bits_for(plan.steps),
            "margin": signed(plan.margin_bits),
            "silent": 1,
            "error": 1,
        }
    )


class Readout(wiring.Component):
    """Largest margin among all outputs at the deciding step, lowest index on a tie.

    With ``early`` high, the result leaves at the decision and the rest of the frame is cancelled; with ``early`` low, it leaves at the
    frame's end. Latency: two cycles from the deciding (or the last) row to the result. While a result waits to be taken, the next
    one's step is not released.

    Parameters:
        plan: the last layer.

    Members:
        i: rows of output neurons.
        early: mode; looked at when a decision falls.
        o: results, one per frame.
    """

    def __init__(self, plan: LayerPlan):
        self._plan = plan
        super().__init__({"i": In(rows(plan)), "early": In(1), "o": Out(stream.Signature(result_layout(plan)))})

    def elaborate(self, platform):
        m = Module()
        plan = self._plan

        valid, row = Signal(), Signal(self.i.payload.shape())
        blocked, closes = Signal(), Signal()
        m.d.sync += valid.eq(self.i.valid | (valid & blocked & ~self.i.flush))
        with m.If(self.i.valid):
            m.d.sync += row.eq(self.i.payload)

        margin, index = self._best_of_row(m, row)

        # The best of the step so far, and with this row.
        best_margin, best_index = Signal(signed(plan.margin_bits)), Signal(range(max(plan.layer.outputs, 2)))
        step_margin, step_index = Signal.like(best_margin), Signal.like(best_index)
        some_fired, step_fired = Signal(), Signal()
        starts, later_group_wins = Signal(), Signal()
        m.d.comb += [
            starts.eq(row.group == 0),
            later_group_wins.eq(margin > best_margin),
            step_margin.eq(Mux(starts | later_group_wins, margin, best_margin)),
            step_index.eq(Mux(starts | later_group_wins, row.group * plan.pe + index, best_index)),
            step_fired.eq(row.fire.any() | (some_fired & ~starts)),
        ]
        with m.If(valid):
            m.d.sync += [best_margin.eq(step_margin), best_index.eq(step_index), some_fired.eq(step_fired)]

        decided, cancelling = Signal(), Signal()
        decides, finishes = Signal(), Signal()
        kept, result = Signal(self.o.payload.shape()), Signal(self.o.payload.shape())
        m.d.comb += [
            closes.eq(valid & row.last_of_step),
            decides.eq(closes & ~decided & ~cancelling & (step_fired | row.last_of_frame)),
            finishes.eq((decides & self.early) | (closes & row.last_of_frame & ~cancelling)),
            blocked.eq(finishes & self.o.valid & ~self.o.ready),
            self.i.release.eq(closes & ~blocked),
            self.i.cancel.eq(cancelling),
            result.eq(kept),
        ]
        with m.If(decides):
            m.d.comb += [
                result.class_index.eq(step_index),
                result.step.eq(Mux(step_fired, row.time, plan.steps - 1)),
                result.margin.eq(step_margin),
                result.silent.eq(~step_fired),
            ]
        m.d.comb += result.error.eq(row.error)

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(finishes & ~blocked):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(result)]
        with m.If(decides & ~blocked):
            m.d.sync += [kept.eq(result), decided.eq(1), cancelling.eq(self.early)]
        with m.If(closes & row.last_of_frame & ~blocked):
            m.d.sync += [decided.eq(0), cancelling.eq(0)]
        return m

    def _best_of_row(self, m: Module, row) -> tuple[Value, Value]:
        """Largest margin among the neurons of a row and its place, by a tree of comparisons; the lower place wins a tie."""
        plan = self._plan
        last_group = Signal()
        m.d.comb += last_group.eq(row.group == plan.groups - 1)
        ranks = [
            (row.margin.word_select(p, plan.margin_bits).as_signed(), Const(p, bits_for(plan.pe)), p < plan.last_group_size)
            for p in range(plan.pe)
        ]
        level = 0
        while len(ranks) > 1:
            winners = []
            for k in range(0, len(ranks) - 1, 2):
                (low_margin, low_index, low_always), (high_margin, high_index, high_always) = ranks[k : k + 2]
                margin = Signal(signed(plan.margin_bits), name=f"margin_{level}_{k // 2}")
                index = Signal(bits_for(plan.pe), name=f"index_{level}_{k // 2}")
                higher_wins = Signal(name=f"higher_wins_{level}_{k // 2}")
                exists = 1 if high_always else ~last_group
                m.d.comb += [
                    higher_wins.eq((high_margin > low_margin) & exists),
                    margin.eq(Mux(higher_wins, high_margin, low_margin)),
                    index.eq(Mux(higher_wins, high_index, low_index)),
                ]
                winners.append((margin, index, low_always))
            ranks = winners + ranks[2 * len(winners) :]
            level += 1
        return ranks[0][0], ranks[0][1]
