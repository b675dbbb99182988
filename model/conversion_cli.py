"""``python -m model convert`` and ``python -m model codes``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import export
from export import UserError
from export.cli import different_integers
from export.files import refuse_overwriting
from model import datasets
from model.conversion_recipe import BALANCES, CODES
from model.machine import command
from model.structure import notation

if TYPE_CHECKING:
    from model.conversion_checkpoint import Source
    from model.data.dataset import Dataset

STEPS = (1, 2, 4, 8)
OPTIONS = ("code", "steps", "levels", "balance", "percentile", "per", "calibration", "inference_loss", "spread", "fraction")
"""Of `model.conversion.Conversion`."""


def add(commands: Any) -> None:
    """Add ``convert`` and ``codes`` to the commands of ``python -m model``."""
    part = commands.add_parser("convert", help="make a spiking network of a checkpoint of the method 'conversion'")
    _add_source(part)
    part.add_argument("--code", metavar="|".join(CODES), help="the spike code (default: the recipe's)")
    part.add_argument("--steps", type=int, metavar="T", help="number of time steps (default: the recipe's)")
    part.add_argument("--levels", type=int, metavar="L", help="greatest count of a neuron (default: as trained; for rate, T)")
    part.add_argument("--balance", metavar="|".join(BALANCES), help="what activation the greatest count stands for (default: the recipe's)")
    _add_balance(part)
    part.add_argument("--calibration", type=int, metavar="ROUNDS", help="of bias calibration on training frames (default: the recipe's)")
    part.add_argument(
        "--inference-loss", type=int, metavar="ROUNDS", help="of the rate inference loss, for rate-norm (default: the recipe's)"
    )
    part.add_argument("--spread", action=argparse.BooleanOptionalAction, help="add the bias evenly in every step (default: the recipe's)")
    part.add_argument("--fraction", type=fraction, metavar="F|auto", help="fractional bits of thresholds and starts (default: 0)")
    part.add_argument("--start", choices=("half", "zero"), default="half", help="the potential to start from: ⌊θ/2⌋ or 0 (default: half)")
    part.add_argument("--out", type=Path, required=True, metavar="FILE", help="network.safetensors to write")
    part.set_defaults(function=convert)

    part = commands.add_parser("codes", help="accuracy and spikes by code, number of steps and balance; writes codes.json and codes.svg")
    _add_source(part, nargs="+")
    part.add_argument("--steps", type=different_integers, default=STEPS, metavar="T[,T…]", help="numbers of time steps (default: 1,2,4,8)")
    part.add_argument("--levels", type=int, metavar="L", help="greatest count of ternary and graded neurons (default: as convert has it)")
    part.add_argument("--balance", metavar="NAME[,NAME…]", help=f"of {', '.join(BALANCES)} (default: all that the network can have)")
    _add_balance(part)
    part.add_argument("--code", action="append", metavar="NAME", help="a row of the table, such as 'rate, bias spread' (default: all)")
    part.add_argument("--split", choices=("test", "validation"), default="test", help="which frames (default: test)")
    part.add_argument("--out", type=Path, metavar="JSON", help="(default: codes.json beside the first checkpoint); a picture is beside it")
    part.set_defaults(function=codes)


def _add_source(part: argparse.ArgumentParser, nargs: str | None = None) -> None:
    several = "; of several seeds, the table has means" if nargs else ""
    part.add_argument(
        "checkpoint", type=Path, nargs=nargs, metavar="CHECKPOINT", help=f"checkpoint.safetensors, as train writes it{several}"
    )
    part.add_argument("--dataset", help=f"{datasets.CHOICES} (default: what it was trained on)")


def _add_balance(part: argparse.ArgumentParser) -> None:
    part.add_argument("--percentile", type=float, metavar="P", help="of the activations, for the balance 'percentile' (default: 99.9)")
    part.add_argument(
        "--per", choices=("layer", "neuron"), help="for max and percentile: balance each layer or each neuron (default: layer)"
    )


def _refuse_idle(arguments: argparse.Namespace, balances: Sequence[str]) -> None:
    for name, needed in (("percentile", ("percentile",)), ("per", ("max", "percentile"))):
        if getattr(arguments, name) is not None and not set(needed) & set(balances):
            raise UserError(
                f"--{name} must come with the balance {' or '.join(needed)}, not {', '.join(balances)}, which it does not change"
            )


def fraction(text: str) -> int | str:
    """``F``, or ``auto``."""
    return text if text == "auto" else int(text)


def _load(source: "Source", dataset: str | None) -> "Dataset":
    return datasets.load(dataset or source.provenance["dataset"])


def convert(arguments: argparse.Namespace) -> int:
    from model import conversion_checkpoint
    from model import convert as act
    from model.conversion import Conversion

    given = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    if given.get("fraction") == "auto":
        given["fraction"] = None
    refuse_overwriting(arguments.checkpoint, arguments.out)
    source = conversion_checkpoint.read(arguments.checkpoint)
    how = Conversion(**act.choices_of(source) | given, half=arguments.start == "half")  # what is out of range needs no data to say so
    _refuse_idle(arguments, (how.balance,))
    done = act.convert(source, _load(source, arguments.dataset), how)
    sha256 = export.save(done.network, arguments.out)
    print(act.describe(done))
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {notation(done.network)}, T = {done.network.steps}, {size} bytes, sha256 {sha256}")
    return 0


def codes(arguments: argparse.Namespace) -> int:
    balances = tuple(arguments.balance.split(",")) if arguments.balance else None
    if unknown := [name for name in balances or () if name not in BALANCES]:
        raise UserError(f"balance must be one of {', '.join(BALANCES)}, not {unknown[0]!r}")
    if balances:
        _refuse_idle(arguments, balances)
    from model import codes as table
    from model import conversion_checkpoint

    sources = [conversion_checkpoint.read(path) for path in arguments.checkpoint]
    options = {"levels": arguments.levels, "per": arguments.per or "layer"}
    if arguments.percentile is not None:
        options["percentile"] = arguments.percentile
    dataset = _load(sources[0], arguments.dataset)
    content = table.measure(sources, dataset, arguments.split, arguments.steps, balances, options, command(sys.argv[1:]), arguments.code)
    print(table.text(content))
    out = arguments.out or arguments.checkpoint[0].with_name("codes.json")
    print(*table.write(content, out), sep="\n")
    return 0
