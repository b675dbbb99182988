"""Harness of a layer: its vectors are those of the definition, for any weights, any thresholds and any frames."""

from dataclasses import replace

from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Assume, Cover, Fragment, Module, Mux, Signal

from hw import Folding
from hw.core.layer import IFLayer
from hw.core.plan import LayerPlan
from hw.core.streams import input_format
from hw.core.words import WordFormat
from sim.proofs import symbolic
from sim.proofs.definition import SymbolicLayer
from sim.proofs.observer import AgreementObserver, Observer
from sim.proofs.parts import Harness
from sim.proofs.streams import Rules, offer


class Frames:
    """What a layer gets: lawful words of frames in turn, whole steps of one at a time; a frame may stop after any step, and a spoilt one
    ends with an empty word that is flagged.

    Attributes:
        comes: a word is offered for the first time; there may be vectors of it before it is taken.
    """

    def __init__(self, m: Module, plan: LayerPlan, port):
        word = port.payload
        offer(m, port)
        taken, waits = Signal(name="word_taken"), Signal(name="word_waits")
        self.comes = Signal(name="word_comes")
        m.d.comb += [taken.eq(port.valid & port.ready), self.comes.eq(port.valid & ~waits)]
        m.d.sync += waits.eq(port.valid & ~port.ready)
        inside, frame = Signal(name="inside_a_step"), Signal.like(word.frame, name="frame_of_step")
        with m.If(taken):
            m.d.sync += [inside.eq(~word.last_of_step), frame.eq(word.frame)]
        with m.If(port.valid & inside):
            m.d.comb += Assume(word.frame == frame)
        for context in range(plan.contexts):
            rules = Rules(replace(input_format(plan), frames=0))
            m.submodules[f"rules_{context}"] = rules
            number = Signal.like(word.frame, init=context, name=f"number_{context}")  # of the frame that is next to begin
            mine = word.frame[: (plan.contexts - 1).bit_length()] == context
            flagged_end = word.error & (word.bits == 0) & (word.index == 0) & word.last_of_step & word.last_of_frame
            for name, _ in rules.word.shape():
                if name != "error":
                    m.d.comb += rules.word[name].eq(word[name])
            m.d.comb += [rules.taken.eq(taken & mine), rules.anew.eq(word.first)]
            with m.If(port.valid & mine):
                m.d.comb += [
                    Assume(Mux(word.error, flagged_end, ~rules.spoilt)),
                    Assume(~rules.begins | word.first),
                    Assume(~inside | ~word.first),
                    Assume(word.frame == number - Mux(word.first, 0, plan.contexts)),
                ]
            with m.If(taken & mine & word.first):
                m.d.sync += number.eq(number + plan.contexts)


