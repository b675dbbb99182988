"""The proof that the test benches see faults: mutants of two small circuits are killed, or were reviewed and change nothing."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hw import Folding
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
REVIEWED = Path(__file__).parents[2] / "docs" / "proofs" / "survivors.json"
"""Circuit, place and kind of every mutant that survives and was found to change nothing that can be seen; docs/proofs.md says why."""


def rows(*, count: int = COUNT) -> Iterator[Row]:
    """Run mutants of each circuit through the test benches. One that survives and was not reviewed is a failure.

    Parameters:
        count: mutants of each circuit.

    Raises:
        UserError: the tool chain is missing.
        ToolError: Yosys fails.
        sim.build.BuildError: a circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
    """
    reviewed = {(entry["circuit"], entry["place"]) for entry in json.loads(REVIEWED.read_text(encoding="utf-8"))}
    for name, folding in CIRCUITS.items():
        began = time.monotonic()
        killed: Counter[str] = Counter()
        survivors = []
        for mutant, complaint in kill(mutate(TWO_LAYERS, folding, count)):
            if complaint:
                killed[complaint.partition(",")[0].partition(":")[0]] += 1
            else:
                survivors.append(mutant.place)
        new = [place for place in survivors if (name, place) not in reviewed]
        by_bench = ", ".join(f"{number} by {bench}" for bench, number in killed.most_common())
        yield Row(
            f"{'-'.join(map(str, TWO_LAYERS.shape))}, {name}",
            "the test benches see faults",
            f"{count} mutants",
            f"{killed.total()} killed ({by_bench}), {len(survivors) - len(new)} survivors reviewed as equivalent, "
            f"{len(new)} not reviewed{': ' * bool(new)}{'; '.join(new)}",
            not new,
            time.monotonic() - began,
        )
