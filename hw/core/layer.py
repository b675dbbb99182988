"""A layer of integrate-and-fire neurons, folded: ``SIMD`` inputs and ``PE`` neurons per cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.core.folding import LayerPlan
from hw.core.memories import NO_READ_WRITE_CHECK, RowMemory, row_write
from hw.core.neuron import IFNeurons, count_width, delta_counts, xnor_counts
from hw.core.sequencers import FETCH_TO_ISSUE, EventSequencer, Sequencer, StepSequencer, XnorSequencer, operation
from hw.core.streams import input_format, neuron_vectors
from hw.core.words import bits_for

ISSUE_TO_VECTOR = 2  # cycles from the issue of a fold's last operation to its neuron vector


def word_to_vector(plan: LayerPlan) -> int:
    """Cycles from the one in which a fold takes up the last word of a step, new or replayed, to its neuron vector."""
    return ISSUE_TO_VECTOR + (FETCH_TO_ISSUE if plan.replays else 0)


class IFLayer(wiring.Component):
    """One layer: spike words in, neuron vectors out where a step closes.

    Pipeline, the same for all forms and orders: *issue* (`hw.core.sequencers`) addresses the weights, *count* turns weights and spikes into
    numbers, *integrate* adds them to the potentials and tests these where a step closes. Latency: a neuron vector comes two cycles after
    the issue of its last operation. Nothing stalls behind the sequencer, which waits until there is a place for the vector.

    Membranes: with one fold and one context, registers. In the order ``event``, a memory with a row per fold and context that is read and
    written in each cycle. In the order ``step``, registers for the fold that is worked on, exchanged with such a memory where the fold
    or the context changes. The ``xnor`` form keeps only who has fired.

    Parameters:
        plan: geometry and content.
        holds_vectors: the receiver has `LayerPlan.vector_slots` places for vectors, and says when one becomes free; else it takes them as
        they come.
        loadable: weights and potentials to start from are written at run time.

    Members:
        i: spike words, ``SIMD`` wide.
        o: vectors of ``PE`` neurons.
        write_weights, write_initial: (loadable only) see `hw.core.memories.row_write`.
    """

    def __init__(self, plan: LayerPlan, *, holds_vectors: bool, loadable: bool = False):
        self._plan, self._holds_vectors, self._loadable = plan, holds_vectors, loadable
        members = {"i": In(stream.Signature(input_format(plan).layout)), "o": Out(neuron_vectors(plan))}
        if loadable:
            members["write_weights"] = In(row_write(plan.weight_width, len(plan.weight_rows)))
            members["write_initial"] = In(row_write(plan.initial_width, len(plan.initial_potentials)))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        plan = self._plan

        # Issue.
        m.submodules.sequencer = sequencer = _sequencer(plan)
        wiring.connect(m, wiring.flipped(self.i), sequencer.i)
        m.d.comb += sequencer.may_test.eq(self._place_for_vector(m, sequencer))

        # Count.
        m.submodules.weights = weights = RowMemory(plan.weight_width, plan.weight_rows, writable=self._loadable)
        counting, counting_valid = _registered(m, plan, "counting", sequencer.operation, sequencer.valid)
        m.d.comb += weights.address.eq(sequencer.operation.address)
        counts = delta_counts if plan.form == "delta" else xnor_counts
        count = Signal(plan.pe * count_width(plan.simd))
        m.d.sync += count.eq(counts(m, weights.data, counting.spikes, plan.pe))

        # Integrate.
        integrating, integrating_valid = _registered(m, plan, "integrating", counting, counting_valid)
        m.submodules.initial = initial = RowMemory(plan.initial_width, plan.initial_potentials, writable=self._loadable)
        m.submodules.neurons = neurons = IFNeurons(pe=plan.pe, width=plan.membrane_bits, count_width=count_width(plan.simd))
        potential, fired = _Membranes(plan, counting, integrating, integrating_valid, neurons).add_to(m, initial.data)
        m.d.comb += [
            initial.address.eq(counting.fold * plan.swap + counting.beat),
            neurons.potential.eq(potential),
            neurons.fired.eq(fired),
            neurons.count.eq(count),
            neurons.test.eq(integrating.test),
        ]

        if self._loadable:
            wiring.connect(m, wiring.flipped(self.write_weights), weights.write)
            wiring.connect(m, wiring.flipped(self.write_initial), initial.write)

        # Neuron vectors.
        exists = Signal(plan.pe)
        last_fold = integrating.fold == plan.neuron_folds - 1
        vector = self.o.payload
        m.d.comb += [
            exists.eq(Mux(last_fold, (1 << plan.last_fold_size) - 1, (1 << plan.pe) - 1)),
            self.o.valid.eq(integrating_valid & integrating.test),
            vector.fold.eq(integrating.fold),
            vector.last_of_step.eq(last_fold),
            vector.fire.eq(neurons.fire & exists),
            vector.margin.eq(neurons.new_potential),
        ]
        m.d.comb += [vector[name].eq(integrating[name]) for name in ("time", "first", "last_of_frame", "error", "frame")]
        return m

    def _place_for_vector(self, m: Module, sequencer: Sequencer):
        if not self._holds_vectors:
            return 1
        on_their_way = Signal(range(self._plan.vector_slots + 1))
        m.d.sync += on_their_way.eq(on_their_way + sequencer.tests - self.o.release)
        return on_their_way != self._plan.vector_slots


def _sequencer(plan: LayerPlan) -> Sequencer:
    if plan.form == "xnor":
        return XnorSequencer(plan)
    return StepSequencer(plan) if plan.replays else EventSequencer(plan)


def _registered(m: Module, plan: LayerPlan, stage: str, what, valid):
    """An operation one cycle later."""
    later, later_valid = Signal(operation(plan), name=stage), Signal(name=f"{stage}_valid")
    m.d.sync += [later.eq(what), later_valid.eq(valid)]
    return later, later_valid


class _Membranes:
    """Potentials, and flags of neurons that have fired, of the fold and context that integrate now."""

    def __init__(self, plan: LayerPlan, counting, integrating, valid, neurons: IFNeurons):
        self._plan, self._counting, self._integrating, self._valid, self._neurons = plan, counting, integrating, valid, neurons

    def add_to(self, m: Module, initial):
        """Potentials and flags as signals; ``initial`` holds the potentials to start from, of the fold that integrates."""
        plan, neurons = self._plan, self._neurons
        if plan.form == "xnor":
            return self._sums(m, initial)
        if plan.neuron_folds > 1 and plan.loop_order == "event":
            read = self._memory(m, Cat(neurons.new_fired, neurons.new_potential), write=self._valid)
            restart = self._integrating.restart
            return Mux(restart, initial, read[plan.pe :]), Mux(restart, 0, read[: plan.pe])
        return self._registers(m, initial) if plan.swap == 1 else self._swapped_registers(m, initial)

    def _row(self, operation) -> Cat:
        """The memory's row for an operation."""
        context = operation.frame[: (self._plan.contexts - 1).bit_length()]
        return Cat(operation.fold, context) if self._plan.neuron_folds > 1 else context

    def _memory(self, m: Module, data, *, write):
        """A row per fold and context, addressed a cycle ahead; what is read is written a cycle later, and read again after that.

        Rows of one context lie a power of two apart.
        """
        plan = self._plan
        rows = plan.contexts << (plan.neuron_folds - 1).bit_length()
        m.submodules.membranes = membranes = Memory(shape=unsigned(len(data)), depth=rows, init=[], attrs=NO_READ_WRITE_CHECK)
        read, write_port = membranes.read_port(), membranes.write_port()
        m.d.comb += [
            read.addr.eq(self._row(self._counting)),
            write_port.addr.eq(self._row(self._integrating)),
            write_port.en.eq(write),
            write_port.data.eq(data),
        ]
        return read.data

    def _registers(self, m: Module, initial):
        """Registers; where the fold or the context changes, the memory's row is taken instead, in no time."""
        plan, neurons, integrating = self._plan, self._neurons, self._integrating
        kept_potential = Signal.like(neurons.new_potential)
        kept_fired = Signal(plan.pe)
        with m.If(self._valid):
            m.d.sync += [kept_potential.eq(neurons.new_potential), kept_fired.eq(neurons.new_fired)]
        potential, fired = kept_potential, kept_fired
        if plan.membrane_rows > 1:
            write = self._valid & integrating.test
            read = self._memory(m, Cat(neurons.new_fired, neurons.new_potential), write=write)
            resident = Signal.like(self._row(integrating), name="resident")
            swaps = Signal()
            with m.If(self._valid):
                m.d.sync += resident.eq(self._row(integrating))
            m.d.sync += swaps.eq(self._row(self._counting) != Mux(self._valid, self._row(integrating), resident))
            potential, fired = Mux(swaps, read[plan.pe :], kept_potential), Mux(swaps, read[: plan.pe], kept_fired)
        return Mux(integrating.restart, initial, potential), Mux(integrating.restart, 0, fired)

    def _swapped_registers(self, m: Module, initial):
        """Registers that are exchanged with a narrower memory, ``beat_size`` neurons per cycle, before a pass begins."""
        plan, neurons, counting, integrating = self._plan, self._neurons, self._counting, self._integrating
        size, beats = plan.beat_size, plan.swap
        potential = Signal(beats * size * plan.membrane_bits)
        fired = Signal(beats * size)
        beat_bits = bits_for(beats)
        rows = plan.contexts << (plan.neuron_folds - 1).bit_length()
        shape = unsigned(size * (1 + plan.membrane_bits))
        m.submodules.membranes = membranes = Memory(shape=shape, depth=rows << beat_bits, init=[], attrs=NO_READ_WRITE_CHECK)
        read, write = membranes.read_port(), membranes.write_port()
        resident = Signal.like(self._row(integrating), name="resident")
        arriving_fired = Signal(size)
        arriving_potential = Signal(size * plan.membrane_bits)
        m.d.comb += [
            arriving_fired.eq(Mux(integrating.first, 0, read.data[:size])),
            arriving_potential.eq(Mux(integrating.first, initial, read.data[size:])),
            write.data.eq(Cat(fired[:size], potential[: len(arriving_potential)])),
        ]
        with m.If(self._valid):
            with m.If(integrating.swap):  # everything moves down by one beat
                m.d.sync += [
                    fired.eq(Cat(fired[size:], arriving_fired)),
                    potential.eq(Cat(potential[len(arriving_potential) :], arriving_potential)),
                ]
            with m.Else():
                m.d.sync += [
                    resident.eq(self._row(integrating)),
                    fired[: plan.pe].eq(neurons.new_fired),
                    potential[: len(neurons.new_potential)].eq(neurons.new_potential),
                ]
        m.d.comb += [
            read.addr.eq(Cat(counting.beat, self._row(counting))),
            write.addr.eq(Cat(integrating.beat, resident)),
            write.en.eq(self._valid & integrating.swap),
        ]
        return potential[: plan.pe * plan.membrane_bits], fired[: plan.pe]

    def _sums(self, m: Module, initial):
        """One row of sums, which start anew with every walk; only who has fired is kept."""
        plan, neurons, integrating = self._plan, self._neurons, self._integrating
        partial = Signal.like(neurons.new_potential)
        fired = Signal(plan.pe)
        with m.If(self._valid):
            m.d.sync += partial.eq(neurons.new_potential)
        if plan.membrane_rows > 1:
            kept = self._memory(m, neurons.new_fired, write=self._valid & integrating.test)
        else:
            kept = fired
            with m.If(self._valid):
                m.d.sync += fired.eq(neurons.new_fired)
        return Mux(integrating.restart, initial, partial), Mux(integrating.first, 0, kept)
