"""How many cycles frames took."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.simulate import Recording


@dataclass(frozen=True, eq=False)
class Timing:
    """Cycles of some frames in one mode.

    Attributes:
        latency: int64 (frames,), from a frame's first word taken to its result given.
        interval: int64 (frames,), from the result before to this one; -1 for a frame that began a run.
        cycles: of the runs, from the first word taken to the last result given.
        seconds: of the runs.
    """

    latency: np.ndarray
    interval: np.ndarray
    cycles: int
    seconds: float

    @classmethod
    def of(cls, recording: Recording) -> "Timing":
        """The timing of one run, of the frames up to the first that was not taken or has no result."""
        whole = min(int(np.append(recording.starts < 0, True).argmax()), len(recording.ends))
        ends = recording.ends[:whole]
        interval = np.diff(ends, prepend=ends[:1] + 1)
        return cls(ends - recording.starts[:whole], interval, recording.cycles, recording.seconds)

    @classmethod
    def join(cls, parts: Sequence["Timing"]) -> "Timing":
        """The timing of several runs."""
        return cls(
            np.concatenate([part.latency for part in parts]),
            np.concatenate([part.interval for part in parts]),
            sum(part.cycles for part in parts),
            sum(part.seconds for part in parts),
        )

    @property
    def intervals(self) -> np.ndarray:
        """The intervals that there are."""
        return self.interval[self.interval >= 0]

    def interval_over(self, limit: np.ndarray) -> float | None:
        """Mean interval over mean limit, both of the same frames; None where that limit is 0, or frames are missing.

        No frame that followed another has no limit either.
        """
        if len(limit) != len(self.interval):
            return None
        followed = self.interval >= 0
        total = limit[followed].sum()
        return float(self.interval[followed].sum() / total) if total else None
