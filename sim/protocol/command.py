"""``python -m sim protocol``: random sequences of good and bad frames and resets, against small circuits."""

from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from export.cli import EXIT_DIFFERENCE, Parser, positive
from sim.proofs import record
from sim.protocol.circuits import BY_KIND, Circuit, sizes
from sim.protocol.proof import Outcome, prove

COUNTED = ("sequences", "resets", "frames", "right", "flagged", "unchecked", "cancelled", "spikes")


def parser() -> Parser:
    """The command's parser."""
    circuits = sum(map(len, BY_KIND.values()))
    result = Parser(
        prog="python -m sim protocol",
        description=f"Send random sequences of good and bad frames, with gaps, stalls and resets, to {circuits} small circuits, "
        "in both modes and while the mode changes, and compare everything that comes out with what the rules in docs/hardware.md say.",
    )
    result.add_argument(
        "--sequences",
        type=positive,
        default=10_000,
        metavar="N",
        help="how many for each kind of neuron, and for convolutions, shared by its circuits (default: 10000)",
    )
    result.add_argument("--neurons", choices=BY_KIND, metavar="KIND", help=f"circuits of one kind only: {', '.join(BY_KIND)}")
    result.add_argument("--seed", type=_number, default=0, help="of all that is random (default: 0)")
    result.add_argument("--only", type=_number, metavar="K", help="sequence number K alone, of each kind")
    result.add_argument(
        "--out",
        type=Path,
        default=Path("build/proofs"),
        metavar="DIR",
        help="folder of proofs-protocol.json, and of the waveform of the first sequence with a difference (default: build/proofs)",
    )
    return result


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"must be a non-negative integer, not {text!r}")
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Play, print what was seen; exit status 1 if anything differs."""
    given = parser().parse_args(arguments)
    numbers = range(given.sequences) if given.only is None else [given.only]
    if given.only is None:
        record.load(given.out)  # named before, not after hours, if it cannot be added to
    rows: list[record.Row] = []
    circuits = [(kind, place, circuit) for kind, of_kind in BY_KIND.items() for place, circuit in enumerate(of_kind)]
    for index, (kind, place, circuit) in enumerate(circuits):
        chosen = [number for number in numbers if number % len(BY_KIND[kind]) == place]
        if not chosen or given.neurons not in (None, kind):
            continue
        verilog = circuit.verilog()
        outcome = prove(circuit.network, verilog, chosen, given.seed)
        print(table(circuit, outcome), flush=True)
        if outcome.found and all(row.passed for row in rows):
            given.out.mkdir(parents=True, exist_ok=True)
            mode, number, _ = outcome.found[0]
            prove(circuit.network, verilog, [number], given.seed, modes=[mode], waves=given.out / f"sequence_{number}")
            print(f"  waveform: {given.out / f'sequence_{number}_{mode}.vcd'}")
        rows.append(_row(index, circuit, outcome))
    if given.only is None:
        record.save("protocol", rows, given.out)
    return 0 if all(row.passed for row in rows) else EXIT_DIFFERENCE


def _row(index: int, circuit: Circuit, outcome: Outcome) -> record.Row:
    """What a proof's table says of an outcome."""
    folding, count = circuit.folding, sum(outcome.counts.values(), Counter())
    return record.Row(
        name=f"{index}: {sizes(circuit.network)}, {circuit.code}{folding.contexts} context{'s' if folding.contexts > 1 else ''}",
        what="random sequences of good and bad frames, gaps, stalls, cancels and resets: good frames are right, bad ones flagged",
        how=f"{outcome.counts['full']['sequences']:,} sequences, {len(outcome.counts)} modes",
        result=outcome.found[0].text
        if outcome.found
        else f"{count['right']:,} frames right, {count['flagged']:,} flagged, {count['resets']:,} resets",
        passed=not outcome.found,
        seconds=outcome.seconds,
    )


def table(circuit: Circuit, outcome: Outcome) -> str:
    """An outcome in a few lines."""
    lines = [f"{circuit}, {outcome.seconds:.1f} s"]
    for mode, count in outcome.counts.items():
        lines.append(f"  {mode:<10}" + ", ".join(f"{count[name]:,} {name}" for name in COUNTED))
    lines += [f"  {found.text}" for found in outcome.found]
    return "\n".join(lines)
