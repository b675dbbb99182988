"""Harness of a layer whose neurons spike with coefficients: its vectors are those of the definition, for any weights, thresholds, starts
and frames."""

from dataclasses import replace

import numpy as np
from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Assume, Const, Cover, Fragment, Module, Mux, Signal, signed

from export import Dense, Encoder, Layer, Network, Rate, Readout
from export.neurons import NEURONS
from hw import Folding
from hw.core.layer import IFLayer
from hw.core.plan import LayerPlan
from hw.core.streams import input_format
from hw.core.words import WordFormat
from sim.proofs import symbolic
from sim.proofs.definition import CodedLayer, coefficient, total
from sim.proofs.layer import Frames
from sim.proofs.parts import Harness

GREATEST = 3
"""Greatest threshold; potentials to start from, and biases, are as far from 0 at most."""
BITS = 2
"""Of the sum of an input's coefficients."""


def coefficients(sizes: tuple[int, int], steps: int, folding: Folding, code: str, *, biased: bool = False, **options: object) -> Harness:
    """Any frame, whatever came before: each step that closes gives a vector of every fold with its neurons' coefficients [S9], [S10].

    Parameters:
        sizes: inputs, outputs.
        steps: ``T``.
        folding: of the layer, and of an output layer that is not looked at.
        code: kind of the neurons; options: more of it.
        biased: whether they have a bias in each step.
    """

    def fill(m: Module) -> None:
        plan = _plan(sizes, steps, folding, code, options, biased=biased)
        layer = CodedLayer(m, *sizes, GREATEST, biased=biased)
        dut = IFLayer(plan, holds_vectors=False)
        m.submodules.dut = Fragment.get(dut, symbolic.SymbolicMemories({plan: layer}))
        frames = Frames(m, plan, dut.i)
        word, vector, form = dut.i.payload, dut.o.payload, replace(input_format(plan), frames=0)

        # The chosen frame: any one.
        there, over, chosen, choose, mine, behind, others = (
            Signal(len(word.frame) if name == "chosen" else 1, name=name)
            for name in ("there", "over", "chosen", "choose", "mine", "behind", "others")
        )
        m.d.comb += [
            choose.eq(AnySeq(1) & frames.comes & word.first & ~there),
            mine.eq(frames.comes & ~over & (choose | (there & (word.frame == chosen) & ~word.first))),
        ]
        m.d.sync += others.eq(others | frames.comes)
        with m.If(choose):
            m.d.sync += [there.eq(1), chosen.eq(word.frame), behind.eq(others)]
        closed = Signal(steps)
        golden = _golden(m, layer, form, plan, word, mine, closed)

        # Its vectors.
        given, again, fold, of_chosen = Signal(steps), Signal(), Signal(range(plan.neuron_folds + 1)), Signal()
        m.d.comb += [
            of_chosen.eq(dut.o.valid & there & ~over & (vector.frame == chosen)),
            again.eq(given.bit_select(vector.time, 1)),  # an empty word may end a frame and close its last step again
        ]
        with m.If(dut.o.valid):
            m.d.sync += fold.eq(Mux(vector.last_of_step, 0, fold + 1))
            m.d.comb += Assert(vector.last_of_step == (fold == plan.neuron_folds - 1))
        with m.If(
            (dut.o.valid & there & (vector.frame != chosen) & given.any()) | (of_chosen & vector.last_of_step & vector.last_of_frame)
        ):
            m.d.sync += over.eq(1)
        with m.If(of_chosen & ~vector.error):
            with m.If(vector.last_of_step):
                m.d.sync += given.bit_select(vector.time, 1).eq(1)
            m.d.comb += [
                Assert(closed.bit_select(vector.time, 1)),
                Assert(~again | vector.last_of_frame),
                Cover((vector.time == steps - 1) & vector.fire.any() & (given == (1 << (steps - 1)) - 1)),
                Cover((vector.time == steps - 1) & vector.fire.any() & behind),
            ]
            for j in range(plan.neuron_folds * plan.pe):
                sent = vector.fire.word_select(j % plan.pe, plan.coefficient_bits)
                with m.If(fold == j // plan.pe):
                    if j >= sizes[1]:
                        m.d.comb += Assert(sent == 0)
                    else:
                        worth = sent.as_signed() if plan.layer.neuron.coefficients[0] < 0 else sent
                        m.d.comb += Assert(worth == Mux(again, 0, Array(golden[j])[vector.time]))

    return Harness(fill)


def _plan(sizes: tuple[int, int], steps: int, folding: Folding, code: str, options: dict[str, object], *, biased: bool) -> LayerPlan:
    """The plan of a layer that is as wide as any of its weights, thresholds, potentials to start from and biases need."""
    inputs, outputs = sizes
    sign = np.where(np.arange(outputs) % 2, -1, 1)
    weights = sign[:, None] * np.ones((outputs, inputs), int)
    found = []
    for first in (1, GREATEST):  # the threshold of neurons that are only excited
        thresholds = np.where(sign > 0, first, GREATEST)
        neuron = NEURONS[code](thresholds, GREATEST * sign, bias=GREATEST * sign * biased, **options)  # type: ignore[call-arg]
        assert isinstance(neuron, Rate)
        output = Layer(Dense(np.ones((1, outputs), int)), Readout(np.zeros(1, int)))
        network = Network((Layer(Dense(weights), neuron), output), steps, Encoder("none", bits=BITS))
        found.append((network, folding.plans(network)))
    widest = [max(plans[index].membrane_bits for _, plans in found) for index in range(2)]
    return folding.plans(found[-1][0], membrane_bits=widest)[0]


def _golden(m: Module, layer: CodedLayer, form: WordFormat, plan: LayerPlan, word, mine, closed) -> list[list[Signal]]:
    """Per neuron and step, its coefficient, from the cycle after the word that closes the step; ``closed`` gets these steps.

    An input's coefficients are assumed to come to no more than its bits hold, and no index to come twice in a step.
    """
    neuron, width = plan.layer.neuron, plan.membrane_bits + 4
    assert isinstance(neuron, Rate)
    counts = getattr(neuron, "counts", (0, form.steps))
    began, indices = Signal(), Signal(form.words)
    lanes = [(word.index == i // form.simd, word.bits.word_select(i % form.simd, form.lane_bits)) for i in range(form.inputs)]
    worth = [Mux(here, bits, 0) for here, bits in lanes]
    closes = word.last_of_step & ~word.error
    with m.If(mine):
        m.d.comb += Assume(~indices.bit_select(word.index, 1))
        m.d.sync += [began.eq(1), indices.eq(Mux(word.last_of_step, 0, indices | (1 << word.index)))]
        with m.If(closes):
            m.d.sync += closed.bit_select(word.time, 1).eq(1)
    for i, count in enumerate(worth):
        so_far = Signal(BITS + 1, name=f"input_{i}")
        with m.If(mine):
            m.d.comb += Assume(so_far + count < 1 << BITS)
            m.d.sync += so_far.eq(so_far + count)
    result = []
    for j, threshold in enumerate(layer.thresholds):
        kept, potential = (Signal(signed(width), name=f"{name}_{j}") for name in ("kept", "potential"))
        sent = Signal(signed(8), name=f"sent_{j}")
        before = Signal(signed(8), name=f"before_{j}")
        terms = [Mux(positive, count, -count) for positive, count in zip(layer.positive[j], worth, strict=True)]
        bias = Mux(closes, layer.biases[j], 0) if layer.biases else Const(0)
        sends = [Signal(signed(8), name=f"sends_{j}_{t}") for t in range(form.steps)]
        m.d.comb += [
            potential.eq(Mux(began, kept, layer.starts[j]) + total(terms) * 2**neuron.fraction + bias),
            sent.eq(Mux(closes, coefficient(neuron.kind, counts, potential, threshold, before), 0)),
        ]
        with m.If(mine):
            m.d.sync += [kept.eq(potential - threshold * sent), before.eq(before + sent)]
            for t, there in enumerate(sends):
                with m.If(closes & (word.time == t) & ~closed[t]):
                    m.d.sync += there.eq(sent)
        result.append(sends)
    return result
