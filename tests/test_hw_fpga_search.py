"""``python -m hw estimate``: areas, and the search for foldings."""

import re
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

import export
from export import reference
from hw import Folding, cost, inputs
from hw.__main__ import main
from hw.cost.speed import Speed
from hw.fpga import pareto, search
from hw.fpga.area import AreaModel
from hw.fpga.devices import DEVICES, FAMILIES
from tests.command_line import call
from tests.maps import Shape, map_network, random_inputs
from tests.networks import random_network

DEVICE = DEVICES["ecp5-25k"]


@pytest.fixture(scope="module")
def network():
    return random_network(np.random.default_rng(12), (40, 24, 5), 8, spread=0.5)


@pytest.fixture(scope="module")
def found(network):
    return search.search(network, DEVICE, inputs.random_events(network, 60, 0), "words")


command = partial(call, main, "estimate")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory, network):
    path = tmp_path_factory.mktemp("estimate") / "network.safetensors"
    export.save(replace(network, provenance={"dataset": "random"}), path)
    return path


def test_search_gives_foldings_of_which_none_is_beaten(network, found):
    assert len(found) >= 5
    for smaller, larger in pairwise(found):
        assert smaller.area.placed <= larger.area.placed
        assert smaller.speed.interval > larger.speed.interval
    times = inputs.random_events(network, 60, 0)
    golden = reference.run(network, times)
    for item in found:
        item.folding.plans(network)
        assert item.area == AreaModel(FAMILIES["ecp5"]).estimate(network, item.folding, "words")
        assert item.area.fits(DEVICE)
        assert item.speed == Speed.of(network, item.folding, times, golden)


