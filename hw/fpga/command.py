"""``python -m hw fpga NETWORK --device …``: a network on a device, and what it costs there."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from export import Network, UserError, load
from export.cli import Parser, above_zero, positive
from export.files import check_folder, write_together
from export.provenance import made
from hw import Accelerator, inputs
from hw.arguments import add_folding_arguments, folding_from
from hw.core.accelerator import check_frames_in
from hw.core.folding import Folding
from hw.cost.speed import Speed
from hw.fpga import flow, report, results
from hw.fpga.area import AreaModel
from hw.fpga.devices import Device
from hw.fpga.kept import Kept
from hw.fpga.parts import sum_of_parts
from hw.fpga.schedules import picked_folding
from hw.fpga.target import add_target_arguments, leave_input_open, target
from hw.host.boards import Board
from hw.inputs import add_frame_arguments

REPORT = "report.json"


def parser() -> Parser:
    result = Parser(prog="python -m hw fpga", description="Synthesise, place and route a network's circuit, and report what it costs.")
    result.add_argument("network", type=Path, help="network.safetensors")
    add_target_arguments(result)
    result.add_argument("--seeds", type=positive, default=1, metavar="N", help="place and route N times (default: 1)")
    result.add_argument("--mhz", type=above_zero, help="the clock that place and route aims at (default: the device's or the board's)")
    result.add_argument("--synthesis-only", action="store_true", help="leave out place and route")
    result.add_argument("--out", type=Path, metavar="DIR", help="folder for what is written (default: build/NETWORK-DEVICE)")
    result.add_argument("--force", action="store_true", help="synthesise even what does not fit by formula, which takes minutes or hours")
    result.add_argument("--keep", action="store_true", help="keep the report in docs/results, and make the page of it")
    add_frame_arguments(result)
    add_folding_arguments(result)
    leave_input_open(result)
    return result


def main(arguments: Sequence[str]) -> int:
    """Do it; returns the exit status.

    Raises:
        UserError: a mistake of the user's, or a circuit that the device does not hold, or that is too slow for the board's clock.
        ToolError: a tool failed.
    """
    given = parser().parse_args(arguments)
    device, board = target(given)
    check_options(given, device)
    out = given.out or Path("build") / f"{given.network.stem}-{board.name if board else device.name}"
    check_folder(out)
    network = load(given.network)
    check_frames_in(network, given.input)
    folding_from(given, network)  # refuses what cannot be, before frames are loaded
    frames = inputs.load(network, given.dataset or inputs.trained_on(network), given.images)
    folding = picked_folding(given, network, device, frames.events, board)
    places = device.family.nextpnr is not None and not given.synthesis_only
    if not given.force:
        check_formula(network, folding, given, device, board)
    on_board = board.design(network, folding, hz=given.mhz and given.mhz * 1e6, weights=given.weights) if board else None
    mhz = on_board.clock_hz / 1e6 if on_board else given.mhz or device.mhz
    if on_board:
        design = circuit = flow.on_board(on_board)
    else:
        accelerator = Accelerator(network, folding, frames_in=given.input, weights=given.weights)
        circuit = flow.bare(accelerator)
        design = flow.harnessed(accelerator) if places else circuit
    speed = Speed.measure(network, folding, frames.events, given.input)
    synthesis = flow.synthesise(design, device)
    if places or given.keep:
        flow.check_fits(synthesis, device)
    if device.family.nextpnr is None:
        print(f"{device.name}: synthesis only; there is no place and route for it here, and so no clock and no bitstream")
    placements = []
    for seed in range(1, given.seeds + 1) if places else ():
        placements.append(flow.place_and_route(design, synthesis, device, seed, mhz))
        print(f"seed {seed}: {placements[-1].mhz:.1f} MHz", flush=True)
    data = report.report(
        network,
        folding,
        given.input,
        device,
        synthesis,
        placements,
        speed,
        frames.about,
        weights=given.weights,
        board=on_board,
        sum_of_parts=sum_of_parts(circuit, device) if given.keep else None,
    )
    too_slow = report.missed(placements, on_board)
    written = write(out, design, device, synthesis, placements, data, runs=not too_slow)
    if given.keep and not too_slow:
        kept = Kept()
        written += [kept.keep_report(given.network, data | made()), results.write(kept)]
    print(report.table(data))
    for path in written:
        print(path)
    if too_slow:
        reached = max(placement.mhz for placement in placements)
        raise UserError(
            f"the circuit must reach {mhz:.1f} MHz, but reaches {reached:.1f}, so that there is no bitstream; "
            "--mhz asks for a slower clock, --seeds tries more"
        )
    return 0


def check_options(given: Namespace, device: Device) -> None:
    """Refuse options that ask for what is not done.

    Raises:
        UserError: there are such.
    """
    asked = [name for name, value in (("--seeds", given.seeds > 1), ("--mhz", given.mhz and not given.board)) if value]
    if asked and given.synthesis_only:
        raise UserError(f"{asked[0]} is for place and route, which --synthesis-only leaves out")
    if asked and device.family.nextpnr is None:
        raise UserError(f"{asked[0]} is for place and route, which there is not for {device.name}")
    if given.keep and given.images is not None:
        raise UserError("--keep must be without --images: what is kept is measured on all test frames")


def check_formula(network: Network, folding: Folding, given: Namespace, device: Device, board: Board | None) -> None:
    """Refuse what needs far more logic than the device has, or more memories, before it is synthesised.

    Raises:
        UserError: it is.
    """
    area = AreaModel(device.family, given.weights, board).estimate(network, folding, given.input)
    over = area.hopeless(device, logic_only=given.synthesis_only and not given.keep)  # which may be looked at on any device
    if over:
        where = f"--board {board.name}" if board else f"--device {device.name}"
        raise UserError(
            f"the circuit must fit into {device.name}, but by formula needs {' and '.join(over)}; --force synthesises it all the same, "
            f"and python -m hw estimate … {where} --max-luts {device.capacity['luts'] * 85 // 100} looks for a folding that fits"
        )


def write(
    out: Path,
    design: flow.Design,
    device: Device,
    synthesis: flow.Synthesis,
    placements: list[flow.Placement],
    data: dict,
    *,
    runs: bool = True,
) -> list[Path]:
    """Write the Verilog, the logs, the fastest seed's bitstream, and the report, all or nothing; the paths, the report's last.

    Parameters:
        runs: whether the circuit does at its clock; if not, there is no bitstream, not even that of an earlier run.

    Raises:
        ToolError: the bitstream cannot be made.
        OSError: a file cannot be written.
    """
    copies = {synthesis.made.log.name: synthesis.made.log}
    if placements:
        fastest = max(placements, key=lambda placement: placement.mhz)
        copies[fastest.made.log.name] = fastest.made.log
        bitstream = f"{design.top}{device.family.bitstream}"
        if runs:
            copies[bitstream] = flow.bitstream(fastest, device)
        else:
            (out / bitstream).unlink(missing_ok=True)
    constraints = {name: text for name, (_, text) in design.constraints.items()}
    texts = {**design.sources, **constraints, REPORT: report.text(data)}
    copied = {out / name: source.read_bytes() for name, source in copies.items()}
    return write_together(copied | {out / name: content for name, content in texts.items()})
