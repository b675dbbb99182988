"""Words on monitors, one thing altered at a time: each rule is seen to be broken, by its frame alone."""

from dataclasses import astuple, dataclass, replace

import numpy as np
import pytest

from sim.ports import Field, Payload
from sim.protocol.monitor_rules import breaches, end_times

OUTPUTS = 7


@dataclass(frozen=True)
class Shown:
    """A word as a monitor shows it."""

    time: int
    index: int
    bits: int
    last_of_step: int = 0
    last_of_frame: int = 0
    error: int = 0
    first: int = 0


WIDTHS = {"time": 3, "index": 2, "bits": 3, "last_of_step": 1, "last_of_frame": 1, "error": 1, "first": 1}
OFFSETS = dict(zip(WIDTHS, np.cumsum([0, *WIDTHS.values()]).tolist(), strict=False))
PAYLOAD = Payload(sum(WIDTHS.values()), {name: Field(OFFSETS[name], width) for name, width in WIDTHS.items()})

HIDDEN = (Shown(0, 0, 0, 1, first=1), Shown(1, 0, 3), Shown(1, 2, 1, 1), Shown(3, 1, 2), Shown(3, 1, 4, 1), Shown(4, 0, 0, 1, 1))
LAST = (
    *(Shown(0, 0, 1, first=1), Shown(0, 1, 0), Shown(0, 2, 0, 1)),
    *(Shown(2, 0, 2), Shown(2, 1, 7), Shown(2, 2, 0, 1)),
    *(Shown(2, 0, 0), Shown(2, 1, 0), Shown(2, 2, 0, 1, 1)),
)


def records(words):
    return np.array([[sum(value << OFFSETS[name] for name, value in zip(WIDTHS, astuple(word), strict=True))] for word in words], np.uint32)


def broken(words, *, last_layer):
    """The rules that the words of frame 1 break, between two frames that break none, all three mixed."""
    sound = LAST if last_layer else HIDDEN
    mixed = [(frame, place, word) for frame, of_frame in enumerate((sound, words, sound)) for place, word in enumerate(of_frame)]
    mixed.sort(key=lambda entry: entry[1])
    found = breaches(
        records([word for _, _, word in mixed]), np.array([frame for frame, _, _ in mixed]), PAYLOAD, OUTPUTS, last_layer=last_layer
    )
    for frames in found.values():
        assert set(frames.tolist()) <= {1}
    return {rule for rule, frames in found.items() if len(frames)}


@pytest.mark.parametrize("last_layer", [False, True])
def test_words_that_keep_the_rules(last_layer):
    words = LAST if last_layer else HIDDEN
    for cut in range(len(words) + 1):
        assert broken(words[:cut], last_layer=last_layer) == set()
    assert broken((*words[:-1], replace(words[-1], error=1)), last_layer=last_layer) == set()


RULES = {
    "first is set with the first word and no other": (0, {"first": 0}),
    "the index is in range": (2, {"index": 3}),
    "step 0 comes first": (0, {"time": 1}),
    "time does not go back": (3, {"time": 0}),
    "a step closes before the next begins": (1, {"time": 0}),
    "a closed step does not go on": (3, {"time": 1}),
    "a frame ends with a step": (1, {"last_of_frame": 1}),
    "nothing comes behind the end of a frame": (2, {"last_of_frame": 1}),
    "a flagged step ends its frame": (2, {"error": 1}),
    "the lowest index comes first": (1, {"index": 3}),
    "empty words are whole steps, the first or last of their frame": (1, {"bits": 0}),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule):
    place, change = RULES[rule]
    words = [*HIDDEN]
    words[place] = replace(words[place], **change)
    assert rule in broken(words, last_layer=False)


@pytest.mark.parametrize(
    ("rule", "place", "change"), [("groups come in turn", 4, {"index": 0}), ("the last group closes the step", 5, {"last_of_step": 0})]
)
def test_rule_of_the_last_layer(rule, place, change):
    words = [*LAST]
    words[place] = replace(words[place], **change)
    assert rule in broken(words, last_layer=True)


def test_no_words():
    assert all(len(frames) == 0 for frames in breaches(records([]).reshape(0, 1), np.zeros(0, int), PAYLOAD, 3, last_layer=False).values())


def test_end_times():
    words = records([*HIDDEN, *HIDDEN[:-1], *LAST])
    frame = np.repeat([0, 1, 3], [len(HIDDEN), len(HIDDEN) - 1, len(LAST)])
    assert end_times(words, frame, PAYLOAD, 4).tolist() == [4, -1, -1, 2]


CLOSED = (Shown(0, 0, 0, 1, first=1), Shown(1, 0, 3), Shown(1, 2, 1, 1), Shown(2, 0, 0, 1), Shown(3, 1, 2, 1, 1))


@pytest.mark.parametrize(
    ("words", "broken"),
    [
        (CLOSED, set()),
        ((*CLOSED[:3], *CLOSED[4:]), {"no step is skipped"}),
        ((*CLOSED[:1], replace(CLOSED[1], bits=0), *CLOSED[2:]), {"empty words are whole steps"}),
    ],
    ids=["lawful", "skipped", "empty"],
)
def test_layers_that_close_every_step(words, broken):
    found = breaches(records(words), np.zeros(len(words), int), PAYLOAD, OUTPUTS, last_layer=False, skips=False)
    assert {rule for rule, frames in found.items() if len(frames)} == broken


def test_lanes_of_several_bits():
    """The bits of a word are those of fewer neurons, of which there are more words."""
    lanes = replace(PAYLOAD, fields={**PAYLOAD.fields, "bits": Field(OFFSETS["bits"], 3, lanes=1)})
    assert breaches(records(HIDDEN), np.zeros(len(HIDDEN), int), lanes, 2, last_layer=False)["the index is in range"].tolist() == [0]
    assert breaches(records(HIDDEN), np.zeros(len(HIDDEN), int), lanes, 3, last_layer=False)["the index is in range"].tolist() == []


def test_a_flagged_end_where_neurons_act_without_input():
    """It closes the step once more: what comes of it is flagged, and does not count."""
    ended = (*CLOSED[:3], replace(CLOSED[2], last_of_frame=1, error=1))
    for idle, error, wrong in ((True, 1, True), (False, 1, False), (False, 0, True)):
        words = records([*ended[:-1], replace(ended[-1], error=error)])
        found = breaches(words, np.zeros(len(ended), int), PAYLOAD, OUTPUTS, last_layer=False, skips=False, idle=idle)
        assert (len(found["a closed step does not go on"]) > 0) == wrong
