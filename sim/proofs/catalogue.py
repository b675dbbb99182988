"""Every formal proof, in order."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from export import Conv2d, Graded, Pool2d, Rate, Ternary
from hw import Folding
from hw.core.words import WordFormat
from sim.proofs import axi, circuit, coded_layer, conv_layer, encoder, layer, loader, neurons, observer, parts, pool, wishbone
from sim.proofs.circuit import Size
from sim.proofs.parts import Harness
from sim.proofs.record import Row, select
from sim.proofs.sby import Proof, prove


def _unbounded(name: str, what: str, harness: Callable[[], Harness], *, reach: int) -> Proof:
    return Proof(name, what, harness, "pdr", 0, reach)


def _inductive(name: str, what: str, harness: Callable[[], Harness], *, reach: int) -> Proof:
    return Proof(name, what, harness, "induction", 1, reach)


def _bounded(name: str, what: str, harness: Callable[[], Harness], *, depth: int, why: str, reach: int | None = None) -> Proof:
    return Proof(name, what, harness, "reduced", depth, depth if reach is None else reach, why)


CODED = WordFormat(inputs=5, steps=3, simd=2, skips_empty_steps=False, coefficients=(0, 3))
BIASED: dict[str, Any] = {"bias": np.array([-8]), "fraction": 1}
WITH = "; any bias, and one fractional bit"
PARTS = (
    _unbounded(
        "frame check",
        "words of lawful frames pass unchanged; from the first word that breaks a rule a frame is flagged and silent, and the next is not",
        lambda: parts.frame_check(WordFormat(inputs=5, steps=3, simd=2)),
        reach=8,
    ),
    _unbounded(
        "frame check, ascending",
        "the same, of words whose indices must ascend in a step",
        lambda: parts.frame_check(WordFormat(inputs=5, steps=3, simd=2, ascending=True)),
        reach=8,
    ),
    _unbounded(
        "frame check, coefficients",
        "the same, of words of two bits for each input, where every step has to be closed",
        lambda: parts.frame_check(CODED),
        reach=8,
    ),
    _unbounded(
        "argmax",
        "of any five numbers the largest, at the lowest place where there are several",
        lambda: parts.argmax(count=5, width=4, always=3),
        reach=8,
    ),
    _inductive(
        "counts",
        "both forms count what the definition says, and a neuron fires once, at its threshold",
        lambda: parts.counts(5),
        reach=2,
    ),
    _inductive(
        "counts, coefficients",
        "sums of three inputs' coefficients, from -3 to 3, are what the definition says",
        lambda: neurons.counts(3, (-3, 3)),
        reach=2,
    ),
    *(
        _unbounded(
            f"neurons, {name}",
            f"for any potential, count, threshold and sum of coefficients so far, neurons send and keep what [S9] and [S10] say{more}",
            partial(neurons.neurons, neuron, width),
            reach=2,
        )
        for name, neuron, width, more in (
            ("rate", Rate(np.array([15])), 5, ""),
            ("ternary", Ternary(np.array([15]), levels=3), 5, "; counts from 0 to 3"),
            ("ternary, signed", Ternary(np.array([15]), levels=2, signed=True), 5, "; counts from -2 to 2"),
            ("graded", Graded(np.array([15]), levels=7), 4, "; counts from 0 to 7"),
            ("graded, signed", Graded(np.array([15]), levels=3, signed=True), 5, "; counts from -3 to 3"),
            ("rate, bias", Rate(np.array([15]), **BIASED), 5, WITH),
            ("ternary, bias", Ternary(np.array([15]), levels=3, **BIASED), 5, "; counts from 0 to 3" + WITH),
            ("graded, bias", Graded(np.array([15]), levels=3, **BIASED), 5, "; counts from 0 to 3" + WITH),
        )
    ),
    _bounded(
        "latency encoder",
        "any pixels, frames of any length, words that wait and are cancelled: words hold and keep the rules; any frame of three pixels, "
        "T = 2, has the spikes of [S2], or an error if its length is wrong",
        lambda: encoder.encoder(WordFormat(inputs=3, steps=2, simd=2), p_min=1, pixels=1),
        depth=16,
        why="a frame behind another is covered",
    ),
    _unbounded(
        "loader",
        "any bytes, gaps, new beginnings and resets: memories are loaded if, and only if, all bytes have come since the last first one, "
        "and then any byte of any row is the one that came at its place; three memories, of rows of 5, 9 and 16 bits",
        lambda: loader.loader(((5, 3), (9, 2), (16, 1))),
        reach=22,
    ),
)

DELTA, XNOR, EVENT, STEP = ("delta",), ("xnor",), ("event",), ("step",)
FIVE, THREE = ((5, 3), 3), ((3, 2), 2)
"""Sizes of layers, inputs and neurons, and T."""


def _layer(
    name: str, size: tuple[tuple[int, int], int], folding: Folding, depth: int, why: str, *, holds_vectors: bool = False
) -> Iterator[Proof]:
    """A proof for each neuron of a layer."""
    sizes, steps = size
    for neuron in range(sizes[1]):
        yield _bounded(
            f"layer, {name}, neuron {neuron}",
            f"a layer of {sizes[1]} neurons with {sizes[0]} inputs, T = {steps}: every row of any frame has the spike and the margin of "
            f"neuron {neuron} that the definition says, for any weights, thresholds and words, whatever frames came before",
            partial(layer.neuron_vectors, sizes, steps, folding, neuron=neuron, holds_vectors=holds_vectors),
            depth=depth,
            why=why,
        )


LAYERS = (
    _inductive(
        "definition",
        "what the harnesses hold a neuron against, a running sum, is the definition, [S3] and [S4], for any frame of five inputs, T = 3",
        lambda: observer.equals_definition(WordFormat(5, 3, 2), 1),
        reach=10,
    ),
    _inductive(
        "definition, as agreement",
        "and what xnor layers are held against, weights and spikes that agree, counted anew [S7], is the same, for such a frame",
        lambda: observer.equals_definition(WordFormat(5, 3, 2), 1, observer.AgreementObserver),
        reach=10,
    ),
    _inductive(
        "definition of the decision",
        "and the definition of [S5], for any frame of three inputs and two outputs, T = 2",
        lambda: observer.equals_definition(WordFormat(3, 2, 2), 2),
        reach=10,
    ),
    *_layer(
        *("delta, event", FIVE, Folding((2,), (2,), DELTA, EVENT), 18),
        "a frame of five words takes ten cycles, and three to its last row",
    ),
    *_layer(
        *("delta, event, rows wait", THREE, Folding((2,), (1,), DELTA, EVENT, contexts=2), 14),
        "two contexts; a frame of three words takes six cycles, and three to its last row",
        holds_vectors=True,
    ),
    *_layer(
        *("delta, step", FIVE, Folding((2,), (2,), DELTA, STEP), 14),
        "a frame of five words takes ten cycles, and four to its last row",
    ),
    *_layer(
        *("delta, step, swaps", THREE, Folding((2,), (2,), DELTA, STEP, (2,), 2), 14),
        "two contexts; a frame of three words takes seven cycles, and four to its last row",
    ),
    *_layer(
        *("xnor", FIVE, Folding((2,), (2,), XNOR), 25),
        "a frame of three steps takes 21 cycles, and two to its last row; one behind another is covered",
    ),
)

SMALL = Size((2, 2, 2), 2, Folding((2, 2), (2, 2), DELTA * 2))
FOLDED = Size((2, 2, 2), 2, Folding((1, 1), (1, 1), DELTA * 2))
STEPPED = Size((2, 2, 2), 2, Folding((2, 2), (1, 1), DELTA * 2, STEP * 2))
WALKED = Size((2, 2, 2), 2, Folding((2, 2), (2, 2), XNOR * 2))
IN_TURN = Size((2, 2, 2), 2, Folding((2, 2), (2, 2), DELTA * 2, contexts=2))
HIDDEN = "every spike of the hidden layer of any frame, whatever came before it, bad frames included, in both modes, 2-2-2, T = 2"
LAST = (
    "every spike of the last layer and the result of any frame, whatever came before it, bad frames included, in both modes, 2-2-2, T = 2"
)
FRAME = (
    "a result comes some thirteen cycles after its frame began, an early one of the last step in cycle 21; covers show these, and a frame "
    "behind another"
)


PROGRESS = (
    ("", SMALL, 20, 26, 40, 19),
    (", folded", FOLDED, 23, 30, 42, 22),
    (", step, folded", STEPPED, 36, 42, 60, 12),
    (", xnor", WALKED, 25, 30, 48, 12),
    (", two contexts", IN_TURN, 20, 28, 42, 19),
)
"""Circuits, their bound in cycles, depths of the proof from a reset and of that behind a frame, and the longest wait that is covered there;
one less than the bound shows that the bound is tight."""


def _progress(name: str, size: Size, bound: int, depth: int, depth_behind: int, covered: int) -> Iterator[Proof]:
    several = "on all streams, each of which goes on with a frame that it has begun, " if size.folding.contexts > 1 else ""
    what = (
        f"while words are offered, {several}or the oldest frame has ended, a word or a result passes within {bound} cycles, if results "
        "wait for one at most; no result without its frame"
    )
    make = partial(circuit.moves, size, stalls=1, bound=bound)
    yield _bounded(f"progress{name}", what, make, depth=depth, reach=24, why="the longest wait is under way by then")
    yield _bounded(
        f"progress behind a frame{name}",
        f"behind a frame of one empty word, good or bad, and its result, which is taken at once: {what}",
        partial(make, covered=covered),
        depth=depth_behind,
        why=f"a wait of {covered} cycles that ends behind the first result is covered",
    )


CODES: dict[str, tuple[str, dict[str, Any]]] = {
    "rate": ("rate", {}),
    "ternary": ("ternary", {"levels": 2}),
    "ternary, signed": ("ternary", {"levels": 2, "signed": True}),
    "graded": ("graded", {"levels": 2}),
    "graded, signed": ("graded", {"levels": 2, "signed": True}),
    "graded, bias": ("graded", {"levels": 2, "fraction": 1, "biased": True}),
}
CODED_LAYERS = tuple(
    _bounded(
        f"layer, {name}",
        "a layer of 2 neurons with 2 inputs of two bits, T = 2: every row of any frame has the coefficients that the definition says, for "
        "any weights, thresholds to 3, potentials to start from and words, whatever frames came before",
        partial(coded_layer.coefficients, (2, 2), 2, folding, code, **options),
        depth=depth,
        why="a frame behind another is covered",
    )
    for name, (code, options), folding, depth in (
        *((name, code, Folding((2, 1), (2, 1), DELTA * 2), 10) for name, code in CODES.items()),
        ("graded, folded", CODES["graded"], Folding((2, 1), (1, 1), DELTA * 2), 13),
    )
)

POOLS = tuple(
    _bounded(
        f"pool, {name}",
        f"{what}, of any frame of neurons that spike once, whatever came before, is sent in its step; words keep the rules and close the "
        f"same steps: a map of {'x'.join(map(str, shape.input_map))}, windows of {'x'.join(map(str, shape.window))}, T = 2",
        partial(pool.pool, shape, 2, simd, contexts=contexts),
        depth=depth,
        why="a frame that has come to its end is covered",
    )
    for name, what, shape, simd, contexts, depth in (
        ("max", "the first spike of each window, and no other", Pool2d((2, 2), 2, (2, 1)), 2, 1, 14),
        ("max, two contexts", "the first spike of each window, and no other", Pool2d((2, 2), 1, (2, 1)), 1, 2, 16),
        ("sum", "every spike of each window", Pool2d((3, 2), 1, (2, 1), "sum"), 1, 1, 10),
    )
)

SHAPES = {
    "1C2 of 3x3": Conv2d(np.ones((1, 1, 2, 2)), (3, 3)),
    "1C2s2p1 of 3x3": Conv2d(np.ones((1, 1, 2, 2)), (3, 3), stride=2, padding=1),
    "2C2 of 3x2": Conv2d(np.ones((2, 1, 2, 2)), (3, 2)),
    "3C2 of 3x2": Conv2d(np.ones((3, 1, 2, 2)), (3, 2)),
    "1C2 of 3x2": Conv2d(np.ones((1, 1, 2, 2)), (3, 2)),
    "1C2 of 4x2": Conv2d(np.ones((1, 1, 2, 2)), (4, 2)),
    "P2x1-1C2 of 6x2": Conv2d(np.ones((1, 1, 2, 2)), (3, 2)),
}
SUMS = {"P2x1-1C2 of 6x2": Pool2d((6, 2), 1, (2, 1), "sum")}
"""Pools in front of convolutions."""


def _convolution(
    name: str, shape: str, steps: int, folding: Folding, code: str, depth: int, why: str, what: str, *, holds_vectors: bool = False
) -> Iterator[Proof]:
    """A proof for each position of a convolution."""
    for place in range(SHAPES[shape].outputs // SHAPES[shape].channels):
        yield _bounded(
            f"{name}, position {place}",
            f"a convolution, {shape}, T = {steps}: of any frame, {what.format(place)}, for any kernels, thresholds and words, whatever "
            "frames came before",
            partial(
                conv_layer.positions,
                *(SHAPES[shape], steps, folding, code),
                **CODES[code][1] if code in CODES else {},
                pool=SUMS.get(shape),
                holds_vectors=holds_vectors,
                position=place,
            ),
            depth=depth,
            why=why,
        )


DUE = "vectors come in order, none twice, and position {} sends in each step what the definition says"
ALL = "vectors of all positions come in order, each once, and position {} sends what the definition says of the whole step"
CONVOLUTIONS = tuple(
    proof
    for name, shape, contexts, code, depth in (
        ("single", "1C2 of 3x3", 1, "single", 16),
        ("single, stride and padding", "1C2s2p1 of 3x3", 1, "single", 16),
        ("single, folded", "2C2 of 3x2", 1, "single", 19),
        ("single, two contexts", "1C2 of 3x2", 2, "single", 17),
        ("graded", "1C2 of 3x2", 1, "graded", 16),
        ("rate", "1C2 of 3x2", 1, "rate", 15),
    )
    for proof in _convolution(
        *(f"convolution, {name}", shape, 2, Folding((1, 1), (1, 1), DELTA * 2, contexts=contexts), code, depth),
        "a spike in the last step of a frame, and of one behind another, are covered: of frames of few words",
        DUE,
    )
)
WHOLE, FEW = "a frame in which all inputs spike, behind an empty one, takes {} cycles", "of frames of few words"
ROWS = tuple(
    proof
    for name, shape, pe, contexts, waits, code, depth, reach in (
        ("single", "1C2 of 3x3", 1, 1, False, "single", 19, FEW),
        ("single, ring of two rows", "1C2 of 4x2", 1, 1, False, "single", 23, WHOLE),
        ("single, stride and padding", "1C2s2p1 of 3x3", 1, 1, False, "single", 22, WHOLE),
        ("single, folded", "2C2 of 3x2", 1, 1, False, "single", 19, FEW),
        ("single, a fold not full", "3C2 of 3x2", 2, 1, False, "single", 19, FEW),
        ("single, two contexts", "1C2 of 3x2", 1, 2, False, "single", 17, WHOLE),
        ("single, vectors wait", "1C2 of 3x2", 1, 1, True, "single", 17, WHOLE),
        ("single, pool", "P2x1-1C2 of 6x2", 1, 1, False, "single", 18, FEW),
        ("graded", "1C2 of 4x2", 1, 1, False, "graded", 16, FEW),
    )
    for proof in _convolution(
        *(f"convolution by rows, {name}", shape, 1, Folding((1, 1), (pe, 1), DELTA * 2, contexts=contexts), code, depth),
        f"a row that is sent before its step closes, and a frame behind another, are covered: {reach.format(depth)}",
        ALL,
        holds_vectors=waits,
    )
)

CIRCUITS = (
    _bounded("circuit, hidden layer", HIDDEN, lambda: circuit.equals_definition(SMALL, 0), depth=22, why=FRAME),
    _bounded("circuit, last layer", LAST, lambda: circuit.equals_definition(SMALL, 1), depth=22, why=FRAME),
    _bounded("circuit, two contexts, hidden layer", HIDDEN, lambda: circuit.equals_definition(IN_TURN, 0), depth=22, why=FRAME),
    _bounded("circuit, two contexts, last layer", LAST, lambda: circuit.equals_definition(IN_TURN, 1), depth=22, why=FRAME),
    _unbounded("result stream", "a result holds until it is taken, in both modes", lambda: circuit.result_stream(SMALL), reach=20),
    _bounded(
        "streams",
        "every stream inside, from frame check, scheduler, emitter and results, holds what it offers, in both modes, for arbitrary inputs",
        lambda: circuit.streams(FOLDED),
        depth=28,
        reach=24,
        why="a whole frame takes some sixteen cycles, and the next one follows at once",
    ),
    *(proof for row in PROGRESS for proof in _progress(*row)),
)

WRAPPERS = (
    _unbounded(
        "AXI-Lite bridge",
        "any accesses: each has its bytes on the bus of the registers, once and no others, and one response behind it, OKAY, which holds "
        "and comes within 14 cycles, if none is kept waiting",
        axi.bridge,
        reach=24,
    ),
    _unbounded(
        "AXI",
        "around any accelerator, for arbitrary inputs on all ports, resets by software included: all streams keep the protocol, words and "
        "results pass in order and as they were but for what a reset forgets, tlast comes with every so many results",
        lambda: axi.wrapper(SMALL),
        reach=24,
    ),
    _unbounded(
        "AXI, loadable weights",
        "the same; words wait until weights are loaded, and each byte that is written reaches the loader, once",
        lambda: axi.wrapper(SMALL, weights="loadable"),
        reach=24,
    ),
    _unbounded(
        "Wishbone",
        "around any accelerator, for arbitrary accesses, resets by software included: an ack for each access, after two or six cycles, or "
        "when there is room; any word that is not lost passes in order, and tells if others were; any result is read once, in order",
        lambda: wishbone.wrapper(SMALL),
        reach=20,
    ),
)
PROOFS = PARTS + LAYERS + CODED_LAYERS + POOLS + CONVOLUTIONS + ROWS + CIRCUITS + WRAPPERS


def rows(names: Sequence[str], out: Path, *, timeout: int) -> Iterator[Row]:
    """Carry out, one after the other, all proofs, or those with one of ``names`` in their name; what one that
    fails leaves is kept in ``out``.

    Raises:
        UserError: a name is in none, at once; or, later, a program is missing.
        ToolError: a proof comes to no verdict.
    """
    return _carried_out(select({proof.name: proof for proof in PROOFS}, names).values(), out, timeout)


def _carried_out(proofs: Iterable[Proof], out: Path, timeout: int) -> Iterator[Row]:
    for proof in proofs:
        folder = out / proof.name.replace(" ", "-")
        shutil.rmtree(folder, ignore_errors=True)
        outcome = prove(proof, keep=folder, timeout=timeout)
        if outcome.holds:
            shutil.rmtree(folder)
        how = {
            "reduced": f"bounded model checking, depth {proof.depth}: {proof.why}",
            "induction": "unbounded (induction)",
            "pdr": "unbounded (property-directed reachability)",
        }
        result = outcome.failed or f"{outcome.assertions} assertions hold, {outcome.covers} covers reached"
        yield Row(proof.name, proof.what, how[proof.method], result, outcome.holds, outcome.seconds)
