"""The netlist after synthesis, spike for spike: the last link of the chain that can be shown without a device."""

import time
from collections.abc import Iterator
from pathlib import Path

import sim
from export import load
from hw import Accelerator, Folding, inputs, verilog
from sim.proofs.netlist import FAMILIES, synthesize
from sim.proofs.record import Row

ARTIFACT = Path(__file__).parents[2] / "artifacts" / "digits.safetensors"
FOLDING = Folding((8, 13), (64, 10), ("delta", "delta"), ("step", "event"), contexts=2)
"""Sizes that do not divide, words that are replayed, and two frames in turn."""


def rows(*, images: int | None = None, families: tuple[str, ...] = tuple(FAMILIES)) -> Iterator[Row]:
    """Co-simulate the netlist of the digits network, for each family of devices, in both modes.

    Parameters:
        images: the first so many test frames; None: all.

    Raises:
        UserError: a cell has no model.
        ToolError, sim.build.BuildError, sim.simulate.SimulationError: a tool fails.
    """
    network = load(ARTIFACT)
    frames = inputs.load(network, "digits", images)
    accelerator = Accelerator(network, FOLDING)
    text, ports = verilog.generate(accelerator), verilog.port_map(accelerator)
    for family in families:
        began = time.monotonic()
        netlist = synthesize(text, family)
        report = sim.cosimulate(network, frames.events, frames.labels, verilog=(netlist.flat(), ports))
        compared = sum(comparison.spike_times_compared for comparison in report.comparisons.values())
        differences = sum(comparison.differences for comparison in report.comparisons.values())
        cells = ", ".join(f"{count} {cell}" for cell, count in netlist.cells.most_common(3))
        yield Row(
            f"netlist, {family}",
            "the circuit in the device's cells, with the vendor's models, equals the golden model spike for spike",
            f"digits, {len(frames.events)} frames, both modes; {cells}",
            f"{compared:,} spike times, {differences} differences",
            report.passed,
            time.monotonic() - began,
        )
