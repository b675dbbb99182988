"""Puts symbols into a circuit's memories of weights and thresholds, in the place of a network's."""

import itertools
import unittest.mock
from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Cat, Const, Fragment, Value, signed
from amaranth.hdl import Module as HdlModule
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

import hw.core.layer
from export import Dense, Layer, Network, Single
from hw.core.folding import LayerPlan
from hw.core.words import bits_for
from sim.proofs.definition import SymbolicLayer


def network(shape: Sequence[int], steps: int) -> Network:
    """A network whose layers need the widest numbers of all networks of these sizes (with at least two neurons in each layer)."""
    layers = []
    for inputs, outputs in itertools.pairwise(shape):
        weights = np.where(np.arange(outputs)[:, None] % 2, -1, 1) * np.ones((outputs, inputs), int)
        thresholds = np.where(np.arange(outputs) % 2, inputs + 1, -inputs)
        layers.append(Layer(Dense(weights), Single(thresholds)))
    return Network(tuple(layers), steps)


class Rows(wiring.Component):
    """Rows of symbols, with the ports of `hw.core.memories.RowMemory`; without symbols, anything in each cycle."""

    def __init__(self, width: int, rows: int, values: Sequence[Value] | None):
        self._values = values
        super().__init__({"address": In(bits_for(rows)), "data": Out(width)})

    def elaborate(self, platform):
        m = HdlModule()
        if self._values is None:
            m.d.comb += self.data.eq(AnySeq(len(self.data)))
        else:
            m.d.sync += self.data.eq(Array(self._values)[self.address])
        return m


def elaborated(dut: wiring.Component, layers: Mapping[LayerPlan, SymbolicLayer | None]) -> Fragment:
    """A circuit of layers of these plans, with symbols for weights and thresholds; None: anything, another in each cycle."""
    content: dict[int, list[Value] | None] = {}
    for plan, layer in layers.items():
        content[id(plan.weight_rows)] = None if layer is None else _weight_rows(plan, layer)
        content[id(plan.initial_potentials)] = None if layer is None else _initial_rows(plan, layer)

    def make(width: int, rows: Sequence[int], *, writable: bool) -> Rows:
        assert not writable
        return Rows(width, len(rows), content[id(rows)])

    with unittest.mock.patch.object(hw.core.layer, "RowMemory", make):
        return Fragment.get(dut, None)


def component(fragment: Fragment) -> wiring.Component:
    """What a fragment was made of, for its ports."""
    (found,) = (origin for origin in fragment.origins if isinstance(origin, wiring.Component))
    return found


def _weight_rows(plan: LayerPlan, layer: SymbolicLayer) -> list[Value]:
    """As docs/hardware.md has them."""
    padding = Const(plan.form == "xnor", 1)

    def bit(j: int, i: int) -> Value:
        return layer.positive[j][i] if j < layer.outputs and i < layer.inputs else padding

    return [
        Cat(bit(group * plan.pe + p, word * plan.simd + s) for p in range(plan.pe) for s in range(plan.simd))
        for group in range(plan.neuron_folds)
        for word in range(plan.synapse_folds)
    ]


def _initial_rows(plan: LayerPlan, layer: SymbolicLayer) -> list[Value]:
    def start(j: int) -> Value:
        if j >= layer.outputs:
            return Const(0, plan.membrane_bits)
        below = layer.negatives(j) if plan.form == "xnor" else 0
        wide = Const(0, signed(plan.membrane_bits + 1))
        return (wide - layer.thresholds[j] - below)[: plan.membrane_bits]

    rows = []
    for group in range(plan.neuron_folds):
        neurons = [start(group * plan.pe + p) for p in range(plan.pe)]
        neurons += [Const(0, plan.membrane_bits)] * (plan.swap * plan.beat_size - plan.pe)
        rows += [Cat(neurons[beat * plan.beat_size : (beat + 1) * plan.beat_size]) for beat in range(plan.swap)]
    return rows
