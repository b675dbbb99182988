"""Design space exploration: the cost model's cycles against LUTs by formula, form and order chosen per layer."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export import Events, Network, reference
from export.reference import Result
from hw.core.counting import FORMS
from hw.core.folding import PLANS, Folding, map_before
from hw.core.layer import sequencer_of
from hw.core.neurons import NEURONS
from hw.core.plan import LayerPlan
from hw.cost import cycles as cost
from hw.cost.speed import Speed
from hw.fpga.area import AreaModel, Estimate
from hw.fpga.devices import Device
from hw.host.boards import Board

SIMD = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 60, 64, 96, 112, 128)
GROUPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)


def schedules(swaps: Iterable[int]) -> tuple[tuple[str, str, int], ...]:
    """Schedules of a layer: form, order and swap, with these swaps."""
    return (("delta", "event", 1), *(("delta", "step", swap) for swap in swaps), ("xnor", "step", 1))


SCHEDULES = schedules((1, 4, 8, 16))
CONTEXTS = (1, 2)
CONTEXTS_OF_MAPS = (1, 2, 4, 8)
PACES = 40
"""Cycles per frame that are tried, from the fastest to the slowest folding."""
PRICES = (0.0, 30.0, 300.0)
"""What a block RAM is worth in LUTs: the search tries each, since either may be what a device lacks."""
FRAMES = 300
"""Frames on which foldings are compared."""
FEW, EVENTS = 20, 40_000
"""Of networks with maps, as many frames as have so many events in all, but at least a few: counting a folding's cycles takes seconds."""


@dataclass(frozen=True)
class Found:
    """A folding with its area by formula, and its speed."""

    folding: Folding
    area: Estimate
    speed: Speed


@dataclass(frozen=True)
class _Option:
    """A layer's share of a folding: what it takes, and how many cycles per frame the layer then works."""

    simd: int
    pe: int
    form: str
    loop_order: str
    swap: int
    cycles: float
    luts: float
    block_rams: float


def search(
    network: Network,
    device: Device,
    inputs: Events,
    frames_in: str,
    pixels: int = 1,
    weights: str = "rom",
    board: Board | None = None,
) -> list[Found]:
    """Foldings that the device holds by the formula, of which none is beaten in both LUTs and cycles; the smallest first.

    For each of some paces, each layer gets the cheapest schedule and folding that keeps it; the resulting circuits are counted as a whole.

    Parameters:
        inputs: frames; the first `FRAMES` frames count.
        frames_in, pixels, weights: as in `hw.Accelerator` and `hw.Folding`.
        board: see `hw.fpga.area.AreaModel`.
    """
    some, golden = compared_on(network, inputs)
    found: dict[Folding, Found] = {}
    model = AreaModel(device.family, weights, board)
    for contexts in CONTEXTS if _all_dense(network) else CONTEXTS_OF_MAPS:
        options = _options(network, model, some, golden, contexts)
        fastest = max(min(option.cycles for option in layer) for layer in options)
        slowest = max(max(option.cycles for option in layer) for layer in options)
        for pace, price in itertools.product(np.geomspace(fastest, slowest, PACES), PRICES):
            chosen = [_cheapest(layer, pace, price) for layer in options]
            folding = _folding(chosen, contexts, pixels)
            if folding in found:
                continue
            area = model.estimate(network, folding, frames_in)
            if area.fits(device):
                found[folding] = Found(folding, area, Speed.of(network, folding, some, golden, frames_in))
    return frontier(found.values())


