"""``python -m hw estimate NETWORK --device …``: what a folding costs, without synthesis of the whole; or which folding to take."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export import Network, UserError, load
from export.cli import Parser, above_zero, positive
from export.text import dashed
from hw import Accelerator, cost, inputs
from hw.arguments import add_folding_arguments, check_pixels, folding_from
from hw.core.accelerator import check_frames_in
from hw.core.folding import Folding
from hw.cost.speed import Speed, against
from hw.fpga import flow
from hw.fpga.area import AreaModel, Estimate
from hw.fpga.devices import Device
from hw.fpga.parts import sum_of_parts
from hw.fpga.schedules import picked_folding
from hw.fpga.search import Found, search, smallest
from hw.fpga.target import add_target_arguments, leave_input_open, target
from hw.host.boards import Board
from hw.host.hosted import check_host_pixels
from hw.inputs import add_frame_arguments

CHOSEN = ("simd", "pe", "form", "loop_order", "swap", "contexts")
"""Options of a folding that a search chooses."""


def parser() -> Parser:
    result = Parser(prog="python -m hw estimate", description="Estimate cycles, memory and LUTs, or search for a folding.")
    result.add_argument("network", type=Path, help="network.safetensors")
    add_target_arguments(result)
    result.add_argument("--mhz", type=above_zero, help="the clock that images per second are for (default: what place and route aims at)")
    result.add_argument("--formula", action="store_true", help="take the area from the formula; synthesise no parts")
    add_frame_arguments(result)
    add_folding_arguments(result)
    leave_input_open(result)
    group = result.add_argument_group("search", "over foldings that the device holds; form, order and all else per layer are chosen")
    group.add_argument("--target-fps", type=above_zero, metavar="F", help="the smallest folding with so many images per second")
    group.add_argument("--max-luts", type=positive, metavar="N", help="the fastest folding with at most so many LUTs")
    group.add_argument("--pareto", type=Path, metavar="FILE", help="draw LUTs against images per second, as .png or .svg")
    return result


def main(arguments: Sequence[str]) -> int:
    """Do it; returns the exit status.

    Raises:
        UserError: a mistake of the user's, or there is no such folding.
        OSError: a file cannot be read or written.
    """
    given = parser().parse_args(arguments)
    device, board = target(given)
    if board:
        check_host_pixels(given.pixels)
    searches = bool(given.target_fps or given.max_luts or given.pareto)
    check_options(given, searches)
    network = load(given.network)
    check_frames_in(network, given.input)
    if not searches:
        folding_from(given, network)  # refuses what cannot be, before frames are loaded
    frames = inputs.load(network, given.dataset or inputs.trained_on(network), given.images)
    mhz = given.mhz or (board.hz / 1e6 if board else device.mhz)
    if not mhz:
        raise UserError(f"--mhz must be given for {device.name}, which has no place and route here")
    model = AreaModel(device.family, given.weights, board)

    def synthesised(folding: Folding) -> Estimate | None:
        """The sum of the parts; None if the formula has to do."""
        if given.formula or model.estimate(network, folding, given.input).hopeless(device):
            return None
        if board:
            design = flow.on_board(board.design(network, folding, weights=given.weights))
        else:
            design = flow.bare(Accelerator(network, folding, frames_in=given.input, weights=given.weights))
        return sum_of_parts(design, device, lambda line: print(line, flush=True))

    if not searches:
        folding = picked_folding(given, network, device, frames.events, board)
        area = synthesised(folding)
    else:
        found = search(network, device, frames.events, given.input, given.pixels, given.weights, board)
        if not found:
            raise UserError(f"no folding of this network fits into {device.name}, by formula")
        print(frontier_table(found, mhz))
        if given.pareto:
            from hw.fpga.pareto import draw

            print(draw(given.pareto, network, board.name if board else device.name, found, mhz))
        if not given.target_fps and not given.max_luts:
            return 0
        folding, area = choose(given, device, found, mhz, synthesised)
        print(f"\n{options_of(folding)}")
    speed = Speed.measure(network, folding, frames.events, given.input)
    print(table(network, folding, given.input, device, model.estimate(network, folding, given.input), area, speed, mhz, board))
    return 0


def check_options(given: Namespace, searches: bool) -> None:
    """Refuse options that contradict each other, before anything is loaded.

    Raises:
        UserError: there are such.
    """
    check_pixels(given)
    if searches and (named := [name for name in CHOSEN if getattr(given, name) is not None]):
        raise UserError(f"--{named[0]} must be left out where a folding is searched for, which chooses it")
    if given.pareto and given.pareto.suffix not in (".png", ".svg"):
        raise UserError(f"--pareto must name a .png or .svg file, not {given.pareto}")


def choose(
    given: Namespace, device: Device, found: Sequence[Found], mhz: float, synthesised: Callable[[Folding], Estimate | None]
) -> tuple[Folding, Estimate | None]:
    """The folding that was asked for, by formula, and its area by synthesis; if that is too large, the next one.

    Raises:
        UserError: there is no such folding.
    """
    left = list(found)
    while chosen := smallest(left, mhz, given.target_fps, given.max_luts):
        area = synthesised(chosen.folding)
        if area is None or (area.fits(device) and (given.max_luts is None or area.placed <= given.max_luts)):
            return chosen.folding, area
        print(f"{options_of(chosen.folding)}: too large when synthesised, {area.placed:,} LUTs")
        left.remove(chosen)
    fastest, least = found[-1], found[0]
    raise UserError(
        f"no folding has {_asked(given)}; on {device.name} at {mhz:g} MHz the smallest takes {least.area.placed:,} LUTs, "
        f"and the fastest does {fastest.speed.images_per_second(mhz):,.0f} images per second with {fastest.area.placed:,} LUTs"
    )


def _asked(given: Namespace) -> str:
    pace = f"{given.target_fps:,.0f} images per second" if given.target_fps else ""
    size = f"at most {given.max_luts:,} LUTs" if given.max_luts else ""
    return " and ".join(filter(None, (pace, size)))


def options_of(folding: Folding) -> str:
    """A folding as options of a command line."""
    return " ".join(f"--{name.replace('_', '-')} {','.join(map(str, np.atleast_1d(value)))}" for name, value in folding.as_dict().items())


def frontier_table(found: Sequence[Found], mhz: float) -> str:
    """The foldings that a search found, one per line; LUTs are by formula."""
    lines = ["area by formula", f"{'LUTs':>8}{'block RAMs':>12}{'cycles':>10}{'images/s':>12}  folding"]
    for item in found:
        area, cycles, pace = item.area, item.speed.interval, item.speed.images_per_second(mhz)
        lines.append(f"{area.placed:>8,}{area.block_rams:>12,g}{cycles:>10,.1f}{pace:>12,.0f}  {options_of(item.folding)}")
    return "\n".join(lines)


def table(
    network: Network,
    folding: Folding,
    frames_in: str,
    device: Device,
    formula: Estimate,
    synthesised: Estimate | None,
    speed: Speed,
    mhz: float,
    board: Board | None = None,
) -> str:
    """Area and cycles as lines of text."""
    there, area = device.capacity, synthesised or formula
    if synthesised:
        how = f"sum of {len(area.parts)} parts, each synthesised by itself"
    else:
        over = formula.hopeless(device)
        how = f"by formula{'; too large to be synthesised: ' + ' and '.join(over) if over else ''}"
    largest = ", ".join(f"{name} {luts:,}" for name, luts in sorted(area.parts.items(), key=lambda item: -item[1])[:4])
    rows: list[tuple[str, Any]] = [
        ("network", f"{dashed(network.shape)}, T = {network.steps}"),
        ("folding", f"{options_of(folding)}; {frames_in} in"),
        ("device", f"{device.name} ({device.part})" + (f", on {board.name}, with host link" if board else "")),
        ("area", how),
        ("LUTs", f"{area.luts:,} of {there['luts']:,} ({area.luts / there['luts']:.0%}); the largest: {largest}"),
        ("LUTs when placed", f"about {area.placed:,}") if device.family.nextpnr else ("", ""),
        ("flip-flops", f"{area.ffs:,} of {there['ffs']:,} ({area.ffs / there['ffs']:.0%})"),
        ("block RAMs", f"{area.block_rams:,g} of {there['block_rams']:,}"),
        ("SPRAMs", f"{area.sprams:,} of {there['sprams']:,}") if area.sprams else ("", ""),
        ("memory bits", f"{formula.memory_bits:,}"),
        ("fits", "yes" if area.fits(device) else "no"),
        ("cycles per image", f"{speed.interval:,.1f} ({speed.interval / speed.limit:.2f} × limit {speed.limit:,.1f})"),
        ("dense streaming", against(cost.streaming(network, folding), speed.interval)) if any(network.maps) else ("", ""),
        ("latency", f"{speed.latency:,.1f} cycles, {speed.latency_us(mhz):,.2f} µs at {mhz:g} MHz"),
        ("images per second", f"{speed.images_per_second(mhz):,.0f} at {mhz:g} MHz"),
    ]
    return "\n".join(f"{name:<22}{value}" for name, value in rows if name)
