"""What must come out for the words that a circuit took: the golden model for what kept the rules, an error for what did not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from export import Events, Network, reference
from export.reference import Result
from hw.core.words import WordFormat
from sim.protocol.rules import Verdict, judge
from sim.protocol.sequences import Run
from sim.recording import Transcript


@dataclass(frozen=True, eq=False)
class Expectation:
    """What is known of each frame of some runs, in one array entry per frame, run after run.

    Attributes:
        taken: bool, its last word was taken.
        cancelled: bool, a word was taken while ``cancel`` was high.
        cancelled_late: bool, its first word was: the cancel of the frame before was still high.
        breach: bool, a rule was broken before that.
        unchecked: bool, by a rule that nobody checks: nothing is known of what comes out.
        closed: int64, the last step that was closed before the breach or the cancel; -1 where none was.
        decision: int64, the first step up to there in which an output spikes; T where none does.
        golden: spikes and decisions, of the spikes up to there.
    """

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


def expect(network: Network, form: WordFormat, runs: Sequence[Run], transcript: Transcript) -> Expectation:
    """Work out what must come out of the runs that were played.

    Parameters:
        network: the circuit's.
        form: of the words on its input.
        runs: that were played.
        transcript: what was seen; only what the circuit took is looked at.
    """
    frames = [frame.words for run in runs for frame in run.frames]
    lengths = np.array([len(words) for words in frames])
    kept, end = np.zeros(len(frames), np.int64), np.zeros(len(frames), np.int64)  # words before a cancel, and up to the last one taken
    cancelled = np.zeros(len(frames), bool)
    for stream in range(len(transcript.inputs)):
        frame, place, cancel = transcript.taken(stream)
        np.maximum.at(end, frame, place + 1)
        first = np.full(len(frames), np.iinfo(np.int64).max)
        np.minimum.at(first, frame[cancel], place[cancel])
        cancelled[frame[cancel]] = True
        own = np.unique(frame)
        kept[own] = np.minimum(first, end)[own]
    verdicts = [judge(words[:count], form) for words, count in zip(frames, kept.tolist(), strict=True)]
    golden = reference.run(network, _events(verdicts, form))
    return Expectation(
        taken=end == lengths,
        cancelled=cancelled,
        cancelled_late=cancelled & (kept == 0),
        breach=np.array([verdict.breach is not None for verdict in verdicts], bool),
        unchecked=np.array([verdict.unchecked for verdict in verdicts], bool),
        closed=np.array([verdict.closed for verdict in verdicts], np.int64),
        decision=golden.events[-1].spike_times().min(axis=1).astype(np.int64),
        golden=golden,
    )


def _events(verdicts: Sequence[Verdict], form: WordFormat) -> Events:
    """The spikes of frames; none where they break a rule that nobody checks, of which nothing is known."""
    known = [() if verdict.unchecked else verdict.spikes for verdict in verdicts]
    frame = np.repeat(np.arange(len(known)), [len(spikes) for spikes in known])
    step, neuron, coefficient = np.array([spike for spikes in known for spike in spikes], np.int32).reshape(-1, 3).T
    return Events.sort((len(known), form.steps, form.inputs), frame, step, neuron, coefficient)
