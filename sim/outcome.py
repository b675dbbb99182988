"""What is kept of frames that were run and compared: counts, decisions, output spikes, cycles, and the frames that a report draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.events import Events
from export.reference import Result, Summary
from sim.compare import Comparison, Difference, join
from sim.timing import Timing

DRAWN = 3
"""Frames whose spikes are drawn."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A frame to be drawn.

    Attributes:
        golden: its golden result.
        seen: the spikes of each layer of the circuit, in full mode.
    """

    golden: Result
    seen: tuple[Events, ...]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The outcome for some frames.

    Attributes:
        comparisons: by mode.
        timings: by mode, of a simulation.
        golden: what scores need of the golden result.
        limit: int64 (frames,), the cost model's, in cycles; None where no cycles were counted.
        kinds: integers (frames,), labels or, without them, golden classes.
        drawn: frames to be drawn, by index: that of the first difference, then some of different kinds, from the start.
        runs: how many frames were run without a reset between them, run after run.
    """

    comparisons: Mapping[str, Comparison]
    timings: Mapping[str, Timing]
    golden: Summary
    limit: np.ndarray | None
    kinds: np.ndarray
    drawn: Mapping[int, Drawn]
    runs: tuple[int, ...]

    @classmethod
    def of(
        cls,
        golden: Result,
        comparisons: Mapping[str, Comparison],
        timings: Mapping[str, Timing],
        limit: np.ndarray | None,
        labels: np.ndarray | None,
    ) -> "Outcome":
        """The outcome of one run."""
        kinds = golden.decisions.class_index if labels is None else labels
        seen = comparisons["full"].seen
        drawn = {
            frame: Drawn(golden[frame : frame + 1], tuple(events[frame : frame + 1] for events in seen))
            for frame in _to_be_drawn(_first(comparisons), kinds)
        }
        return cls(comparisons, timings, golden.summary, limit, kinds, drawn, (len(golden),))

    @classmethod
    def join(cls, parts: Sequence["Outcome"]) -> "Outcome":
        """One outcome of consecutive parts."""
        starts = np.cumsum([0, *(len(part.kinds) for part in parts)]).tolist()
        comparisons = {mode: join([part.comparisons[mode] for part in parts]) for mode in parts[0].comparisons}
        kinds = np.concatenate([part.kinds for part in parts])
        drawn = {at + frame: drawn for part, at in zip(parts, starts, strict=False) for frame, drawn in part.drawn.items()}
        return cls(
            comparisons,
            {mode: Timing.join([part.timings[mode] for part in parts]) for mode in parts[0].timings},
            Summary.concatenate([part.golden for part in parts]),
            np.concatenate([part.limit for part in parts if part.limit is not None]) if parts[0].limit is not None else None,
            kinds,
            {frame: drawn[frame] for frame in _to_be_drawn(_first(comparisons), kinds) if frame in drawn},
            sum((part.runs for part in parts), ()),
        )

    @property
    def first(self) -> Difference | None:
        """The first place where something differs."""
        return _first(self.comparisons)


def _first(comparisons: Mapping[str, Comparison]) -> Difference | None:
    return next((comparison.first for comparison in comparisons.values() if comparison.first), None)


def _to_be_drawn(first: Difference | None, kinds: np.ndarray) -> list[int]:
    """The frame with the first difference, then frames of different kinds, from the start. Those of a set of frames are among those of
    its consecutive parts."""
    frames = [] if first is None else [min(first.frame, len(kinds) - 1)]
    for frame in (*np.sort(np.unique(kinds, return_index=True)[1]).tolist(), *range(min(DRAWN, len(kinds)))):
        if len(frames) < DRAWN and frame not in frames:
            frames.append(frame)
    return frames
