"""An accelerator with registers: what all wrappers have in common."""

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from export import UserError
from hw.buses.register_bank import BUS_BITS, RegisterBank
from hw.buses.registers import ADDRESS_BITS, Register, common_registers, result_payload
from hw.buses.soc import csr
from hw.core.accelerator import Accelerator


class ManagedAccelerator(wiring.Component):
    """An accelerator, its registers, and counters of its results.

    Parameters:
        accelerator: with one input stream.
        extra: registers that the wrapper adds.

    Members:
        bus: amaranth-soc CSR bus.
        i, o: the accelerator's streams.
        reset: high for one cycle, in which the accelerator and the counters are reset (a write to the ``reset`` register).
        `Register.ports` of each register of ``extra``.

    Raises:
        UserError: the accelerator has several input streams.
    """

    def __init__(self, accelerator: Accelerator, extra: tuple[Register, ...] = ()):
        frame = input_payload(accelerator)
        self.accelerator = accelerator
        self.registers = tuple(sorted((*common_registers(accelerator), *extra), key=lambda register: register.address))
        self._bank = RegisterBank(self.registers)
        members = {name: member for register in extra for name, member in register.ports.items()}
        super().__init__(
            {
                "bus": In(csr.Signature(addr_width=ADDRESS_BITS, data_width=BUS_BITS)),
                "i": In(stream.Signature(frame)),
                "o": Out(stream.Signature(result_payload(accelerator))),
                "reset": Out(1),
                **members,
            }
        )
        self.bus.memory_map = self._bank.bus.memory_map
        self._extra = members

    def elaborate(self, platform):
        m = Module()
        accelerator, bank = self.accelerator, self._bank
        m.submodules.registers = bank
        m.submodules.accelerator = ResetInserter(self.reset)(accelerator)
        m.submodules.counters = counters = ResetInserter(self.reset)(Counters(accelerator))
        connect(m, flipped(self.bus), bank.bus)
        may_begin: ValueLike = 1
        if accelerator.weights == "loadable":
            may_begin = accelerator.loaded
            m.d.comb += bank.status.loaded.eq(accelerator.loaded)
            self._load(m)
        m.d.comb += [
            accelerator.i.payload.eq(self.i.payload),
            accelerator.i.valid.eq(self.i.valid & may_begin),
            self.i.ready.eq(accelerator.i.ready & may_begin),
        ]
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
        for name, member in self._extra.items():
            inside, outside = getattr(bank, name), getattr(self, name)
            m.d.comb += outside.eq(inside) if member.flow is Out else inside.eq(outside)
        return m

    def _load(self, m: Module) -> None:
        """A byte that was written to the register ``load`` stays until it is taken, a cycle or two later."""
        load, written = self.accelerator.load, self._bank.load
        with m.If(load.ready):
            m.d.sync += load.valid.eq(0)
        with m.If(written.write):
            m.d.sync += [load.valid.eq(1), load.payload.data.eq(written.data), load.payload.first.eq(written.first)]


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
        result = result_payload(accelerator)
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
        begun = Signal(8)  # frames in the circuit; fewer than 256: up to 32 have tags, up to 16 contexts have two each on their way in
        begins = Signal()
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


def input_payload(accelerator: Accelerator) -> data.StructLayout:
    """The payload of an accelerator's one input stream.

    Raises:
        UserError: there are several.
    """
    members = accelerator.signature.members
    if "i" not in members:
        streams = sum(name.removeprefix("i_").isdecimal() for name in members)
        raise UserError(f"a wrapped accelerator must have one input stream, not {streams}: choose pixels as its input, or contexts = 1")
    return members["i"].signature.members["payload"].shape


def outside_layout(payload: data.StructLayout) -> data.StructLayout:
    """The bits of an input payload that come from outside: of pixels without ``last_of_frame``, of a spike word all."""
    fields = dict(payload.members)
    if "error" not in fields:
        del fields["last_of_frame"]
    return data.StructLayout(fields)


def assemble(payload: Any, outside: Any, last: ValueLike, *, wrong: ValueLike = 0) -> list:
    """Statements that make an input payload.

    Parameters:
        payload: what is made.
        outside: the bits from outside.
        last: whether a frame ends here. A spike word that says otherwise has ``error``.
        wrong: something else is wrong, which only a spike word can tell.
    """
    names = [name for name, _ in outside.shape()]
    statements = [payload[name].eq(outside[name]) for name in names] + [payload.last_of_frame.eq(last)]
    if "last_of_frame" in names:
        statements.append(payload.error.eq(outside.error | (outside.last_of_frame != Value.cast(last)) | wrong))
    return statements
