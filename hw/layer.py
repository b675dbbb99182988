"""A layer of integrate-and-fire neurons, folded: ``SIMD`` inputs and ``PE`` neurons per cycle.

Pipeline, the same in both forms: *issue* addresses the memories, *count* turns weights and spikes into numbers, *integrate* adds them
to the potentials and tests these where a step closes.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.folding import LayerPlan
from hw.neuron import IFNeurons, count_width, delta_counts, xnor_counts
from hw.streams import input_format, rows, words
from hw.words import bits_for

ISSUE_TO_ROW = 2  # cycles from the issue of a group's last read to its row


class IFLayer(wiring.Component):
    """One layer: spike words in, rows of neurons out where a step closes.

    ``delta`` form: a word takes ``groups`` cycles; a step costs nothing beyond its words. Membranes are registers when there is one group,
    else a memory of ``groups`` rows.

    ``xnor`` form: a word takes one cycle, then the close of a step ``groups * words`` cycles, in which no word is taken. No membranes.

    Latency: a row comes two cycles after the issue of its last read. A word that closes a step waits until the consumer has
    released the step before.

    Parameters:
        plan: geometry and content.

    Members:
        i: spike words, ``SIMD`` wide.
        o: rows of ``PE`` neurons.
    """

    def __init__(self, plan: LayerPlan):
        self._plan = plan
        super().__init__({"i": In(words(input_format(plan))), "o": Out(rows(plan))})

    def elaborate(self, platform):
        m = Module()
        plan = self._plan
        word = self.i.stream.payload

        # Frames. `pending`: a step is closed and not yet released. `ended`: that step ends its frame.
        pending, ended = Signal(), Signal()
        first = Signal(init=1)  # the next word is the first of its frame
        frame_error, error = Signal(), Signal()
        discarding, cut = Signal(), Signal()
        taken, end_taken, cut_end = Signal(), Signal(), Signal()
        m.d.comb += [
            cut.eq(discarding | (self.o.cancel & ~(pending & ended))),
            self.i.cancel.eq(cut),
            self.o.flush.eq(cut),
            taken.eq(self.i.stream.valid & self.i.stream.ready),
            end_taken.eq(taken & word.last_of_frame),
            cut_end.eq(cut & end_taken),
            error.eq(word.error | (frame_error & ~first)),
        ]
        m.d.sync += discarding.eq(cut & ~cut_end)
        with m.If(taken):
            m.d.sync += [first.eq(word.last_of_frame), frame_error.eq(error)]

        # Issue: which weights, which neurons, for which step.
        issue = _Issue(plan)
        closing = Signal()  # the form closes a step; never while the frame is cut
        with m.If(self.o.release):
            m.d.sync += pending.eq(0)
        with m.If(closing):
            m.d.sync += [pending.eq(1), ended.eq(0)]
        with m.If(end_taken):
            m.d.sync += ended.eq(1)
        with m.If(cut_end):
            m.d.sync += pending.eq(1)
        if plan.form == "delta":
            self._issue_delta(m, issue, first, error, pending, closing, cut)
        else:
            self._issue_xnor(m, issue, first, error, pending, closing, cut)

        # Count.
        m.submodules.weights = weights = _rows_memory(plan.pe * plan.simd, plan.weight_rows)
        weights_read = weights.read_port()
        counting = issue.registered(m, "counting", cut)
        m.d.comb += weights_read.addr.eq(issue.address)
        counts = delta_counts if plan.form == "delta" else xnor_counts
        count = Signal(plan.pe * count_width(plan.simd))
        m.d.sync += count.eq(counts(m, weights_read.data, counting.spikes, plan.pe))

        # Integrate.
        integrating = counting.registered(m, "integrating", cut)
        m.submodules.initial = initial = _rows_memory(plan.pe * plan.margin_bits, plan.initial_rows)
        initial_read = initial.read_port()
        m.submodules.neurons = neurons = IFNeurons(pe=plan.pe, width=plan.margin_bits, count_width=count_width(plan.simd))
        potential, fired = self._state(m, counting, integrating, neurons)
        m.d.comb += [
            initial_read.addr.eq(counting.group),
            neurons.potential.eq(Mux(integrating.restart, initial_read.data, potential)),
            neurons.fired.eq(Mux(integrating.first, 0, fired)),
            neurons.count.eq(count),
            neurons.test.eq(integrating.test),
        ]

        # Rows; a frame that was cut ends with a row of its own.
        exists = Signal(plan.pe)
        last_group = integrating.group == plan.groups - 1
        m.d.comb += [
            exists.eq(Mux(last_group, (1 << plan.last_group_size) - 1, (1 << plan.pe) - 1)),
            self.o.valid.eq((integrating.valid & integrating.test & ~cut) | cut_end),
            self.o.payload.margin.eq(neurons.new_potential),
        ]
        with m.If(cut):
            m.d.comb += [
                self.o.payload.time.eq(word.time),
                self.o.payload.group.eq(plan.groups - 1),
                self.o.payload.last_of_step.eq(1),
                self.o.payload.last_of_frame.eq(1),
                self.o.payload.error.eq(error),
            ]
        with m.Else():
            m.d.comb += [
                self.o.payload.time.eq(integrating.time),
                self.o.payload.group.eq(integrating.group),
                self.o.payload.last_of_step.eq(last_group),
                self.o.payload.last_of_frame.eq(integrating.end),
                self.o.payload.error.eq(integrating.error),
                self.o.payload.fire.eq(neurons.fire & exists),
            ]
        return m

    def _issue_delta(self, m, issue, first, error, pending, closing, cut):
        """Each word visits every group: read its weights, add to that group's membranes."""
        plan = self._plan
        word = self.i.stream.payload
        group = Signal(bits_for(plan.groups))
        base = Signal(bits_for(plan.groups * plan.words))  # address of the group's first row
        starts, last = Signal(), Signal()
        m.d.comb += [
            starts.eq(group == 0),
            last.eq(group == plan.groups - 1),
            issue.valid.eq(self.i.stream.valid & ~cut & ~(word.last_of_step & pending & starts)),
            closing.eq(issue.valid & word.last_of_step & starts),
            self.i.stream.ready.eq(cut | (issue.valid & last)),
            issue.address.eq(base + word.index),
            issue.group.eq(group),
            issue.spikes.eq(word.bits),
            issue.time.eq(word.time),
            issue.first.eq(first),
            issue.restart.eq(first),
            issue.test.eq(word.last_of_step),
            issue.end.eq(word.last_of_frame),
            issue.error.eq(error),
        ]
        with m.If(cut | (issue.valid & last)):
            m.d.sync += [group.eq(0), base.eq(0)]
        with m.Elif(issue.valid):
            m.d.sync += [group.eq(group + 1), base.eq(base + plan.words)]

    def _issue_xnor(self, m, issue, first, error, pending, closing, cut):
        """Words gather in one vector of all spikes so far; when a step closes, every group walks that vector."""
        plan = self._plan
        word = self.i.stream.payload
        seen = Signal(plan.words * plan.simd)
        group = Signal(bits_for(plan.groups))
        index = Signal(bits_for(plan.words))
        address = Signal(bits_for(plan.groups * plan.words))
        walking = Signal()
        first_step, step_is_first = Signal(init=1), Signal()
        ended, failed = Signal(), Signal()
        time = Signal.like(word.time)
        last_index, last = Signal(), Signal()
        m.d.comb += [
            closing.eq(self.i.stream.valid & ~cut & ~walking & word.last_of_step & ~pending),
            self.i.stream.ready.eq(cut | (~walking & ~(word.last_of_step & pending))),
            last_index.eq(index == plan.words - 1),
            last.eq(last_index & (group == plan.groups - 1)),
            issue.valid.eq(walking),
            issue.address.eq(address),
            issue.group.eq(group),
            issue.spikes.eq(seen.word_select(index, plan.simd)),
            issue.time.eq(time),
            issue.first.eq(step_is_first),
            issue.restart.eq(index == 0),
            issue.test.eq(last_index),
            issue.end.eq(ended),
            issue.error.eq(failed),
        ]
        with m.If(self.i.stream.valid & self.i.stream.ready & ~cut):
            for k in range(plan.words):
                slot = seen.word_select(k, plan.simd)
                m.d.sync += slot.eq(Mux(first, 0, slot) | Mux(word.index == k, word.bits, 0))
            with m.If(word.last_of_step):
                m.d.sync += [
                    walking.eq(1),
                    time.eq(word.time),
                    ended.eq(word.last_of_frame),
                    failed.eq(error),
                    step_is_first.eq(first_step),
                    first_step.eq(word.last_of_frame),
                ]
        with m.If(walking):
            m.d.sync += [index.eq(Mux(last_index, 0, index + 1)), address.eq(address + 1)]
            with m.If(last_index):
                m.d.sync += group.eq(group + 1)
            with m.If(last):
                m.d.sync += [walking.eq(0), group.eq(0), address.eq(0)]
        with m.If(cut):
            m.d.sync += [walking.eq(0), index.eq(0), group.eq(0), address.eq(0), first_step.eq(1)]

    def _state(self, m, counting, integrating, neurons):
        """Potential and fired flags of the group that integrates now.

        The ``delta`` form keeps potentials per group; the ``xnor`` form needs one row of them, to sum a walk.
        A memory row that is read is written one cycle later, and read again two or more cycles later, since there are two or more groups.
        """
        plan = self._plan
        if plan.groups == 1:
            potential, fired = Signal.like(neurons.new_potential), Signal(plan.pe)
            with m.If(integrating.valid):
                m.d.sync += [potential.eq(neurons.new_potential), fired.eq(neurons.new_fired)]
            return potential, fired
        kept = [neurons.new_fired] if plan.form == "xnor" else [neurons.new_fired, neurons.new_potential]
        width = sum(len(part) for part in kept)
        m.submodules.membranes = membranes = Memory(shape=unsigned(width), depth=plan.groups, init=[])
        read, write = membranes.read_port(), membranes.write_port()
        m.d.comb += [
            read.addr.eq(counting.group),
            write.addr.eq(integrating.group),
            write.en.eq(integrating.valid & integrating.test if plan.form == "xnor" else integrating.valid),
            write.data.eq(Cat(kept)),
        ]
        if plan.form == "delta":
            return read.data[plan.pe :], read.data[: plan.pe]
        potential = Signal.like(neurons.new_potential)
        with m.If(integrating.valid):
            m.d.sync += potential.eq(neurons.new_potential)
        return potential, read.data[: plan.pe]


