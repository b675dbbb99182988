"""A layer, folded: ``SIMD`` inputs and ``PE`` neurons per cycle."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core.convolution import ConvPlan
from hw.core.counting import count_width
from hw.core.event import EventSequencer
from hw.core.membranes import membranes_of
from hw.core.memories import RowMemory, row_write
from hw.core.plan import LayerPlan
from hw.core.pool import Pool
from hw.core.rows import RowSequencer
from hw.core.sequencer import ISSUE_TO_VECTOR, Cycles, Sequencer, idle, operation
from hw.core.step import StepSequencer
from hw.core.streams import input_format, neuron_vectors
from hw.core.walk import ConvSequencer
from hw.core.xnor import XnorSequencer


def sequencer_of(plan: LayerPlan) -> type[Sequencer]:
    """The sequencer of a layer."""
    if isinstance(plan, ConvPlan):
        return RowSequencer if plan.by_rows else ConvSequencer
    if plan.counting.cumulative:
        return XnorSequencer
    return StepSequencer if plan.replays else EventSequencer


def word_to_vector(plan: LayerPlan) -> int:
    """Cycles from the one in which a fold takes up the last word of a step, new or replayed, to its neuron vector."""
    return ISSUE_TO_VECTOR + sequencer_of(plan).fetch_to_issue


def cycles_of(plan: LayerPlan) -> Cycles:
    """The cost model of a layer, behind its pool."""
    return sequencer_of(plan).cycles(plan, word_to_vector(plan))


class IFLayer(wiring.Component):
    """One layer: spike words in, neuron vectors out where a step closes.

    Pipeline: *issue* (`hw.core.sequencer`) addresses the weights, *count* (`hw.core.counting`) turns weights and spikes into numbers,
    *integrate* adds them to the potentials (`hw.core.membranes`) and tests these where a step closes (`hw.core.neurons`). Latency: a neuron
    vector comes two cycles after the issue of its last operation. Nothing stalls behind the sequencer, which waits until there is a place
    for the vector.

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
            members["write_weights"] = In(row_write(plan.weight_width, plan.weight_depth))
            members["write_initial"] = In(row_write(plan.initial_width, plan.initial_depth))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        plan = self._plan

        # Issue.
        m.submodules.sequencer = sequencer = sequencer_of(plan)(plan)
        if plan.layer.pool is None:
            wiring.connect(m, wiring.flipped(self.i), sequencer.i)
        else:
            m.submodules.pool = pool = Pool(plan)
            wiring.connect(m, wiring.flipped(self.i), pool.i)
            wiring.connect(m, pool.o, sequencer.i)
        m.d.comb += sequencer.may_test.eq(self._place_for_vector(m, sequencer))

        # Count.
        m.submodules.weights = weights = RowMemory(plan.weight_width, plan.weight_rows, writable=self._loadable)
        counting, counting_valid = _registered(m, plan, "counting", sequencer.operation, sequencer.valid)
        m.d.comb += weights.address.eq(sequencer.operation.weight_row)
        number_bits = count_width(plan.simd, plan.input_coefficients)
        count = Signal(plan.pe * number_bits)
        m.d.sync += count.eq(plan.counting.counts(m, weights.data, counting.spikes, plan.pe, plan.input_coefficients))

        # Integrate.
        integrating, integrating_valid = _registered(m, plan, "integrating", counting, counting_valid)
        m.submodules.initial = initial = RowMemory(plan.initial_width, plan.initial_potentials, writable=self._loadable)
        m.submodules.neurons = neurons = plan.neurons(
            plan.layer.neuron, pe=plan.pe, width=plan.membrane_bits, count_width=number_bits, tells_ripe=plan.tells_ripe
        )
        m.submodules.membranes = state = membranes_of(plan)(plan)
        for port, stage, valid in ((state.ahead, counting, counting_valid), (state.now, integrating, integrating_valid)):
            m.d.comb += port.valid.eq(valid)
            m.d.comb += [port[name].eq(stage[name]) for name in ("state_row", "beat", "restart", "first", "integrate", "test")]
            if plan.tag_bits:
                m.d.comb += port.tag.eq(stage.tag)
        m.d.comb += [
            initial.address.eq(counting.fold * plan.swap + counting.beat),
            state.start.eq(initial.data[: len(state.start)]),
            state.new_potential.eq(neurons.new_potential),
            state.new_flags.eq(neurons.new_flags),
            neurons.potential.eq(state.potential),
            neurons.flags.eq(state.flags),
            neurons.count.eq(count),
            neurons.test.eq(integrating.test),
        ]
        if plan.parameter_bits:
            m.d.comb += neurons.parameters.eq(initial.data[len(state.start) :])

        if self._loadable:
            wiring.connect(m, wiring.flipped(self.write_weights), weights.write)
            wiring.connect(m, wiring.flipped(self.write_initial), initial.write)
            if plan.by_rows:
                m.d.comb += sequencer.renews.eq(self.write_initial.en)

        # Neuron vectors.
        exists = Signal(len(neurons.fire))
        short = integrating.fold == plan.neuron_folds - 1
        existing = Mux(short, (1 << plan.last_fold_size * plan.coefficient_bits) - 1, (1 << len(exists)) - 1)
        vector = self.o.payload
        m.d.comb += [
            exists.eq(Mux(integrating.first, existing, 0) if plan.by_rows else existing),  # see `hw.core.rows`
            self.o.valid.eq(integrating_valid & integrating.test),
            vector.last_of_step.eq(integrating.last),
            vector.fire.eq(neurons.fire & exists),
        ]
        if plan.tells_ripe:
            ripe = neurons.ripe & exists[:: plan.coefficient_bits]
            m.d.comb += [sequencer.settles.eq(integrating_valid & integrating.integrate & ~integrating.test), sequencer.ripe.eq(ripe.any())]
            m.d.comb += [sequencer.settled.eq(integrating.position), sequencer.settled_fold.eq(integrating.fold)]
        if plan.addressed:
            m.d.comb += [vector.fold.eq(integrating.fold), vector.position.eq(integrating.position)]
        if plan.is_last:
            m.d.comb += [vector.fold.eq(integrating.fold), vector.margin.eq(neurons.new_potential)]
        m.d.comb += [vector[name].eq(integrating[name]) for name in ("time", "first", "last_of_frame", "error", "frame")]
        return m

    def _place_for_vector(self, m: Module, sequencer: Sequencer):
        if not self._holds_vectors:
            return 1
        on_their_way = Signal(range(self._plan.vector_slots + 1))
        m.d.sync += on_their_way.eq(on_their_way + sequencer.tests - self.o.release)
        return on_their_way != self._plan.vector_slots


def _registered(m: Module, plan: LayerPlan, stage: str, what, valid):
    """An operation one cycle later."""
    later, later_valid = Signal(operation(plan), name=stage, init=idle(plan)), Signal(name=f"{stage}_valid")
    m.d.sync += [later.eq(what), later_valid.eq(valid)]
    return later, later_valid
