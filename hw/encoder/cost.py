"""When the words of an encoder are there, computed from spikes alone.

Exact for pixels that are sent without gaps, in frames of the right length. Nothing is replayed: a frame has a cycle in which its last beat
is taken, one in which its first word is there, and one in which its last word is taken; each other word is there in the cycle after the one
before it was taken.
"""

from itertools import pairwise

import numpy as np

from export.events import Events
from hw.encoder.encoder import CANCEL_TO_WORD, LAST_BEAT_TO_WORD
from hw.encoder.plan import EncoderPlan

CANCEL_TO_END = 1  # cycles from the cancel to the empty last word
LEAST_CANCEL_TO_WORD = 2  # cycles from the cancel to the next frame's first word, if its first block follows the block of the next word


class EncoderCost:
    """The cycles of a stream of frames through ``contexts`` equal encoders in turn, frame ``k`` through encoder ``k`` mod ``contexts``.

    Cycle 0 is the first one in which a beat can be taken. Whoever takes the words asks for each frame's `first_word`, and tells when it
    takes the last one, by `end`, and before, if so, that it cancels the frame, by `cancel`. `first_word` of a frame may be asked when all
    frames have ended that are ``contexts`` or more before it.

    Parameters:
        plan: the geometry of each encoder.
        inputs: the spikes of all frames.
        contexts: encoders behind a `FrameDistributor`; with one encoder there need not be any.
    """

    def __init__(self, plan: EncoderPlan, inputs: Events, contexts: int = 1):
        self._plan, self._contexts = plan, contexts
        words = plan.form.from_events(inputs)
        changes = [np.diff(key) != 0 for key in (words.frame, words.time, words.index // plan.block_words)]
        block = np.cumsum(np.append(False, np.any(changes, axis=0)))  # of each word: how many blocks were walked before it, for a step each
        begins = np.searchsorted(words.frame, np.arange(inputs.shape[0] + 1))
        self._blocks_left = [block[end - 1] - block[begin:end] for begin, end in pairwise(begins)]  # after each word's block
        self._last_beat: list[int] = []
        self._ended: dict[int, int] = {}
        self._behind: dict[int, int] = {}  # from then on, words of the next frame can be there

    def words(self, frame: int) -> int:
        """Words of a frame."""
        return len(self._blocks_left[frame])

    def last_beat(self, frame: int) -> int:
        """The cycle in which the frame's last beat is taken: one per cycle once both the frame before has been taken and a bank is free."""
        for k in range(len(self._last_beat), frame + 1):
            before = self._last_beat[k - 1] if k else -1
            bank_free = self._ended.get(k - 2 * self._contexts, -1)
            self._last_beat.append(max(before, bank_free) + self._plan.beats)
        return self._last_beat[frame]

    def begins(self, frame: int) -> int:
        """The cycle in which the frame's first beat is taken."""
        return self.last_beat(frame) - self._plan.beats + 1

    def first_word(self, frame: int) -> int:
        """The cycle from which on the frame's first word is there."""
        arrived = self.last_beat(frame) + self._plan.drain + LAST_BEAT_TO_WORD
        return max(arrived, self._behind.get(frame - self._contexts, 0))

    def cancel(self, frame: int, taken: int, cycle: int) -> int:
        """The frame is cancelled: its ``taken``-th word is taken in ``cycle``, as the first one with ``cancel`` high.

        Returns the cycle from which on the frame's last word is there, which is an empty one unless all words have been taken.
        """
        if taken == self.words(frame):
            return cycle
        rows_left = int(self._blocks_left[frame][taken])
        self._behind[frame] = cycle + min(LEAST_CANCEL_TO_WORD + rows_left, CANCEL_TO_WORD)
        return cycle + CANCEL_TO_END

    def end(self, frame: int, cycle: int) -> None:
        """The frame's last word is taken in ``cycle``."""
        self._ended[frame] = cycle
        self._behind[frame] = max(self._behind.get(frame, 0), cycle + 1)
