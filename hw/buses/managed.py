"""An accelerator with registers: what all wrappers have in common."""

from typing import Any

from amaranth.hdl import Module, ResetInserter, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from export import UserError
from hw.buses.registers import BUS, Register, common_registers, result_payload
from hw.buses.soc import csr
from hw.core.accelerator import Accelerator


class Wrapper(wiring.Component):
    """An accelerator with other interfaces. Its ports keep their names in Verilog.

    Attributes:
        accelerator: what is inside.
        registers: that it has.
        name: of its Verilog module.
    """

    accelerator: Accelerator
    registers: tuple[Register, ...]
    name: str


class ManagedAccelerator(wiring.Component):
    """An accelerator, its registers on an amaranth-soc CSR bus of 8 bits, and counters of its results.

    A register is captured when its lowest byte is read, so that registers of 64 bits read as one if nothing else is read in between.
    It is written when its highest byte is. What is not there reads as 0.

    Parameters:
        accelerator: with one input stream.
        extra: registers that the wrapper adds.

    Members:
        bus: CSR bus.
        i, o: the accelerator's streams.
        reset: high for one cycle, in which the accelerator and the counters are reset (a write to the ``reset`` register).

    Attributes:
        registers: all of them, by address.
        values: by name, what an ``"r"`` register reads as, what an ``"rw"`` one holds, and in which cycle ones are written to a ``"w"``
            register.
        fields: of each CSR register, by its name.

    Raises:
        UserError: the accelerator has several input streams.
    """

    def __init__(self, accelerator: Accelerator, extra: tuple[Register, ...] = ()):
        frame, result = input_payload(accelerator), result_payload(accelerator)
        self.accelerator = accelerator
        self.registers = tuple(sorted((*common_registers(accelerator), *extra), key=lambda register: register.address))
        builder = csr.Builder(addr_width=BUS.addr_width, data_width=BUS.data_width)
        self.fields = {r.name: builder.add(r.name, r.csr, offset=r.address).f for r in self.registers}
        self.values = {
            r.name: Signal(r.layout, name=r.name) if r.value is None or r.access != "r" else data.Const(r.layout, r.value)
            for r in self.registers
        }
        super().__init__({"bus": In(BUS), "i": In(stream.Signature(frame)), "o": Out(stream.Signature(result)), "reset": Out(1)})
        self.bus.memory_map = builder.as_memory_map()

    def elaborate(self, platform):
        m = Module()
        accelerator, values = self.accelerator, self.values
        m.submodules.registers = bank = csr.Bridge(self.bus.memory_map)
        m.submodules.accelerator = ResetInserter(self.reset)(accelerator)
        connect(m, flipped(self.bus), bank.bus)
        for register in self.registers:
            for name, field in self.fields[register.name].items():
                value = values[register.name][name]
                if register.access == "r":
                    m.d.comb += field.r_data.eq(value)
                elif register.access == "rw":
                    m.d.comb += value.eq(field.data)
                else:
                    m.d.comb += value.eq(field.w_data & field.w_stb.replicate(len(field.w_data)))
        may_begin: ValueLike = 1
        if accelerator.weights == "loadable":
            may_begin = accelerator.loaded
            m.d.comb += values["status"].loaded.eq(accelerator.loaded)
            self._load(m)
        m.d.comb += [
            accelerator.i.payload.eq(self.i.payload),
            accelerator.i.valid.eq(self.i.valid & may_begin),
            self.i.ready.eq(accelerator.i.ready & may_begin),
        ]
        connect(m, accelerator.o, flipped(self.o))
        m.d.comb += [accelerator.early.eq(values["control"].early), self.reset.eq(values["reset"].reset)]
        self._count(m)
        return m

    def _count(self, m: Module) -> None:
        """Count results, and the cycles in which a frame was in the circuit: from its first transfer until its result is given."""
        m.submodules.counters = ResetInserter(self.reset)(counters := Module())
        frames, errors, silent, cycles = (self.values[name][name] for name in ("frames", "errors", "silent", "cycles"))
        result, busy = self.o.payload, self.values["status"].busy
        taken, given = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        inside = Signal()  # of a frame that is coming in
        begun = Signal(8)  # frames in the circuit; fewer than 256: up to 32 have tags, up to 16 contexts have two each on their way in
        begins = Signal()
        m.d.comb += [begins.eq(taken & ~inside), busy.eq((begun != 0) | begins)]
        counters.d.sync += [begun.eq(begun + begins - given), cycles.eq(cycles + busy)]
        with counters.If(taken):
            counters.d.sync += inside.eq(~self.i.payload.last_of_frame)
        with counters.If(given):
            counters.d.sync += [
                frames.eq(frames + 1),
                errors.eq(errors + result.error),
                silent.eq(silent + (result.silent & ~result.error)),
                self.values["last_result"].eq(result),
            ]

    def _load(self, m: Module) -> None:
        """A byte that was written to the register ``load`` stays until it is taken, a cycle or two later."""
        load, written = self.accelerator.load, self.values["load"]
        with m.If(load.ready):
            m.d.sync += load.valid.eq(0)
        with m.If(written.write):
            m.d.sync += [load.valid.eq(1), load.payload.data.eq(written.data), load.payload.first.eq(written.first)]


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
