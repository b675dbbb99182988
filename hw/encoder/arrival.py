"""The half of an encoder that takes a frame's pixels."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import WritePort
from amaranth.lib.wiring import In, Out

from hw.core.trees import first_set
from hw.core.words import bits_for
from hw.encoder.plan import EncoderPlan, pixel_layout


class PixelArrival(wiring.Component):
    """Writes what is kept of pixels into blocks, and blocks into the lists of the steps in which they have a spike.

    A beat per cycle, as long as a bank is free. `EncoderPlan.drain` + 1 cycles after a frame's last beat, or once the frame before has been
    handed over, the frame is ``waiting``.

    Parameters:
        plan: the geometry.

    Members:
        i: beats of pixels.
        blocks: what is kept of a beat, written into a block.
        list_0, …: for each list memory, the number of a block, written at the end of a list.
        waiting: a frame is complete; what follows belongs to it.
        counts: entries of the list of each step; the first is at 1.
        used: steps whose lists are not empty.
        failed: the frame was cut short or too long.
        handover: from the departure: it has taken ``counts``, ``used`` and ``failed``.
        drop: from the departure: the oldest frame's bank is free.
    """

    def __init__(self, plan: EncoderPlan):
        self._plan = plan
        beat = plan.pixels * plan.code_bits
        blocks = WritePort.Signature(addr_width=plan.block_address + 1, shape=unsigned(plan.block_bits), granularity=beat)
        entries = WritePort.Signature(addr_width=plan.list_address, shape=unsigned(plan.block_address))
        super().__init__(
            {
                "i": In(stream.Signature(pixel_layout(plan.pixels))),
                "blocks": In(blocks),
                **{f"list_{way}": In(entries) for way in range(plan.ways)},
                "waiting": Out(1),
                "counts": Out(plan.active_steps * plan.count_bits),
                "used": Out(plan.active_steps),
                "failed": Out(1),
                "handover": In(1),
                "drop": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan = self._plan
        busy = Signal(2)  # per bank
        failed = Signal(2)  # per bank
        filling = Signal()
        next_handover = Signal()
        next_drop = Signal()
        block = Signal(plan.block_address)
        slot = Signal(bits_for(plan.block_beats))
        overlong = Signal()
        taken = Signal()
        ends = Signal()
        at_end = Signal()
        block_ends = Signal()
        m.d.comb += [
            self.i.ready.eq(~busy.bit_select(filling, 1)),
            taken.eq(self.i.valid & self.i.ready),
            ends.eq(taken & self.i.payload.last_of_frame),
            at_end.eq((block == plan.blocks - 1) & (slot == plan.last_block_beats - 1)),
            block_ends.eq(at_end | (slot == plan.block_beats - 1)),
            self.failed.eq(failed.bit_select(next_handover, 1)),
        ]
        with m.If(self.drop):
            m.d.sync += [busy.bit_select(next_drop, 1).eq(0), next_drop.eq(~next_drop)]
        with m.If(taken):
            with m.If(block_ends):
                m.d.sync += [slot.eq(0), block.eq(block + 1)]
            with m.Else():
                m.d.sync += slot.eq(slot + 1)
            with m.If(at_end):
                m.d.sync += overlong.eq(1)
        with m.If(ends):
            m.d.sync += [
                block.eq(0),
                slot.eq(0),
                overlong.eq(0),
                filling.eq(~filling),
                busy.bit_select(filling, 1).eq(1),
                failed.bit_select(filling, 1).eq(overlong | ~at_end),
            ]

        times = self._times(m, at_end)
        m.d.comb += [
            self.blocks.addr.eq(Cat(block, filling)),
            self.blocks.data.eq(Cat(times).replicate(plan.block_beats)),
            self.blocks.en.eq(taken << slot),  # never behind the last pixel, even if the frame is too long: there it stays `never`
        ]
        with m.If(self.handover):
            m.d.sync += [self.waiting.eq(0), next_handover.eq(~next_handover), self.counts.eq(0), self.used.eq(0)]
        if plan.single_entries:
            complete = ends
            self._list_pixel(m, times[0], taken, block_ends | ends, Cat(block, filling))
        else:
            self._list_blocks(m, times, taken, block_ends, ends, Cat(block, filling))
            ended = Signal(plan.drain)
            m.d.sync += ended.eq(Cat(ends, ended))
            complete = ended[-1]
        with m.If(complete):
            m.d.sync += self.waiting.eq(1)
        return m

    def _times(self, m: Module, at_end: Signal) -> list[Signal]:
        """What is kept of each pixel of the beat."""
        plan = self._plan
        used_in_last_beat = plan.form.inputs - (plan.beats - 1) * plan.pixels
        times = []
        for k in range(plan.pixels):
            intensity, time = Signal(8, name=f"intensity_{k}"), Signal(plan.code_bits, name=f"time_{k}")
            kept = plan.code.keep(intensity)
            m.d.comb += [
                intensity.eq(self.i.payload.intensity[8 * k : 8 * k + 8]),
                time.eq(Mux(at_end, plan.code.never, kept) if k >= used_in_last_beat else kept),
            ]
            times.append(time)
        return times

    def _list_pixel(self, m: Module, time: Signal, taken: Signal, block_ends, place) -> None:
        """One pixel makes one entry at most, which is written at once."""
        seen = Signal(self._plan.active_steps)  # in this block
        step, spikes = self._local(time), taken & (time != self._plan.code.never)
        with m.If(taken & block_ends):
            m.d.sync += seen.eq(0)
        with m.Elif(spikes):
            m.d.sync += seen.bit_select(step, 1).eq(1)
        self._append(m, 0, spikes & ~seen.bit_select(step, 1), step, place)

    def _list_blocks(self, m: Module, times: list[Signal], taken: Signal, block_ends: Signal, ends: Signal, place) -> None:
        """The entries of a block are gathered, and written while the next block arrives, one per memory and cycle."""
        plan = self._plan
        seen = Signal(plan.active_steps)
        gathered = Signal(plan.active_steps)
        unwritten = Signal(plan.active_steps)
        unwritten_place = Signal.like(place)
        spikes = (Cat(plan.code.coefficient(time, t).any() for time in times).any() for t in range(plan.active_steps))
        m.d.comb += gathered.eq(seen | Cat(spikes))
        with m.If(taken):
            m.d.sync += seen.eq(Mux(block_ends | ends, 0, gathered))
        for way in range(plan.ways):
            flags = Signal(min(plan.list_steps, plan.active_steps - way * plan.list_steps), name=f"unwritten_{way}")
            m.d.comb += flags.eq(unwritten[way * plan.list_steps :])
            found = first_set(m, flags, name=f"unwritten_{way}")
            m.d.sync += unwritten[way * plan.list_steps :][: len(flags)].eq(found.rest)
            self._append(m, way, found.any, self._local(found.index), unwritten_place)
        with m.If(taken & block_ends):
            m.d.sync += [unwritten.eq(gathered), unwritten_place.eq(place)]

    def _local(self, step: Value) -> Value:
        """A step's number among those whose lists share a memory; a constant where it has no bits, as Verilog knows no such signal."""
        width = self._plan.step_address
        part = step[:width]
        missing = width - len(part)  # the last memory may have fewer lists
        return (Cat(part, Const(0, missing)) if missing else part) if width else Const(0, 0)

    def _append(self, m: Module, way: int, push, step, place) -> None:
        """Append the block at ``place`` (block, bank) to a list of memory ``way``.

        While a frame waits, nothing is appended before the cycle of its handover: the lists are new ones.
        """
        plan = self._plan
        port = getattr(self, f"list_{way}")
        size = min(plan.list_steps, plan.active_steps - way * plan.list_steps)
        counts = self.counts[way * plan.list_steps * plan.count_bits :][: size * plan.count_bits]
        used = self.used[way * plan.list_steps :][:size]
        place_in_list = Signal(plan.count_bits, name=f"place_in_list_{way}")
        before = counts.word_select(step, plan.count_bits)
        m.d.comb += [
            place_in_list.eq(Mux(self.waiting, 0, before) + 1),
            port.en.eq(push),
            port.addr.eq(Cat(place_in_list[: plan.block_address], step, place[-1])),
            port.data.eq(place[:-1]),
        ]
        with m.If(push):
            m.d.sync += [before.eq(place_in_list), used.bit_select(step, 1).eq(1)]
