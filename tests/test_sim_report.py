import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

import sim
from export import Network, reference
from hw import Folding
from sim.page import page
from tests.networks import random_network, random_spike_times

RNG = np.random.default_rng(51)
FOLDING = Folding((4, 4), (8, 3), ("delta", "delta"))
SCORES = {"strict": 91.25, "first_index": 90.5, "lenient": 92.75, "fired": 89.0}
PROVENANCE = {"dataset": "made up", "scores": {"test": SCORES | {"silent_share": 1.25}}}
BARE = random_network(RNG, (16, 8, 3), 5, spread=0.6)
NETWORK = Network(BARE.layers, BARE.steps, class_names=("cat & dog", "<owl>", "eel"), provenance=PROVENANCE)
TIMES = random_spike_times(RNG, 40, 16, 5)
LABELS = RNG.integers(0, 3, 40)


@pytest.fixture(scope="module")
def report():
    return sim.cosimulate(NETWORK, TIMES, LABELS, folding=FOLDING, about={"dataset": "made up", "image_shape": [4, 4]})


@pytest.fixture(scope="module")
def different():
    """A report of a circuit that was not given the last frame's spikes."""
    times = TIMES.copy()
    times[-1] = 5
    return sim.cosimulate(NETWORK, times, folding=FOLDING, expected=reference.run(NETWORK, TIMES))


class Outline(HTMLParser):
    """What a page refers to, and whether its tags pair up."""

    def __init__(self, text):
        super().__init__()
        self.open, self.references = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_needs_nothing_beside_it(report):
    text = page(report)
    outline = Outline(text)
    assert outline.open == []
    assert outline.references
    assert all(reference.startswith(("#", "data:")) for reference in outline.references)
    assert "url(http" not in text
    assert "@import" not in text


def test_pictures_are_whole(report):
    pictures = re.findall(r"<svg.*?</svg>", page(report), re.DOTALL)
    assert len(pictures) == 3  # rasters, histograms, confusion matrix
    for picture in pictures:
        assert ET.fromstring(picture).tag.endswith("svg")
    assert "frame 0: decided" in pictures[0]
    assert "steps taken" in pictures[1]


def test_names_are_escaped(report):
    text = page(report)
    assert "<owl>" not in text
    assert "&lt;owl&gt;" in text


def test_page_of_a_difference(different):
    text = page(different)
    assert f"{different.first_difference}" in text
    assert "frame 39: decided" in text
    assert "Every spike is equal" not in text
    assert "Confusion matrix" not in text
    assert Outline(text).open == []


def test_table(report):
    lines = report.table().splitlines()
    assert lines[0] == "PyTorch, ±1 weights   91.25 %    (strict 91.25 · first_index 90.50 · lenient 92.75 · fired 89.00; silent 1.25 %)"
    full, early = report.comparisons["full"], report.comparisons["early"]
    strict = report.data["accuracy"]["rtl"]["strict"]
    assert lines[2] == (
        f"RTL (Verilator)       {strict:.2f} %    equal to the golden model: 40 frames, 440 spike times ({full.spikes_compared} spikes), "
        f"0 differences; early exit: {early.spikes_compared} spikes, 0 differences"
    )
    assert re.search(r"early: \d+ / [\d.]+ / \d+, interval [\d.]+ = [\d.]+ × limit +full: \d+ / [\d.]+ / \d+, interval [\d.]+", lines[4])


def test_table_of_a_difference(different):
    text = different.table()
    assert "DIFFERS from the golden model" in text
    assert f"first difference      {different.first_difference}" in text
    assert different.data["accuracy"] == {"pytorch": None, "golden": None, "rtl": None}


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({"test_frames": 40}, "scores DIFFER from those that the artifact gives for PyTorch"),
        ({"test_frames": 4000}, "PyTorch's scores are those of all 4000 test frames"),
        ({"test_frames": 40, "dataset_digest": "12"}, "no PyTorch scores of these frames in the artifact"),
    ],
)
def test_golden_model_against_pytorch(about, text):
    network = Network(BARE.layers, BARE.steps, provenance=PROVENANCE | {"dataset_digest": "34"})
    report = sim.cosimulate(network, TIMES, LABELS, folding=FOLDING, about={"dataset": "made up"} | about)
    assert report.table().splitlines()[1 if "digest" not in str(about) else 0].endswith(text)


def test_golden_model_equal_to_pytorch():
    scores = sim.cosimulate(BARE, TIMES, LABELS, folding=FOLDING).data["accuracy"]["golden"]
    network = Network(BARE.layers, BARE.steps, provenance={"dataset": "made up", "scores": {"test": scores}})
    report = sim.cosimulate(network, TIMES, LABELS, folding=FOLDING, about={"dataset": "made up", "test_frames": 40})
    assert report.table().splitlines()[1].endswith("equal to PyTorch on all frames (every spike, when it was exported)")


def test_scores_of_another_data_set_are_not_shown():
    other = sim.cosimulate(NETWORK, TIMES[:1], folding=FOLDING, about={"dataset": "another"})
    assert other.data["accuracy"]["pytorch"] is None
    assert other.data["cycles"]["interval_over_limit"] is None  # one frame follows no other
    assert "interval none" in other.table()
