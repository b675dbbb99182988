"""An accelerator with registers: what all wrappers have in common."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from export import UserError
from hw.accelerator import Accelerator
from hw.register_bank import BUS_BITS, RegisterBank
from hw.registers import ADDRESS_BITS, Register, common_registers
from hw.soc import csr


class ManagedAccelerator(wiring.Component):
    """An accelerator, its registers, and counters of its results.

    Parameters:
        accelerator: with one input stream.
        extra: registers that the wrapper adds; each that the circuit has to do with becomes a port of the same name.

    Members:
        bus: amaranth-soc CSR bus.
        i, o: the accelerator's streams.
        reset: high for one cycle, in which the accelerator and the counters are reset (a write to the ``reset`` register).

    Raises:
        UserError: the accelerator has several input streams.
    """

    def __init__(self, accelerator: Accelerator, extra: tuple[Register, ...] = ()):
        streams = [name for name in accelerator.signature.members if name.startswith("i_") and name.removeprefix("i_").isdecimal()]
        if streams:
            raise UserError(
                f"a wrapped accelerator must have one input stream, not {len(streams)}: choose pixels as its input, or contexts = 1"
            )
        self.accelerator = accelerator
        self.registers = tuple(sorted((*common_registers(accelerator), *extra), key=lambda register: register.address))
        self._bank = RegisterBank(self.registers)
        i, o = (accelerator.signature.members[name].signature.members["payload"].shape for name in "io")
        members = {register.name: self._bank.signature.members[register.name] for register in extra if register.port}
        super().__init__(
            {
                "bus": In(csr.Signature(addr_width=ADDRESS_BITS, data_width=BUS_BITS)),
                "i": In(stream.Signature(i)),
                "o": Out(stream.Signature(o)),
                "reset": Out(1),
                **members,
            }
        )
        self.bus.memory_map = self._bank.bus.memory_map
        self._extra = tuple(members)

    def elaborate(self, platform):
        m = Module()
        accelerator, bank = self.accelerator, self._bank
        m.submodules.registers = bank
        m.submodules.accelerator = ResetInserter(self.reset)(accelerator)
        m.submodules.counters = counters = ResetInserter(self.reset)(Counters(accelerator))
        connect(m, flipped(self.bus), bank.bus)
        connect(m, flipped(self.i), accelerator.i)
        connect(m, accelerator.o, flipped(self.o))
        m.d.comb += [
            accelerator.early.eq(bank.control.early),
            self.reset.eq(bank.reset.reset),
            counters.taken.eq(self.i.valid & self.i.ready),
            counters.last.eq(self.i.payload.last_of_frame),
            counters.given.eq(self.o.valid & self.o.ready),
            counters.result.eq(self.o.payload),
            bank.status.busy.eq(counters.busy),
            bank.frames.frames.eq(counters.frames),
            bank.errors.errors.eq(counters.errors),
            bank.silent.silent.eq(counters.silent),
            bank.cycles.cycles.eq(counters.cycles),
            bank.last_result.eq(counters.last_result),
        ]
        for name in self._extra:
            inside, outside = getattr(bank, name), getattr(self, name)
            m.d.comb += outside.eq(inside) if bank.signature.members[name].flow is Out else inside.eq(outside)
        return m


class Counters(wiring.Component):
    """Counts results, and the cycles in which a frame was in the circuit: from its first transfer until its result is given.

    Parameters:
        accelerator: whose they are.

    Members:
        taken: something passes on the input; ``last`` tells whether it is a frame's last.
        given: a ``result`` passes on the output.
        busy: a frame is in the circuit.
        the others are registers' contents.
    """

    def __init__(self, accelerator: Accelerator):
        result = accelerator.signature.members["o"].signature.members["payload"].shape
        super().__init__(
            {
                "taken": In(1),
                "last": In(1),
                "given": In(1),
                "result": In(result),
                "busy": Out(1),
                "frames": Out(32),
                "errors": Out(32),
                "silent": Out(32),
                "cycles": Out(64),
                "last_result": Out(result),
            }
        )

    def elaborate(self, platform):
        m = Module()
        inside = Signal()  # of a frame that is coming in
        begun, begins = Signal(8), Signal()  # frames in the circuit
        m.d.comb += [begins.eq(self.taken & ~inside), self.busy.eq((begun != 0) | begins)]
        with m.If(self.taken):
            m.d.sync += inside.eq(~self.last)
        m.d.sync += begun.eq(begun + begins - self.given)
        with m.If(self.busy):
            m.d.sync += self.cycles.eq(self.cycles + 1)
        with m.If(self.given):
            m.d.sync += [
                self.frames.eq(self.frames + 1),
                self.errors.eq(self.errors + self.result.error),
                self.silent.eq(self.silent + (self.result.silent & ~self.result.error)),
                self.last_result.eq(self.result),
            ]
        return m
