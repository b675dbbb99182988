"""Harness of a pool: what passes of a step is, for each window, what the definition makes of its neurons' spikes."""

import numpy as np
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Fragment, Module, Signal

from export import Dense, Layer, Pool2d, Readout
from hw.core.dense import DensePlan
from hw.core.pool import Pool
from hw.core.streams import input_format
from sim.proofs import symbolic
from sim.proofs.definition import total
from sim.proofs.layer import Frames, once
from sim.proofs.parts import Harness
from sim.proofs.streams import hold

CLOSINGS = 4
"""Words that close a step of which it is remembered what they said; fewer are inside the pool."""


def pool(shape: Pool2d, steps: int, simd: int, *, contexts: int = 1) -> Harness:
    """Any frame of neurons that spike once, whatever came before, of any window: the first spike of ``max``, all spikes of ``sum`` [S16].

    Parameters:
        shape: the pool.
        steps: ``T``.
        simd, contexts: of the layer that it is in front of.
    """

    def fill(m: Module) -> None:
        layer = Layer(Dense(np.ones((1, shape.outputs))), Readout(np.ones(1, int)), shape)
        plan = DensePlan(layer, steps, simd, 1, "delta", contexts=contexts, following_simd=None)
        dut = Pool(plan)
        m.submodules.dut = Fragment.get(dut, symbolic.SymbolicMemories({}))
        Frames(m, plan, dut.i)
        hold(m, dut.o)
        came, sent, context_bits = dut.i.payload, dut.o.payload, (contexts - 1).bit_length()
        taken, leaves = Signal(), Signal()
        m.d.comb += [dut.o.ready.eq(AnySeq(1)), taken.eq(dut.i.valid & dut.i.ready), leaves.eq(dut.o.valid & dut.o.ready)]

        # The chosen frame, as it comes in and as it leaves, and the chosen window.
        there, chosen, choose, mine, over = Signal(), Signal.like(came.frame), Signal(), Signal(), Signal()
        began, gone, its, window = Signal(), Signal(), Signal(), Signal(range(max(2, shape.outputs)))
        same = sent.frame[:context_bits] == chosen[:context_bits]
        m.d.comb += [
            choose.eq(AnySeq(1) & taken & came.first & ~there),
            mine.eq(taken & ~over & (choose | (there & (came.frame == chosen) & ~came.first))),
            its.eq(leaves & there & ~gone & (sent.frame == chosen)),
            window.eq(AnyConst(len(window))),
            Assume(window < shape.outputs),
        ]
        with m.If(choose):
            m.d.sync += [there.eq(1), chosen.eq(came.frame)]
        with m.If(there & taken & came.first & (came.frame[:context_bits] == chosen[:context_bits])):
            m.d.sync += over.eq(1)
        with m.If(its):
            m.d.sync += began.eq(1)
        with m.If(leaves & there & began & same & (sent.frame != chosen)):
            m.d.sync += gone.eq(1)
        once(m, came, mine, input_format(plan))

        # Of the chosen window, what came in and what left in each step.
        spikes = [(came.index == i // simd) & came.bits[i % simd] & (window == w) for i, w in enumerate(shape.address.tolist()) if w >= 0]
        lanes = [(sent.index == w // simd) & sent.bits[w % simd] & (window == w) for w in range(shape.outputs)]
        arrived, passed = ([Signal(range(shape.inputs + 1), name=f"{name}_{t}") for t in range(steps)] for name in ("arrived", "passed"))
        now = Signal(range(shape.inputs + 1))
        m.d.comb += now.eq(Array(passed)[sent.time] + total(lanes))
        for t in range(steps):
            with m.If(mine & (came.time == t)):
                m.d.sync += arrived[t].eq(arrived[t] + total(spikes))
            with m.If(its & (sent.time == t)):
                m.d.sync += passed[t].eq(now)
        first = [arrived[t].any() & ~Cat(arrived[:t]).any() for t in range(steps)]
        due = Array(first if shape.kind == "max" else arrived)[sent.time]

        # Words that close a step follow in the same order, and say the same.
        closings = Array(Signal(len(_said(came)), name=f"closing_{k}") for k in range(CLOSINGS))
        in_count, out_count = Signal(range(CLOSINGS)), Signal(range(CLOSINGS))
        with m.If(mine & came.last_of_step):
            m.d.sync += [in_count.eq(in_count + 1), closings[in_count].eq(_said(came))]
        with m.If(its & sent.last_of_step):
            m.d.sync += out_count.eq(out_count + 1)
            m.d.comb += [Assert(in_count != out_count), Assert(_said(sent) == closings[out_count])]
            with m.If(~sent.error):
                m.d.comb += Assert(now == due)
        with m.If(its):
            m.d.comb += [
                Assert(sent.first == ~began),
                Assert(sent.bits.any() | sent.last_of_step),
                Assert((sent.bits == 0) | (sent.index < shape.outputs // simd)),
                Cover(sent.last_of_frame & (now == 1) & (sent.time == steps - 1)),
                Cover(sent.last_of_frame & (now < Array(arrived)[sent.time]) if shape.kind == "max" else now > 1),
            ]

    return Harness(fill)


def _said(word):
    """What a word says beside its spikes."""
    return Cat(word.time, word.last_of_frame, word.error)
