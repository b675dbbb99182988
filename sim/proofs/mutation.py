"""The proof that the test benches see faults: mutants of small circuits are killed, equivalent, or left over."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from export import Network
from export.store import write_json
from hw import Folding
from sim.proofs.equivalence import equivalent
from sim.proofs.mutants import kill, mutate
from sim.proofs.record import Row, select
from sim.protocol.circuits import GRADED, RATE, TALL_MAPS, TERNARY, TWO_LAYERS, sizes

CIRCUITS: dict[str, tuple[Network, Folding]] = {
    "walk, event, 2 contexts": (TWO_LAYERS, Folding((3, 2), (3, 2), ("xnor", "delta"), contexts=2)),
    "step, event": (TWO_LAYERS, Folding((3, 2), (3, 2), ("delta", "delta"), ("step", "event"))),
    "rate, event": (RATE, Folding((3, 2), (3, 2), ("delta", "delta"))),
    "ternary, event, step": (TERNARY, Folding((3, 4, 2), (4, 2, 2), ("delta",) * 3, ("event", "step", "event"))),
    "graded, event, step": (GRADED, Folding((3, 2), (3, 2), ("delta", "delta"), ("event", "step"))),
    "convolution": (TALL_MAPS, Folding((1, 2), (1, 2), ("delta", "delta"))),
}
"""Small networks of the protocol, and foldings; where there are no maps, their sizes divide nothing."""
COUNT = 150
"""Mutants of each."""
LEAST = 95.0
"""Share, in percent, of the mutants not proved equivalent that must be killed."""
SURVIVORS = "survivors.json"
VERDICTS = {True: "equivalent", False: "different", None: "undecided"}


def rows(names: Sequence[str], out: Path, *, count: int = COUNT, timeout: int = 300) -> Iterator[Row]:
    """Run mutants of each circuit through the test benches, and look for a proof that those that survive are equivalent.

    Parameters:
        names: only circuits with one of these in their name; none: all.
        out: folder; ``survivors.json`` in it lists the survivors with their verdicts.
        count: mutants of each circuit.
        timeout: seconds for the proof of one survivor.

    Raises:
        UserError: a name is in none, at once; or, later, the tool chain is missing.
        ToolError: Yosys or sby fails.
        sim.build.BuildError: a circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
    """
    circuits = {f"{sizes(network)}, {name}": (network, folding) for name, (network, folding) in CIRCUITS.items()}
    return _rows(select(circuits, names), out, count, timeout)


def _rows(circuits: Mapping[str, tuple[Network, Folding]], out: Path, count: int, timeout: int) -> Iterator[Row]:
    survivors: list[dict[str, str | int]] = []
    for name, (network, folding) in circuits.items():
        began = time.monotonic()
        killed: Counter[str] = Counter()
        verdicts: Counter[str] = Counter()
        mutated = mutate(network, folding, count)
        for mutant, complaint in kill(mutated):
            if complaint:
                killed[complaint.partition(",")[0].partition(":")[0]] += 1
            else:
                verdict = VERDICTS[equivalent(mutated, mutant, timeout=timeout)]
                verdicts[verdict] += 1
                survivors.append({"circuit": name, "mutant": mutant.number, "place": mutant.place, "verdict": verdict})
        write_json(out / SURVIVORS, {"survivors": survivors})
        same = verdicts["equivalent"]
        share = 100 * killed.total() / max(1, count - same)
        by_bench = ", ".join(f"{number} by {bench}" for bench, number in killed.most_common())
        yield Row(
            name,
            "the test benches see faults",
            f"{count} mutants",
            f"{killed.total()} killed ({by_bench}), {same} equivalent, {verdicts.total() - same} left: "
            f"{share:.1f} % of those not equivalent killed",
            share >= LEAST,
            time.monotonic() - began,
        )
