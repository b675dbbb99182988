"""Circuits for proofs: symbolic weights and thresholds in their memories, or an accelerator that is arbitrary altogether."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Cat, Const, Fragment, Module, Signal, Value, signed
from amaranth.lib import wiring

from export import Dense, Layer, Network, Single
from hw import Accelerator
from hw.core.memories import RowMemory
from hw.core.plan import LayerPlan
from sim.proofs.definition import CodedLayer, SymbolicLayer
from sim.proofs.streams import offer


def network(shape: Sequence[int], steps: int) -> Network:
    """A network whose layers need the widest numbers of all networks of these sizes (with at least two neurons in each layer)."""
    layers = []
    for inputs, outputs in itertools.pairwise(shape):
        weights = np.where(np.arange(outputs)[:, None] % 2, -1, 1) * np.ones((outputs, inputs), int)
        thresholds = np.where(np.arange(outputs) % 2, inputs + 1, -inputs)
        layers.append(Layer(Dense(weights), Single(thresholds)))
    return Network(tuple(layers), steps)


class SymbolicMemories:
    """A platform whose row memories hold symbols instead of a network, or, where a layer has none, deliver arbitrary rows in each cycle;
    those that say where the words of a map go hold what they always hold.

    Parameters:
        layers: symbols by plan.
    """

    def __init__(self, layers: Mapping[LayerPlan, SymbolicLayer | None]):
        self._rows: dict[int, list[Value] | None] = {}
        for plan, layer in layers.items():
            self._rows[id(plan.weight_rows)] = None if layer is None else _weight_rows(plan, layer)
            self._rows[id(plan.initial_potentials)] = None if layer is None else _initial_potentials(plan, layer)

    def get_row_memory(self, memory: RowMemory) -> Module:
        """What `RowMemory` elaborates to."""
        m = Module()
        rows = self._rows.get(id(memory.rows), [Const(row, memory.width) for row in memory.rows])
        if rows is None:
            m.d.comb += memory.data.eq(AnySeq(memory.width))
        else:
            m.d.sync += memory.data.eq(Array(rows)[memory.address])
        return m


class ArbitraryAccelerator(Accelerator):
    """The environment of a wrapper: an accelerator that takes words and gives arbitrary results at arbitrary times.

    Results hold until they are taken; bytes for the loader wait for a cycle at most.
    """

    def elaborate(self, platform):
        m = Module()
        for name in self.input_names:
            m.d.comb += [getattr(self, name).ready.eq(AnySeq(1)), getattr(self, f"{name}_cancel").eq(AnySeq(1))]
        offer(m, self.o)
        if self.weights == "loadable":
            refused = Signal()
            m.d.sync += refused.eq(self.load.valid & ~self.load.ready)
            m.d.comb += [self.load.ready.eq(AnySeq(1) | refused), self.load_ends.eq(AnySeq(1)), self.loaded.eq(AnySeq(1))]
        return m


def component(fragment: Fragment) -> wiring.Component:
    """What a fragment was made of, for its ports."""
    (found,) = (origin for origin in fragment.origins if isinstance(origin, wiring.Component))
    return found


def _as_wide(number: Value, bits: int) -> Value:
    return (number + Const(0, signed(bits)))[:bits]


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


def _initial_potentials(plan: LayerPlan, layer: SymbolicLayer) -> list[Value]:
    wide = Const(0, signed(plan.membrane_bits + 1))

    def start(j: int) -> Value:
        if j >= layer.outputs:
            return Const(0, plan.membrane_bits)
        if isinstance(layer, CodedLayer):
            return (wide + layer.starts[j] - (0 if plan.layer.neuron.kind == "graded" else layer.thresholds[j]))[: plan.membrane_bits]
        below = layer.negatives(j) if plan.form == "xnor" else 0
        return (wide - layer.thresholds[j] - below)[: plan.membrane_bits]

    def parameters(j: int) -> Value:
        if j >= layer.outputs:
            return Const(0, plan.parameter_bits)
        if isinstance(layer, CodedLayer) and layer.biases:
            return Cat(_as_wide(number, plan.parameter_bits // 2) for number in (layer.thresholds[j], layer.biases[j]))
        return layer.thresholds[j]

    rows = []
    for group in range(plan.neuron_folds):
        neurons = [start(group * plan.pe + p) for p in range(plan.pe)]
        neurons += [Const(0, plan.membrane_bits)] * (plan.swap * plan.beat_size - plan.pe)
        more = [parameters(group * plan.pe + p) for p in range(plan.pe)] if plan.parameter_bits else []
        rows += [Cat(*neurons[beat * plan.beat_size : (beat + 1) * plan.beat_size], *more) for beat in range(plan.swap)]
    return rows
