"""Foldings: ``SIMD`` inputs and ``PE`` neurons per cycle, form and loop order of each layer, and how many frames are worked on in turn.

`Folding` is what a user asks for; `hw.core.plan.LayerPlan` derives from it every number that a layer's circuit and its cost model need.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from export import Network, UserError
from export.maps import Map
from hw.core.convolution import ConvPlan
from hw.core.counting import FORMS
from hw.core.dense import DensePlan
from hw.core.emitter import HEAD_TO_WORD, VECTOR_TO_HEAD
from hw.core.neurons import NEURONS
from hw.core.plan import MANY_STEPS, LayerPlan
from hw.core.pool import pooled_words
from hw.core.readout import VECTOR_TO_STEP_DONE
from hw.core.sequencer import ISSUE_TO_VECTOR

PLANS: dict[str, type[LayerPlan]] = {"dense": DensePlan, "conv2d": ConvPlan}
"""The class of each kind of connection."""
LOOP_ORDERS = ("event", "step")
CONTEXTS = (1, 2, 4, 8, 16)
MOST_BY_DEFAULT = 4
"""Contexts of a circuit of dense layers, if nothing is said."""
NEAR_LIMIT = 1.25
"""Cycles per frame ÷ limit up to which frames of many steps get no more contexts."""
MAP_SIMD = 32
"""Most channels of a map that are taken per cycle, if nothing is said."""
MAP_SYNAPSES = 6000
"""Most synapses, ``PE · SIMD``, of all layers behind maps together, if nothing is said: larger circuits take minutes to compile, and are no
faster in simulation."""


@dataclass(frozen=True)
class Folding:
    """One entry per layer, and the number of frames that the circuit works on in turn.

    Parameters:
        simd: inputs taken per cycle, from 1 to the layer's inputs; sizes need not divide. Of a map, a divisor of its channels.
        pe: neurons updated per cycle, from 1 to the layer's outputs, or its channels; sizes need not divide.
        form: ``"delta"`` adds what is new to a membrane, ``"xnor"`` counts anew over all spikes so far [S7].
        loop_order: ``"event"``: each word visits all folds of neurons, whose membranes are a memory. ``"step"``: the words of a
            step are replayed for each fold, whose potentials stay in registers meanwhile. The ``xnor`` form has the order ``"step"``.
            Left out: ``"event"``, and ``"step"`` for the ``xnor`` form.
        swap: cycles in which a ``"step"`` layer exchanges potentials between registers and memory; the memory delivers ``⌈PE / swap⌉``
            potentials per cycle. 1 hides the exchange altogether. Left out: 1.
        contexts: frames that are worked on in turn, each with potentials of its own: while a step of one is on its way to the readout,
            the first layer works on another.
        pixels: pixels that arrive per cycle, where the circuit has an encoder in front.

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

    def plans(
        self, network: Network, *, membrane_bits: Sequence[int] | None = None, parameter_bits: Sequence[int] | None = None
    ) -> tuple[LayerPlan, ...]:
        """The derived numbers of every layer.

        Parameters:
            network: what is folded.
            membrane_bits, parameter_bits: of each layer, where the circuit was made for another network; else as many as the layer needs.

        Raises:
            UserError: the circuit has no such layers, or the folding does not fit the network; the message lists what does.
        """
        if network.layers[-1].output_map is not None:
            raise UserError(f"the last layer must be dense in the circuit, not {network.layers[-1].connection.kind}")
        depth = len(network.layers)
        for name in PER_LAYER:
            if len(getattr(self, name)) != depth:
                raise UserError(f"{name} must have {depth} entries, one per layer, not {len(getattr(self, name))}")
        _check_choice("contexts", self.contexts, CONTEXTS)
        _check_range("pixels", self.pixels, network.inputs, f"the {network.inputs} inputs")
        plans: list[LayerPlan] = []
        may_skip = [all(later.neuron.skips_empty_steps for later in network.layers[index:]) for index in range(depth)] + [True]
        for index, layer in enumerate(network.layers):
            simd, pe, form, loop_order, swap = (getattr(self, name)[index] for name in PER_LAYER)
            of_layer = f" of layer {index}"
            _check_range("simd" + of_layer, simd, layer.inputs, f"its {layer.inputs} inputs")
            channels, maps = layer.connection.channels, layer.output_map is not None
            _check_range("pe" + of_layer, pe, channels, f"its {channels} {'channels' if maps else 'outputs'}")
            _check_words(index, simd, map_before(network, index))
            _check_choice("form" + of_layer, form, tuple(FORMS))
            _check_choice("loop_order" + of_layer, loop_order, LOOP_ORDERS)
            _check_range("swap" + of_layer, swap, pe, f"its PE, {pe}")
            if (maps or layer.pool is not None) and (form, loop_order) != ("delta", "event"):
                what = "is a convolution" if maps else "has a pool"
                raise UserError(
                    f"form and loop_order of layer {index} must be delta and event, because it {what}, not {form} and {loop_order}"
                )
            cumulative, kinds = FORMS[form].cumulative, FORMS[form].neurons
            if cumulative and loop_order != "step":
                raise UserError(f"loop_order of layer {index} must be step, because its form is {form}, not {loop_order!r}")
            if kinds and layer.neuron.kind not in kinds:
                raise UserError(f"neurons of layer {index} must be {' or '.join(kinds)} in the form {form}, not {layer.neuron.kind}")
            before = network.layers[index - 1].neuron if index else network.encoder
            if cumulative and not before.spikes_once:
                raise UserError(f"inputs of layer {index} must spike at most once in the form {form}, but are of kind {before.kind}")
            if swap > 1 and NEURONS[layer.neuron.kind].parameter_bits(layer.neuron):
                raise UserError(f"swap of layer {index} must be 1 for neurons of kind {layer.neuron.kind}, not {swap}")
            if swap > 1 and (cumulative or loop_order != "step"):
                raise UserError(f"swap of layer {index} must be 1, because its form and loop order are {form} and {loop_order}, not {swap}")
            if swap > 1 and pe >= layer.outputs and self.contexts == 1:
                raise UserError(f"swap of layer {index} must be 1, because it has one fold of neurons and one context, not {swap}")
            plan = PLANS[layer.connection.kind](layer, network.steps, simd, pe, form, loop_order, swap, self.contexts)
            plans.append(
                replace(
                    plan,
                    following_simd=self.simd[index + 1] if index + 1 < depth else None,
                    split_words=plans[-1].words_split if plans else 0,
                    input_totals=network.totals[index],
                    input_coefficients=network.coefficients[index],
                    given_membrane_bits=None if membrane_bits is None else membrane_bits[index],
                    given_parameter_bits=None if parameter_bits is None else parameter_bits[index],
                    skips_empty_steps=may_skip[index],
                    following_skips_empty_steps=may_skip[index + 1],
                )
            )
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


