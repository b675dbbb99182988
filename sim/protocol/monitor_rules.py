"""Whether the words on a layer's monitor keep the rules of spike words in ``docs/hardware.md``, whatever their spikes are.

They hold for every frame: good or bad, whole or cut short by a cancel or a reset.
"""

import numpy as np

from sim.ports import Payload

FIELDS = ("time", "index", "last_of_step", "last_of_frame", "error", "first")


def breaches(
    words: np.ndarray, frame: np.ndarray, payload: Payload, outputs: int, *, last_layer: bool, skips: bool = True, idle: bool = True
) -> dict[str, np.ndarray]:
    """By rule, the frames of the words that break it.

    Parameters:
        words: uint32 (words, units), in the order in which they were seen.
        frame: int64 (words,), the frame of each; words of several frames may be mixed.
        payload: of the words.
        outputs: neurons of the layer.
        idle: a neuron that no spike has reached does nothing, so that nothing comes of the flagged end of a frame whose step is closed.
        skips: steps without spikes need not be closed.
        last_layer: words are rows of the last layer: every group of a step is there, whether it spikes or not.
    """
    order = np.argsort(frame, kind="stable")
    words, frame = words[order], frame[order]
    time, index, closes, ends, error, first = (payload.get(words, name) for name in FIELDS)
    closes, ends, error, first = (flag == 1 for flag in (closes, ends, error, first))
    empty = ~payload.get_bits(words, "bits").any(axis=1)
    begins = np.diff(frame, prepend=-1) > 0
    time_before, index_before, closed, ended = (np.roll(array, 1) for array in (time, index, closes, ends))
    opens = begins | closed  # a step
    last = -(-outputs // payload.lanes("bits")) - 1
    rules = {
        "first is set with the first word and no other": first != begins,
        "the index is in range": index > last,
        "step 0 comes first": begins & (time != 0),
        "time does not go back": ~begins & (time < time_before),
        "a step closes before the next begins": ~opens & (time != time_before),
        "a closed step does not go on": ~begins & closed & (time == time_before) & ~empty & (idle | ~error),
        "nothing comes behind the end of a frame": ~begins & ended,
        "a frame ends with a step": ends & ~closes,
        "a flagged step ends its frame": error & closes & ~ends,
    }
    if last_layer:
        rules["groups come in turn"] = index != np.where(opens, 0, index_before + 1)
        rules["the last group closes the step"] = closes != (index == last)
    else:
        rules["the lowest index comes first"] = ~opens & (index < index_before)
        if skips:
            rules["empty words are whole steps, the first or last of their frame"] = empty & ~(opens & closes & (begins | ends))
        else:
            rules["empty words are whole steps"] = empty & ~(opens & closes)
            rules["no step is skipped"] = ~begins & (time > time_before + 1)
    return {rule: frame[broken] for rule, broken in rules.items()}


def end_times(words: np.ndarray, frame: np.ndarray, payload: Payload, frames: int) -> np.ndarray:
    """The time of each frame's end, int64 (frames,); -1 where it has none."""
    ends = payload.get(words, "last_of_frame") == 1
    times = np.full(frames, -1, np.int64)
    times[frame[ends]] = payload.get(words[ends], "time")
    return times
