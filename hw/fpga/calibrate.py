"""``python -m hw calibrate``: fits the area forecast to circuits of random networks in random foldings, synthesised for each family.

A circuit is synthesised as a whole, since parts by themselves come out larger: where nothing else is slow, they are made fast. Names of
cells tell which part they belong to. The coefficients of a kind of part are those non-negative ones that come closest, in the sense of
least squares of relative errors.
"""

import itertools
import json
from argparse import Namespace
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize

from export import Dense, Encoder, Layer, Network, Single
from export.cli import Parser, positive
from export.files import atomic_write
from export.text import dashed
from hw import Accelerator, Folding
from hw.fpga import flow
from hw.fpga.devices import DEVICES, FAMILIES, Device
from hw.fpga.forecast import COEFFICIENTS, FORMAT, QUANTITIES, VERSION, of_part
from hw.fpga.memories import mapped
from hw.fpga.terms import HOST_KINDS, Part, parts
from hw.fpga.tools import YOSYS
from hw.host.boards import BOARDS
from hw.host.hosted import HostedAccelerator, SerialAccelerator

DESIGNS = 72
HELD_OUT = 24
SEED = 4
HOSTED, HOSTED_HELD_OUT = 16, 8
"""Circuits with a host link, for families with boards."""
DIVISOR = 21
"""Clock cycles per bit of their serial line."""
STANDING_FOR = {"ice40": "hx8k", "ecp5": "ecp5-25k", "xc7": "xc7"}
"""The device of each family that circuits are synthesised for."""
FLOOR = 30.0
"""LUTs or flip-flops: parts smaller than this count as if they were this large where relative errors are weighed."""


def main(arguments: Sequence[str]) -> int:
    """Fit, print the errors on circuits that the fit has not seen, and write the coefficients; returns the exit status.

    Raises:
        UserError: a tool is not installed.
        ToolError: it failed.
        OSError: the file cannot be written.
    """
    parser = Parser(prog="python -m hw calibrate", description="Fit the area forecast to synthesised circuits.")
    parser.add_argument("--designs", type=positive, default=DESIGNS, metavar="N", help=f"circuits to fit to (default: {DESIGNS})")
    parser.add_argument("--held-out", type=positive, default=HELD_OUT, metavar="N", help=f"circuits to try it on (default: {HELD_OUT})")
    parser.add_argument("--family", choices=FAMILIES, action="append", help="one only (may be given again; default: all)")
    parser.add_argument("--out", type=Path, default=COEFFICIENTS, metavar="FILE", help="where to write (default: where forecasts read)")
    given = parser.parse_args(arguments)
    return calibrate(given)


def calibrate(given: Namespace) -> int:
    """Fit each family in turn."""
    families = json.loads(given.out.read_text())["families"] if given.out.exists() else {}
    for name in given.family or FAMILIES:
        device = DEVICES[STANDING_FOR[name]]
        samples = []
        for index in range(given.designs + given.held_out):
            samples.append(Sample(index, device))
            print(f"{name} {samples[-1]}", flush=True)
        families[name] = fit(name, samples[: given.designs])
        families[name]["errors"] = held_out_errors(name, families[name], samples[given.designs :])
        families[name]["made"] = {"designs": given.designs, "seed": SEED, "tool": f"{YOSYS.package} {YOSYS.version}"}
        print_errors(name, "circuits", families[name]["errors"])
        if any(DEVICES[board.device].family is device.family for board in BOARDS.values()):
            hosted = []
            unseen = given.designs + given.held_out  # the first that is in no fit
            for index in (*range(HOSTED), *range(unseen, unseen + HOSTED_HELD_OUT)):
                hosted.append(Sample(index, device, hosted=True))
                print(f"{name}, with a host link: {hosted[-1]}", flush=True)
            families[name]["parts"] |= fit_parts(name, hosted[:HOSTED], HOST_KINDS)
            families[name]["hosted_errors"] = held_out_errors(name, families[name], hosted[HOSTED:])
            print_errors(name, "circuits with a host link", families[name]["hosted_errors"])
        with atomic_write(given.out) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, "version": VERSION, "families": families}, indent=1) + "\n")
    print(given.out)
    return 0


def print_errors(name: str, what: str, errors: Mapping[str, Sequence[float]]) -> None:
    for quantity, values in errors.items():
        print(f"{name}: {quantity} of {len(values)} {what} held out: " + ", ".join(f"{100 * value:+.1f} %" for value in values))


class Sample:
    """A random circuit, synthesised.

    Parameters:
        index: which one.
        device: what it is synthesised for.
        hosted: for pixels, and with what speaks with a host.

    Attributes:
        network, folding, frames_in, weights: what it was made of.
        areas: of its parts, by name.
        whole: of all of it.
        placed: LUTs as place and route counts them; None where there is none.
    """

    def __init__(self, index: int, device: Device, *, hosted: bool = False):
        rng = np.random.default_rng([SEED, index])
        self.network, self.folding, self.frames_in, self.weights = random_circuit(rng)
        self.index = index
        if hosted:
            self.frames_in, self.folding = "pixels", replace(self.folding, pixels=1)
            design = flow.hosted(SerialAccelerator(HostedAccelerator(self.network, self.folding, weights=self.weights), divisor=DIVISOR))
        else:
            design = flow.bare(Accelerator(self.network, self.folding, frames_in=self.frames_in, weights=self.weights))
        self.parts = parts(self.network, self.folding, self.frames_in, self.weights, hosted=hosted)
        synthesis = flow.synthesise(design, device)
        self.whole = synthesis.inside
        self.areas = flow.parts_of(design, synthesis, device, [part.name for part in self.parts])
        self.placed = flow.packed(design, synthesis, device) if device.family.nextpnr and not hosted else None

    def __str__(self) -> str:
        shape = dashed(self.network.shape)
        return f"{self.index}: {shape}, {json.dumps(self.folding.as_dict())}, {self.frames_in}, {self.weights}: {self.whole.luts} LUTs"


