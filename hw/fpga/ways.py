"""Form, order and swap of each layer, where a user leaves them open: picked by the cost model and the forecast."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from export import Network, UserError, reference
from hw.arguments import folding_from
from hw.core.folding import Folding
from hw.cost.speed import Speed
from hw.fpga.devices import Device
from hw.fpga.forecast import coefficients, forecast
from hw.fpga.search import FRAMES, ways
from hw.host.boards import Board

NEARLY = 1.1
"""Times the fewest cycles: of ways within it, the smallest is picked."""
OPEN = ("form", "loop_order", "swap")
WAYS = ways((1, 2, 3, 4, 5, 6, 8, 10, 12, 16))


def picked_folding(given: Namespace, network: Network, device: Device, spike_times: np.ndarray, board: Board | None = None) -> Folding:
    """The folding that was asked for; what was left out of form, order and swap, the cost model picks for each layer in turn.

    For each layer: of the ways in which the device holds the circuit by the forecast (or of all, if it holds none), it takes the
    smallest of those that need at most `NEARLY` times the fewest cycles.

    Parameters:
        given: options of a folding, ``input`` among them, and ``weights``.
        spike_times: integers (frames, inputs), 0 … T; cycles are those of the first `FRAMES` frames.
        board: see `hw.fpga.forecast.forecast`.

    Raises:
        UserError: what was asked for does not fit the network.
    """
    chosen = folding_from(given, network)
    family = device.family.name
    if family not in coefficients() or len(spike_times) < 2:
        return chosen
    times = spike_times[:FRAMES]
    golden = reference.run(network, times)
    for layer in range(len(network.layers)):
        found = []
        for folding in dict.fromkeys(_ways(given, network, chosen, layer)):  # each once
            cycles = Speed.of(network, folding, times, golden, given.input).interval
            area = forecast(network, folding, given.input, family, given.weights, board)
            found.append(_Way(folding, area.fits(device), cycles, area.placed))
        suited = [way for way in found if way.fits] or found
        fewest = min(way.cycles for way in suited)
        chosen = min((way for way in suited if way.cycles <= NEARLY * fewest), key=lambda way: way.luts).folding
    return chosen


@dataclass(frozen=True)
class _Way:
    folding: Folding
    fits: bool
    cycles: float
    luts: int


def _ways(given: Namespace, network: Network, folding: Folding, layer: int) -> Iterator[Folding]:
    """The folding, and others in which that layer has another way that can be and agrees with what was given."""
    yield folding
    for way in WAYS:
        values: dict[str, Any] = {}
        for name, choice in zip(OPEN, way, strict=True):
            asked = getattr(given, name)
            before = getattr(folding, name)
            values[name] = (*before[:layer], choice if asked is None else asked[layer], *before[layer + 1 :])
        other = replace(folding, **values)
        try:
            other.plans(network)
        except UserError:
            continue
        yield other
