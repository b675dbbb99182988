"""One stream of frames to several receivers in turn."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core.words import bits_for


class FrameDistributor(wiring.Component):
    """Sends frame ``k`` to receiver ``k`` mod ``contexts``. No latency; where a receiver makes its frame wait, the frames behind wait, too.

    Parameters:
        contexts: receivers, at least 1.
        layout: the payload, with a field ``last_of_frame``.

    Members:
        i: frames.
        o_0, …: every ``contexts``-th frame each.
    """

    def __init__(self, contexts: int, layout: data.StructLayout):
        self._contexts = contexts
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                **{f"o_{context}": Out(stream.Signature(layout)) for context in range(contexts)},
            }
        )

    def elaborate(self, platform):
        m = Module()
        turn = Signal(bits_for(self._contexts))
        for context in range(self._contexts):
            receiver = getattr(self, f"o_{context}")
            m.d.comb += receiver.payload.eq(self.i.payload)
            with m.If(turn == context):
                m.d.comb += [receiver.valid.eq(self.i.valid), self.i.ready.eq(receiver.ready)]
        with m.If(self.i.valid & self.i.ready & self.i.payload.last_of_frame):
            with m.If(turn == self._contexts - 1):
                m.d.sync += turn.eq(0)
            with m.Else():
                m.d.sync += turn.eq(turn + 1)
        return m
