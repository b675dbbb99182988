"""``python -m sim.proofs formal|netlist|mutants|table``: the proofs that take longer than tests may."""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

from export import UserError, pages
from export.cli import EXIT_BROKEN, EXIT_DIFFERENCE, Parser, positive, run
from export.files import prepare_folder
from sim.build import BuildError
from sim.proofs import record
from sim.proofs.record import Row
from sim.proofs.tools import ToolError
from sim.simulate import SimulationError

BEGIN, END = "<!-- table: python -m sim.proofs table -->\n", "<!-- end of table -->\n"


def parser() -> Parser:
    result = Parser(prog="python -m sim.proofs", description=__doc__)
    parts = result.add_subparsers(dest="part", required=True, metavar="PART")
    for name, text in {
        "formal": "prove properties of the circuit for all inputs",
        "netlist": "co-simulate the netlists after synthesis",
        "mutants": "see the test benches find faults",
        "table": "print the table of what was found, or put it into a page",
    }.items():
        part = parts.add_parser(name, help=text, description=text)
        folder = "docs/results" if name == "table" else "build/proofs"
        part.add_argument("--out", type=Path, default=Path(folder), metavar="DIR", help=f"folder of results (default: {folder})")
        if name != "table":
            part.add_argument("names", nargs="*", metavar="NAME", help="only proofs whose name has one of these in it")
        if name == "formal":
            part.add_argument("--timeout", type=positive, default=3600, metavar="S", help="seconds for one proof (default: 3600)")
        elif name == "netlist":
            part.add_argument("--images", type=positive, metavar="N", help="the first N test frames only (default: all)")
        elif name == "mutants":
            part.add_argument("--count", type=positive, default=150, metavar="N", help="mutants of each circuit (default: 150)")
            part.add_argument("--timeout", type=positive, default=300, metavar="S", help="seconds for one equivalence (default: 300)")
        elif name == "table":
            part.add_argument("--page", type=Path, metavar="FILE.md", help="the page; its table is replaced")
    return result


def formal(arguments: Namespace) -> Iterator[Row]:
    from sim.proofs import catalogue

    return catalogue.rows(arguments.names, arguments.out, timeout=arguments.timeout)


def netlist(arguments: Namespace) -> Iterator[Row]:
    from sim.proofs import synthesised

    return synthesised.rows(arguments.names, images=arguments.images)


def mutants(arguments: Namespace) -> Iterator[Row]:
    from sim.proofs import mutation

    return mutation.rows(arguments.names, arguments.out, count=arguments.count, timeout=arguments.timeout)


def table(arguments: Namespace) -> int:
    """Print the table of all parts, or write it into a page."""
    parts = record.load(arguments.out)
    if not parts:
        raise UserError(f"{arguments.out} must hold results of proofs, but has none")
    if arguments.page is None:
        for part, rows in parts.items():
            print(f"{part}\n{record.table(rows)}")
    else:
        pages.replace(arguments.page, BEGIN, END, record.markdown(parts))
    return 0 if all(row.passed for rows in parts.values() for row in rows) else EXIT_DIFFERENCE


RUNS: dict[str, Callable[[Namespace], Iterator[Row]]] = {"formal": formal, "netlist": netlist, "mutants": mutants}


def main() -> int:
    arguments = parser().parse_args()
    if arguments.part == "table":
        return table(arguments)
    found = RUNS[arguments.part](arguments)
    prepare_folder(arguments.out)
    record.load(arguments.out)  # named before, not after hours, if it cannot be added to
    passed = True
    try:
        for row in found:
            print(record.table([row]), flush=True)
            record.save(arguments.part, [row], arguments.out)
            passed &= row.passed
    except (BuildError, SimulationError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BROKEN
    return 0 if passed else EXIT_DIFFERENCE


if __name__ == "__main__":
    run(main)
