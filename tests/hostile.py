"""Memories that give garbage where they promise nothing: what is read of a row in the cycle in which it is written."""

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib.memory import Memory

from hw.core.memories import NO_READ_WRITE_CHECK


class HostilePlatform:
    """Builds memories that are marked with `hw.core.memories.NO_READ_WRITE_CHECK` so that they invert what they should not be asked for."""

    def get_memory(self, memory: Memory):
        """Called by a memory that is elaborated."""
        if not NO_READ_WRITE_CHECK.items() <= memory.attrs.items() or not memory.write_ports:
            return memory.elaborate(None)
        m = Module()
        width = Shape.cast(memory.shape).width
        m.submodules.rows = rows = Memory(
            shape=width, depth=memory.depth, init=list(memory.init) if isinstance(memory.shape, Shape) else []
        )
        writes = []
        for port in memory.write_ports:
            granularity = width // len(port.en)
            write = rows.write_port(granularity=granularity)
            m.d.comb += [write.addr.eq(port.addr), write.data.eq(port.data), write.en.eq(port.en)]
            writes.append(write)
        for port in memory.read_ports:
            assert port.domain == "sync"
            assert not port.transparent_for
            read, collided = rows.read_port(), Signal()
            m.d.comb += [read.addr.eq(port.addr), read.en.eq(port.en), port.data.eq(Mux(collided, ~read.data, read.data))]
            with m.If(port.en):
                collisions = [write.en.any() & (write.addr == port.addr) for write in writes]
                m.d.sync += collided.eq(sum(collisions) != 0)
        return m