def compared_on(network: Network, inputs: Events) -> tuple[Events, Result]:
    """The frames on which foldings are compared, the first ones, and what the golden model makes of them."""
    some = inputs[:FRAMES]
    golden = reference.run(network, some)
    events = sum(map(len, (some, *golden.events[:-1])))
    if _all_dense(network) or events <= EVENTS:
        return some, golden
    some = some[: max(FEW, some.shape[0] * EVENTS // events)]
    return some, reference.run(network, some)


def _all_dense(network: Network) -> bool:
    return all(layer.is_dense for layer in network.layers)


def frontier(found: Iterable[Found]) -> list[Found]:
    """Those of which no other one is as small and as fast; the smallest first."""
    best: list[Found] = []
    for candidate in sorted(found, key=lambda item: (item.area.placed, item.speed.interval)):
        if not best or candidate.speed.interval < best[-1].speed.interval:
            best.append(candidate)
    return best


def smallest(found: Sequence[Found], mhz: float, target_fps: float | None, max_luts: int | None) -> Found | None:
    """Of a frontier, the smallest that reaches ``target_fps`` at ``mhz``, or else the fastest, with at most ``max_luts``."""
    few_enough = [item for item in found if max_luts is None or item.area.placed <= max_luts]
    if target_fps is not None:
        few_enough = [item for item in few_enough if item.speed.images_per_second(mhz) >= target_fps][:1]
    return few_enough[-1] if few_enough else None


def _options(network: Network, model: AreaModel, inputs: Events, golden: Result, contexts: int) -> list[list[_Option]]:
    """For each layer, what there is to choose from."""
    upto = np.arange(network.steps) <= golden.decisions.step[:, None]
    options: list[list[_Option]] = [[] for _ in network.layers]
    sizes = [_sizes(network, index) for index in range(len(network.layers))]
    for k in range(max(map(len, sizes))):
        plans = tuple(
            PLANS[layer.connection.kind](
                layer, network.steps, of_layer[min(k, len(of_layer) - 1)], 1, "delta", input_totals=totals, input_coefficients=coefficients
            )
            for layer, of_layer, totals, coefficients in zip(network.layers, sizes, network.totals, network.coefficients, strict=False)
        )
        for index, (plan, words_of_layer) in enumerate(zip(plans, cost.step_words(plans, inputs, golden), strict=True)):
            if k >= len(sizes[index]):
                continue
            visits = (words_of_layer.work(plan) * upto).sum(axis=1).mean() / plan.neuron_folds
            steps = (words_of_layer.counts * upto > 0).sum(axis=1).mean()
            following = network.layers[index].connection.channels if index + 1 < len(network.layers) else None
            options[index] += _layer_options(model, plan, _schedules(network, index), visits, steps, contexts, following)
    return [_undominated(here) for here in options]


def _sizes(network: Network, index: int) -> list[int]:
    """``SIMD`` that can be chosen for a layer: of a map, divisors of its channels."""
    comes = map_before(network, index)
    if comes is not None:
        return [size for size in range(1, max(SIMD) + 1) if comes[2] % size == 0]
    return sorted({min(size, network.layers[index].inputs) for size in SIMD})


def _schedules(network: Network, index: int) -> tuple[tuple[str, str, int], ...]:
    """Schedules that a layer can have."""
    layer, before = network.layers[index], network.layers[index - 1].neuron if index else network.encoder
    if not layer.is_dense:
        return SCHEDULES[:1]
    counts_anew = layer.neuron.kind in FORMS["xnor"].neurons and before.spikes_once
    swaps = not NEURONS[layer.neuron.kind].parameter_bits(layer.neuron)
    return tuple(schedule for schedule in SCHEDULES if (counts_anew or not FORMS[schedule[0]].cumulative) and (swaps or schedule[2] == 1))


def _layer_options(
    model: AreaModel,
    narrow: LayerPlan,
    schedules: tuple[tuple[str, str, int], ...],
    visits: float,
    steps: float,
    contexts: int,
    following: int | None,
) -> list[_Option]:
    """What there is to choose from for a layer, at a given ``SIMD``.

    Parameters:
        narrow: the layer with that ``SIMD``.
        schedules: form, loop order and swap.
        visits, steps: that it has in a frame, on average (see `hw.core.sequencer.Cycles.busy`).
        following: ``SIMD`` of the next layer; for a layer's share of the area, one is as good as another.
    """
    channels = narrow.layer.connection.channels
    found = []
    for pe, (form, order, swap) in itertools.product(sorted({-(-channels // groups) for groups in GROUPS}), schedules):
        groups = -(-channels // pe)
        exchanges = groups > 1 or contexts > 1
        if (swap > 1 and (not exchanges or swap > pe)) or (order == "step" and form == "delta" and not exchanges):
            continue
        plan = replace(narrow, pe=pe, form=form, loop_order=order, swap=swap, contexts=contexts, following_simd=following)
        cycles = sequencer_of(plan).cycles.busy(plan, visits, steps)
        area = model.total(model.layer(plan))
        found.append(_Option(narrow.simd, pe, form, order, swap, cycles, area.luts, area.block_rams))
    return found


def _undominated(options: list[_Option]) -> list[_Option]:
    """Those of which no other one is as fast, as small, and as sparing with block RAMs."""
    kept: list[_Option] = []
    for option in sorted(options, key=lambda option: (option.cycles, option.luts, option.block_rams)):
        if not any(other.luts <= option.luts and other.block_rams <= option.block_rams for other in kept):
            kept.append(option)
    return kept


def _cheapest(options: Sequence[_Option], pace: float, price: float) -> _Option:
    """The option that costs least of those that keep a pace."""
    fast_enough = (option for option in options if option.cycles <= 1.001 * pace)
    return min(fast_enough, key=lambda option: option.luts + price * option.block_rams)


def _folding(chosen: Sequence[_Option], contexts: int, pixels: int) -> Folding:
    def every(name: str) -> tuple:
        return tuple(getattr(option, name) for option in chosen)

    return Folding(every("simd"), every("pe"), every("form"), every("loop_order"), every("swap"), contexts, pixels)
