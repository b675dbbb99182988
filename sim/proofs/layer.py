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
        contexts: whose frames take turns.
    """

    def __init__(self, m: Module, plan: LayerPlan, port):
        self.contexts, word = plan.contexts, port.payload
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


class ChosenFrame:
    """Any one of the frames that a layer gets, and its vectors.

    Parameters:
        frames: what the layer gets.
        layer: it.
        steps: ``T``.
        takes_first: no vectors of a frame come before its first word is taken; of one that has the same tag, there may be some till then.

    Attributes:
        mine: a word of it is offered for the first time.
        closed: its steps that a word without an error has closed.
        comes: there is a vector of it.
        given: its steps whose last vector has come.
        again: the vector's step is one of these, since an empty word may end a frame and close its last step again.
        behind: other frames came before it.
    """

    def __init__(self, m: Module, frames: Frames, layer: IFLayer, steps: int, *, takes_first: bool = False):
        port, word, vector = layer.i, layer.i.payload, layer.o.payload
        self._steps, self._vector, context_bits = steps, vector, (frames.contexts - 1).bit_length()
        there, over, choose, others, chosen = (
            Signal(len(word.frame) if name == "chosen" else 1, name=name) for name in ("there", "over", "choose", "others", "chosen")
        )
        self.mine, self.behind, self.closed = Signal(name="mine"), Signal(name="behind"), Signal(steps, name="closed")
        m.d.comb += [
            choose.eq(AnySeq(1) & frames.comes & word.first & ~there),
            self.mine.eq(frames.comes & ~over & (choose | (there & (word.frame == chosen) & ~word.first))),
        ]
        m.d.sync += others.eq(others | frames.comes)
        with m.If(choose):
            m.d.sync += [there.eq(1), chosen.eq(word.frame), self.behind.eq(others)]
        with m.If(self.mine & word.last_of_step & ~word.error):
            m.d.sync += self.closed.bit_select(word.time, 1).eq(1)
        can_come = there
        if takes_first:
            can_come = Signal(name="entered")
            m.d.sync += can_come.eq(can_come | ((there | choose) & port.valid & port.ready))
        self.given, self.again, self.comes, of_context = (
            Signal(steps if name == "given" else 1, name=name) for name in ("given", "again", "comes", "of_context")
        )
        m.d.comb += [
            of_context.eq(layer.o.valid & can_come & (vector.frame[:context_bits] == chosen[:context_bits])),
            self.comes.eq(of_context & ~over & (vector.frame == chosen)),
            self.again.eq(self.given.bit_select(vector.time, 1)),
        ]
        with m.If((of_context & (vector.frame != chosen) & self.given.any()) | (self.comes & vector.last_of_step & vector.last_of_frame)):
            m.d.sync += over.eq(1)

    def says_what_is_so(self, m: Module) -> None:
        """Where a vector of it has no error: note whether it is the last of its step, which must be closed, and assert what it says."""
        vector, steps = self._vector, self._steps
        with m.If(vector.last_of_step):
            m.d.sync += self.given.bit_select(vector.time, 1).eq(1)
        m.d.comb += [
            Assert(self.closed.bit_select(vector.time, 1)),
            Assert(~self.again | vector.last_of_frame),
            Assert(vector.first == ~self.given.any()),
            Cover((vector.time == steps - 1) & vector.fire.any() & (self.given == (1 << (steps - 1)) - 1)),
            Cover((vector.time == steps - 1) & vector.fire.any() & self.behind),
        ]


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
            hold_vectors(m, plan, dut)

        frame = ChosenFrame(m, frames, dut, steps)
        golden = (AgreementObserver if plan.form == "xnor" else Observer)(
            m, layer, WordFormat(sizes[0], steps, plan.simd), word, frame.mine, "golden"
        )
        once(m, word, frame.mine, WordFormat(sizes[0], steps, plan.simd))
        before = Signal.like(vector.fold)
        with m.If(frame.comes):
            m.d.sync += before.eq(Mux(vector.last_of_step, 0, vector.fold + 1))
            m.d.comb += [Assert(vector.fold == before), Assert(vector.last_of_step == (vector.fold == plan.neuron_folds - 1))]
        with m.If(frame.comes & ~vector.error):
            frame.says_what_is_so(m)
            m.d.comb += Cover(vector.last_of_frame & vector.last_of_step & ~vector.fire.any() & frame.given.any())
            for fold in range(plan.neuron_folds):
                with m.If(vector.fold == fold):
                    for lane in range(plan.pe):
                        j, margin = fold * plan.pe + lane, vector.margin.word_select(lane, plan.membrane_bits).as_signed()
                        if j >= sizes[1]:
                            m.d.comb += Assert(~vector.fire[lane])
                        elif neuron in (None, j):
                            m.d.comb += Assert(vector.fire[lane] == ((golden.times[j] == vector.time) & ~frame.again))
                            m.d.comb += Assert(margin == Array(golden.closings[j])[vector.time])

    return Harness(fill)


def hold_vectors(m: Module, plan: LayerPlan, layer: IFLayer) -> None:
    """A receiver that has `LayerPlan.vector_slots` places for vectors, and frees them at any time: assert that there is always one."""
    held = Signal(range(plan.vector_slots + 1))
    m.d.comb += [layer.o.release.eq(AnySeq(1) & (held != 0)), Assert(~layer.o.valid | (held != plan.vector_slots))]
    m.d.sync += held.eq(held + layer.o.valid - layer.o.release)


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
