import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import sim
from export import Dense, Events, Layer, Network, Single, reference
from export.scores import score
from hw import Folding
from sim import pictures
from sim.page import page
from tests.multi_spike import code_network, random_images, spread
from tests.networks import random_network, random_spike_times

FRAMES = {"dataset": "made up", "dataset_digest": "12", "test_frames": 40}
RNG = np.random.default_rng(51)
FOLDING = Folding((4, 4), (8, 3), ("delta", "delta"))
BARE = random_network(RNG, (16, 8, 3), 5, spread=0.6)
TIMES = random_spike_times(RNG, 40, 16, 5)
LABELS = RNG.integers(0, 3, 40)
SCORES = score(reference.run(BARE, TIMES), LABELS).as_dict()
PROVENANCE = {"dataset": "made up", "dataset_digest": "12", "scores": {"test": SCORES}}
NETWORK = Network(BARE.layers, BARE.steps, class_names=("cat & dog", "<owl>", "eel"), provenance=PROVENANCE)


@pytest.fixture(scope="module")
def report():
    return sim.cosimulate(NETWORK, TIMES, LABELS, folding=FOLDING, about=FRAMES | {"image_shape": [4, 4]})


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
    listed = " · ".join(f"{name} {SCORES[name]:.2f}" for name in ("strict", "first_index", "lenient", "fired"))
    assert lines[0] == f"PyTorch, ±1 weights   {SCORES['strict']:.2f} %    ({listed}; silent {SCORES['silent_share']:.2f} %)"
    full, early = report.comparisons["full"], report.comparisons["early"]
    strict = report.data["accuracy"]["rtl"]["strict"]
    assert lines[1] == f"golden model          {strict:.2f} %    equal to PyTorch's scores on all 40 frames"
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


def against(provenance, about=FRAMES, frames=40):
    """A report of a network with this provenance."""
    network = Network(BARE.layers, BARE.steps, provenance=provenance)
    return sim.cosimulate(network, TIMES[:frames], LABELS[:frames], folding=FOLDING, about=about)


@pytest.mark.parametrize(
    ("provenance", "about"),
    [
        ({"dataset": "renamed"}, {}),
        ({"dataset_digest": None}, {}),
        ({}, {"dataset_digest": None}),
        ({"dataset": "set.npz", "dataset_digest": None}, {"dataset": "some/folder/set.npz"}),
    ],
)
def test_scores_of_the_same_data_set(provenance, about):
    report = against(PROVENANCE | provenance, FRAMES | about)
    assert report.passed
    assert report.data["equal_to_pytorch"] is True
    pytorch, golden = report.data["accuracy"]["pytorch"], report.data["accuracy"]["golden"]
    assert pytorch == golden | {"silent_share": report.data["silent_share"]}
    assert "Golden model: equal to PyTorch&#39;s scores on all 40 frames." in page(report)


@pytest.mark.parametrize("name", ["strict", "first_index", "lenient", "fired"])
def test_scores_that_differ(name):
    """The circuit is right, but the network is not what PyTorch ran, or was not run as PyTorch ran it."""
    report = against(PROVENANCE | {"scores": {"test": SCORES | {name: (SCORES[name] + 2.5) % 100}}})
    text = "scores DIFFER from those that PyTorch gave on the same 40 frames"
    assert not report.passed
    assert (report.data["passed"], report.data["equal_to_pytorch"], report.data["differences"]) == (False, False, 0)
    assert report.table().splitlines()[1].endswith(text)
    assert "equal to the golden model: 40 frames" in report.table()
    verdict = re.search(r'<div class="verdict bad">(.*?)</div>', page(report), re.DOTALL)[1]
    assert "The golden model's scores differ from PyTorch's." in verdict
    assert text in verdict


@pytest.mark.parametrize(
    ("provenance", "about", "frames"),
    [
        (PROVENANCE, FRAMES, 30),  # not all test frames
        (PROVENANCE, {"dataset": "made up", "dataset_digest": "12"}, 40),
        (PROVENANCE, FRAMES | {"dataset_digest": "34"}, 40),
        (PROVENANCE | {"dataset_digest": None}, FRAMES | {"dataset": "another"}, 40),
        (PROVENANCE | {"dataset": ["made up"], "dataset_digest": None}, FRAMES, 40),
        (PROVENANCE | {"scores": ["test"]}, FRAMES, 40),
        (PROVENANCE | {"scores": "test"}, FRAMES, 40),
        (PROVENANCE | {"scores": {"test": "strict first_index lenient fired"}}, FRAMES, 40),
        (PROVENANCE | {"scores": {"test": SCORES | {"strict": "91.25"}}}, FRAMES, 40),
        (PROVENANCE | {"scores": {"test": SCORES | {"fired": True}}}, FRAMES, 40),
        (PROVENANCE | {"scores": {"test": SCORES | {"lenient": 10**400}}}, FRAMES, 40),
        ({}, FRAMES, 40),
    ],
)
def test_no_scores_to_compare_with(provenance, about, frames):
    """Nothing stands beside the golden model's scores that is not of the same frames; and a provenance may be any JSON object."""
    report = against(provenance, about, frames)
    assert report.passed
    assert (report.data["accuracy"]["pytorch"], report.data["equal_to_pytorch"]) == (None, None)
    text = "not compared with PyTorch: the artifact has no scores of exactly these frames"
    assert report.table().splitlines()[0].endswith(text)
    assert text in page(report)


