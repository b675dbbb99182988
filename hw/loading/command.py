"""``python -m hw weights NETWORK --circuit VERILOG.json --out FILE``: the load of a circuit that was made for another network."""

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from export import UserError, load
from export.cli import Parser
from export.files import atomic_write, refuse_overwriting
from export.text import dashed
from hw.core.folding import Folding
from hw.loading.fit import Capacity, fit
from hw.loading.loader import load_content


def parser() -> Parser:
    result = Parser(
        prog="python -m hw weights", description="Write the bytes that fill a circuit's memories with a network that fits into it."
    )
    result.add_argument("network", type=Path, help="network.safetensors")
    result.add_argument("--circuit", type=Path, required=True, metavar="FILE.json", help="port map of the circuit, beside its Verilog")
    result.add_argument("--out", type=Path, required=True, metavar="FILE.weights", help="file to write")
    return result


def main(arguments: Sequence[str]) -> int:
    options: Namespace = parser().parse_args(arguments)
    network, capacity = load(options.network), read_capacity(options.circuit)
    for source in (options.network, options.circuit):
        refuse_overwriting(source, options.out)
    larger, plans = fit(network, capacity)
    with atomic_write(options.out) as file:
        file.write_bytes(load_content(plans))
    added = "" if larger.shape == network.shape else f" in a circuit of {dashed(larger.shape)}"
    print(f"{options.out}: {options.out.stat().st_size} bytes, {dashed(network.shape)}{added}")
    return 0


def read_capacity(path: Path) -> Capacity:
    """The capacity of a circuit, from its port map.

    Raises:
        UserError: the file is no port map, or the circuit's weights are not loadable.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        weights = content["weights"]
        shape, steps, bits = content["network"]["shape"], content["network"]["steps"], content["membrane_bits"]
        if not all(isinstance(value, list) and all(type(entry) is int for entry in value) for value in (shape, bits, [steps])):
            raise ValueError("shape and membrane_bits must be lists of integers, steps an integer")
        if len(bits) != len(shape) - 1:
            raise ValueError("membrane_bits must have one entry per layer")
        capacity = Capacity(tuple(shape), steps, content["p_min"], Folding.from_dict(content["folding"]), tuple(bits))
        if "codes" in content:
            capacity = replace(capacity, codes=content["codes"], parameter_bits=tuple(content["parameter_bits"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} must be a port map, as python -m hw writes it beside the Verilog, but is not: {error!r}") from None
    if weights != "loadable":
        raise UserError(f"the circuit's weights must be loadable (--weights loadable), but those of {path} are {weights}")
    return capacity
