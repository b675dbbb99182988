"""Plays random sequences to circuits and says whether they stood the test."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export import Network
from hw.core.words import WordFormat
from sim.build import build
from sim.ports import Ports
from sim.protocol import player
from sim.protocol.check import Failure, failures
from sim.protocol.expectation import Expectation, expect
from sim.protocol.sequences import Run, sequence

CHUNK = 1000
"""Sequences that are played by one process; it bounds the memory."""


class Found(NamedTuple):
    """A failure: its mode, its sequence, and a line that names place and values."""

    mode: str
    sequence: int
    text: str


@dataclass
class Outcome:
    """What sequences found in one circuit.

    Attributes:
        counts: by mode, what there was: sequences, resets, frames by what was expected of them, and spikes that had to come.
        kinds: frames by what was done to them.
        found: failures, the first mode's first.
        seconds: of playing and comparing.
    """

    counts: dict[str, Counter]
    kinds: Counter
    found: list[Found]
    seconds: float


def prove(
    network: Network,
    verilog: tuple[str, Mapping[str, Any]],
    numbers: Sequence[int],
    seed: int,
    *,
    modes: Sequence[str] = player.MODES,
    waves: Path | None = None,
    plusargs: Sequence[str] = (),
) -> Outcome:
    """Play sequences to a circuit, and compare everything that comes out with what must; up to the first thousand that differ.

    Parameters:
        network: the circuit's.
        verilog: text and port map.
        numbers: of the sequences; each is made of its number and the seed alone.
        seed: non-negative.
        modes: out of `player.MODES`.
        waves: where to write waveforms of one mode, without "_full.vcd".
        plusargs: further ones for the simulator.

    Raises:
        UserError: the tool chain is missing.
        sim.build.BuildError: the circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
    """
    ports = Ports.from_map(verilog[1])
    form = WordFormat(network.inputs, network.steps, ports.word["bits"].width)
    built = build(player.stage(verilog[0], ports), traced=waves is not None, extra_flags=player.FLAGS)
    outcome = Outcome({mode: Counter() for mode in modes}, Counter(), [], 0.0)
    began = time.monotonic()
    for at in range(0, len(numbers), CHUNK):
        runs: list[Run] = []
        origins: list[tuple[int, int]] = []
        for number in numbers[at : at + CHUNK]:
            of_sequence = sequence(form, seed, number)
            runs += of_sequence
            origins += [(number, place) for place in range(len(of_sequence))]
        outcome.kinds += Counter(frame.kind for run in runs for frame in run.frames)
        for mode, recording in player.play(built, ports, runs, modes=modes, seed=seed, waves=waves, plusargs=plusargs).items():
            played = runs[: recording.runs]
            expected = expect(network, form, played, recording, len(ports.streams))
            found = failures(mode, played, recording, expected, ports, network.steps)
            outcome.found += [_named(mode, failure, *origins[failure.run], played[failure.run]) for failure in found]
            outcome.counts[mode] += _counted(mode, played, expected) + Counter(sequences=len(numbers[at : at + CHUNK]))
        if outcome.found:
            break
    outcome.seconds = time.monotonic() - began
    return outcome


def _named(mode: str, failure: Failure, number: int, resets: int, run: Run) -> Found:
    kind = f" ({run.frames[failure.frame].kind})" if 0 <= failure.frame < len(run.frames) else ""
    return Found(mode, number, f"{mode} mode, sequence {number}, after reset {resets}, frame {failure.frame}{kind}, {failure}")


def _counted(mode: str, runs: Sequence[Run], expected: Expectation) -> Counter:
    known, decided = ~expected.unchecked, expected.decided & (mode != "full")
    upto = np.where(decided, expected.decision, expected.closed)
    spikes = sum((times[known] <= upto[known, None]).sum() for times in expected.golden.spike_times)
    return Counter(
        {
            "resets": len(runs),
            "frames": len(known),
            "right": int((known & (decided | ~expected.breach) & expected.taken).sum()),
            "flagged": int((known & ~decided & expected.breach & expected.taken).sum()),
            "cancelled": int(expected.cancelled.sum()),
            "unchecked": int((~known).sum()),
            "spikes": int(spikes),
        }
    )
