"""What the wrapper plays to a circuit: runs of frames, each after a reset, and how senders and receiver behave in it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from sim.frames import Words
from sim.ports import Ports

HABITS = ("sends the rest", "goes to the end", "goes to an empty end", "any of these")
"""What a sender does about a word that was taken while ``cancel`` was high."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How senders and receiver behave in a run; by default as in co-simulation: all as fast as it goes, to its end.

    Attributes:
        cut: cycles after which the next reset comes; 0: not before all is over.
        gaps, stalls: of 256 cycles, those in which a sender that could offer a word does not, or the receiver takes no result.
        habit: index in `HABITS`.
        hesitates: the receiver is ready only for a result that it has seen waiting.
        resetting: cycles of the reset before the run.
        all_words: each word that is taken is written down, not only the first of each frame.
        seed: of gaps, stalls, habits and changes of the mode; 0: all random numbers are 0.
    """

    cut: int = 0
    gaps: int = 0
    stalls: int = 0
    habit: int = HABITS.index("goes to the end")
    hesitates: bool = False
    resetting: int = 1
    all_words: bool = False
    seed: int = 0


def write(folder: Path, runs: Sequence[tuple[Words, Pace]], ports: Ports) -> None:
    """Write the files that the wrapper reads: one with the pace of each run, and one per input stream with its frames."""
    paces = [getattr(pace, field.name) for _, pace in runs for field in fields(Pace)]
    (folder / "runs.bin").write_bytes(np.array([len(runs), *paces], ">u4").tobytes())
    for place, name in enumerate(ports.streams):
        (folder / f"{name}.bin").write_bytes(b"".join(words.stream(place, len(ports.streams)).file() for words, _ in runs))
