"""Results of several frames, put back into the order of the frames."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.core.plan import LayerPlan
from hw.core.words import bits_for


class ReorderBuffer(wiring.Component):
    """Keeps what was decided per frame; lets it out once the frame has finished, and those before it have left.

    Latency: two cycles from ``finishes`` to the result.

    Parameters:
        plan: the last layer.
        result: a result; ``error`` comes with the frame's end, the rest with its decision.

    Members:
        frame: the tag of the frame that is spoken of.
        decides, decision: keep this.
        finishes, error: the frame is done.
        o: results.
        oldest: number of the frame that is to leave next, modulo twice the tags.
    """

    def __init__(self, plan: LayerPlan, result: data.StructLayout):
        self._frames, self._result = plan.frames, result
        decision = data.StructLayout({name: field.shape for name, field in result if name != "error"})
        super().__init__(
            {
                "frame": In(bits_for(plan.frames)),
                "decides": In(1),
                "decision": In(decision),
                "finishes": In(1),
                "error": In(1),
                "o": Out(stream.Signature(result)),
                "oldest": Out(bits_for(2 * plan.frames)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        decision = self.decision.shape()
        finished = Signal(self._frames)
        failed = Signal(self._frames)
        oldest = self.oldest[: bits_for(self._frames)]
        leaves = Signal()
        m.submodules.decisions = decisions = Memory(shape=unsigned(decision.size), depth=self._frames, init=[])
        write = decisions.write_port()
        read = decisions.read_port(domain="comb")
        m.d.comb += [
            write.addr.eq(self.frame),
            write.data.eq(self.decision),
            write.en.eq(self.decides),
            read.addr.eq(oldest),
            leaves.eq(finished.bit_select(oldest, 1) & (~self.o.valid | self.o.ready)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(leaves):
            kept = data.View(decision, read.data)
            m.d.sync += [self.o.valid.eq(1), self.oldest.eq(self.oldest + 1), finished.bit_select(oldest, 1).eq(0)]
            m.d.sync += self.o.payload.error.eq(failed.bit_select(oldest, 1))
            m.d.sync += [self.o.payload[name].eq(kept[name]) for name, _ in decision]
        with m.If(self.finishes):
            m.d.sync += [finished.bit_select(self.frame, 1).eq(1), failed.bit_select(self.frame, 1).eq(self.error)]
        return m
