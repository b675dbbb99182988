"""Every formal proof, in order."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from export.errors import UserError
from hw import Folding
from hw.words import WordFormat
from sim.proofs import circuit, encoder, layer, observer, parts
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
    Proof(
        "latency encoder",
        "any pixels, frames of any length, words that wait and are cancelled: words hold and keep the rules; any frame of three pixels, "
        "T = 2, has the spikes of [S2], or an error if its length is wrong",
        lambda: encoder.encoder(WordFormat(inputs=3, steps=2, simd=2), p_min=1, pixels=1),
        "reduced",
        16,
        16,
        "a frame behind another is covered",
    ),
)

DELTA, XNOR, EVENT, STEP = ("delta",), ("xnor",), ("event",), ("step",)


def _layer(name: str, sizes: tuple[int, int], steps: int, folding: Folding, depth: int, *, holds_rows: bool, why: str) -> Iterator[Proof]:
    """A proof for each neuron of a layer."""
    for neuron in range(sizes[1]):
        what = (
            f"a layer of {sizes[1]} neurons with {sizes[0]} inputs, T = {steps}: every row of any frame has the spike and the margin of "
            f"neuron {neuron} that the definition says, for any weights, thresholds and words, whatever frames came before"
        )
        harness = partial(layer.rows, sizes, steps, folding, neuron=neuron, holds_rows=holds_rows)
        yield Proof(f"{name}, neuron {neuron}", what, harness, "reduced", depth, depth, why)


LAYERS = (
    Proof(
        "definition",
        "what the harnesses hold a neuron against, a running sum, is the definition, [S3] and [S4], for any frame of five inputs, T = 3",
        lambda: observer.equals_definition(WordFormat(5, 3, 2), 1),
        "induction",
        1,
        10,
    ),
    Proof(
        "definition of the decision",
        "and the definition of [S5], for any frame of three inputs and two outputs, T = 2",
        lambda: observer.equals_definition(WordFormat(3, 2, 2), 2),
        "induction",
        1,
        10,
    ),
    *_layer(
        "layer, delta, event",
        (5, 3),
        3,
        Folding((2,), (2,), DELTA, EVENT),
        18,
        holds_rows=False,
        why="a frame of five words takes ten cycles, and three to its last row",
    ),
    *_layer(
        "layer, delta, event, rows wait",
        (3, 2),
        2,
        Folding((2,), (1,), DELTA, EVENT, contexts=2),
        14,
        holds_rows=True,
        why="two contexts; a frame of three words takes six cycles, and three to its last row",
    ),
    *_layer(
        "layer, delta, step",
        (5, 3),
        3,
        Folding((2,), (2,), DELTA, STEP),
        14,
        holds_rows=False,
        why="a frame of five words takes ten cycles, and four to its last row",
    ),
    *_layer(
        "layer, delta, step, swaps",
        (3, 2),
        2,
        Folding((2,), (2,), DELTA, STEP, (2,), 2),
        14,
        holds_rows=False,
        why="two contexts; a frame of three words takes seven cycles, and four to its last row",
    ),
    *_layer(
        "layer, xnor",
        (3, 2),
        2,
        Folding((2,), (1,), XNOR),
        17,
        holds_rows=False,
        why="a frame of two steps takes eleven cycles, and two to its last row; one behind another is covered",
    ),
)

SMALL = circuit.Size((2, 2, 2), 2, Folding((2, 2), (2, 2), DELTA * 2))
FOLDED = circuit.Size((2, 2, 2), 2, Folding((1, 1), (1, 1), DELTA * 2))
HIDDEN = "every spike of the hidden layer of any frame, whatever came before it, bad frames included, in both modes, 2-2-2, T = 2"
LAST = (
    "every spike of the last layer and the result of any frame, whatever came before it, bad frames included, in both modes, 2-2-2, T = 2"
)
FRAME = (
    "a result comes some thirteen cycles after its frame began, an early one of the last step in cycle 21; covers show these, and a frame "
    "behind another"
)

CIRCUITS = (
    Proof("circuit, hidden layer", HIDDEN, lambda: circuit.equals_definition(SMALL, 0), "reduced", 22, 22, FRAME),
    Proof("circuit, last layer", LAST, lambda: circuit.equals_definition(SMALL, 1), "reduced", 22, 22, FRAME),
    Proof("result stream", "a result holds until it is taken, in both modes", lambda: circuit.result_stream(SMALL), "pdr", 0, 20),
    Proof(
        "streams",
        "every stream inside, from check, gate, emitter and results, holds what it offers, in both modes, whatever comes in",
        lambda: circuit.streams(FOLDED),
        "reduced",
        28,
        24,
        "a whole frame takes some sixteen cycles, and the next one follows at once",
    ),
    Proof(
        "progress",
        "while words are offered, or the oldest frame has ended, a word or a result passes within 20 cycles, if results wait for one at "
        "most; no result without its frame",
        lambda: circuit.moves(SMALL, stalls=1, bound=20),
        "reduced",
        26,
        24,
        "the longest span is under way by then: with a bound of 17, it fails in cycle 19",
    ),
)
PROOFS = PARTS + LAYERS + CIRCUITS


def rows(names: Sequence[str], out: Path, *, timeout: int) -> Iterator[Row]:
    """Carry out all proofs, or those with one of ``names`` in their name; what a proof that fails leaves is kept in ``out``.

    Raises:
        UserError: a name is in none, or a program is missing.
        ToolError: a proof comes to no verdict.
    """
    for name in names:
        if not any(name in proof.name for proof in PROOFS):
            raise UserError(f"a name must be in one of {', '.join(repr(proof.name) for proof in PROOFS)}, but {name!r} is not")
    for proof in PROOFS:
        if names and not any(name in proof.name for name in names):
            continue
        folder = out / proof.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        outcome = prove(proof, keep=folder, timeout=timeout)
        if outcome.holds:
            shutil.rmtree(folder)
        how = {
            "reduced": f"all runs of {proof.depth} cycles: {proof.why}",
            "induction": f"for ever (induction, {proof.depth} cycles)",
            "pdr": "for ever (pdr)",
        }
        result = outcome.failed or f"{outcome.assertions} assertions hold, {outcome.covers} covers reached"
        yield Row(proof.name, proof.what, how[proof.method], result, outcome.holds, outcome.seconds)
