"""What stands in the place of an accelerator where a proof is about what is around it."""

from amaranth.asserts import AnySeq
from amaranth.hdl import Module, Signal

from hw import Accelerator
from sim.proofs.streams import offer


class AnyAccelerator(Accelerator):
    """An accelerator that takes words and gives results at any time.

    Results hold until they are taken; bytes for the loader wait for a cycle at most.
    """

    def elaborate(self, platform):
        m = Module()
        for name in self.input_names:
            m.d.comb += [getattr(self, name).ready.eq(AnySeq(1)), getattr(self, f"{name}_cancel").eq(AnySeq(1))]
        offer(m, self.o)
        if self.weights == "loadable":
            refused = Signal()
            m.d.sync += refused.eq(self.load.valid & ~self.load.ready)
            m.d.comb += [self.load.ready.eq(AnySeq(1) | refused), self.load_ends.eq(AnySeq(1)), self.loaded.eq(AnySeq(1))]
        return m
