"""The proof that the test benches see faults: mutants of two small circuits, killed, equivalent, or left over."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from export.files import atomic_write
from hw import Folding
from sim.proofs.equivalence import equivalent
from sim.proofs.mutants import kill, mutate
from sim.proofs.record import Row
from sim.protocol.circuits import TWO_LAYERS

CIRCUITS = {
    "walk, event, 2 contexts": Folding((3, 2), (3, 2), ("xnor", "delta"), contexts=2),
    "step, event": Folding((3, 2), (3, 2), ("delta", "delta"), ("step", "event")),
}
"""Foldings of a small network of the protocol; the sizes divide nothing."""
COUNT = 150
"""Mutants of each."""
LEAST = 95.0
"""Share, in percent, of those not equivalent that must be killed."""
SURVIVORS = "survivors.json"
VERDICTS = {True: "equivalent", False: "different", None: "undecided"}


def rows(out: Path, *, count: int = COUNT, timeout: int = 300) -> Iterator[Row]:
    """Kill mutants of each circuit; ``out/survivors.json`` lists those that are left, and those proved equivalent.

    Parameters:
        out: folder.
        count: mutants of each circuit.
        timeout: seconds to look for a proof that one which lives on is equivalent.

    Raises:
        UserError: the tool chain is missing.
        ToolError: Yosys fails.
        sim.build.BuildError: a circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
    """
    left: list[dict[str, str | int]] = []
    for name, folding in CIRCUITS.items():
        began = time.monotonic()
        mutated = mutate(TWO_LAYERS, folding, count)
        killed: Counter[str] = Counter()
        verdicts: Counter[str] = Counter()
        for mutant, complaint in kill(mutated):
            if complaint:
                killed[complaint.partition(",")[0].partition(":")[0]] += 1
                continue
            verdict = VERDICTS[equivalent(mutated, mutant, timeout=timeout)]
            verdicts[verdict] += 1
            left.append({"circuit": name, "mutant": mutant.number, "place": mutant.place, "verdict": verdict})
            _write(left, out / SURVIVORS)
        same, others = verdicts["equivalent"], verdicts["different"] + verdicts["undecided"]
        share = 100 * killed.total() / max(1, count - same)
        by_bench = ", ".join(f"{number} by {bench}" for bench, number in killed.most_common())
        yield Row(
            f"{'-'.join(map(str, TWO_LAYERS.shape))}, {name}",
            "the test benches see faults",
            f"{count} mutants",
            f"{killed.total()} killed ({by_bench}), {same} equivalent, {others} left: {share:.1f} % of those not equivalent killed",
            share >= LEAST,
            time.monotonic() - began,
        )
    _write(left, out / SURVIVORS)


def _write(left: list[dict[str, str | int]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(left, indent=2) + "\n")
