"""Harness of a convolution: its vectors are those of the definition, for any kernels, thresholds and frames."""

from dataclasses import replace
from typing import TypeAlias

import numpy as np
from amaranth.hdl import Array, Assert, Assume, Cat, Const, Cover, Fragment, Module, Mux, Signal, Value, signed

from export import Conv2d, Dense, Layer, Network, Pool2d, Readout
from export.neurons import NEURONS
from hw import Folding
from hw.core.convolution import ConvPlan
from hw.core.layer import IFLayer
from hw.core.streams import input_format
from hw.core.words import WordFormat
from sim.proofs import symbolic
from sim.proofs.definition import CodedLayer, SymbolicLayer, coefficient, total
from sim.proofs.layer import ChosenFrame, Frames, hold_vectors, once
from sim.proofs.parts import Harness

GREATEST = 3
"""Greatest threshold of neurons with coefficients; potentials to start from are as far from 0 at most."""
Sends: TypeAlias = dict[int, list[list[Signal]]]
"""By position and channel, what a neuron sends in each step."""


def positions(
    shape: Conv2d,
    steps: int,
    folding: Folding,
    code: str = "single",
    *,
    pool: Pool2d | None = None,
    holds_vectors: bool = False,
    position: int | None = None,
    **options: object,
) -> Harness:
    """Any frame, whatever came before: of each step that closes come the vectors of all positions and folds that spike, once and in order,
    and no other coefficients than those of the definition [S15]. Of one step, those of all positions come, rows before the step closes.

    Parameters:
        shape: sizes, stride and padding; its weights are not looked at.
        steps: ``T``.
        folding: of the layer, and of an output layer that is not looked at.
        code: kind of the neurons; options: more of it. Inputs spike once.
        pool: in front of it, of kind ``sum``.
        holds_vectors: vectors go to a receiver that has few places for them, and frees them at any time.
        position: the one whose coefficients are looked at; None: all.
    """

    def fill(m: Module) -> None:
        plan = _plan(shape, steps, folding, code, pool, options)
        sizes = shape.weights.shape[1], shape.channels
        layer = SymbolicLayer(m, *sizes, 0) if code == "single" else CodedLayer(m, *sizes, GREATEST)
        m.d.comb += [Assume(threshold >= 1) for threshold in layer.thresholds]
        dut = IFLayer(plan, holds_vectors=holds_vectors)
        m.submodules.dut = Fragment.get(dut, symbolic.SymbolicMemories({plan: layer}))
        frames = Frames(m, plan, dut.i)
        if holds_vectors:
            hold_vectors(m, plan, dut)
        word, vector, form = dut.i.payload, dut.o.payload, replace(input_format(plan), frames=0)

        frame = ChosenFrame(m, frames, dut, steps, takes_first=True)
        once(m, word, frame.mine, form)
        sends = {
            place: [_sends(m, plan, layer, form, word, frame.mine, place * shape.channels + channel) for channel in range(shape.channels)]
            for place in range(plan.positions)
            if position in (None, place)
        }
        (_all_in_order if plan.by_rows else _due_in_order)(m, plan, frame, vector, sends)

    return Harness(fill)


def _due_in_order(m: Module, plan: ConvPlan, frame: ChosenFrame, vector, sends: Sends) -> None:
    """When a step closes, the vectors of those that spike come, and may be others; each holds what its neurons send."""
    folds, bits = plan.neuron_folds, plan.coefficient_bits
    number, least = Signal(range(plan.positions * folds + 1)), Signal(range(plan.positions * folds + 1))
    came, had_to_come = Signal(plan.positions * folds), Signal(plan.positions * folds)
    m.d.comb += number.eq(vector.position * folds + vector.fold)
    with m.If(frame.comes):
        m.d.sync += [least.eq(Mux(vector.last_of_step, 0, number + 1)), came.eq(Mux(vector.last_of_step, 0, came | (1 << number)))]
        m.d.comb += [Assert((vector.position < plan.positions) & (vector.fold < folds)), Assert(number >= least)]
    with m.If(frame.comes & ~vector.error):
        with m.If(vector.last_of_step):
            m.d.comb += Assert((had_to_come & ~(came | (1 << number))) == 0)
        frame.says_what_is_so(m)
    for place in sends:
        for fold in range(folds):
            expected = _expected(sends[place], vector, frame.again, plan, fold)
            m.d.comb += had_to_come[place * folds + fold].eq(Cat(expected).any())
            with m.If(frame.comes & ~vector.error & (number == place * folds + fold)):
                m.d.comb += [Assert(vector.fire.word_select(lane, bits) == sent) for lane, sent in enumerate(expected)]


