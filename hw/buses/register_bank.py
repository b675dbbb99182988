"""The registers of a wrapped accelerator as a circuit."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from hw.buses.registers import ADDRESS_BITS, Register
from hw.buses.soc import action, csr

BUS_BITS = 8


class RegisterBank(wiring.Component):
    """Registers on an amaranth-soc CSR bus of 8 bits. What is not there reads as 0.

    A register is captured when its lowest byte is read, so that registers of 64 bits read as one if nothing else is read in between.
    It is written when its highest byte is.

    Parameters:
        registers: what is there.

    Members:
        bus: CSR bus; see `amaranth_soc.csr`.
        `Register.ports` of each register: what an ``"r"`` register reads as, what an ``"rw"`` register holds, in which cycle ones are
            written to a ``"w"`` register; and in which cycle one that takes is read.
    """

    def __init__(self, registers: tuple[Register, ...]):
        self.registers = registers
        members = {name: member for register in registers for name, member in register.ports.items()}
        super().__init__({"bus": In(csr.Signature(addr_width=ADDRESS_BITS, data_width=BUS_BITS)), **members})
        builder = csr.Builder(addr_width=ADDRESS_BITS, data_width=BUS_BITS)
        self._made = {r.name: builder.add(r.name, _make(r), offset=r.address) for r in registers}
        self._map = builder.as_memory_map()
        self.bus.memory_map = self._map

    def elaborate(self, platform):
        m = Module()
        m.submodules.bridge = bridge = csr.Bridge(self._map)
        wiring.connect(m, wiring.flipped(self.bus), bridge.bus)
        for register in self.registers:
            fields = self._made[register.name].f
            value = getattr(self, register.name) if register.ports else data.Const(register.layout, register.value)
            if register.takes:
                m.d.comb += getattr(self, f"{register.name}_taken").eq(fields[next(iter(register.fields))].r_stb)
            for name in register.fields:
                inside, outside = fields[name], value[name]
                if register.access == "r":
                    m.d.comb += inside.r_data.eq(outside)
                elif register.access == "rw":
                    m.d.comb += outside.eq(inside.data)
                else:
                    m.d.comb += outside.eq(inside.w_data & inside.w_stb.replicate(len(inside.w_data)))
        return m


def _make(register: Register) -> csr.Register:
    """The register as amaranth-soc has it."""
    fields = {}
    for name, field in register.layout:
        if register.access == "rw":
            init = (register.value or 0) >> field.offset & ((1 << field.width) - 1)
            fields[name] = csr.Field(action.RW, field.shape, init=init)
        else:
            fields[name] = csr.Field(action.R if register.access == "r" else action.W, field.shape)
    return csr.Register(fields, access=register.access)
