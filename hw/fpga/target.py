"""The device or the board that a command line names."""

from argparse import ArgumentParser, Namespace

from export import UserError
from hw.core.accelerator import WEIGHTS
from hw.fpga.devices import DEVICES, Device, device_named
from hw.host.boards import BOARDS, Board, board_named


def add_target_arguments(parser: ArgumentParser) -> None:
    """Add ``--device``, ``--board`` and ``--weights``."""
    parser.add_argument("--device", metavar="NAME", help=f"{', '.join(DEVICES)} (xc7: synthesis only)")
    parser.add_argument("--board", metavar="NAME", help=f"{', '.join(BOARDS)}: with its pins and a host link; frames are pixels")
    parser.add_argument("--weights", choices=WEIGHTS, help="in the bitstream, or loadable (default: rom, or what suits the board)")


def leave_input_open(parser: ArgumentParser) -> None:
    """Take the default from ``--input``, which `target` gives it."""
    parser.set_defaults(input=None)


def target(given: Namespace) -> tuple[Device, Board | None]:
    """The device and the board that were asked for. A board decides on what was left out: pixels come in, and where weights are.

    Raises:
        UserError: neither was, or they do not go together, or there are none of these names.
    """
    if given.board is None:
        if given.device is None:
            raise UserError("--device or --board must be given")
        given.input, given.weights = given.input or "words", given.weights or "rom"
        return device_named(given.device), None
    board = board_named(given.board)
    if given.device is not None and device_named(given.device).name != board.device:
        raise UserError(f"--device must be {board.device}, which is on {board.name}, or be left out, not {given.device}")
    if given.input == "words":
        raise UserError(f"--input must be pixels, which is what comes from a host to {board.name}, or be left out, not words")
    given.input, given.weights = "pixels", given.weights or board.weights
    return device_named(board.device), board
