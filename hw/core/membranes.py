"""Where the state of a layer's neurons is kept between operations: one component per kind of storage, chosen by `membranes_of`."""

from typing import ClassVar

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.core.memories import NO_READ_WRITE_CHECK
from hw.core.plan import LayerPlan
from hw.core.words import bits_for


def membranes_of(plan: LayerPlan) -> type["Membranes"]:
    """The storage of a layer."""
    if plan.by_rows:
        return RingMemory
    if plan.addressed:
        return TaggedMemory
    if plan.counting.cumulative:
        return Sums
    if plan.swap > 1:
        return SwappedRegisters
    return StateMemory if plan.neuron_folds > 1 and plan.loop_order == "event" else Registers


def access(plan: LayerPlan) -> data.StructLayout:
    """What storage is told of an operation (see `hw.core.sequencer.operation`)."""
    flags = dict.fromkeys(("restart", "first", "integrate", "test"), 1)
    tag = {"tag": plan.tag_bits} if plan.tag_bits else {}
    return data.StructLayout({"valid": 1, "state_row": bits_for(plan.state_rows), "beat": bits_for(plan.swap), **flags, **tag})


class Membranes(wiring.Component):
    """Potentials and flags of the neurons of an operation.

    No latency: the state that an operation leaves is there for the next one.

    Parameters:
        plan: the layer.

    Members:
        ahead: the operation that integrates in the next cycle.
        now: the one that integrates.
        start: potentials to start from, of the neurons that integrate.
        new_potential, new_flags: the state after the operation.
        potential, flags: the state before it.
    """

    def __init__(self, plan: LayerPlan):
        self._plan = plan
        self._potential_bits = plan.pe * plan.membrane_bits
        self._flag_bits = plan.pe * plan.flag_bits
        super().__init__(
            {
                "ahead": In(access(plan)),
                "now": In(access(plan)),
                "start": In(plan.beat_size * plan.membrane_bits),
                "new_potential": In(self._potential_bits),
                "new_flags": In(self._flag_bits),
                "potential": Out(self._potential_bits),
                "flags": Out(self._flag_bits),
            }
        )

    reads_what_is_written: ClassVar[bool] = False
    """A row that is read in the cycle in which it is written has its new content."""

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int] | None:
        """Bits of a row and rows of the memory; None where there are registers only."""
        return (plan.pe * (plan.flag_bits + plan.membrane_bits), plan.state_rows) if plan.state_rows > 1 else None

    def _memory(self, m: Module, content: Value, *, write) -> Value:
        """A memory of states: the row of the operation that integrates now, read a cycle before; ``content`` is written to it."""
        shape, depth = unsigned(len(content)), self._plan.state_rows
        m.submodules.memory = memory = Memory(shape=shape, depth=depth, init=[], attrs=NO_READ_WRITE_CHECK)
        read_port = memory.read_port()
        write_port = memory.write_port()
        m.d.comb += [
            read_port.addr.eq(self.ahead.state_row),
            write_port.addr.eq(self.now.state_row),
            write_port.en.eq(write),
            write_port.data.eq(content),
        ]
        return read_port.data


class StateMemory(Membranes):
    """A memory that is read and written in each cycle. A row is read again after it was written, not sooner: each word visits all folds."""

    def elaborate(self, platform):
        m = Module()
        stored = self._memory(m, Cat(self.new_flags, self.new_potential), write=self.now.valid)
        m.d.comb += [
            self.potential.eq(Mux(self.now.restart, self.start, stored[self._flag_bits :])),
            self.flags.eq(Mux(self.now.restart, 0, stored[: self._flag_bits])),
        ]
        return m


class TaggedMemory(Membranes):
    """A memory that is read and written in each cycle, whose rows have a tag: one whose tag is not that of the operation starts anew
    (see `hw.core.rounds`). A row may be read again at once. Flags are kept if they are used: synthesis makes no block RAM of a memory that
    is read while it is written, if a bit of it is not."""

    reads_what_is_written = True

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int]:
        flag_bits = plan.flag_bits if plan.neurons.uses_flags else 0
        return plan.pe * (flag_bits + plan.membrane_bits) + plan.tag_bits, max(2, plan.state_rows)

    def elaborate(self, platform):
        m = Module()
        width, depth = self.memory_shape(self._plan)
        now = self.now
        m.submodules.memory = memory = Memory(shape=unsigned(width), depth=depth, init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=[write])
        starts = Signal()
        uses_flags = self._plan.neurons.uses_flags
        kept = self._flag_bits if uses_flags else 0
        flags, potential, tag = read.data[:kept], read.data[kept : -len(now.tag)], read.data[-len(now.tag) :]
        m.d.comb += [
            read.addr.eq(self.ahead.state_row),
            write.addr.eq(now.state_row),
            write.en.eq(now.valid),
            write.data.eq(Cat(self.new_flags if uses_flags else (), self.new_potential, now.tag)),
            starts.eq(now.restart | (tag != now.tag)),
            self.potential.eq(Mux(starts, self.start, potential)),
            self.flags.eq(Mux(starts, 0, flags) if uses_flags else 0),
        ]
        return m


