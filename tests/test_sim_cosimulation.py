import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import hw.cost.cycles
import sim
from export import Dense, Encoder, Layer, Network, Single, UserError, digest, reference
from export.scores import score
from hw import Accelerator, Folding
from hw.verilog import generate, port_map
from sim.build import Build
from sim.compare import compare
from sim.frames import Spikes
from sim.outcome import Outcome
from sim.recording import Recording
from sim.timing import Timing
from tests.networks import random_network, random_spike_times

RNG = np.random.default_rng(11)
NETWORK = random_network(RNG, (20, 13, 4), 6, spread=0.7)
FOLDING = Folding((3, 5), (4, 4), ("xnor", "delta"))
TIMES = random_spike_times(RNG, 150, 20, 6)
LABELS = RNG.integers(0, 4, 150)
GOLDEN = reference.run(NETWORK, TIMES)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("cosim")
    return sim.cosimulate(NETWORK, TIMES, LABELS, folding=FOLDING, out=out, about={"dataset": "made up"}), out


def test_equal(report):
    report, _ = report
    assert report.passed
    assert report.first_difference is None
    full, early = report.comparisons["full"], report.comparisons["early"]
    assert full.spikes_compared == full.spikes_received == sum((times < 6).sum() for times in GOLDEN.spike_times)
    by_decision = sum(((times < 6) & (times <= GOLDEN.decisions.step[:, None])).sum() for times in GOLDEN.spike_times)
    assert early.spikes_compared == by_decision
    assert early.spikes_received == by_decision
    assert np.array_equal(full.summary.output_times, GOLDEN.spike_times[-1])
    assert np.array_equal(full.summary.hidden_spikes, GOLDEN.summary.hidden_spikes)
    for frame, drawn in report.outcome.drawn.items():
        assert all(seen.equals(events[frame : frame + 1]) for seen, events in zip(drawn.seen, GOLDEN.events, strict=True))


def test_json(report):
    report, out = report
    data = json.loads((out / "report.json").read_text())
    assert data == json.loads(json.dumps(report.data))
    full = report.comparisons["full"]
    golden = score(GOLDEN, LABELS)
    assert (data["frames"], data["frames_equal"], data["differences"]) == (150, 150, 0)
    assert data["spikes_compared"] == full.spikes_compared > 0
    assert data["spike_times_compared"] == 150 * (13 + 4)
    assert data["early"]["frames_equal"] == 150
    assert data["early"]["spikes_compared"] > 0
    assert data["early"]["differences"] == 0
    scores = {name: getattr(golden, name) for name in ("strict", "first_index", "lenient", "fired")}
    assert data["accuracy"] == {"pytorch": None, "golden": scores, "rtl": scores}
    assert data["equal_to_pytorch"] is None
    assert data["silent_share"] == golden.silent_share
    assert data["steps_mean"] == golden.steps_mean
    assert data["hidden_spikes_by_decision_mean"] == golden.hidden_spikes_by_decision_mean
    for mode in ("early", "full"):
        cycles = data["cycles"][mode]
        assert 0 < cycles["min"] <= cycles["mean"] <= cycles["max"]
    assert data["cycles"]["interval_over_limit"] >= 1
    assert {"generate", "build", "simulate", "total"} <= set(data["seconds"])
    assert data["network"]["sha256"] == digest(NETWORK)
    assert {"verilator", "amaranth", "cocotb", "python", "compiler"} <= set(data["versions"])
    assert data["dataset"] == "made up"
    assert data["passed"] is True


@pytest.mark.parametrize("mode", ["full", "early"])
def test_cycles_are_those_of_the_cost_model(report, mode):
    timing = report[0].timings[mode]
    predicted = hw.cost.cycles.predict(NETWORK, FOLDING, TIMES, GOLDEN, early=mode == "early")
    assert timing.latency.tolist() == predicted.latencies.tolist()
    assert timing.intervals.tolist() == predicted.intervals.tolist()


def test_interval_over_limit(report):
    intervals = report[0].timings["early"].intervals
    limit = hw.cost.cycles.limit(NETWORK, FOLDING, TIMES, GOLDEN)
    assert report[0].data["cycles"]["interval_over_limit"] == intervals.sum() / limit[1:].sum()


