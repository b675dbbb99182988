"""The folding on a command line, shared by ``python -m hw`` and ``python -m sim``."""

import argparse
from collections.abc import Callable

from export import Network, UserError
from hw.buses import WRAPPERS
from hw.core.accelerator import INPUTS, WEIGHTS
from hw.core.folding import CONTEXTS, FORMS, LOOP_ORDERS, Folding, default_contexts, default_folding


def add_folding_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--simd``, ``--pe``, ``--form``, ``--loop-order``, ``--swap``, ``--contexts``, ``--pixels`` and ``--input``."""
    group = parser.add_argument_group("folding", "one number or word per layer, separated by commas; what is left out has a fast default")
    group.add_argument("--simd", type=list_of(int), metavar="1,60", help="inputs per cycle")
    group.add_argument("--pe", type=list_of(int), metavar="600,10", help="neurons per cycle")
    group.add_argument("--form", type=list_of(str), metavar="delta,xnor", help=f"{' or '.join(FORMS)}")
    group.add_argument(
        "--loop-order", "--order", type=list_of(str), metavar="event,step", help=f"order of loops: {' or '.join(LOOP_ORDERS)}"
    )
    group.add_argument("--swap", type=list_of(int), metavar="8,1", help="cycles of a swap of potentials, in the order step")
    group.add_argument("--contexts", type=int, choices=CONTEXTS, help="frames that are worked on in turn")
    group.add_argument("--pixels", type=int, default=1, metavar="16", help="pixels per cycle, with --input pixels (default: 1)")
    group.add_argument("--input", choices=INPUTS, default="words", help="spike words, or pixels through an encoder (default: words)")


def add_circuit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--wrapper`` and ``--weights``."""
    parser.add_argument("--wrapper", choices=WRAPPERS, default="none", help="interfaces around the circuit (default: none, plain streams)")
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="rom",
        help="in the bitstream, or loadable: the network's then lie beside the Verilog, with .weights (default: rom)",
    )


def check_circuit_arguments(arguments: argparse.Namespace) -> None:
    """Fill in what a wrapper decides: it has one stream, and so spike words are of one context by default."""
    if arguments.wrapper != "none" and arguments.input == "words":
        arguments.contexts = arguments.contexts or 1


def folding_from(arguments: argparse.Namespace, network: Network) -> Folding:
    """The folding that was asked for, what was left out filled in.

    Raises:
        UserError: it does not fit the network, or options do not go together.
    """
    check_pixels(arguments)
    default = default_folding(network)
    pe = arguments.pe or default.pe
    form = arguments.form or default.form
    contexts = arguments.contexts or default_contexts(network, pe)
    loop_order = arguments.loop_order or _loop_order(form, arguments.swap or ())
    folding = Folding(arguments.simd or default.simd, pe, form, loop_order, arguments.swap or (), contexts, arguments.pixels)
    folding.plans(network)
    return folding


def _loop_order(form: tuple[str, ...], swap: tuple[int, ...]) -> tuple[str, ...]:
    """Where the loop order is left out: a swap of several cycles is one of the order step; else it is the folding's default."""
    if len(form) != len(swap):
        return ()
    return tuple("step" if one == "xnor" or cycles > 1 else "event" for one, cycles in zip(form, swap, strict=True))


def check_pixels(arguments: argparse.Namespace) -> None:
    """Refuse ``--pixels`` where none come in.

    Raises:
        UserError: it was given without ``--input pixels``.
    """
    if arguments.pixels != 1 and arguments.input != "pixels":
        raise UserError("--pixels must be left out, or given with --input pixels")


def list_of(kind: type) -> Callable[[str], tuple]:
    """A parser of an option: values of a kind, separated by commas."""

    def parse(text: str) -> tuple:
        return tuple(kind(part) for part in text.split(","))

    parse.__name__ = f"list of {kind.__name__}"  # argparse names it in its message
    return parse
