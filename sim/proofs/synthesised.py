"""The netlist after synthesis, spike for spike: the last link of the chain that can be shown without a device."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import sim
from export import Conv2d, Dense, Encoder, Graded, Layer, Network, Pool2d, Rate, Readout, Single, Ternary, load
from hw import Accelerator, Folding, inputs, verilog
from sim.proofs.netlist import FAMILIES, synthesize
from sim.proofs.record import Row, select
from sim.protocol.circuits import sizes

ARTIFACT = Path(__file__).parents[2] / "artifacts" / "digits.safetensors"


def _coded(make: Callable[..., Rate], **options: int) -> Network:
    """64-20-10 with random weights and thresholds; pixels are spread over the steps."""
    rng = np.random.default_rng(1)
    thresholds = rng.integers(4, 13, 20)
    hidden = Layer(Dense(rng.choice([-1, 1], (20, 64))), make(thresholds, thresholds // 2, **options))
    last = Layer(Dense(rng.choice([-1, 1], (10, 20))), Readout(rng.integers(6, 12, 10)))
    return Network((hidden, last), 4, Encoder("spread", bits=3))


def _convolution() -> Network:
    """4C3-P2-10 with random kernels and thresholds; neurons spike once."""
    rng = np.random.default_rng(4)
    hidden = Layer(Conv2d(rng.choice([-1, 1], (4, 1, 3, 3)), (8, 8)), Single(rng.integers(3, 5, 4)))
    last = Layer(Dense(rng.choice([-1, 1], (10, 36))), Single(rng.integers(5, 8, 10)), Pool2d((6, 6), 4, 2))
    return Network((hidden, last), 6, Encoder("latency"))


CODED = Folding((8, 3), (7, 10), ("delta", "delta"), ("event", "event"), contexts=2)
CIRCUITS: dict[str, tuple[Callable[[], Network], Folding]] = {
    "": (lambda: load(ARTIFACT), Folding((8, 13), (64, 10), ("delta", "delta"), ("step", "event"), contexts=2)),
    ", rate": (lambda: _coded(Rate), CODED),
    ", ternary": (lambda: _coded(Ternary, levels=3), CODED),
    ", graded": (lambda: _coded(Graded, levels=3), CODED),
    ", convolution": (_convolution, Folding((1, 2), (4, 5), ("delta", "delta"), contexts=2)),
}
"""Networks for images of 8 x 8, and foldings: sizes that do not divide, words that are replayed, two frames in turn."""


def rows(names: Sequence[str] = (), *, images: int | None = None) -> Iterator[Row]:
    """Co-simulate the netlist of each network, for each family of devices, in both modes.

    Parameters:
        names: only proofs with one of these in their name; none: all.
        images: the first so many test frames; None: all.

    Raises:
        UserError: a name is in none, at once; or, later, a cell has no model.
        ToolError, sim.build.BuildError, sim.simulate.SimulationError: a tool fails.
    """
    return _rows(select({f"netlist{circuit}, {family}": (circuit, family) for circuit in CIRCUITS for family in FAMILIES}, names), images)


def _rows(chosen: Mapping[str, tuple[str, str]], images: int | None) -> Iterator[Row]:
    for name, (circuit, family) in chosen.items():
        began = time.monotonic()
        make, folding = CIRCUITS[circuit]
        network = make()
        frames = inputs.load(network, "digits", images)
        accelerator = Accelerator(network, folding)
        netlist = synthesize(verilog.generate(accelerator), family)
        report = sim.cosimulate(network, frames.events, frames.labels, verilog=(netlist.flat(), verilog.port_map(accelerator)))
        compared = sum(comparison.spike_times_compared for comparison in report.comparisons.values())
        differences = sum(comparison.differences for comparison in report.comparisons.values())
        cells = ", ".join(f"{count} {cell}" for cell, count in netlist.cells.most_common(3))
        yield Row(
            name,
            "the circuit in the device's cells, with the vendor's models, equals the golden model spike for spike",
            f"digits, {sizes(network)}, {frames.events.shape[0]} frames, both modes; {cells}",
            f"{compared:,} {report.values}, {differences} differences",
            report.passed,
            time.monotonic() - began,
        )
