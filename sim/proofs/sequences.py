"""The random sequences of ``python -m sim protocol``, as rows of the table of proofs."""

from collections.abc import Iterator

from sim.proofs.record import Row
from sim.protocol.proof import CIRCUITS, SHAPE, circuit, prove, small_network


def rows(sequences: int) -> Iterator[Row]:
    """Play sequences to the protocol's circuits, which share them.

    Raises:
        UserError: the tool chain is missing.
        sim.build.BuildError: a circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
    """
    network = small_network()
    for place, folding in enumerate(CIRCUITS):
        numbers = range(place, sequences, len(CIRCUITS))
        outcome = prove(network, circuit(network, folding), numbers, seed=0)
        counts = outcome.counts["early"] + outcome.counts["full"]
        forms = ", ".join(f"{form} {order}" for form, order in zip(folding.form, folding.order, strict=True))
        found = "; ".join(entry.text for entry in outcome.found[:1])
        result = found or f"{counts['frames']:,} frames, {counts['flagged']:,} flagged, {counts['spikes']:,} spikes, no difference"
        yield Row(
            f"{'-'.join(map(str, SHAPE))}, {forms}, {folding.contexts} context{'s' * (folding.contexts > 1)}",
            "bad frames are flagged, and frames after them and after resets are right",
            f"{len(numbers):,} sequences, both modes",
            result,
            not outcome.found,
            outcome.seconds,
        )
