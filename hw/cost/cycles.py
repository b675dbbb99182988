"""How many cycles a frame takes, computed from its spike times alone.

A recurrence over the steps of each frame, with a few cycle numbers per component as its state; nothing of the circuit is replayed. It is
exact when the senders always have the next word, or beat of pixels, ready and go to a frame's end when it is cancelled, and results are
taken at once.
"""

from dataclasses import dataclass, replace

import numpy as np

from export import Network
from export.events import Events
from export.reference import Result
from hw.core.folding import Folding
from hw.core.frame_check import LATENCY as CHECK
from hw.core.plan import LayerPlan
from hw.core.readout import vector_to_result
from hw.core.streams import input_format
from hw.cost.pipeline import Pipeline
from hw.cost.words import StepWords
from hw.encoder.codes import code_of
from hw.encoder.cost import EncoderCost
from hw.encoder.plan import EncoderPlan


@dataclass(frozen=True, eq=False)
class Cycles:
    """Cycle numbers of frames sent back to back, counted from the first cycle in which a word can be taken.

    Attributes:
        first_word: int64 (frames,), when the frame's first word, or beat of pixels, was taken.
        result: int64 (frames,), when the frame's result was there.
    """

    first_word: np.ndarray
    result: np.ndarray

    @property
    def intervals(self) -> np.ndarray:
        """Cycles from one result to the next, int64 (frames - 1,)."""
        return np.diff(self.result)

    @property
    def latencies(self) -> np.ndarray:
        """Cycles from a frame's first word to its result, int64 (frames,)."""
        return self.result - self.first_word


def predict(
    network: Network, folding: Folding, inputs: np.ndarray | Events, golden: Result, *, early: bool, frames_in: str = "words"
) -> Cycles:
    """The cycles of every frame.

    Parameters:
        network, folding: what the circuit was made of.
        inputs: events, or spike times: integers (frames, inputs), 0 … T.
        golden: what `export.reference.run` gives for them.
        early: the mode.
        frames_in: ``"words"`` or ``"pixels"``, as in `hw.Accelerator`.
    """
    plans = folding.plans(network)
    events = network.check_inputs(inputs)
    words = step_words(plans, events, golden, sent=True)
    counts = words[0].counts
    frames = [
        _Frame(k, counts[k], words, int(step) if early and not silent else None, plans[0].skips_empty_steps)
        for k, (step, silent) in enumerate(zip(golden.decisions.step, golden.decisions.silent, strict=True))
    ]
    scheduler = _Scheduler(plans, frames, _source(network, folding, events, frames, frames_in), early=early)
    scheduler.run()
    return Cycles(np.array(scheduler.first_word, np.int64), np.array(scheduler.result, np.int64))


def limit(network: Network, folding: Folding, inputs: np.ndarray | Events, golden: Result) -> np.ndarray:
    """The bound that no folding of this kind beats, in cycles, int64 (frames,).

    The largest over all layers of the work for the words up to the decision: for a dense layer, words × ⌈M / PE⌉; for a convolution, their
    kernel places × ⌈channels / PE⌉, and in each step positions × ⌈channels / PE⌉, if all neurons must be tested there.
    """
    plans = folding.plans(network)
    upto = np.arange(network.steps) <= golden.decisions.step[:, None]
    words = step_words(plans, network.check_inputs(inputs), golden)
    work = [((own.work(plan) + plan.step_work(own.passing)) * upto).sum(axis=1) for plan, own in zip(plans, words, strict=True)]
    return np.max(work, axis=0)


def streaming(network: Network, folding: Folding) -> int:
    """Cycles per frame of a dense streaming design of the same ``SIMD`` and ``PE``, which works on all inputs of all positions in each of
    ``T`` steps, whatever spikes: of its slowest layer, positions × ⌈channels / PE⌉ × ⌈fan-in / SIMD⌉ × ``T`` (Umuroglu et al., "FINN: A
    Framework for Fast, Scalable Binarized Neural Network Inference", FPGA 2017, section 4.2).
    """
    return max(plan.positions * plan.neuron_folds * plan.synapse_folds * plan.steps for plan in folding.plans(network))


def step_words(plans: tuple[LayerPlan, ...], inputs: Events, golden: Result, *, sent: bool = False) -> list[StepWords]:
    """The words with spikes on each layer's input; ``sent``: as the layer before sends them, in two parts where two vectors have one."""
    before = (None, *plans) if sent else [None] * len(plans)
    return [StepWords(*of_layer) for of_layer in zip(plans, (inputs, *golden.events[:-1]), before, strict=False)]


