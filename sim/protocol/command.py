"""``python -m sim protocol``: random sequences of good and bad frames and resets, against small circuits."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from export.cli import EXIT_DIFFERENCE, Parser
from sim.protocol.circuits import CIRCUITS, Circuit
from sim.protocol.proof import Outcome, prove

COUNTED = ("sequences", "resets", "frames", "right", "flagged", "unchecked", "cancelled", "spikes")


def parser() -> Parser:
    """The command's parser."""
    result = Parser(
        prog="python -m sim protocol",
        description=f"Send random sequences of good and bad frames, with gaps, stalls and resets, to {len(CIRCUITS)} small circuits, "
        "in both modes and while the mode changes, and compare everything that comes out with what the rules in docs/hardware.md say.",
    )
    result.add_argument("--sequences", type=_number, default=10_000, metavar="N", help="how many, shared by the circuits (default: 10000)")
    result.add_argument("--seed", type=_number, default=0, help="of all that is random (default: 0)")
    result.add_argument("--only", type=_number, metavar="K", help="sequence number K alone")
    result.add_argument("--out", type=Path, metavar="DIR", help="folder for the waveform of the first sequence with a difference")
    return result


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"must be a non-negative integer, not {text!r}")
    return int(text)


def main(arguments: Sequence[str]) -> int:
    """Play, print what was seen; exit status 1 if anything differs."""
    given = parser().parse_args(arguments)
    numbers = range(given.sequences) if given.only is None else [given.only]
    differs = False
    for place, circuit in enumerate(CIRCUITS):
        chosen = [number for number in numbers if number % len(CIRCUITS) == place]
        if not chosen:
            continue
        verilog = circuit.verilog()
        outcome = prove(circuit.network, verilog, chosen, given.seed)
        print(table(circuit, outcome), flush=True)
        if outcome.found and not differs and given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
            mode, number, _ = outcome.found[0]
            prove(circuit.network, verilog, [number], given.seed, modes=[mode], waves=given.out / f"sequence_{number}")
            print(f"  waveform: {given.out / f'sequence_{number}_{mode}.vcd'}")
        differs = differs or bool(outcome.found)
    return EXIT_DIFFERENCE if differs else 0


def table(circuit: Circuit, outcome: Outcome) -> str:
    """An outcome in a few lines."""
    lines = [f"{circuit}, {outcome.seconds:.1f} s"]
    for mode, count in outcome.counts.items():
        lines.append(f"  {mode:<10}" + ", ".join(f"{count[name]:,} {name}" for name in COUNTED))
    lines += [f"  {found.text}" for found in outcome.found]
    return "\n".join(lines)
