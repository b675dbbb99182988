"""Plays random sequences to circuits and says whether they stood the test."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from export import Conv2d, Network
from hw.core.words import WordFormat
from sim.build import build
from sim.compare import Difference
from sim.ports import Ports
from sim.protocol.check import differences
from sim.protocol.expectation import Expectation, expect
from sim.protocol.sequences import Run, sequence
from sim.recording import Transcript
from sim.simulate import play
from sim.wrapper import Design, design

MODES = ("full", "early", "changing")
FLAGS = ("--x-initial", "unique")
"""For the build: registers that no reset reaches begin at random, and what comes out must not depend on them."""
CAPACITY = 1 << 12
"""Greatest number of words in a frame; a bad one may have many."""
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
        found: failures, the first mode's first.
        seconds: of playing and comparing.
    """

    counts: dict[str, Counter]
    found: list[Found]
    seconds: float


def stage(verilog: str, ports: Ports, network: Network) -> Design:
    """What to build in order to play sequences to a circuit."""
    return replace(design(verilog, ports, network), capacity=CAPACITY)


def input_words(network: Network, ports: Ports) -> WordFormat:
    """The words on the input of a network's circuit."""
    return WordFormat(
        network.inputs,
        network.steps,
        ports.word.lanes("bits"),
        skips_empty_steps=all(layer.neuron.skips_empty_steps for layer in network.layers),
        coefficients=network.encoder.coefficients(network.steps),
        ascending=network.steps == 1 and isinstance(network.layers[0].connection, Conv2d),
    )


def arguments(seed: int) -> list[str]:
    """What the simulator is started with; ``seed`` is that of the values that registers begin with."""
    return ["+verilator+rand+reset+2", f"+verilator+seed+{seed + 1}"]


def prove(
    network: Network,
    verilog: tuple[str, Mapping[str, Any]],
    numbers: Sequence[int],
    seed: int,
    *,
    modes: Sequence[str] = MODES,
    waves: Path | None = None,
    plusargs: Sequence[str] = (),
) -> Outcome:
    """Play sequences to a circuit, and compare everything that comes out with what must; up to the first thousand that differ.

    Parameters:
        network: the circuit's.
        verilog: text and port map.
        numbers: of the sequences; each is made of its number and the seed alone.
        seed: non-negative.
        modes: out of `MODES`.
        waves: where to write waveforms of one mode, without "_full.vcd".
        plusargs: further ones for the simulator.

    Raises:
        UserError: the tool chain is missing.
        sim.build.BuildError: the circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
    """
    ports = Ports.from_map(verilog[1])
    form = input_words(network, ports)
    built = build(stage(verilog[0], ports, network), traced=waves is not None, extra_flags=FLAGS)
    outcome = Outcome({mode: Counter() for mode in modes}, [], 0.0)
    began = time.monotonic()
    for at in range(0, len(numbers), CHUNK):
        runs: list[Run] = []
        origins: list[tuple[int, int]] = []
        for number in numbers[at : at + CHUNK]:
            of_sequence = sequence(form, seed, number)
            runs += of_sequence
            origins += [(number, place) for place in range(len(of_sequence))]
        packed = [(run.packed(ports.word), run) for run in runs]
        dump = None if waves is None else (waves, -1)
        for mode, transcript in play(built, ports, packed, modes=modes, waves=dump, plusargs=[*arguments(seed), *plusargs]).items():
            expected, found = judge_all(mode, network, form, runs, transcript)
            outcome.found += [_named(difference, transcript, runs, origins) for difference in found]
            outcome.counts[mode] += _counted(mode, transcript, expected) + Counter(sequences=len(numbers[at : at + CHUNK]))
        if outcome.found:
            break
    outcome.seconds = time.monotonic() - began
    return outcome


def judge_all(
    mode: str, network: Network, form: WordFormat, runs: Sequence[Run], transcript: Transcript
) -> tuple[Expectation, list[Difference]]:
    """What must come out of runs, and what differs from it."""
    played = runs[: len(transcript.held)]
    expected = expect(network, form, played, transcript)
    return expected, differences(mode, played, transcript, expected, network)


def _named(difference: Difference, transcript: Transcript, runs: Sequence[Run], origins: Sequence[tuple[int, int]]) -> Found:
    run = int(np.searchsorted(transcript.frames, difference.frame, "right")) - 1
    (number, resets), frame = origins[run], int(difference.frame - transcript.frames[run])
    place = f"{difference.mode} mode, sequence {number}, after reset {resets}, frame {frame} ({runs[run].frames[frame].kind})"
    return Found(difference.mode, number, f"{place}, {difference.text}")


def _counted(mode: str, transcript: Transcript, expected: Expectation) -> Counter:
    known, decided = ~expected.unchecked, expected.decided & (mode != "full")
    upto = np.where(decided, expected.decision, expected.closed)
    spikes = sum((known[events.frame] & (events.step <= upto[events.frame])).sum() for events in expected.golden.events)
    return Counter(
        {
            "resets": len(transcript.held),
            "frames": len(known),
            "right": int((known & (decided | ~expected.breach) & expected.taken).sum()),
            "flagged": int((known & ~decided & expected.breach & expected.taken).sum()),
            "cancelled": int(expected.cancelled.sum()),
            "unchecked": int((~known).sum()),
            "spikes": int(spikes),
        }
    )