def test_one_frame_follows_no_other():
    other = sim.cosimulate(NETWORK, TIMES[:1], folding=FOLDING)
    assert other.data["cycles"]["interval_over_limit"] is None
    assert "interval none = – × limit" in other.table()


def test_a_limit_of_nothing():
    """Every frame is decided at step 0 before any spike comes in."""
    network = Network((Layer(Dense(np.ones((2, 3))), Single(np.array([0, 0]))),), 2)
    report = sim.cosimulate(network, np.full((4, 3), 2))
    assert report.passed
    assert report.data["cycles"]["limit_mean"] == 0
    assert report.data["cycles"]["interval_over_limit"] is None
    assert json.loads(report.json(), parse_constant=pytest.fail) == report.data
    assert re.search(r"interval [\d.]+ = – × limit", report.table())
    assert "<small>– × limit</small>" in page(report)


def test_json_holds_nothing_that_is_not_json(report):
    broken = replace(report, data=report.data | {"silent_share": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.json()


@pytest.fixture(scope="module")
def graded():
    """A report of neurons that spike with coefficients of both signs; one of the golden ones is another."""
    network = code_network(np.random.default_rng(4), (16, 8, 3), 5, "graded, signed", levels=4, bits=4)
    inputs = spread(network, random_images(np.random.default_rng(5), 12, 16))
    golden = reference.run(network, inputs)
    hidden = golden.events[0]
    coefficient = hidden.coefficient.copy()
    coefficient[at := int(np.flatnonzero(coefficient < -1)[0])] -= 1
    expected = replace(golden, events=(replace(hidden, coefficient=coefficient), golden.events[1]))
    folding = Folding((4, 4), (8, 3), ("delta", "delta"))
    return sim.cosimulate(network, inputs, folding=folding, expected=expected), hidden.select(np.array([at]))


def test_coefficients(graded):
    report, spike = graded
    frame, step, neuron, worth = (int(getattr(spike, name)[0]) for name in ("frame", "step", "neuron", "coefficient"))
    assert f"12 frames, {12 * (8 * 5 + 3)} coefficients (" in report.table()
    first = f"full mode, frame {frame}, layer 0, neuron {neuron}, step {step}: coefficient expected {worth - 1}, seen {worth}"
    assert f"first difference      {first}" in report.table()
    assert first in page(report)


def test_raster_of_coefficients():
    """Marks at their places, rings of the model and dots of the hardware, in colours by sign, larger ones for what is worth more."""
    golden = Events.sort((1, 5, 8), np.zeros(4), np.array([0, 1, 2, 4]), np.array([7, 3, 3, 0]), np.array([1, -2, 5, -20]))
    seen = golden.select(np.array([0, 2, 3]))
    panel = Figure().subplots()
    pictures._raster(panel, golden, seen, 2)
    found = {marks.get_label(): marks for marks in panel.collections}
    places = {name: marks.get_offsets().tolist() for name, marks in found.items()}
    model, hardware = "golden model", "hardware (Verilog)"
    assert places == {
        model: [[0, 7], [2, 3]],
        f"{model}, below 0": [[1, 3], [4, 0]],
        hardware: [[0, 7], [2, 3]],
        f"{hardware}, below 0": [[4, 0]],
    }
    colours = {to_hex((marks.get_facecolor() if len(marks.get_facecolor()) else marks.get_edgecolor())[0]) for marks in found.values()}
    assert len(colours) == 4
    for name in (model, hardware):
        up, down = (found[name + suffix].get_sizes() for suffix in ("", ", below 0"))
        assert up[0] < down[0] < up[1] if name == model else up[0] < up[1] <= down[0]
    assert all(ring > dot for ring, dot in zip(found[model].get_sizes(), found[hardware].get_sizes(), strict=True))