def neuron_vectors(
    sizes: tuple[int, int], steps: int, folding: Folding, *, holds_vectors: bool = True, neuron: int | None = None
) -> Harness:
    """Any frame, whatever came before: each step that closes gives a vector of every fold, once, with spikes and margins.

    Parameters:
        sizes: inputs, outputs.
        steps: ``T``.
        folding: of the layer.
        holds_vectors: vectors go to a receiver that has few places for them, and frees them at any time.
    """

    def fill(m: Module) -> None:
        (plan,) = folding.plans(symbolic.network(sizes, steps))
        layer = SymbolicLayer(m, *sizes, 0)
        dut = IFLayer(plan, holds_vectors=holds_vectors)
        m.submodules.dut = Fragment.get(dut, symbolic.SymbolicMemories({plan: layer}))
        frames = Frames(m, plan, dut.i)
        word, vector = dut.i.payload, dut.o.payload
        if holds_vectors:
            held = Signal(range(plan.vector_slots + 1))
            m.d.comb += [dut.o.release.eq(AnySeq(1) & (held != 0)), Assert(~dut.o.valid | (held != plan.vector_slots))]
            m.d.sync += held.eq(held + dut.o.valid - dut.o.release)

        # The chosen frame: any one.
        there, over, chosen = Signal(), Signal(), Signal.like(word.frame)
        choose, mine = Signal(), Signal()
        m.d.comb += [
            choose.eq(AnySeq(1) & frames.comes & word.first & ~there),
            mine.eq(frames.comes & ~over & (choose | (there & (word.frame == chosen) & ~word.first))),
        ]
        others, behind = Signal(), Signal()  # came before the chosen one
        m.d.sync += others.eq(others | frames.comes)
        with m.If(choose):
            m.d.sync += [there.eq(1), chosen.eq(word.frame), behind.eq(others)]
        golden = (AgreementObserver if plan.form == "xnor" else Observer)(
            m, layer, WordFormat(sizes[0], steps, plan.simd), word, mine, "golden"
        )
        once(m, word, mine, WordFormat(sizes[0], steps, plan.simd))
        closed = Signal(steps)
        with m.If(mine & word.last_of_step & ~word.error):
            m.d.sync += closed.bit_select(word.time, 1).eq(1)

        # Its vectors.
        given, again, context_bits = Signal(steps), Signal(), (plan.contexts - 1).bit_length()
        of_context, of_chosen, before = Signal(), Signal(), Signal.like(vector.fold)
        m.d.comb += [
            of_context.eq(dut.o.valid & there & (vector.frame[:context_bits] == chosen[:context_bits])),
            of_chosen.eq(of_context & ~over & (vector.frame == chosen)),
            again.eq(given.bit_select(vector.time, 1)),  # an empty word may end a frame and close its last step again
        ]
        with m.If((of_context & (vector.frame != chosen) & given.any()) | (of_chosen & vector.last_of_step & vector.last_of_frame)):
            m.d.sync += over.eq(1)
        with m.If(of_chosen):
            m.d.sync += before.eq(Mux(vector.last_of_step, 0, vector.fold + 1))
            m.d.comb += [Assert(vector.fold == before), Assert(vector.last_of_step == (vector.fold == plan.neuron_folds - 1))]
        with m.If(of_chosen & ~vector.error):
            with m.If(vector.last_of_step):
                m.d.sync += given.bit_select(vector.time, 1).eq(1)
            m.d.comb += [
                Assert(closed.bit_select(vector.time, 1)),
                Assert(~again | vector.last_of_frame),
                Assert(vector.first == ~given.any()),
                Cover((vector.time == steps - 1) & vector.fire.any() & (given == (1 << (steps - 1)) - 1)),
                Cover((vector.time == steps - 1) & vector.fire.any() & behind),
                Cover(vector.last_of_frame & vector.last_of_step & ~vector.fire.any() & given.any()),
            ]
            for fold in range(plan.neuron_folds):
                with m.If(vector.fold == fold):
                    for lane in range(plan.pe):
                        j, margin = fold * plan.pe + lane, vector.margin.word_select(lane, plan.membrane_bits).as_signed()
                        if j >= sizes[1]:
                            m.d.comb += Assert(~vector.fire[lane])
                        elif neuron in (None, j):
                            m.d.comb += Assert(vector.fire[lane] == ((golden.times[j] == vector.time) & ~again))
                            m.d.comb += Assert(margin == Array(golden.closings[j])[vector.time])

    return Harness(fill)


def once(m: Module, word, mine, form: WordFormat) -> None:
    """Assume rule 6 of spike words for the frame: an input spikes once, and no index comes twice in a step."""
    seen, indices = Signal(form.inputs, name="have_spiked"), Signal(form.words, name="indices")
    with m.If(mine):
        m.d.comb += Assume(~indices.bit_select(word.index, 1))
        m.d.sync += indices.eq(Mux(word.last_of_step, 0, indices | (1 << word.index)))
        for i in range(form.inputs):
            place, lane = divmod(i, form.simd)
            with m.If((word.index == place) & word.bits[lane]):
                m.d.comb += Assume(~seen[i])
                m.d.sync += seen[i].eq(1)
