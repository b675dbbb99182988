"""The cost of a step: when the words, vectors and queues of each layer move, as cycle numbers. `hw.cost.cycles` adds the frames."""

from hw.core.emitter import HEAD_TO_STEP_DONE, HEAD_TO_WORD, VECTOR_TO_HEAD
from hw.core.layer import cycles_of
from hw.core.plan import LayerPlan
from hw.core.pool import PoolCycles
from hw.core.readout import VECTOR_TO_STEP_DONE
from hw.core.sequencer import Cycles


class Pipeline:
    """All layers, one behind the other. Steps go through in the order in which they are let in."""

    def __init__(self, plans: tuple[LayerPlan, ...]):
        self.layers = [cycles_of(plan) for plan in plans]
        self.inputs = [
            layer if plan.layer.pool is None else PoolCycles(plan, layer) for plan, layer in zip(plans, self.layers, strict=True)
        ]
        self.emitters = [_Emitter(layer, following) for layer, following in zip(self.layers, self.inputs[1:], strict=False)]
        for layer, emitter in zip(self.layers, self.emitters, strict=False):
            layer.send_vector = emitter.vector
        self.layers[-1].send_vector = self._last_vector
        self.vector = self.step_done = 0

    def step(
        self, begin: int, words: list[int], vectors: list[dict[int, list[int]]], frame: int, t: int, *, ends: bool
    ) -> tuple[int, int, int | None]:
        """Carry a step through.

        Parameters:
            begin: from here on, its words are on the first layer's input, one after the other.
            words: the index of each, -1 where it brings no spikes; at least one.
            vectors: per layer but the last, the words with spikes that each vector gives.
            frame, t: which step of which frame.
            ends: it ends its frame.

        Returns:
            the cycles in which its last word was taken, in which it was done, and of its last vector of outputs (None if it did not get
            there).
        """
        for emitter, counts in zip(self.emitters, vectors, strict=True):
            must_send = t == 0 or ends or not emitter.following.plan.skips_empty_steps
            emitter.begin(counts, first=t == 0, must_send=must_send)
        self.vector, self.step_done = -1, -1
        last = begin - 1
        for k, index in enumerate(words):
            last = self.inputs[0].word(last + 1, k == len(words) - 1, frame, new_frame=t == 0 and k == 0, index=index)
        for emitter in self.emitters:
            self.step_done = max(self.step_done, emitter.step_done)
        return last, self.step_done, self.vector if self.vector >= 0 else None

    def _last_vector(self, cycle: int, vector: int, frame: int, last: bool) -> None:
        if last:
            self.vector, self.step_done = cycle, cycle + VECTOR_TO_STEP_DONE


class _Emitter:
    """Vectors of one layer become words of the next."""

    def __init__(self, layer: Cycles, following: Cycles | PoolCycles):
        self.layer, self.following = layer, following
        self.popped = -1  # when the vector before was done
        self.free = 0  # from here on, a word can be picked
        self.step_done = -1  # when it was known that the step sends nothing
        self.words: dict[int, list[int]] = {}
        self.first = self.must_send = self.began = self.sent = False
        self.picked: int | None = None  # when the word was picked that waits to know whether it is the step's last
        self.index = -1  # of that word

    def begin(self, words: dict[int, list[int]], *, first: bool, must_send: bool) -> None:
        """A step begins, with these words in its vectors."""
        self.words, self.first, self.must_send = words, first, must_send
        self.layer.spiking = words.keys()
        self.began = self.sent = False
        self.step_done = -1

    def vector(self, cycle: int, vector: int, frame: int, last: bool) -> None:
        """A vector of the layer comes in ``cycle``; its words go on as soon as it is known whether they close the step."""
        head = max(cycle + VECTOR_TO_HEAD, self.popped + 1)
        words = self.words.get(vector, [])
        if not words and last and not self.began:
            if self.must_send:
                words = [-1]
            else:
                self.step_done = head + HEAD_TO_STEP_DONE
        self.layer.places.append(head)
        self.popped = head
        if not words and last and self.began:
            self._send(head + HEAD_TO_WORD, frame, closes=True)
        for k, index in enumerate(words):
            if self.picked is not None:
                self._send(max(self.picked + HEAD_TO_WORD, head), frame, closes=False)
            self.popped = self.picked = max(self.popped, self.free)
            self.began, self.index = True, index
            if last and k == len(words) - 1:
                self._send(self.picked + HEAD_TO_WORD, frame, closes=True)

    def _send(self, valid: int, frame: int, *, closes: bool) -> None:
        """The word that was picked is on the output from ``valid`` on; it is taken as soon as the next layer can."""
        self.free = self.following.word(valid, closes, frame, new_frame=self.first and not self.sent, index=self.index)
        self.picked, self.sent = None, True