def test_jobs_find_the_same(report):
    several = sim.cosimulate(NETWORK, TIMES, LABELS, folding=FOLDING, jobs=3)
    assert several.passed
    assert several.data["build_cached"]
    for mode, comparison in report[0].comparisons.items():
        other = several.comparisons[mode]
        assert (other.frames, other.spikes_compared, other.spikes_received) == (150, comparison.spikes_compared, comparison.spikes_received)
        assert len(several.timings[mode].intervals) == 147


ALIKE = (
    *("frames", "frames_equal", "spikes_compared", "spikes_received", "spike_times_compared", "differences", "early", "first_difference"),
    *("accuracy", "silent_share", "steps_mean", "hidden_spikes_by_decision_mean"),
)


@pytest.mark.parametrize(("size", "frames"), [(1, 4), (7, 30)])
def test_shards_find_the_same(size, frames, monkeypatch):
    """Whatever the memory that frames may take: the same figures, pictured frames and first difference; only intervals have gaps."""
    times = TIMES[:frames].copy()
    times[frames // 2] = 6  # not what was expected
    arguments = (NETWORK, times, LABELS[:frames])
    whole = sim.cosimulate(*arguments, folding=FOLDING, expected=GOLDEN[:frames])
    monkeypatch.setattr(reference, "CHUNK", size)
    monkeypatch.setattr("export.reference.SHARD_BYTES", 1)
    found = sim.cosimulate(*arguments, folding=FOLDING, expected=GOLDEN[:frames])
    assert (whole.outcome.runs, found.outcome.runs) == ((frames,), tuple(min(size, frames - at) for at in range(0, frames, size)))
    assert found.first_difference.frame == frames // 2
    assert {name: found.data[name] for name in ALIKE} == {name: whole.data[name] for name in ALIKE}
    assert found.data["cycles"]["limit_mean"] == whole.data["cycles"]["limit_mean"]
    assert list(found.outcome.drawn) == list(whole.outcome.drawn)
    for frame, drawn in found.outcome.drawn.items():
        other = whole.outcome.drawn[frame]
        assert all(a.equals(b) for a, b in zip((*drawn.golden.events, *drawn.seen), (*other.golden.events, *other.seen), strict=True))


def test_memory_is_bounded_by_the_shard(monkeypatch):
    """Of further frames far less is kept than their spikes; the simulator is replaced by one that gives what is golden."""
    network = random_network(np.random.default_rng(13), (16, 2000, 3), 4, spread=0.5)
    accelerator = Accelerator(network, Folding((16, 16), (200, 3), ("delta", "delta")))
    verilog = generate(accelerator), port_map(accelerator)
    monkeypatch.setattr(reference, "CHUNK", 50)
    monkeypatch.setattr("export.reference.SHARD_BYTES", 1)

    def recordings(job, frames, golden):
        cycles = np.arange(len(golden))
        results = {name: getattr(golden.decisions, name).astype(np.int64) for name in reference.DECISION_FIELDS} | {"error": 0 * cycles}
        layers = tuple(Spikes(events, cycles, len(golden)) for events in golden.events)
        recording = Recording(layers, results, cycles, cycles + 1, False, 1.0)
        timing, comparison = Timing.of(recording), compare("full", recording, golden, network)
        return Outcome.of(golden, {"full": comparison, "early": comparison}, {"full": timing, "early": timing}, cycles, None)

    monkeypatch.setattr("sim.cosimulation._Job.run", recordings)
    monkeypatch.setattr("sim.cosimulation.build", lambda design: Build(Path(), "bench", 0, True, False, "", ""))
    peaks = []
    for frames in (200, 200, 1200):  # the first run makes what is made once
        times = random_spike_times(np.random.default_rng(14), frames, 16, 4)
        tracemalloc.start()
        report = sim.cosimulate(network, times, verilog=verilog)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(report.outcome.runs) == frames // 50
    spikes = report.comparisons["full"].spikes_compared * 1000 // 1200
    assert peaks[2] - peaks[1] < 17 * spikes / 8, peaks


def test_frames_in_turn():
    """Several streams; fewer frames than streams; parts of the frames that begin on any stream."""
    folding = Folding((3, 5), (13, 3), ("delta", "delta"), contexts=4)
    report = sim.cosimulate(NETWORK, TIMES, folding=folding)
    assert report.passed
    for mode, timing in report.timings.items():
        predicted = hw.cost.cycles.predict(NETWORK, folding, TIMES, GOLDEN, early=mode == "early")
        assert timing.latency.tolist() == predicted.latencies.tolist()
        assert timing.intervals.tolist() == predicted.intervals.tolist()
    assert sim.cosimulate(NETWORK, TIMES[:3], folding=folding).passed
    assert sim.cosimulate(NETWORK, TIMES[:30], folding=folding, jobs=4).passed


def test_pixels():
    rng = np.random.default_rng(12)
    layer = Layer(Dense(rng.choice([-1, 1], (5, 12))), Single(rng.integers(0, 4, 5)))
    network = Network((layer,), 4, Encoder("latency"))
    images = rng.integers(0, 256, (40, 12)).astype(np.uint8)
    folding = Folding((2,), (5,), ("delta",), contexts=2, pixels=5)
    assert sim.cosimulate(network, network.encode(images), images=images, folding=folding).passed
    with pytest.raises(UserError, match="spikes must be those of the images, but differ"):
        sim.cosimulate(network, network.encode(images[::-1].copy()), images=images, folding=folding)


def test_given_verilog(report):
    accelerator = Accelerator(NETWORK, FOLDING)
    verilog = generate(accelerator), port_map(accelerator)
    given = sim.cosimulate(NETWORK, TIMES[:20], verilog=verilog)
    assert given.passed
    assert given.data["build_cached"]
    assert given.data["folding"] == FOLDING.as_dict()
    with pytest.raises(UserError, match="the port map's folding must be"):
        sim.cosimulate(NETWORK, TIMES, folding=Folding((1, 1), (1, 1), ("delta", "delta")), verilog=verilog)
    other = random_network(RNG, (20, 13, 4), 6)
    with pytest.raises(UserError, match="the port map's network must be"):
        sim.cosimulate(other, TIMES, verilog=verilog)


def test_waves_on_request(tmp_path):
    stale = tmp_path / "first_difference_full.vcd"
    stale.touch()
    (tmp_path / "frame_of_mine.vcd").touch()
    report = sim.cosimulate(NETWORK, TIMES[:4], folding=FOLDING, out=tmp_path, waves=True)
    assert report.passed
    for mode in ("full", "early"):
        waveform = (tmp_path / f"frame_{mode}.vcd").read_text()
        assert "$var" in waveform
        assert waveform.count("\n#") > 10
    assert not stale.exists()
    assert report.data["waveforms"] == ["frame_full.vcd", "frame_early.vcd"]
    assert [line for line in report.table().splitlines() if line.startswith("waveform ")] == [
        f"waveform              {tmp_path / name}" for name in report.data["waveforms"]
    ]
    assert "Waveform: frame_full.vcd. Waveform: frame_early.vcd." in (tmp_path / "report.html").read_text()
    again = sim.cosimulate(NETWORK, TIMES[:4], folding=FOLDING, out=tmp_path)
    assert "waveform" not in again.table()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frame_of_mine.vcd", "report.html", "report.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": TIMES[:0]}, "there must be at least one frame, not 0"),
        ({"inputs": np.zeros((3, 19), int)}, "spike times must have shape"),
        ({"inputs": np.full((3, 20), 7)}, "spike times must be from 0 to 6"),
        ({"inputs": TIMES, "labels": LABELS[1:]}, "one label per frame"),
        ({"inputs": TIMES, "labels": LABELS + 1}, "labels must be from 0 to 3, not 1 to 4"),
        ({"inputs": TIMES, "jobs": 0}, "jobs must be at least 1, not 0"),
        ({"inputs": TIMES, "folding": Folding((0, 5), (4, 4), ("xnor", "delta"))}, "simd of layer 0 must be"),
        ({"inputs": TIMES, "expected": reference.run(NETWORK, TIMES[:9])}, "expected results must be of 150 frames, not 9"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(UserError, match=message):
        sim.cosimulate(NETWORK, **arguments)


def test_out_is_a_file(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match=r"out must be a folder, but .* is a file"):
        sim.cosimulate(NETWORK, TIMES, out=tmp_path / "out")


@pytest.mark.parametrize("out", ["/proc", "/proc/x"])
def test_out_cannot_be_written(out, monkeypatch):
    monkeypatch.setattr("sim.cosimulation.build", lambda *arguments: pytest.fail("it must not come so far"))
    with pytest.raises(OSError, match="/proc"):
        sim.cosimulate(NETWORK, TIMES, out=out)


def test_a_network_that_never_spikes_proves_nothing():
    dead = Network((Layer(Dense(np.ones((2, 3))), Single(np.array([4, 4]))),), 2)
    with pytest.raises(UserError, match="some neuron must spike in some frame, but none does"):
        sim.cosimulate(dead, np.zeros((5, 3), int))
