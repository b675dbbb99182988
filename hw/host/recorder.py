"""A recorder of the spike words of a frame, for a host."""

from collections.abc import Sequence
from itertools import pairwise

from amaranth.hdl import Array, Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from export import UserError
from hw.core.memories import NO_READ_WRITE_CHECK
from hw.core.plan import LayerPlan
from hw.core.words import WordFormat, bits_for

COUNT_SIZE = 2
"""Bytes of the number of words."""
PART = data.StructLayout({"data": 8, "last": 1})


def record_layout(form: WordFormat) -> data.StructLayout:
    """A word as it is kept, the first field least significant: what spikes, and where steps and the frame end."""
    names = ("time", *(("index",) if form.words > 1 else ()), "bits", "last_of_step", "last_of_frame")
    return data.StructLayout({name: form.layout[name].shape for name in names})


def record_size(form: WordFormat) -> int:
    """Bytes of a word."""
    return -(-record_layout(form).size // 8)


def most_records(plans: Sequence[LayerPlan]) -> list[int]:
    """The most words that a frame has on each monitor. Hidden layers send words with spikes, in each step as many as there are and parts of
    them, but no more than neurons that spike once; one that closes step 0, and one that ends the frame. The last layer sends all of its
    folds wherever a step closes.

    Raises:
        UserError: they are more than a host's line can number.
    """
    most = []
    for before, plan in pairwise(plans):
        in_steps = (plan.input_words + plan.split_words) * plan.steps
        most.append((min(plan.layer.inputs, in_steps) if before.layer.neuron.spikes_once else in_steps) + 2)
    most.append(plans[-1].neuron_folds * plans[-1].steps)
    for layer, words in enumerate(most):
        if words >= 1 << 8 * COUNT_SIZE:
            raise UserError(f"layer {layer} must send at most {(1 << 8 * COUNT_SIZE) - 1:,} words in a frame to a host, not {words:,}")
    return most


class SpikeRecorder(wiring.Component):
    """Records the words of one frame on each monitor, and sends them on request.

    A word is kept in the cycle in which it passes. For each monitor in turn, ``o`` gives the number of words (two bytes, least significant
    first) and the words, each on whole bytes. A byte comes at least two cycles after the one before. Words beyond ``depths`` are lost.

    Parameters:
        forms: words on the monitors.
        depths: how many are kept of each (see `most_records`).

    Members:
        monitor_0, …: words that pass.
        clear: forget everything. To be high for a cycle before a frame.
        send: send what was kept; to be low in at least one cycle after the last byte.
        o: bytes, ``last`` with the last one.
    """

    def __init__(self, forms: Sequence[WordFormat], depths: Sequence[int]):
        self.forms, self._depths = tuple(forms), tuple(depths)
        monitors = {f"monitor_{k}": In(Signature({"valid": Out(1), "payload": Out(form.layout)})) for k, form in enumerate(self.forms)}
        super().__init__({**monitors, "clear": In(1), "send": In(1), "o": Out(stream.Signature(PART))})

    def elaborate(self, platform):
        m = Module()
        depths = self._depths
        part = Signal(bits_for(len(self.forms)))  # which monitor is sent
        row = Signal(bits_for(max(depths)))
        next_row = Signal(bits_for(max(depths) + 1))
        counts, records, sizes = [], [], []
        for k, (form, depth) in enumerate(zip(self.forms, depths, strict=True)):
            monitor = getattr(self, f"monitor_{k}")
            layout, size = record_layout(form), record_size(form)
            # A memory of 2, 4, 8, … rows needs no logic to choose between its block RAMs, and even a short one is too large for registers.
            attributes = NO_READ_WRITE_CHECK | {"ram_style": "block"}
            m.submodules[f"memory_{k}"] = memory = Memory(shape=layout, depth=1 << bits_for(depth), init=[], attrs=attributes)
            write = memory.write_port()
            read = memory.read_port()
            count = Signal(range(depth + 1), name=f"count_{k}")
            m.d.comb += [write.en.eq(monitor.valid & (count != depth)), write.addr.eq(count), read.addr.eq(row)]
            m.d.comb += [write.data[name].eq(monitor.payload[name]) for name, _ in layout]
            with m.If(self.clear):
                m.d.sync += count.eq(0)
            with m.Elif(write.en):
                m.d.sync += count.eq(count + 1)
            counts.append(count)
            records.append(read.data.as_value())
            sizes.append(size)

        # Position: part, whether its count or its words, row, byte in it.
        in_words = Signal()
        lane = Signal(bits_for(max(COUNT_SIZE, *sizes)))
        count = Signal(COUNT_SIZE * 8)
        size = Signal(range(max(sizes) + 1))
        taken = Signal()
        row_ends = Signal()
        part_ends = Signal()
        units = [Cat(record, Const(0, -len(record) % 8)) for record in records]
        of_count = Array(count.word_select(k, 8) for k in range(COUNT_SIZE))
        of_record = Array(Array(unit.word_select(min(k, len(unit) // 8 - 1), 8) for k in range(max(sizes))) for unit in units)
        m.d.comb += [
            count.eq(Array(counts)[part]),
            size.eq(Array(sizes)[part]),
            next_row.eq(row + 1),
            row_ends.eq(lane == Array([COUNT_SIZE - 1, size - 1])[in_words]),
            part_ends.eq(row_ends & (count == Array([0, next_row])[in_words])),
            self.o.payload.last.eq(part_ends & (part == len(self.forms) - 1)),
            taken.eq(self.o.valid & self.o.ready),
        ]
        with m.If(in_words):
            m.d.comb += self.o.payload.data.eq(of_record[part][lane])
        with m.Else():
            m.d.comb += self.o.payload.data.eq(of_count[lane])
        m.d.sync += self.o.valid.eq(self.send & ~taken)
        with m.If(~self.send):
            m.d.sync += [part.eq(0), in_words.eq(0), lane.eq(0), row.eq(0)]
        with m.Elif(taken):
            m.d.sync += lane.eq(lane + 1)
            with m.If(row_ends):
                m.d.sync += [lane.eq(0), in_words.eq(1), row.eq(next_row)]
                with m.If(~in_words):
                    m.d.sync += row.eq(0)
                with m.If(part_ends):
                    m.d.sync += [row.eq(0), in_words.eq(0), part.eq(part + 1)]
        return m