class RingMemory(Membranes):
    """A memory that is read and written in each cycle, in which a test leaves a row as a frame begins with it (see `hw.core.rows`). A row
    may be read again at once. There are no flags, since neurons are tested once."""

    reads_what_is_written = True

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int]:
        return plan.pe * plan.membrane_bits, max(2, plan.state_rows)

    def elaborate(self, platform):
        m = Module()
        width, depth = self.memory_shape(self._plan)
        m.submodules.memory = memory = Memory(shape=unsigned(width), depth=depth, init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=[write])
        m.d.comb += [
            read.addr.eq(self.ahead.state_row),
            write.addr.eq(self.now.state_row),
            write.en.eq(self.now.valid),
            write.data.eq(Mux(self.now.test | self.now.restart, self.start, self.new_potential)),
            self.potential.eq(read.data),
        ]
        return m


class Registers(Membranes):
    """Registers, for one fold and context; of several, the others are in a memory, and are exchanged in no time when a pass ends."""

    def elaborate(self, platform):
        m = Module()
        plan, now, ahead = self._plan, self.now, self.ahead
        kept_potential = Signal(self._potential_bits)
        kept_flags = Signal(self._flag_bits)
        with m.If(now.valid):
            m.d.sync += [kept_potential.eq(self.new_potential), kept_flags.eq(self.new_flags)]
        potential, flags = kept_potential, kept_flags
        if self.memory_shape(plan):
            stored = self._memory(m, Cat(self.new_flags, self.new_potential), write=now.valid & now.test)
            resident = Signal.like(now.state_row)  # the row whose state is in the registers
            swaps = Signal()
            with m.If(now.valid):
                m.d.sync += resident.eq(now.state_row)
            m.d.sync += swaps.eq(ahead.state_row != Mux(now.valid, now.state_row, resident))
            potential, flags = Mux(swaps, stored[self._flag_bits :], kept_potential), Mux(swaps, stored[: self._flag_bits], kept_flags)
        m.d.comb += [
            self.potential.eq(Mux(now.restart, self.start, potential)),
            self.flags.eq(Mux(now.restart, 0, flags)),
        ]
        return m


class SwappedRegisters(Membranes):
    """Registers that are exchanged with a narrower memory, ``beat_size`` neurons per cycle, before a pass begins."""

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int]:
        return plan.beat_size * (1 + plan.membrane_bits), plan.state_rows << bits_for(plan.swap)

    def elaborate(self, platform):
        m = Module()
        plan, now, ahead = self._plan, self.now, self.ahead
        size, beats = plan.beat_size, plan.swap
        potential = Signal(beats * size * plan.membrane_bits)
        flags = Signal(beats * size)
        width, depth = self.memory_shape(plan)
        m.submodules.memory = memory = Memory(shape=unsigned(width), depth=depth, init=[], attrs=NO_READ_WRITE_CHECK)
        read = memory.read_port()
        write = memory.write_port()
        resident = Signal.like(now.state_row)  # the row whose state is in the registers
        arriving_flags = Signal(size)
        arriving_potential = Signal(size * plan.membrane_bits)
        m.d.comb += [
            arriving_flags.eq(Mux(now.first, 0, read.data[:size])),
            arriving_potential.eq(Mux(now.first, self.start, read.data[size:])),
            write.data.eq(Cat(flags[:size], potential[: len(arriving_potential)])),
        ]
        with m.If(now.valid):
            with m.If(now.integrate):
                m.d.sync += [
                    resident.eq(now.state_row),
                    flags[: plan.pe].eq(self.new_flags),
                    potential[: self._potential_bits].eq(self.new_potential),
                ]
            with m.Else():  # everything moves down by one beat
                m.d.sync += [
                    flags.eq(Cat(flags[size:], arriving_flags)),
                    potential.eq(Cat(potential[len(arriving_potential) :], arriving_potential)),
                ]
        m.d.comb += [
            read.addr.eq(Cat(ahead.beat, ahead.state_row)),
            write.addr.eq(Cat(now.beat, resident)),
            write.en.eq(now.valid & ~now.integrate),
            self.potential.eq(potential),
            self.flags.eq(flags),
        ]
        return m


class Sums(Membranes):
    """One vector of sums, which start anew with every pass; only flags are kept."""

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int] | None:
        return (plan.pe, plan.state_rows) if plan.state_rows > 1 else None

    def elaborate(self, platform):
        m = Module()
        plan, now = self._plan, self.now
        partial = Signal(self._potential_bits)
        with m.If(now.valid):
            m.d.sync += partial.eq(self.new_potential)
        if self.memory_shape(plan):
            flags = self._memory(m, self.new_flags, write=now.valid & now.test)
        else:
            flags = Signal(plan.pe)
            with m.If(now.valid):
                m.d.sync += flags.eq(self.new_flags)
        m.d.comb += [self.potential.eq(Mux(now.restart, self.start, partial)), self.flags.eq(Mux(now.first, 0, flags))]
        return m
