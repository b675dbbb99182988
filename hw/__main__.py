"""``python -m hw NETWORK --out VERILOG``: the circuit of a network as Verilog, with a map of its ports beside it."""

import argparse
from pathlib import Path

from export import load
from export.cli import Parser, run
from export.files import refuse_overwriting
from hw.accelerator import Accelerator
from hw.arguments import add_folding_arguments, folding_from
from hw.verilog import write
from hw.wrappers import WRAPPERS, wrap


def main() -> int:
    parser = Parser(prog="python -m hw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="network.safetensors, as export writes it")
    parser.add_argument("--out", type=Path, required=True, help="Verilog file to write; the port map takes its name with .json")
    parser.add_argument("--wrapper", choices=WRAPPERS, default="none", help="interfaces around the circuit (default: none, plain streams)")
    add_folding_arguments(parser)
    arguments = parser.parse_args()
    network = load(arguments.network)
    refuse_overwriting(arguments.network, arguments.out)
    accelerator = Accelerator(network, folding_from(arguments, network), frames_in=arguments.input)
    for path in write(wrap(accelerator, arguments.wrapper), arguments.out):
        print(f"{path}: {path.stat().st_size} bytes")
    for index, plan in enumerate(accelerator.plans):
        print(
            f"layer {index}: {plan.layer.inputs} → {plan.layer.outputs}, {plan.form} by {plan.order}, SIMD {plan.simd}, PE {plan.pe}: "
            f"{plan.words} words × {plan.groups} groups, weight rows of {plan.pe * plan.simd} bits, margins of {plan.margin_bits} bits"
        )
    return 0


if __name__ == "__main__":
    run(main)
