"""``python -m hw NETWORK --out VERILOG``: the circuit of a network as Verilog, with a map of its ports beside it.

``python -m hw weights NETWORK --circuit VERILOG.json --out FILE``: what to load for another network.

``python -m hw fpga NETWORK --device …``: that circuit on a device, and what it costs there.
``python -m hw estimate NETWORK --device …``: the same before anything is generated, or a search for a folding.
``python -m hw bench``: the committed networks' cycles and areas in one table.
``python -m hw codes [NETWORK]``: one network in all spike codes.
"""

import argparse
import importlib
import sys
from pathlib import Path

from export import UserError, load
from export.cli import EXIT_BROKEN, Parser, run
from export.files import refuse_overwriting
from export.text import counted
from hw.arguments import add_circuit_arguments, add_folding_arguments, check_circuit_arguments, folding_from
from hw.buses import wrap
from hw.core.accelerator import Accelerator
from hw.verilog import outputs, write

COMMANDS = {
    "weights": "hw.loading.command",
    "fpga": "hw.fpga.command",
    "estimate": "hw.fpga.estimate",
    "bench": "hw.fpga.bench",
    "codes": "hw.fpga.codes",
}
"""Modules of the commands that have a name; all but the first need packages that Verilog alone does not."""


def main() -> int:
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first in COMMANDS:
        return command(first, sys.argv[2:])
    if first.isalpha() and not Path(first).exists():
        raise UserError(f"{first!r} must be a network's file or one of {', '.join(COMMANDS)}, but is neither")
    return generate()


def command(name: str, arguments: list[str]) -> int:
    """Run a command that has a name.

    Raises:
        UserError: a package is missing.
    """
    try:
        module = importlib.import_module(COMMANDS[name])
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] in ("export", "hw", "model"):
            raise
        raise UserError(f"{error.name} must be installed for '{name}': it is in the group 'fpga' of pyproject.toml") from None
    from hw.fpga.tools import ToolError

    try:
        return module.main(arguments)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BROKEN


def generate() -> int:
    parser = Parser(prog="python -m hw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="network.safetensors, as export writes it")
    parser.add_argument("--out", type=Path, required=True, help="Verilog file to write; the port map takes its name with .json")
    add_circuit_arguments(parser)
    parser.add_argument("--name", help="of the top module, with which the names of all modules begin (default: accelerator, accelerator_…)")
    parser.add_argument("--vhdl", action="store_true", help="also a VHDL package with the component's declaration, with .vhd")
    add_folding_arguments(parser)
    arguments = parser.parse_args()
    check_circuit_arguments(arguments)
    network = load(arguments.network)
    for path in outputs(arguments.out, arguments.weights, vhdl=arguments.vhdl):
        refuse_overwriting(arguments.network, path)
    accelerator = Accelerator(network, folding_from(arguments, network), frames_in=arguments.input, weights=arguments.weights)
    for path in write(wrap(accelerator, arguments.wrapper), arguments.out, name=arguments.name, vhdl=arguments.vhdl):
        print(f"{path}: {path.stat().st_size} bytes")
    for index, plan in enumerate(accelerator.plans):
        at = f" at {counted(plan.positions, 'position')}" if plan.layer.output_map is not None else ""
        print(
            f"layer {index}: {plan.layer.inputs} → {plan.layer.outputs}, {plan.form} by {plan.loop_order}, SIMD {plan.simd}, PE {plan.pe}: "
            f"{counted(plan.synapse_folds, 'word')} × {counted(plan.neuron_folds, 'group')}{at}, "
            f"weight rows of {plan.pe * plan.simd} bits, margins of {plan.membrane_bits} bits"
        )
    return 0


if __name__ == "__main__":
    run(main)
