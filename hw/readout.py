"""The decision, taken at the first step in which an output spikes [S5]."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.argmax import ArgMax
from hw.folding import LayerPlan
from hw.streams import rows
from hw.words import bits_for

ROW_TO_CANCEL = 1  # cycles from the deciding row to the cancel
ROW_TO_RELEASE = 1  # cycles from a row that does not finish its frame to its release


def row_to_load(plan: LayerPlan) -> int:
    """Cycles from the row that finishes a frame to the one in which its result is complete; it is on the output one later."""
    return 1 + (plan.pe - 1).bit_length()


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

    With ``early`` high, a decision finishes its frame: the rest of it is cancelled. With ``early`` low, the frame's end does. That a row
    decides shows without comparing margins, so the cancel comes one cycle after the row, ahead of the result, which comes
    ``row_to_load + 1`` cycles after the row. The last layer may close a further step once the result is complete, and the one
    before it was taken.

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
        plan, row = self._plan, self.i.payload
        verdict = data.StructLayout(
            {
                "valid": 1,
                "starts": 1,  # first row of its step
                "decides": 1,
                "finishes": 1,
                "fired": 1,  # an output fired in this step
                "time": bits_for(plan.steps),
                "first_neuron": bits_for(plan.layer.outputs),
                "error": 1,
            }
        )

        # What the row means, in the cycle in which it comes.
        arriving = Signal(verdict)
        some_fired, decided, cancelling = Signal(), Signal(), Signal()
        closes, ends = Signal(), Signal()
        m.d.comb += [
            closes.eq(self.i.valid & row.last_of_step),
            ends.eq(closes & row.last_of_frame),
            arriving.valid.eq(self.i.valid),
            arriving.starts.eq(row.group == 0),
            arriving.fired.eq(row.fire.any() | (some_fired & ~arriving.starts)),
            arriving.decides.eq(closes & ~decided & ~cancelling & (arriving.fired | row.last_of_frame)),
            arriving.finishes.eq((arriving.decides & self.early) | (ends & ~cancelling)),
            arriving.time.eq(row.time),
            arriving.first_neuron.eq(row.group * plan.pe),
            arriving.error.eq(row.error),
            self.i.cancel.eq(cancelling),
        ]
        with m.If(self.i.valid):
            m.d.sync += some_fired.eq(arriving.fired)
        with m.If(arriving.decides):
            m.d.sync += [decided.eq(1), cancelling.eq(self.early)]
        with m.If(ends):
            m.d.sync += [decided.eq(0), cancelling.eq(0)]

        # Its best margin, level by level.
        advance = Signal()
        m.submodules.argmax = argmax = ArgMax(count=plan.pe, width=plan.margin_bits, always=plan.last_group_size)
        taken = Signal(verdict)
        taken_margins, all_present = Signal(plan.pe * plan.margin_bits), Signal()
        with m.If(advance):
            m.d.sync += [taken.eq(arriving), taken_margins.eq(row.margin), all_present.eq(row.group != plan.groups - 1)]
        m.d.comb += [argmax.values.eq(taken_margins), argmax.all_present.eq(all_present), argmax.advance.eq(advance)]
        compared = taken
        for level in range(argmax.latency):
            following = Signal(verdict, name=f"compared_{level}")
            with m.If(advance):
                m.d.sync += following.eq(compared)
            compared = following

        # The best of the step so far.
        best_margin, best_index = Signal(signed(plan.margin_bits)), Signal(bits_for(plan.layer.outputs))
        step_margin, step_index = Signal.like(best_margin), Signal.like(best_index)
        row_wins = Signal()
        m.d.comb += [
            row_wins.eq(compared.starts | (argmax.value > best_margin)),
            step_margin.eq(Mux(row_wins, argmax.value, best_margin)),
            step_index.eq(Mux(row_wins, compared.first_neuron + argmax.place, best_index)),
        ]
        with m.If(compared.valid):
            m.d.sync += [best_margin.eq(step_margin), best_index.eq(step_index)]

        # The result.
        kept, result = Signal(self.o.payload.shape()), Signal(self.o.payload.shape())
        complete, loads = Signal(), Signal()
        m.d.comb += [
            complete.eq(compared.valid & compared.finishes),
            loads.eq(complete & (~self.o.valid | self.o.ready)),
            advance.eq(~complete | loads),
            result.eq(kept),
        ]
        with m.If(compared.decides):
            m.d.comb += [
                result.class_index.eq(step_index),
                result.step.eq(Mux(compared.fired, compared.time, plan.steps - 1)),
                result.margin.eq(step_margin),
                result.silent.eq(~compared.fired),
            ]
        m.d.comb += result.error.eq(compared.error)
        with m.If(compared.valid & compared.decides):
            m.d.sync += kept.eq(result)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(loads):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(result)]

        # Releases: one for every step that the layer closed and that was not cancelled, none while a result is on its way.
        owed, on_its_way = Signal(), Signal()
        m.d.comb += self.i.release.eq(owed & (~on_its_way | loads))
        with m.If(self.i.release):
            m.d.sync += owed.eq(0)
        with m.If(loads):
            m.d.sync += on_its_way.eq(0)
        with m.If(arriving.finishes):
            m.d.sync += on_its_way.eq(1)
        with m.If(closes & ~(arriving.decides & self.early & ~ends)):
            m.d.sync += owed.eq(1)
        return m
