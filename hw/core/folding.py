"""Foldings: ``SIMD`` inputs and ``PE`` neurons per cycle, form and loop order of each layer, and how many frames are worked on in turn.

`Folding` is what a user asks for; `LayerPlan` derives from it every number that a layer's circuit and its cost model need.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from export import Layer, Network, UserError

FORMS = ("delta", "xnor")
LOOP_ORDERS = ("event", "step")
CONTEXTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Folding:
    """One entry per layer, and the number of frames that the circuit works on in turn.

    Parameters:
        simd: inputs taken per cycle, from 1 to the layer's inputs; sizes need not divide.
        pe: neurons updated per cycle, from 1 to the layer's outputs; sizes need not divide.
        form: ``"delta"`` adds what is new to a membrane, ``"xnor"`` counts anew over all spikes so far [S7].
        loop_order: ``"event"``: each word visits all folds of neurons, whose membranes are a memory. ``"step"``: the words of a
            step are replayed for each fold, whose potentials stay in registers meanwhile. The ``xnor`` form has the order ``"step"``.
            Left out: ``"event"``, and ``"step"`` for the ``xnor`` form.
        swap: cycles in which a ``"step"`` layer exchanges potentials between registers and memory; the memory delivers ``⌈PE / swap⌉``
            potentials per cycle. 1 hides the exchange altogether. Left out: 1.
        contexts: frames that are worked on in turn, each with potentials of its own: while a step of one is on its way to the readout,
            the first layer works on another.
        pixels: pixels that arrive per cycle, where the circuit has a latency encoder in front.

    Raises:
        UserError: what is per layer is no tuple or list. `plans` checks the rest, which hangs on the network.
    """

    simd: tuple[int, ...]
    pe: tuple[int, ...]
    form: tuple[str, ...]
    loop_order: tuple[str, ...] = ()
    swap: tuple[int, ...] = ()
    contexts: int = 1
    pixels: int = 1

    def __post_init__(self):
        for name in PER_LAYER:
            entries = getattr(self, name)
            if not isinstance(entries, tuple | list):
                raise UserError(f"{name} must be a tuple, one entry per layer, not {entries!r}")
            object.__setattr__(self, name, tuple(entries))
        if not self.loop_order:
            object.__setattr__(self, "loop_order", tuple("step" if form == "xnor" else "event" for form in self.form))
        if not self.swap:
            object.__setattr__(self, "swap", (1,) * len(self.form))

    def plans(self, network: Network, *, membrane_bits: Sequence[int] | None = None) -> tuple["LayerPlan", ...]:
        """The derived numbers of every layer.

        Parameters:
            network: what is folded.
            membrane_bits: of each layer, where the circuit was made for another network; else as many as the layer needs.

        Raises:
            UserError: the folding does not fit the network; the message lists what does.
        """
        depth = len(network.layers)
        for name in PER_LAYER:
            if len(getattr(self, name)) != depth:
                raise UserError(f"{name} must have {depth} entries, one per layer, not {len(getattr(self, name))}")
        _check_choice("contexts", self.contexts, CONTEXTS)
        _check_range("pixels", self.pixels, network.inputs, f"the {network.inputs} inputs")
        plans: list[LayerPlan] = []
        for index, layer in enumerate(network.layers):
            simd, pe, form, loop_order, swap = (getattr(self, name)[index] for name in PER_LAYER)
            of_layer = f" of layer {index}"
            _check_range("simd" + of_layer, simd, layer.inputs, f"its {layer.inputs} inputs")
            _check_range("pe" + of_layer, pe, layer.outputs, f"its {layer.outputs} outputs")
            _check_choice("form" + of_layer, form, FORMS)
            _check_choice("loop_order" + of_layer, loop_order, LOOP_ORDERS)
            _check_range("swap" + of_layer, swap, pe, f"its PE, {pe}")
            if form == "xnor" and loop_order != "step":
                raise UserError(f"loop_order of layer {index} must be step, because its form is xnor, not {loop_order!r}")
            if swap > 1 and (form == "xnor" or loop_order != "step"):
                raise UserError(f"swap of layer {index} must be 1, because its form and loop order are {form} and {loop_order}, not {swap}")
            if swap > 1 and pe >= layer.outputs and self.contexts == 1:
                raise UserError(f"swap of layer {index} must be 1, because it has one fold of neurons and one context, not {swap}")
            following_simd = self.simd[index + 1] if index + 1 < depth else None
            split_words = words_split(plans[-1]) if plans else 0
            plan = LayerPlan(layer, network.steps, simd, pe, form, loop_order, swap, self.contexts, following_simd, split_words)
            plans.append(plan if membrane_bits is None else replace(plan, given_membrane_bits=membrane_bits[index]))
        return tuple(plans)

    @staticmethod
    def from_dict(content: dict[str, Any]) -> "Folding":
        """The inverse of `as_dict`, from what JSON made of it.

        Raises:
            UserError, TypeError: it is something else.
        """
        return Folding(**{FORMER_NAMES.get(name, name): value for name, value in {**content}.items()})

    def as_dict(self) -> dict[str, Any]:
        return {name: list(getattr(self, name)) for name in PER_LAYER} | {"contexts": self.contexts, "pixels": self.pixels}


PER_LAYER = ("simd", "pe", "form", "loop_order", "swap")
FORMER_NAMES = {"order": "loop_order"}
"""Of what a folding consists of, in files of older versions."""


def default_folding(network: Network) -> Folding:
    """A fast folding: all neurons at once, up to 600 of them, words as wide as spikes are dense, and `default_contexts`.

    The first layer takes eight inputs a cycle when it has at most 128, else one, since few of many inputs share a step; later layers
    take a tenth of theirs.
    """
    simd, pe = [], []
    for index, layer in enumerate(network.layers):
        small = 8 if layer.inputs <= 128 else 1
        simd.append(min(layer.inputs, small) if index == 0 else -(-layer.inputs // 10))
        pe.append(min(layer.outputs, 600))
    return Folding(tuple(simd), tuple(pe), ("delta",) * len(simd), contexts=default_contexts(network, tuple(pe)))


def default_contexts(network: Network, pe: tuple[int, ...]) -> int:
    """Two where the first layer has at most two folds of neurons, since a step is then short beside its way to the readout; else one."""
    return 2 if len(network.layers) > 1 and 2 * pe[0] >= network.layers[0].outputs else 1


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer's geometry; every width in the layer's circuit comes from here.

    Attributes:
        layer: weights and thresholds.
        steps: ``T``.
        simd, pe, form, loop_order, swap, contexts: as in `Folding`.
        following_simd: ``SIMD`` of the next layer, None for the last.
        split_words: of one step, how many words may come in two parts, because the layer before does their neurons in two folds.
        given_membrane_bits: of a circuit that was made for another network; None: as many as this layer needs.
    """

    layer: Layer
    steps: int
    simd: int
    pe: int
    form: str
    loop_order: str = "event"
    swap: int = 1
    contexts: int = 1
    following_simd: int | None = None
    split_words: int = 0
    given_membrane_bits: int | None = None

    @property
    def synapse_folds(self) -> int:
        """Words of ``SIMD`` inputs that cover the inputs (FINN's SF)."""
        return -(-self.layer.inputs // self.simd)

    @property
    def neuron_folds(self) -> int:
        """Vectors of ``PE`` neurons that cover the outputs (FINN's NF)."""
        return -(-self.layer.outputs // self.pe)

    @property
    def last_fold_size(self) -> int:
        """Neurons in the last fold; the others hold ``PE``."""
        return self.layer.outputs - (self.neuron_folds - 1) * self.pe

    @property
    def membrane_rows(self) -> int:
        """Rows of the membranes' memory: one per context and fold."""
        return self.contexts * self.neuron_folds

    @property
    def frames(self) -> int:
        """Frames that tags tell apart, and results that can wait."""
        return max(4, 2 * self.contexts)

    @property
    def replays(self) -> bool:
        """Whether the words of a step are kept, to be replayed for each fold, or membranes take several cycles to swap."""
        return self.form == "delta" and self.loop_order == "step" and (self.neuron_folds > 1 or self.swap > 1)

    @property
    def beat_size(self) -> int:
        """Potentials that are swapped per cycle."""
        return -(-self.pe // self.swap)

    @property
    def vector_slots(self) -> int:
        """Neuron vectors that can wait for the next layer: a whole step's where they follow each other, so that a word need not stop among
        its folds; else one; if each gives one word, as many as hide the way there."""
        if self.neuron_folds > 1:
            return self.neuron_folds if self.loop_order == "event" else 1
        return 4 if self.following_simd == self.layer.outputs else 1

    @cached_property
    def membrane_bits(self) -> int:
        """Bits of a signed ``V - θ`` of any neuron of this layer."""
        return self.given_membrane_bits or signed_bits(*self.layer.margin_range)

    @property
    def weight_width(self) -> int:
        """Bits of a row of the weight memory."""
        return self.pe * self.simd

    @property
    def initial_width(self) -> int:
        """Bits of a row of the threshold memory."""
        return self.beat_size * self.membrane_bits

    @cached_property
    def weight_rows(self) -> list[int]:
        """The weight memory: row ``neuron_fold * synapse_folds + synapse_fold`` holds, least significant first, ``SIMD`` bits for each of
        ``PE`` neurons.

        Padding inputs hold 0 in the ``delta`` form and 1 in the ``xnor`` form, where XNOR(1, 0) = 0 does not count [S8].
        """
        padding_bit = self.form == "xnor"
        bits = np.full((self.neuron_folds * self.pe, self.synapse_folds * self.simd), padding_bit)
        bits[: self.layer.outputs, : self.layer.inputs] = self.layer.connection.weights > 0
        tiles = bits.reshape(self.neuron_folds, self.pe, self.synapse_folds, self.simd).transpose(0, 2, 1, 3)
        return _integers(tiles.reshape(self.neuron_folds * self.synapse_folds, -1))

    @cached_property
    def initial_potentials(self) -> list[int]:
        """The threshold memory: row ``neuron_fold * swap + beat`` holds ``beat_size`` potentials to start from, ``membrane_bits`` each,
        two's complement.

        They are ``-θ`` in the ``delta`` form and ``-θ' = -(θ + K)`` in the ``xnor`` form [S7], so that the test for a spike is a sign.
        """
        start = -self.layer.neuron.thresholds.astype(np.int64)
        if self.form == "xnor":
            start = start - self.layer.connection.negatives
        neurons = np.zeros(self.neuron_folds * self.pe, np.int64)
        neurons[: len(start)] = start
        padded = np.zeros((self.neuron_folds, self.swap * self.beat_size), np.int64)
        padded[:, : self.pe] = neurons.reshape(self.neuron_folds, self.pe)
        bits = (padded.reshape(-1, 1) >> np.arange(self.membrane_bits)) & 1
        return _integers(bits.reshape(self.neuron_folds * self.swap, -1))


def words_split(plan: LayerPlan) -> int:
    """How many more words a layer can send in a step than there are, since a word leaves with each neuron vector that has a part of it."""
    simd = plan.following_simd
    assert simd is not None
    return sum(begin % simd != 0 for begin in range(plan.pe, plan.layer.outputs, plan.pe))


def signed_bits(least: int, greatest: int) -> int:
    """Bits of a signed number that may be from ``least`` to ``greatest``; at least two."""
    return 1 + max(greatest.bit_length(), (-1 - least).bit_length() if least < 0 else 0, 1)


def _check_range(name: str, value: int, most: int, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise UserError(f"{name} must be an integer from 1 to {what}, not {value!r}")


def _check_choice(name: str, value: Any, choices: tuple) -> None:
    if isinstance(value, bool | float) or value not in choices:
        raise UserError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")


def _integers(bits: np.ndarray) -> list[int]:
    """Rows of bits, least significant first, as Python integers."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(bits.astype(bool), axis=1, bitorder="little")]
