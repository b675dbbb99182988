"""Harness of a layer: its rows are those of the definition, for any weights, any thresholds and any frames."""

from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Assume, Cover, Fragment, Module, Mux, Signal, signed

from export import Network
from hw import Folding
from hw.folding import LayerPlan
from hw.layer import IFLayer
from hw.words import WordFormat, bits_for
from sim.proofs import symbolic
from sim.proofs.definition import SymbolicLayer, spikes
from sim.proofs.parts import Harness
from sim.proofs.streams import Rules, offer


def plan_of(network: Network, folding: Folding) -> LayerPlan:
    """The plan of a network's first layer, its ``following_simd`` included."""
    return folding.plans(network)[0]


class Frames:
    """What a layer gets: lawful words of frames in turn, whole steps of one at a time; a frame may stop after any step, and a spoilt one ends
    with an empty word that is flagged.

    Attributes:
        taken: a word is.
        comes: a word is offered for the first time; there may be rows of it before it is taken.
    """

    def __init__(self, m: Module, plan: LayerPlan, port):
        word = port.payload
        offer(m, port)
        self.taken, self.comes = Signal(name="word_taken"), Signal(name="word_comes")
        waits = Signal(name="word_waits")
        m.d.comb += [self.taken.eq(port.valid & port.ready), self.comes.eq(port.valid & ~waits)]
        m.d.sync += waits.eq(port.valid & ~port.ready)
        inside, frame = Signal(name="inside_a_step"), Signal.like(word.frame, name="frame_of_step")
        with m.If(self.taken):
            m.d.sync += [inside.eq(~word.last_of_step), frame.eq(word.frame)]
        with m.If(port.valid & inside):
            m.d.comb += Assume(word.frame == frame)
        for context in range(plan.contexts):
            rules = Rules(WordFormat(plan.layer.inputs, plan.steps, plan.simd))
            m.submodules[f"rules_{context}"] = rules
            number = Signal.like(word.frame, init=context, name=f"number_{context}")  # of the frame that is next to begin
            mine = word.frame[: (plan.contexts - 1).bit_length()] == context
            flagged_end = word.error & (word.bits == 0) & (word.index == 0) & word.last_of_step & word.last_of_frame
            for name, _ in rules.word.shape():
                if name != "error":
                    m.d.comb += rules.word[name].eq(word[name])
            m.d.comb += [rules.taken.eq(self.taken & mine), rules.anew.eq(word.first)]
            with m.If(port.valid & mine):
                m.d.comb += [
                    Assume(Mux(word.error, flagged_end, ~rules.spoilt)),
                    Assume(~rules.begins | word.first),
                    Assume(~inside | ~word.first),
                    Assume(word.frame == number - Mux(word.first, 0, plan.contexts)),
                ]
            with m.If(self.taken & mine & word.first):
                m.d.sync += number.eq(number + plan.contexts)


class OneNeuron:
    """One neuron by its definition [S3, S4], for any one frame: a running sum over the words, looked at where a step closes.

    `sums` proves that the running sum is the one of the definition.

    Attributes:
        margin: per step, ``V - θ`` when it closed.
        closed: per step, whether it did.
    """

    def __init__(self, m: Module, plan: LayerPlan, layer: SymbolicLayer, neuron: int, word, taken, restart):
        width = plan.margin_bits
        steps = plan.steps
        self.margins = [Signal(signed(width), name=f"margin_{t}") for t in range(steps)]
        self.closed = Signal(steps, name="closed")
        self.running = Signal(signed(width), name="running")
        after = Signal(signed(width), name="after")
        terms = []
        for i, positive in enumerate(layer.positive[neuron]):
            place, lane = divmod(i, plan.simd)
            terms.append(Mux((word.index == place) & word.bits[lane], Mux(positive, 1, -1), 0))
        before = Mux(restart, -layer.thresholds[neuron], self.running)
        m.d.comb += after.eq(before + sum(terms[1:], terms[0]))
        with m.If(taken):
            m.d.sync += self.running.eq(after)
            with m.If(restart):
                m.d.sync += self.closed.eq(0)
            with m.If(word.last_of_step & ~word.error):
                m.d.sync += self.closed.bit_select(word.time, 1).eq(1)
                for t in range(steps):
                    with m.If(word.time == t):
                        m.d.sync += self.margins[t].eq(after)


