"""``python -m hw fpga NETWORK --device …``: a network on a device, and what it costs there."""

import shutil
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from export import Network, UserError, load, reference
from export.cli import Parser
from export.files import atomic_write
from hw import Accelerator, inputs
from hw.arguments import add_folding_arguments, folding_from
from hw.folding import Folding
from hw.fpga import flow, report
from hw.fpga.devices import DEVICES, Device, device_named
from hw.inputs import add_frame_arguments, positive
from hw.number import above_zero
from hw.speed import Speed

REPORT = "report.json"


def parser() -> Parser:
    result = Parser(prog="python -m hw fpga", description="Synthesise, place and route a network's circuit, and report what it costs.")
    result.add_argument("network", type=Path, help="network.safetensors")
    result.add_argument("--device", required=True, metavar="NAME", help=f"{', '.join(DEVICES)} (xc7: synthesis only)")
    result.add_argument("--seeds", type=positive, default=1, metavar="N", help="place and route N times (default: 1)")
    result.add_argument("--mhz", type=above_zero, help="the clock that place and route aims at (default: the device's)")
    result.add_argument("--synthesis-only", action="store_true", help="leave out place and route")
    result.add_argument("--out", type=Path, metavar="DIR", help="folder for what is written (default: build/NETWORK-DEVICE)")
    add_frame_arguments(result)
    add_folding_arguments(result)
    return result


def main(arguments: Sequence[str]) -> int:
    """Do it; returns the exit status.

    Raises:
        UserError: a mistake of the user's, or a circuit that the device does not hold.
        ToolError: a tool failed.
    """
    given = parser().parse_args(arguments)
    device = device_named(given.device)
    check_options(given, device)
    network = load(given.network)
    folding = folding_from(given, network)
    places = device.family.nextpnr is not None and not given.synthesis_only
    design = (flow.harnessed if places else flow.bare)(Accelerator(network, folding, frames_in=given.input))
    speed, about = speed_of(network, folding, given)
    synthesis = flow.synthesise(design, device)
    if places:
        flow.check_fits(synthesis, device)
    elif device.family.nextpnr is None:
        print(f"{device.name}: synthesis only; there is no place and route for it here, and so no clock and no bitstream")
    placements = []
    for seed in range(1, given.seeds + 1) if places else ():
        placements.append(flow.place_and_route(design, synthesis, device, seed, given.mhz or device.mhz))
        print(f"seed {seed}: {placements[-1].mhz:.1f} MHz", flush=True)
    data = report.report(network, folding, given.input, device, synthesis, placements, speed, about)
    out = given.out or Path("build") / f"{given.network.stem}-{device.name}"
    written = write(out, design, device, synthesis, placements, data)
    print(report.table(data))
    for path in written:
        print(path)
    return 0


def check_options(given: Namespace, device: Device) -> None:
    """Refuse options that ask for place and route where there is none.

    Raises:
        UserError: there are such.
    """
    asked = [name for name, value in (("--seeds", given.seeds > 1), ("--mhz", given.mhz)) if value]
    if asked and given.synthesis_only:
        raise UserError(f"{asked[0]} is for place and route, which --synthesis-only leaves out")
    if asked and device.family.nextpnr is None:
        raise UserError(f"{asked[0]} is for place and route, which there is not for {device.name}")


def speed_of(network: Network, folding: Folding, given: Namespace) -> tuple[Speed, dict]:
    """The speed on the frames that are asked for, and what to say of these."""
    frames = inputs.load(network, given.dataset or inputs.trained_on(network), given.images)
    golden = reference.run(network, frames.spike_times)
    return Speed.of(network, folding, frames.spike_times, golden, given.input), frames.about


def write(
    out: Path, design: flow.Design, device: Device, synthesis: flow.Synthesis, placements: list[flow.Placement], data: dict
) -> list[Path]:
    """Write the Verilog, the logs, the fastest seed's bitstream, and the report; the paths, the report's last.

    Raises:
        ToolError: the bitstream cannot be made.
        OSError: a file cannot be written.
    """
    copies = {synthesis.made.log.name: synthesis.made.log}
    if placements:
        fastest = max(placements, key=lambda placement: placement.mhz)
        stream = flow.bitstream(fastest, device)
        copies |= {fastest.made.log.name: fastest.made.log, f"{design.top}{stream.suffix}": stream}
    texts = {**design.sources, REPORT: report.text(data)}
    for name, source in copies.items():
        with atomic_write(out / name) as temporary:
            shutil.copy(source, temporary)
    for name, content in texts.items():
        with atomic_write(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return [out / name for name in (*copies, *texts)]
