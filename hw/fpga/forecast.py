"""The area of a folding before anything is generated: physical terms, times coefficients that were fitted to synthesised circuits."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from export import Network, UserError
from hw.core.folding import Folding
from hw.core.plan import LayerPlan
from hw.fpga.devices import DEVICES, Device
from hw.fpga.memories import mapped
from hw.fpga.terms import Part, layer_part, parts, readout_part
from hw.host.boards import Board

COEFFICIENTS = Path(__file__).parent / "coefficients.json"
FORMAT, VERSION = "firstspike-area-coefficients", 1
QUANTITIES = ("luts", "ffs")


@dataclass(frozen=True)
class Forecast:
    """A forecast of an area.

    Attributes:
        luts, ffs: as `hw.fpga.flow.Area` counts them.
        placed: LUTs as place and route will count them.
        block_rams, sprams: of the device.
        memory_bits: in all memories, whatever they are made of.
        parts: LUTs of each part of the circuit.
    """

    luts: int
    ffs: int
    placed: int
    block_rams: float
    memory_bits: int
    sprams: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)

    def fits(self, device: Device) -> bool:
        """Whether the device holds it, if it is right."""
        there = device.capacity
        needs = {"luts": max(self.placed, self.luts), "ffs": self.ffs, "block_rams": self.block_rams, "sprams": self.sprams}
        return all(count <= there.get(kind, 0) for kind, count in needs.items())


def forecast(network: Network, folding: Folding, frames_in: str, family: str, weights: str = "rom", board: Board | None = None) -> Forecast:
    """The area of `hw.Accelerator` for the same arguments, with its monitors left open; or of all that goes onto a board.

    Parameters:
        family: name of a family of devices.
        board: frames, which are pixels, come from its serial line, and what speaks with the host is counted, too.

    Raises:
        UserError: the folding does not fit the network, or the family has not been calibrated.
    """
    fitted = fit_of(family)
    found = parts(network, folding, frames_in, weights, hosted=board is not None, sprams=has_sprams(board))
    areas = {part.name: of_part(fitted, family, part) for part in found}
    luts, ffs = (sum(area[quantity] for area in areas.values()) for quantity in QUANTITIES)
    memories = [(shape, mapped(family, shape)) for part in found for shape in part.memories]
    return Forecast(
        luts=round(luts),
        ffs=round(ffs),
        placed=round(fitted["placed"]["luts"] * luts + fitted["placed"]["ffs"] * ffs),
        block_rams=sum(memory.block_rams for _, memory in memories),
        memory_bits=sum(shape.bits for shape, _ in memories),
        sprams=sum(memory.sprams for _, memory in memories),
        parts={name: round(area["luts"]) for name, area in areas.items()},
    )


def has_sprams(board: Board | None) -> bool:
    """Whether large memories that are filled at run time are made of single-port RAMs, as they are on a board with an iCE40UP5K."""
    return board is not None and "sprams" in DEVICES[board.device].capacity


def fit_of(family: str) -> dict[str, Any]:
    """The coefficients of a family.

    Raises:
        UserError: it has not been calibrated.
    """
    if family not in coefficients():
        raise UserError(f"{family} must be calibrated before areas can be forecast ('python -m hw calibrate --family {family}')")
    return coefficients()[family]


def of_part(fitted: Mapping[str, Any], family: str, part: Part) -> dict[str, float]:
    """LUTs and flip-flops of a part, by the coefficients of a family."""
    area = dict.fromkeys(QUANTITIES, 0.0)
    memories = [mapped(family, shape) for shape in part.memories]
    for quantity in QUANTITIES:
        terms = fitted["parts"][part.kind][quantity]
        area[quantity] += sum(terms.get(term, 0.0) * amount for term, amount in part.amounts.items())
        area[quantity] += sum(getattr(memory, quantity) for memory in memories)
    return area


def of_layer(family: str, plan: LayerPlan, weights: str = "rom", *, sprams: bool = False) -> dict[str, float]:
    """LUTs, flip-flops and block RAMs of one layer; of the last one, with the readout, which depends on nothing else."""
    found = [layer_part(plan, "layer", weights, sprams=sprams)]
    if plan.following_simd is None:
        found.append(readout_part(plan))
    areas = [of_part(fit_of(family), family, part) for part in found]
    block_rams = sum(mapped(family, shape).block_rams for part in found for shape in part.memories)
    return {quantity: sum(area[quantity] for area in areas) for quantity in QUANTITIES} | {"block_rams": block_rams}


@cache
def coefficients() -> dict[str, Any]:
    """What `hw.fpga.calibrate` found, by name of the family."""
    return json.loads(COEFFICIENTS.read_text())["families"]
