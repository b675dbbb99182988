"""Every formal proof, in order."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from export.errors import UserError
from hw.words import WordFormat
from sim.proofs import parts
from sim.proofs.record import Row
from sim.proofs.sby import Proof, prove

PARTS = (
    Proof(
        "frame check",
        "words of lawful frames pass unchanged; from the first word that breaks a rule a frame is flagged and silent, and the next is not",
        lambda: parts.frame_check(WordFormat(inputs=5, steps=3, simd=2)),
        "pdr",
        0,
        8,
    ),
    Proof(
        "argmax",
        "of any five numbers the largest, at the lowest place where there are several",
        lambda: parts.argmax(count=5, width=4, always=3),
        "pdr",
        0,
        8,
    ),
    Proof(
        "counts",
        "both forms count what the definition says, and a neuron fires once, at its threshold",
        lambda: parts.counts(5),
        "induction",
        1,
        2,
    ),
)
PROOFS = PARTS


def rows(names: Sequence[str], out: Path, *, timeout: int) -> Iterator[Row]:
    """Carry out all proofs, or those with one of ``names`` in their name; what a proof that fails leaves is kept in ``out``.

    Raises:
        UserError: a name is in none, or a program is missing.
        ToolError: a proof comes to no verdict.
    """
    for name in names:
        if not any(name in proof.name for proof in PROOFS):
            raise UserError(f"a name must be in one of {', '.join(proof.name for proof in PROOFS)}, but {name!r} is not")
    for proof in PROOFS:
        if names and not any(name in proof.name for name in names):
            continue
        folder = out / proof.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        outcome = prove(proof, keep=folder, timeout=timeout)
        if outcome.holds:
            shutil.rmtree(folder)
        how = {
            "bmc": f"all runs of {proof.depth} cycles",
            "induction": f"for ever (induction, {proof.depth} cycles)",
            "pdr": "for ever (pdr)",
        }
        result = outcome.failed or f"{outcome.assertions} assertions hold, {outcome.covers} covers reached"
        yield Row(proof.name, proof.what, how[proof.method], result, outcome.holds, outcome.seconds)