def _rows_memory(width: int, content: list[int]) -> Memory:
    """At least two rows deep: an address of no bits becomes ``[-1:0]`` in Verilog, which is two."""
    return Memory(shape=unsigned(width), depth=max(2, len(content)), init=content)


class _Issue:
    """What travels down the pipeline beside the numbers."""

    def __init__(self, plan: LayerPlan, stage: str = "issue"):
        word = input_format(plan).layout
        self._plan = plan
        self.valid = Signal(name=f"{stage}_valid")
        self.address = Signal(bits_for(plan.groups * plan.words), name=f"{stage}_address")
        self.group = Signal(bits_for(plan.groups), name=f"{stage}_group")
        self.spikes = Signal(plan.simd, name=f"{stage}_spikes")
        self.time = Signal(word["time"].shape, name=f"{stage}_time")
        self.first = Signal(name=f"{stage}_first")  # the first step of its frame: no neuron has fired yet
        self.restart = Signal(name=f"{stage}_restart")  # potentials start anew
        self.test = Signal(name=f"{stage}_test")  # the step closes with this
        self.end = Signal(name=f"{stage}_end")  # and so does the frame
        self.error = Signal(name=f"{stage}_error")

    def registered(self, m, stage, cut):
        """The same one cycle later, forgotten where the frame is cut."""
        later = _Issue(self._plan, stage)
        m.d.sync += later.valid.eq(self.valid & ~cut)
        for name in ("group", "spikes", "time", "first", "restart", "test", "end", "error"):
            m.d.sync += getattr(later, name).eq(getattr(self, name))
        return later
