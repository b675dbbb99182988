"""What must come out for the words that a circuit took: the golden model for what kept the rules, an error for what did not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export import Network, reference
from export.reference import Result
from hw.core.words import WordFormat
from sim.protocol.player import Recording
from sim.protocol.rules import Verdict, judge
from sim.protocol.sequences import Frame, Run

PLACE_BITS, STREAM_BITS = 24, 7


@dataclass(frozen=True, eq=False)
class Expectation:
    """What is known of each frame of some runs, in one array entry per frame, run after run.

    Attributes:
        starts: int64 (runs + 1,), where the frames of each run begin.
        taken: bool, its last word was taken.
        cancelled: bool, a word was taken while ``cancel`` was high.
        cancelled_late: bool, its first word was: the cancel of the frame before was still high.
        breach: bool, a rule was broken before that.
        unchecked: bool, by a rule that nobody checks: nothing is known of what comes out.
        closed: int64, the last step that was closed before the breach or the cancel; -1 where none was.
        decision: int64, the first step up to there in which an output spikes; T where none does.
        golden: spike times, and decisions, of the spikes up to there.
    """

    starts: np.ndarray
    taken: np.ndarray
    cancelled: np.ndarray
    cancelled_late: np.ndarray
    breach: np.ndarray
    unchecked: np.ndarray
    closed: np.ndarray
    decision: np.ndarray
    golden: Result

    @property
    def decided(self) -> np.ndarray:
        return self.decision <= self.closed


def expect(network: Network, form: WordFormat, runs: Sequence[Run], recording: Recording, streams: int) -> Expectation:
    """Work out what must come out of the runs that were played.

    Parameters:
        network: the circuit's.
        form: of the words on its input.
        runs: that were played.
        recording: what was seen; only what the circuit took is looked at.
        streams: on which the frames came in, in turn.
    """
    verdicts: list[Verdict] = []
    taken, cancelled, cancelled_late = [], [], []
    for number, run in enumerate(runs):
        words = recording.inputs.payload[recording.inputs.of(number), 0].tolist()
        for frame, (kept, cancel, whole) in zip(run.frames, _words_kept(run, words, streams), strict=True):
            verdicts.append(judge(frame.words[:kept], form))
            taken.append(whole)
            cancelled.append(cancel)
            cancelled_late.append(cancel and kept == 0)
    times = np.array([verdict.times for verdict in verdicts], np.int32).reshape(-1, form.inputs)
    golden = reference.run(network, times)
    return Expectation(
        starts=np.cumsum([0] + [len(run.frames) for run in runs]),
        taken=np.array(taken, bool),
        cancelled=np.array(cancelled, bool),
        cancelled_late=np.array(cancelled_late, bool),
        breach=np.array([verdict.breach is not None for verdict in verdicts], bool),
        unchecked=np.array([verdict.unchecked for verdict in verdicts], bool),
        closed=np.array([verdict.closed for verdict in verdicts], np.int64),
        decision=golden.spike_times[-1].min(axis=1).astype(np.int64),
        golden=golden,
    )


def _words_kept(run: Run, words: list[int], streams: int) -> list[tuple[int, bool, bool]]:
    """Per frame: how many words were taken before a cancel, whether there was one, and whether the last word was taken."""
    kept, cancelled, whole = [0] * len(run.frames), [False] * len(run.frames), [False] * len(run.frames)
    place_of = [_places(run.frames[stream::streams]) for stream in range(streams)]
    for word in words:
        place, stream, cancel = word & (1 << PLACE_BITS) - 1, word >> PLACE_BITS & (1 << STREAM_BITS) - 1, word >> 31
        index, left = place_of[stream][place]
        frame = index * streams + stream
        cancelled[frame] = cancelled[frame] or bool(cancel)
        kept[frame] += not cancelled[frame]
        whole[frame] = left == 0
    return list(zip(kept, cancelled, whole, strict=True))


def _places(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """For every word of a stream: its frame's index on that stream, and how many words of it follow."""
    return [(index, len(frame.words) - 1 - at) for index, frame in enumerate(frames) for at in range(len(frame.words))]