def _all_in_order(m: Module, plan: ConvPlan, frame: ChosenFrame, vector, sends: Sends) -> None:
    """By rows, all vectors come, rows before the step closes, and what came until then is held against the whole step."""
    folds, bits = plan.neuron_folds, plan.coefficient_bits
    number, last = Signal(range(plan.positions * folds + 1)), Signal()
    m.d.comb += last.eq(number == Mux(frame.given, folds, plan.positions * folds) - 1)
    with m.If(frame.comes):
        m.d.sync += number.eq(Mux(vector.last_of_step, 0, number + 1))
        m.d.comb += Assert(vector.last_of_step == last)
        if plan.addressed:
            m.d.comb += Assert(vector.position * folds + vector.fold == number)
    right = frame.comes & ~vector.error
    with m.If(right):
        m.d.comb += Assert((vector.time == 0) & (vector.first == ~frame.given))
        with m.If(vector.last_of_step):
            frame.says_what_is_so(m)
        with m.If(frame.given):
            m.d.comb += Assert(vector.fire == 0)
    m.d.comb += Cover(right & vector.fire.any() & ~frame.closed)
    for place in sends:
        for fold in range(folds):
            kept, came = (Signal.like(vector.fire, name=f"{name}_{place}_{fold}") for name in ("kept", "came"))
            m.d.comb += came.eq(Mux(number == place * folds + fold, vector.fire, kept))
            with m.If(frame.comes & ~frame.given):
                m.d.sync += kept.eq(came)
            expected = _expected(sends[place], vector, Const(0), plan, fold)
            with m.If(right & vector.last_of_step & ~frame.given):
                m.d.comb += [Assert(came.word_select(lane, bits) == sent) for lane, sent in enumerate(expected)]
                m.d.comb += Cover(came.any() & frame.behind)


def _plan(shape: Conv2d, steps: int, folding: Folding, code: str, pool: Pool2d | None, options: dict[str, object]) -> ConvPlan:
    """The plan of a layer that is as wide as any of its weights, thresholds and potentials to start from need."""
    fan_in, channels = shape.weights.shape[1], shape.channels
    found = []
    for sign in (-1, 1):
        for threshold in (1, fan_in + 1 if code == "single" else GREATEST):
            thresholds, kernels = np.full(channels, threshold), sign * np.ones_like(shape.kernels)
            initial = {} if code == "single" else {"initial": np.full(channels, GREATEST * sign)}
            neuron = NEURONS[code](thresholds, **initial, **options)  # type: ignore[call-arg]
            hidden = Layer(replace(shape, kernels=kernels), neuron, pool)
            output = Layer(Dense(np.ones((1, shape.outputs))), Readout(np.zeros(1, int)))
            found.append(folding.plans(Network((hidden, output), steps)))
    plan = replace(found[-1][0], given_membrane_bits=max(plans[0].membrane_bits for plans in found))
    assert isinstance(plan, ConvPlan)
    return plan


def _sends(m: Module, plan: ConvPlan, layer: SymbolicLayer, form: WordFormat, word, mine, neuron: int) -> list[Signal]:
    """What a neuron sends in each step, from the cycle after the word that closes it; a step that is closed again brings no more."""
    position, channel = divmod(neuron, layer.outputs)
    threshold = layer.thresholds[channel]
    terms = [
        Mux((word.index == i // form.simd) & word.bits[i % form.simd], Mux(layer.positive[channel][weight], 1, -1), 0)
        for i, weight in _synapses(plan, position)
    ]
    began, fired = Signal(name=f"began_{neuron}"), Signal(name=f"fired_{neuron}")
    kept, potential = (Signal(signed(plan.membrane_bits + 3), name=f"{name}_{neuron}") for name in ("kept", "potential"))
    sent, before = (Signal(signed(5), name=f"{name}_{neuron}") for name in ("sent", "before"))
    sends = [Signal(plan.coefficient_bits, name=f"sends_{neuron}_{step}") for step in range(form.steps)]
    closes = word.last_of_step & ~word.error
    start: Value | int = 0
    if isinstance(layer, CodedLayer):
        start = layer.starts[channel]
        counts = getattr(plan.layer.neuron, "counts", (0, form.steps))
        worth: Value = coefficient(plan.layer.neuron.kind, counts, potential, threshold, before)
        left = potential - threshold * sent
    else:
        worth, left = (potential >= threshold) & ~fired, potential
    m.d.comb += [potential.eq(Mux(began, kept, start) + total(terms)), sent.eq(Mux(closes, worth, 0))]
    with m.If(mine):
        m.d.sync += [began.eq(1), kept.eq(left), before.eq(before + sent), fired.eq(fired | sent.any())]
        for step, there in enumerate(sends):
            with m.If(closes & (word.time == step)):
                m.d.sync += there.eq(there + sent)
    return sends


def _synapses(plan: ConvPlan, position: int) -> list[tuple[int, int]]:
    """Inputs of a position that lie, behind the pool, under the kernel, and which of its weights they have [S15], [S16]."""
    connection, pool = plan.connection, plan.layer.pool
    (height, width, channels), (across, down) = connection.input_map, connection.kernel_shape[::-1]
    row, column = divmod(position, connection.output_map[1])
    found = []
    for ky in range(down):
        for kx in range(across):
            y, x = row * connection.strides[0] - connection.paddings[0] + ky, column * connection.strides[1] - connection.paddings[1] + kx
            if 0 <= y < height and 0 <= x < width:
                found += [((y * width + x) * channels + c, (ky * across + kx) * channels + c) for c in range(channels)]
    if pool is None:
        return found
    return [(i, weight) for window, weight in found for i in np.flatnonzero(pool.address == window).tolist()]


def _expected(sends: list[list[Signal]], vector, again: Value, plan: ConvPlan, fold: int) -> list[Value]:
    """What each lane of a vector has to hold, of what the channels of its position send; 0 where there is none, and where a step is
    closed again."""
    lanes = range(fold * plan.pe, (fold + 1) * plan.pe)
    return [Mux(again, 0, Array(sends[channel])[vector.time]) if channel < len(sends) else Const(0) for channel in lanes]
