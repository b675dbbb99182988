"""Form, order and swap of each layer, where a user leaves them open: picked by the cost model and the area formula."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from export import Events, Network, UserError
from hw.arguments import folding_from
from hw.core.folding import Folding
from hw.cost.speed import Speed
from hw.fpga.area import AreaModel
from hw.fpga.devices import Device
from hw.fpga.search import compared_on, schedules
from hw.host.boards import Board

NEARLY = 1.1
"""Times the fewest cycles: of schedules within it, the smallest is picked."""
OPEN = ("form", "loop_order", "swap")
SCHEDULES = schedules((1, 2, 3, 4, 5, 6, 8, 10, 12, 16))


def picked_folding(given: Namespace, network: Network, device: Device, inputs: Events, board: Board | None = None) -> Folding:
    """The folding that was asked for; what was left out of form, order and swap, the cost model picks for each layer in turn.

    For each layer: of the schedules with which the device holds the circuit by the formula (or of all, if it holds none), it takes the
    smallest of those that need at most `NEARLY` times the fewest cycles.

    Parameters:
        given: options of a folding, ``input`` among them, and ``weights``.
        inputs: frames; cycles are those of some of them (see `hw.fpga.search.compared_on`).
        board: see `hw.fpga.area.AreaModel`.

    Raises:
        UserError: what was asked for does not fit the network.
    """
    chosen = folding_from(given, network)
    if inputs.shape[0] < 2:
        return chosen
    model = AreaModel(device.family, given.weights, board)
    some, golden = compared_on(network, inputs)
    for layer in range(len(network.layers)):
        found = []
        for folding in dict.fromkeys(_schedules(given, network, chosen, layer)):  # each once
            cycles = Speed.of(network, folding, some, golden, given.input).interval
            area = model.estimate(network, folding, given.input)
            found.append(_Candidate(folding, area.fits(device), cycles, area.placed))
        suited = [candidate for candidate in found if candidate.fits] or found
        fewest = min(candidate.cycles for candidate in suited)
        fast = (candidate for candidate in suited if candidate.cycles <= NEARLY * fewest)
        chosen = min(fast, key=lambda candidate: candidate.luts).folding
    return chosen


@dataclass(frozen=True)
class _Candidate:
    folding: Folding
    fits: bool
    cycles: float
    luts: int


def _schedules(given: Namespace, network: Network, folding: Folding, layer: int) -> Iterator[Folding]:
    """The folding, and others in which that layer has another valid schedule that agrees with what was given."""
    yield folding
    for schedule in SCHEDULES:
        values: dict[str, Any] = {}
        for name, choice in zip(OPEN, schedule, strict=True):
            asked = getattr(given, name)
            before = getattr(folding, name)
            values[name] = (*before[:layer], choice if asked is None else asked[layer], *before[layer + 1 :])
        other = replace(folding, **values)
        try:
            other.plans(network)
        except UserError:
            continue
        yield other