def map_before(network: Network, index: int) -> Map | None:
    """Height, width and channels of what comes to a layer, before it is pooled, if that is a map."""
    return network.layers[index].input_map or (network.layers[index - 1].output_map if index else None)


def _check_words(index: int, simd: int, comes: Map | None) -> None:
    """Words of a map lie in one position each."""
    if comes is not None and comes[2] % simd:
        which = ", ".join(str(size) for size in range(1, comes[2] + 1) if comes[2] % size == 0)
        raise UserError(f"simd of layer {index} must divide the {comes[2]} channels of the map that comes in ({which}), not {simd}")


def default_folding(network: Network) -> Folding:
    """A fast folding: all neurons at once, up to 600 of them, words as wide as spikes are dense, and `default_contexts`.

    The first layer takes eight inputs a cycle when it has at most 128, else one, since few of many inputs share a step, or 16 if they are
    spread over all steps; later layers take a tenth of theirs. Words of a map are all channels of a position, up to `MAP_SIMD`; layers
    behind a map have as few neurons at once as keep up with the busiest of them when all neurons spike in one step, of a map whole words
    that divide its channels. Where they have more than `MAP_SYNAPSES`, all of these take two, four, … times as long, with words half as
    wide if need be, or a quarter.
    """
    of_many = 1 if network.encoder.spikes_once else 16
    behind = [index for index in range(1, len(network.layers)) if map_before(network, index) is not None]
    pe: list[int] | None = None
    for most in (MAP_SIMD, MAP_SIMD // 2, MAP_SIMD // 4, 1):
        simd = []
        for index, layer in enumerate(network.layers):
            small = 8 if layer.inputs <= 128 else of_many
            if (comes := map_before(network, index)) is not None:
                simd.append(max(size for size in range(1, most + 1) if comes[2] % size == 0))
            else:
                simd.append(min(layer.inputs, small) if index == 0 else -(-layer.inputs // 10))
        pe = [min(layer.connection.channels, 600) for layer in network.layers]
        if network.layers[-1].output_map is None and behind:
            pe = _balanced(Folding(tuple(simd), tuple(pe), ("delta",) * len(simd)).plans(network), behind)
        if pe is not None:
            break
    assert pe is not None  # a synapse of each layer is never too much
    return Folding(tuple(simd), tuple(pe), ("delta",) * len(simd), contexts=default_contexts(network, tuple(pe)))


def _balanced(plans: Sequence[LayerPlan], behind: Sequence[int]) -> list[int] | None:
    """``PE`` of each layer, so that none behind a map is done before the busiest but the first, whose inputs may be sparser; see
    `default_folding`. None: that has too many synapses.

    Parameters:
        behind: the layers behind a map.
    """
    work = []
    for plan in plans:
        pool = plan.layer.pool
        words = np.arange(-(-plan.layer.inputs // plan.simd)) if pool is None else pooled_words(pool, plan.simd)
        work.append(int(plan.work(words).sum()))
    pe, pace = [plan.pe for plan in plans], max(work[1:])
    while True:
        most_folds = {index: plans[index].neuron_folds * (pace // work[index]) for index in behind}
        for index, folds in most_folds.items():
            channels = plans[index].layer.connection.channels
            word = plans[index + 1].simd if plans[index].layer.output_map else 0
            least = -(-channels // min(channels, folds))
            pe[index] = next(size for size in range(least, channels + 1) if not word or (channels % size == 0 and size % word == 0))
        if sum(pe[index] * plans[index].simd for index in behind) <= MAP_SYNAPSES:
            return pe
        if all(folds >= plans[index].layer.connection.channels for index, folds in most_folds.items()):
            return pe if all(plans[index].simd == 1 for index in behind) else None
        pace *= 2


def default_contexts(network: Network, pe: tuple[int, ...]) -> int:
    """Two where the first layer has at most two folds of neurons, since a step is then short beside its way to the readout; else one.

    Twice as many for several steps of neurons that spike in many of them: each layer works in each step, and waits for the next one. At
    least `_to_hide_way` for many steps.

    Where the first layer is a convolution, whose words come when a step closes, at least four and as many as there are layers, rounded up
    to what `CONTEXTS` has, so that steps of several frames are under way and all layers work; but one for frames of one step, which follow
    each other anyway.
    """
    if network.layers[0].output_map is not None:
        least = max(4, len(network.layers)) if network.steps > 1 else 1
        return next((count for count in CONTEXTS if count >= least), CONTEXTS[-1])
    least = _to_hide_way(network, pe[0]) if network.steps >= MANY_STEPS and network.encoder.spikes_once else 1
    if len(network.layers) == 1:
        return least
    often = network.steps > 1 and not all(layer.neuron.spikes_once for layer in network.layers)
    return max(least, (2 if 2 * pe[0] >= network.layers[0].connection.channels else 1) * (2 if often else 1))


def _to_hide_way(network: Network, pe: int) -> int:
    """The fewest contexts, up to `MOST_BY_DEFAULT`, with which the first layer always works, but for `NEAR_LIMIT`, while a step goes to the
    readout; if half of the inputs spike, evenly over all steps."""
    first = network.layers[0]
    work = first.inputs / 2 / network.steps * -(-first.outputs // pe)
    hidden = ISSUE_TO_VECTOR + VECTOR_TO_HEAD + HEAD_TO_WORD
    way = (len(network.layers) - 1) * hidden + ISSUE_TO_VECTOR + VECTOR_TO_STEP_DONE
    enough = (work + way) / (work * NEAR_LIMIT)
    return next((count for count in CONTEXTS if enough <= count < MOST_BY_DEFAULT), MOST_BY_DEFAULT)


def _check_range(name: str, value: int, most: int, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise UserError(f"{name} must be an integer from 1 to {what}, not {value!r}")


def _check_choice(name: str, value: Any, choices: tuple) -> None:
    if isinstance(value, bool | float) or value not in choices:
        raise UserError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}")