@dataclass(frozen=True, eq=False)
class _Frame:
    """What a frame makes the circuit do.

    Attributes:
        number: its number.
        inputs: words per step on the first layer's input, int64 (steps,).
        sent: the words on each layer's input.
        decision: the step at which the rest of the frame is cancelled; None if it runs to its end.
        skips_empty_steps: steps without words are not sent, step 0 apart.
    """

    number: int
    inputs: np.ndarray
    sent: list[StepWords]
    decision: int | None
    skips_empty_steps: bool

    def steps(self) -> list[int]:
        """The steps that are sent."""
        return [t for t, words in enumerate(self.inputs) if words or t == 0 or not self.skips_empty_steps]

    def step(self, t: int) -> tuple[list[int], list[dict[int, list[int]]]]:
        """The words of a step on the first layer's input, an empty one if it has no spikes, and those that each vector of the layers but
        the last gives."""
        first, *others = self.sent
        return first.step(self.number, t) or [-1], [words.of_vectors(self.number, t) for words in others]

    def words(self) -> int:
        """The words that are sent."""
        return sum(max(1, int(self.inputs[t])) for t in self.steps())


class _WordSource:
    """Words from outside, one stream per context; has the interface of `hw.encoder.cost.EncoderCost`."""

    def __init__(self, frames: list[_Frame], contexts: int):
        self._words = [frame.words() for frame in frames]
        self._contexts = contexts
        self._ended: dict[int, int] = {}

    def begins(self, frame: int) -> int:
        return self.first_word(frame) - CHECK

    def first_word(self, frame: int) -> int:
        return self._ended.get(frame - self._contexts, CHECK - 1) + 1

    def cancel(self, frame: int, taken: int, cycle: int) -> int:
        """One more word has been taken from outside, and then comes the end."""
        return cycle + min(self._words[frame] - taken, 1 + CHECK)

    def end(self, frame: int, cycle: int) -> None:
        self._ended[frame] = cycle


def _source(network: Network, folding: Folding, inputs: Events, frames: list[_Frame], frames_in: str) -> "_WordSource | EncoderCost":
    if frames_in == "words":
        return _WordSource(frames, folding.contexts)
    form = replace(input_format(folding.plans(network)[0]), frames=0)
    return EncoderCost(EncoderPlan(form, code_of(network.encoder, network.steps), folding.pixels), inputs, folding.contexts)


class _Context:
    """A frame that is on its way in.

    Attributes:
        frame: its number.
        steps: its steps.
        at: which of them comes next.
        taken: its words so far.
        ready: from here on, the next step may begin.
    """

    def __init__(self, frame: int):
        self.frame = frame
        self.at = self.taken = self.ready = 0
        self.steps: list[int] = []


class _Scheduler:
    """The round-robin arbiter at step boundaries, and when each frame's first word is taken and its result there."""

    def __init__(self, plans: tuple[LayerPlan, ...], frames: list[_Frame], source: "_WordSource | EncoderCost", *, early: bool):
        self.frames, self.source, self.early, self.tags = frames, source, early, plans[-1].frames
        self.pipeline = Pipeline(plans)
        self.vector_to_result = vector_to_result(plans[-1])
        self.contexts = [_Context(k) for k in range(plans[0].contexts)]
        self.first_word, self.complete = ([-1] * len(frames) for _ in range(2))
        self.result: list[int] = []
        self.free = 0  # from here on, a step can be chosen
        self.granted = len(self.contexts) - 1

    def run(self) -> None:
        while (chosen := self._choose()) is not None:
            self._admit(chosen)

    def _choose(self) -> _Context | None:
        """The context whose step comes next."""
        candidates = []
        for context in self.contexts:
            if context.frame < len(self.frames) and (ready := self._ready(context)) is not None:
                distance = (context.frame - self.granted - 1) % len(self.contexts)
                candidates.append((max(self.free, ready), distance, context))
        if not candidates:
            return None
        begin, _, context = min(candidates, key=lambda candidate: candidate[:2])
        self.free = begin
        return context

    def _ready(self, context: _Context) -> int | None:
        """When a context may go on; a new frame needs a place for its result. None: that is not free before other frames went on."""
        if context.at:
            return context.ready
        left = context.frame - self.tags
        if left >= len(self.result):
            return None
        return max(self.source.first_word(context.frame), self.result[left] if left >= 0 else 0)

    def _admit(self, context: _Context) -> None:
        number, frame = context.frame, self.frames[context.frame]
        if context.at == 0:
            context.steps, context.taken = frame.steps(), 0
            self.first_word[number] = self.source.begins(number)
        t = context.steps[context.at]
        words, vectors = frame.step(t)
        ends = context.at == len(context.steps) - 1
        last, step_done, vector = self.pipeline.step(self.free, words, vectors, number, t, ends=ends)
        self.free, self.granted = last + 1, number
        context.taken += len(words)
        context.at += 1
        context.ready = step_done if self.early else last + 1
        if ends or t == frame.decision:
            assert vector is not None
            self._finish(number, vector)
            self.source.end(number, last if ends else self.source.cancel(number, context.taken + 1, step_done))
            context.frame, context.at = number + len(self.contexts), 0

    def _finish(self, frame: int, vector: int) -> None:
        """Results leave in the order of the frames, one per cycle."""
        self.complete[frame] = vector + self.vector_to_result
        while (at := len(self.result)) < len(self.frames) and self.complete[at] >= 0:
            self.result.append(max(self.complete[at], self.result[-1] + 1 if self.result else 0))