def rows(network: Network, folding: Folding, neuron: int, *, holds_rows: bool = True) -> Harness:
    """One neuron of a layer, any frame: each step that closes gives a row of its group, once, with its spike and its margin.

    Parameters:
        network: of which the first layer is looked at; its weights and thresholds are replaced by symbols.
        folding: of the layer.
        neuron: to look at.
        holds_rows: rows go to a receiver that has few places for them, and frees them at any time.
    """

    def fill(m: Module) -> None:
        plan = plan_of(network, folding)
        layer = SymbolicLayer(m, plan.layer.inputs, plan.layer.outputs, 0)
        dut = IFLayer(plan, holds_rows=holds_rows)
        with symbolic.memories([plan], [layer]):
            m.submodules.dut = Fragment.get(dut, None)
        frames = Frames(m, plan, dut.i)
        word, row = dut.i.payload, dut.o.payload
        held = Signal(range(plan.row_slots + 1))
        with m.If(held == 0):
            m.d.comb += dut.o.release.eq(0)
        with m.Else():
            m.d.comb += dut.o.release.eq(AnySeq(1))
        if holds_rows:
            m.d.sync += held.eq(held + dut.o.valid - dut.o.release)
            m.d.comb += Assert(~dut.o.valid | (held != plan.row_slots))

        # The chosen frame: any one.
        there, over, chosen = Signal(), Signal(), Signal.like(word.frame)
        choose, mine = Signal(), Signal()
        m.d.comb += [
            choose.eq(AnySeq(1) & frames.comes & word.first & ~there),
            mine.eq(frames.comes & ~over & (choose | (there & (word.frame == chosen) & ~word.first))),
        ]
        with m.If(choose):
            m.d.sync += [there.eq(1), chosen.eq(word.frame)]
        seen = Signal(plan.layer.inputs)  # inputs of it that have spiked
        with m.If(mine):
            for i in range(plan.layer.inputs):
                place, lane = divmod(i, plan.simd)
                with m.If((word.index == place) & word.bits[lane]):
                    m.d.comb += Assume(~seen[i])
                    m.d.sync += seen[i].eq(1)
        golden = OneNeuron(m, plan, layer, neuron, word, mine, choose)
        fires = [row_[0] for row_ in zip(*spikes(m, [_up_to_now(golden)]), strict=True)]

        # Its rows.
        group, lane = divmod(neuron, plan.pe)
        same_context = row.frame[: (plan.contexts - 1).bit_length()] == chosen[: (plan.contexts - 1).bit_length()]
        of_chosen = Signal()
        m.d.comb += of_chosen.eq(dut.o.valid & there & ~over & (row.frame == chosen))
        given, again = Signal(plan.steps), Signal()  # an empty word may end a frame and close its last step again
        m.d.comb += again.eq(given.bit_select(row.time, 1))
        with m.If(dut.o.valid & there & ((same_context & (row.frame != chosen) & given.any()) | (of_chosen & row.last_of_step & row.last_of_frame))):
            m.d.sync += over.eq(1)
        with m.If(of_chosen & (row.group == group) & ~row.error):
            m.d.sync += given.bit_select(row.time, 1).eq(1)
            m.d.comb += [
                Assert(golden.closed.bit_select(row.time, 1)),
                Assert(~again | row.last_of_frame),
                Assert(row.last_of_step == (group == plan.groups - 1)),
                Assert(row.fire[lane] == (Array(fires)[row.time] & ~again)),
                Assert(row.margin.word_select(lane, plan.margin_bits).as_signed() == Array(golden.margins)[row.time]),
                Assert(row.first == ~given.any()),
                Cover(row.fire[lane] & (row.time == plan.steps - 1)),
                Cover(row.last_of_frame & ~row.fire[lane] & (given == (1 << (plan.steps - 1)) - 1)),
            ]

    return Harness(fill)


def _up_to_now(golden: OneNeuron) -> list:
    """Margins per step; below any threshold where none was closed, since the potential is then that of the step before [S4]."""
    return [Mux(golden.closed[t], margin, -1) for t, margin in enumerate(golden.margins)]
