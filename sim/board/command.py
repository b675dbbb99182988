"""``python -m sim serial NETWORK --port PORT``: the circuit on a board against the golden model."""

from collections.abc import Sequence
from pathlib import Path

import serial
from tqdm import tqdm

from export import UserError, load
from export.cli import EXIT_DIFFERENCE, Parser
from hw import inputs
from sim.board.host import check
from sim.board.link import SerialLink

BAUD = 1_000_000
TIMEOUT = 1.0
"""Seconds without a byte after which nobody is taken to answer; longer than a circuit takes to give up a packet."""


def parser() -> Parser:
    """The command's parser."""
    result = Parser(
        prog="python -m sim serial",
        description="Send a data set's images to a circuit on a serial line, made with 'python -m hw fpga … --board …', in both modes, and "
        "compare every spike that comes back with the golden model. Weights are loaded first where the bitstream takes them.",
    )
    result.add_argument("network", type=Path, help="network.safetensors")
    result.add_argument("--port", required=True, help="/dev/ttyUSB1, COM3, or what else pyserial opens")
    result.add_argument("--baud", type=int, default=BAUD, help=f"as the bitstream was generated with (default: {BAUD})")
    inputs.add_frame_arguments(result)
    return result


def open_port(name: str, baud: int) -> serial.SerialBase:
    """A serial port.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        return serial.serial_for_url(name, baudrate=baud, timeout=TIMEOUT)
    except (serial.SerialException, OSError, ValueError) as error:
        raise UserError(f"the port must be one that can be opened, but {name} cannot: {error}") from None


def main(arguments: Sequence[str]) -> int:
    """Send, compare, print the report; exit status 1 if anything differs."""
    given = parser().parse_args(arguments)
    network = load(given.network)
    frames = inputs.load(network, given.dataset or inputs.trained_on(network), given.images)
    with open_port(given.port, given.baud) as port:
        link = SerialLink(port)
        report = check(link, network, frames, lambda mode, images: tqdm(images, mode, unit=" frames", disable=None))
    print(report.table())
    if link.damaged:
        print(f"packets damaged       {link.damaged}, and sent again")
    return 0 if report.passed else EXIT_DIFFERENCE