def random_circuit(rng: np.random.Generator) -> tuple[Network, Folding, str, str]:
    """A network with random weights, two or three layers; a folding for it; what comes in, and where weights are."""
    depth = 2 + int(rng.random() < 0.3)
    shape = [int(rng.integers(24, 200)), *(int(rng.integers(10, 56)) for _ in range(depth - 1)), int(rng.integers(3, 17))]
    layers = []
    for n, m in itertools.pairwise(shape):
        weights = rng.choice(np.array([-1, 1], np.int8), (m, n))
        thresholds = np.clip(np.rint(rng.normal(0.5, 1.0, m) * np.sqrt(n)), -n, n + 1).astype(int)
        layers.append(Layer(Dense(weights), Single(thresholds)))
    network = Network(tuple(layers), int(rng.choice([4, 8, 16])), Encoder("latency"))
    contexts = int(rng.choice([1, 1, 2, 2, 4]))
    simd, pe, form, order, swap = ([] for _ in range(5))
    for n, m in itertools.pairwise(shape):
        simd.append(int(rng.choice([1, 2, 4, 8, 13, 24])))
        pe.append(m if rng.random() < 0.4 else int(rng.integers(max(1, m // 8), m + 1)))
        simd[-1] = min(simd[-1], n, max(1, 256 // pe[-1]))
        form.append("xnor" if n <= 64 and rng.random() < 0.3 else "delta")
        order.append("step" if form[-1] == "xnor" or rng.random() < 0.4 else "event")
        exchanges = form[-1] == "delta" and order[-1] == "step" and (pe[-1] < m or contexts > 1)
        swap.append(int(rng.integers(2, 9)) if exchanges and pe[-1] > 8 and rng.random() < 0.5 else 1)
    frames_in = "pixels" if rng.random() < 0.35 else "words"
    pixels = int(rng.choice([1, 4, 8])) if frames_in == "pixels" else 1
    folding = Folding(tuple(simd), tuple(pe), tuple(form), tuple(order), tuple(swap), contexts, pixels)
    return network, folding, frames_in, "loadable" if rng.random() < 0.2 else "rom"


def fit(family: str, samples: list[Sample]) -> dict[str, Any]:
    """The coefficients of a family: of parts, and of what place and route counts."""
    found: dict[str, Any] = {"parts": fit_parts(family, samples, {part.kind for sample in samples for part in sample.parts})}
    found["placed"] = {"luts": 1.0, "ffs": 0.0}
    if samples[0].placed is not None:
        placed = np.array([sample.placed for sample in samples], float)
        design = np.array([[getattr(sample.whole, q) for q in QUANTITIES] for sample in samples], float)
        solution, _ = scipy.optimize.nnls(design / placed[:, None], np.ones(len(placed)))
        found["placed"] = dict(zip(QUANTITIES, map(float, solution), strict=True))
    return found


def fit_parts(family: str, samples: list[Sample], kinds: Collection[str]) -> dict[str, Any]:
    """The coefficients of some kinds of parts."""
    rows: dict[str, list[tuple[Part, flow.Area]]] = defaultdict(list)
    for sample in samples:
        for part in sample.parts:
            rows[part.kind].append((part, sample.areas[part.name]))
    return {kind: {q: _fit_part(family, rows[kind], q) for q in QUANTITIES} for kind in sorted(kinds)}


def _fit_part(family: str, rows: list[tuple[Part, flow.Area]], quantity: str) -> dict[str, float]:
    names = sorted({term for part, _ in rows for term in part.amounts})
    amounts = np.array([[part.amounts.get(name, 0.0) for name in names] for part, _ in rows])
    memories = np.array([sum(getattr(mapped(family, shape), quantity) for shape in part.memories) for part, _ in rows])
    measured = np.array([getattr(area, quantity) for _, area in rows], float)
    weight = 1 / (measured + FLOOR)
    solution, _ = scipy.optimize.nnls(amounts * weight[:, None], (measured - memories) * weight)
    return {name: round(float(value), 4) for name, value in zip(names, solution, strict=True) if value > 0}


def held_out_errors(family: str, fitted: dict[str, Any], samples: list[Sample]) -> dict[str, list[float]]:
    """Forecast over measured, less 1, of whole circuits."""
    errors: dict[str, list[float]] = {}
    for quantity in QUANTITIES:
        errors[quantity] = []
        for sample in samples:
            expected = sum(of_part(fitted, family, part)[quantity] for part in sample.parts)
            errors[quantity].append(round(expected / getattr(sample.whole, quantity) - 1, 4))
    return errors