def test_search_finds_what_an_exhaustive_one_of_some_foldings_does(network, found):
    """No folding with equal layers in the order event is both smaller and faster than what was found."""
    times = inputs.random_events(network, 60, 0)
    golden = reference.run(network, times)
    for simd in (1, 4, 8):
        for groups in (1, 2, 3, 6, 12, 24):
            folding = Folding((simd, simd), (-(-24 // groups), -(-5 // min(groups, 5))), ("delta", "delta"))
            area = AreaModel(FAMILIES["ecp5"]).estimate(network, folding, "words").placed
            interval = Speed.of(network, folding, times, golden).interval
            assert any(item.area.placed <= 1.1 * area and item.speed.interval <= 1.1 * interval for item in found), folding


MAPS = [Shape(4, (3, 3)), Shape(6, (2, 2), pool=(2, 2))]


@pytest.mark.parametrize("code", ["single", "graded"])
def test_search_over_maps(code, monkeypatch):
    """Words are divisors of the channels, and convolutions and layers behind pools have one schedule."""
    rng = np.random.default_rng(4)
    network = map_network(rng, (6, 6, 2), MAPS, 3, 3, code)
    events = export.Events.from_dense(random_inputs(rng, network, 30))
    monkeypatch.setattr(search, "PACES", 6)
    monkeypatch.setattr(search, "EVENTS", 1)
    some, golden = search.compared_on(network, events)
    assert some.shape[0] == search.FEW
    found = search.search(network, DEVICE, events, "words")
    assert len(found) >= 3
    for smaller, larger in pairwise(found):
        assert smaller.area.placed <= larger.area.placed
        assert smaller.speed.interval > larger.speed.interval
    for item in found:
        assert item.area == AreaModel(FAMILIES["ecp5"]).estimate(network, item.folding, "words")
        assert item.speed == Speed.of(network, item.folding, some, golden)


def test_frontier_and_choice(found):
    assert search.frontier([*found, *found]) == found
    middle = found[len(found) // 2]
    pace = middle.speed.images_per_second(50)
    assert search.smallest(found, 50, pace, None) == middle
    assert search.smallest(found, 50, None, middle.area.placed) == middle
    assert search.smallest(found, 50, pace, middle.area.placed) == middle
    assert search.smallest(found, 50, 1.001 * pace, middle.area.placed) is None
    assert search.smallest(found, 50, None, found[0].area.placed - 1) is None


def test_a_device_that_holds_nothing(network):
    tiny = replace(DEVICE, capacity={"luts": 10, "ffs": 10, "block_rams": 0})
    assert search.search(network, tiny, inputs.random_events(network, 20, 0), "words") == []


def test_pictures_are_the_same_every_time(tmp_path, network, found):
    for ending in ("png", "svg"):
        first, second = (pareto.draw(tmp_path / f"{name}.{ending}", network, "a board", found, 80.0) for name in "ab")
        assert first.read_bytes() == second.read_bytes()
    assert "images per second at 80 MHz" in (tmp_path / "a.svg").read_text()
    assert f"PE {','.join(map(str, found[0].folding.pe))}" in (tmp_path / "a.svg").read_text()


def test_estimate(artifact, network):
    done = command(artifact, "--device", "hx8k", "--simd", "4,8", "--pe", "8,5", "--images", 40, "--formula")
    assert (done.returncode, done.stderr) == (0, "")
    area = AreaModel(FAMILIES["ice40"]).estimate(network, Folding((4, 8), (8, 5), ("delta", "delta")), "words")
    lines = done.stdout.splitlines()
    assert lines[0] == "network               40-24-5, T = 8"
    options = "--simd 4,8 --pe 8,5 --form delta,delta --loop-order event,event --swap 1,1 --contexts 1"
    assert lines[1].startswith(f"folding               {options}")
    assert "area                  by formula" in lines
    assert f"LUTs when placed      about {area.placed:,}" in lines
    assert f"memory bits           {area.memory_bits:,}" in lines
    assert "fits                  yes" in lines
    assert any(line.startswith("images per second") and line.endswith(" at 80 MHz") for line in lines)


def test_maps_on_the_command_line(tmp_path):
    """A frontier and its picture; then one of the foldings, beside what a dense streaming design takes."""
    rng = np.random.default_rng(5)
    network = map_network(rng, (6, 6, 1), MAPS[:1], 3, 4, "single", encoder=export.Encoder("latency"), last_pool=(2, 2))
    export.save(replace(network, provenance={"dataset": "random"}), tmp_path / "network.safetensors")
    given = (tmp_path / "network.safetensors", "--device", "ecp5-25k", "--images", 20)
    done = command(*given, "--pareto", tmp_path / "p.svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    options = done.stdout.splitlines()[-2].split("  ")[-1].split()
    again = command(*given, *options, "--formula")
    assert (again.returncode, again.stderr) == (0, "")
    folding = Folding(tuple(map(int, options[1].split(","))), tuple(map(int, options[3].split(","))), ("delta", "delta"))
    streaming = f"dense streaming       {cost.streaming(network, folding):,} cycles per image with the same PE and SIMD, "
    assert any(line.startswith(streaming) and line.endswith(" × as many") for line in again.stdout.splitlines())


def test_estimate_where_there_is_no_place_and_route(artifact, network):
    done = command(artifact, "--device", "xc7", "--mhz", "100", "--simd", "4,8", "--pe", "8,5", "--images", 40, "--formula")
    assert (done.returncode, done.stderr) == (0, "")
    area = AreaModel(FAMILIES["xc7"]).estimate(network, Folding((4, 8), (8, 5), ("delta", "delta")), "words")
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"LUTs                  {area.luts:,} of 20,800") for line in lines)
    assert not any(line.startswith("LUTs when placed") for line in lines)
    assert any(line.startswith("images per second") and line.endswith(" at 100 MHz") for line in lines)


@pytest.mark.parametrize("how", ["formula", pytest.param("synthesis", marks=pytest.mark.proofs)])
def test_estimate_for_a_board(tmp_path, how):
    network = replace(random_network(np.random.default_rng(3), (40, 24, 5), 8), encoder=export.Encoder("latency"))
    export.save(network, tmp_path / "network.safetensors")
    np.savez(tmp_path / "set.npz", x_test=np.zeros((30, 40), np.uint8) + 200, y_test=np.zeros(30, int))
    given = (tmp_path / "network.safetensors", "--dataset", tmp_path / "set.npz", "--simd", "4,8", "--pe", "8,5")
    done = command(*given, "--board", "ulx3s-25f", *(["--formula"] if how == "formula" else []))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"area                  {'by formula' if how == 'formula' else 'sum of '}") for line in lines)
    assert "device                ecp5-25k (LFE5U-25F, CABGA381, speed grade 6), on ulx3s-25f, with host link" in lines
    assert any(line.startswith("folding") and line.endswith("; pixels in") for line in lines)
    assert any(line.startswith("images per second") and line.endswith(" at 50 MHz") for line in lines)
    done = command(*given, "--board", "ulx3s-25f", "--pixels", 4)
    assert (done.returncode, done.stderr) == (2, "error: pixels must be 1 where they come from a host, byte by byte, not 4\n")
    done = command(*given, "--board", "ulx3s-25f", "--input", "words")
    message = "error: --input must be pixels, which is what comes from a host to ulx3s-25f, or be left out, not words\n"
    assert (done.returncode, done.stderr) == (2, message)
    done = command(*given, "--board", "ulx3s-25f", "--device", "up5k")
    assert (done.returncode, done.stderr) == (
        2,
        "error: --device must be ecp5-25k, which is on ulx3s-25f, or be left out, not up5k\n",
    )


@pytest.mark.parametrize(
    "options", [("--board", "icebreaker"), ("--device", "ecp5-25k", "--input", "pixels", "--max-luts", "9000")], ids=str
)
def test_pixels_for_a_network_without_a_latency_encoder(artifact, options):
    done = command(artifact, *options)
    message = "error: frames_in 'pixels' needs a network with encoder 'latency' or 'spread', not 'none'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_search_on_the_command_line(artifact, tmp_path):
    done = command(
        artifact, "--device", "ecp5-25k", "--target-fps", 1e6, "--max-luts", 20000, "--images", 40, "--pareto", tmp_path / "p.svg"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    assert "area                  sum of 7 parts, each synthesised by itself" in re.sub(r"\d+ parts,", "7 parts,", done.stdout)
    blank = done.stdout.splitlines().index("")
    options = done.stdout.splitlines()[blank + 1].split()
    again = command(artifact, "--device", "ecp5-25k", "--images", 40, *options)
    assert again.stdout.splitlines() == done.stdout.splitlines()[blank + 2 :]


HELP = "(see python -m hw estimate --help)"


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("up6k", [], "device must be one of up5k, hx8k, ecp5-25k, ecp5-85k, xc7, not 'up6k'"),
        ("xc7", [], "--mhz must be given for xc7, which has no place and route here"),
        ("up5k", ["--target-fps", "9", "--pe", "2,2"], "--pe must be left out where a folding is searched for, which chooses it"),
        ("up5k", ["--pareto", "p.pdf"], "--pareto must name a .png or .svg file, not p.pdf"),
        ("up5k", ["--max-luts", "0"], f"argument --max-luts: must be an integer of at least 1, not '0' {HELP}"),
        ("up5k", ["--target-fps", "-1"], f"argument --target-fps: invalid number above 0 value: '-1' {HELP}"),
        ("up5k", ["--pixels", "4", "--max-luts", "900"], "--pixels must be left out, or given with --input pixels"),
        ("up5k", ["--pe", "8"], "pe must have 2 entries, one per layer, not 1"),
    ],
)
def test_mistakes(artifact, device, options, message):
    done = command(artifact, "--device", device, *options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_nothing_fits(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("hw.fpga.estimate.search", lambda *given: [])
    done = command(artifact, "--device", "up5k", "--images", 40, "--pareto", tmp_path / "p.svg")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no folding of this network fits into up5k, by formula\n"
    assert not (tmp_path / "p.svg").exists()


def test_wishes_that_cannot_be_met(artifact):
    done = command(artifact, "--device", "ecp5-25k", "--target-fps", 1e9, "--max-luts", 900, "--images", 40)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no folding has 1,000,000,000 images per second and at most 900 LUTs; on ecp5-25k at 120 MHz the ")
    assert done.stderr.count("\n") == 1
