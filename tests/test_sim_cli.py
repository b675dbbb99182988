import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Single, reference, save
from export.scores import score
from hw import inputs, verilog
from model.datasets import CHOICES
from sim.__main__ import main
from tests.command_line import call
from tests.networks import random_network

ROOT = Path(__file__).parent.parent


sim = partial(call, main)


def process(*arguments, **variables):
    """The same in a process of its own, which looks for a tool chain anew."""
    command = [sys.executable, "-m", "sim", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "network.safetensors"
    save(random_network(np.random.default_rng(41), (9, 6, 3), 4, spread=0.6), path)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A network that takes images, and a data set for it."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(42)
    layer = Layer(Dense(rng.choice([-1, 1], (3, 9))), Single(rng.integers(-1, 4, 3)))
    network = Network((layer,), 4, Encoder("latency"))
    x, y = rng.integers(0, 256, (30, 9)).astype(np.uint8), rng.integers(0, 3, 30)
    np.savez(folder / "set.npz", x_test=x, y_test=y)
    scores = score(reference.run(network, network.encode(x)), y).as_dict()
    for name, test in {"network": scores, "other": scores | {"strict": 0.0}}.items():
        provenance = {"dataset": str(folder / "set.npz"), "scores": {"test": test}}
        save(replace(network, provenance=provenance), folder / f"{name}.safetensors")
    return folder


def test_random(network, tmp_path):
    done = sim(network, "--dataset", "random", "--images", 50, "--seed", 3, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "equal to the golden model: 50 frames, 450 spike times" in done.stdout
    assert "0 differences; early exit:" in done.stdout
    assert "cycles per image" in done.stdout
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (data["dataset"], data["seed"], data["frames"]) == ("random", 3, 50)
    assert data["accuracy"] == {"pytorch": None, "golden": None, "rtl": None}
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("source", ["words", "pixels"])
def test_file(images, tmp_path, source):
    # The network's provenance names the same file, which is what goes without saying.
    named = ["--dataset", images / "set.npz"] if source == "words" else []
    contexts = 2 if source == "words" else 1
    folding = ["--simd", 3, "--pe", 2, "--form", "xnor", "--contexts", contexts]
    done = sim(images / "network.safetensors", *named, "--out", tmp_path, *folding, "--input", source)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["frames"] == 30
    order = {"loop_order": ["step"], "swap": [1], "contexts": contexts, "pixels": 1}
    assert data["folding"] == {"simd": [3], "pe": [2], "form": ["xnor"], **order}
    strict = data["accuracy"]["golden"]["strict"]
    assert data["accuracy"]["golden"] == data["accuracy"]["rtl"]
    assert data["accuracy"]["pytorch"]["strict"] == strict
    assert f"PyTorch, ±1 weights   {strict:.2f} %" in done.stdout
    assert "equal to PyTorch's scores on all 30 frames" in done.stdout


def test_scores_that_differ_from_those_of_pytorch_are_exit_status_1(images, tmp_path):
    done = sim(images / "other.safetensors", "--out", tmp_path)
    assert done.returncode == 1, done.stderr
    assert "scores DIFFER from those that PyTorch gave on the same 30 frames" in done.stdout
    data = json.loads((tmp_path / "report.json").read_text())
    assert (data["passed"], data["equal_to_pytorch"], data["differences"]) == (False, False, 0)


def test_some_of_the_frames_are_not_compared_with_pytorch(images, tmp_path):
    done = sim(images / "other.safetensors", "--images", 29, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "not compared with PyTorch: the artifact has no scores of exactly these frames" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["accuracy"]["pytorch"] is None


@pytest.fixture
def spoilt(network, monkeypatch):
    """Runs the command line with a generator whose Verilog is changed."""

    def command(out, *change):
        honest = verilog.generate
        monkeypatch.setattr(verilog, "generate", lambda accelerator: honest(accelerator).replace(*change))
        return sim(network, "--dataset", "random", "--images", 5, "--out", out)

    return command


def test_a_difference_is_exit_status_1(spoilt, tmp_path):
    done = spoilt(tmp_path, " > $signed(", " < $signed(")
    assert done.returncode == 1, done.stderr
    assert "DIFFERS from the golden model" in done.stdout
    assert "first difference      full mode, frame 0, readout" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["passed"] is False


def test_a_circuit_that_does_not_compile_is_exit_status_3(spoilt, tmp_path):
    done = spoilt(tmp_path / "out", "endmodule", "end module")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "error: the simulator could not be built" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_vectors(network, tmp_path):
    done = sim("vectors", network, "--dataset", "random", "--images", 3, "--contexts", 1, "--out", tmp_path / "vectors")
    assert done.returncode == 0, done.stderr
    assert {"testbench.v", "accelerator.v", "words.hex"} <= {path.name for path in (tmp_path / "vectors").iterdir()}


def test_bench(network):
    done = sim("bench", network, "--dataset", "random", "--images", 20)
    assert done.returncode == 0, done.stderr
    for mode in ("full", "early"):
        assert f"{mode:<9}" in done.stdout
    assert done.stdout.count("ratio") == 2
    assert done.stdout.count(" cycles, 20 frames: ") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "random"], "the following arguments are required: --out"),
        (["--out", "{out}"], "--dataset must be given, because the network does not say what it was trained on"),
        (
            ["--dataset", "cats", "--out", "{out}"],
            f"data set must be {CHOICES}, not 'cats'",
        ),
        (["--dataset", "digits", "--out", "{out}"], "the network takes 9 inputs, but the images have 64 pixels"),
        (["--dataset", "random", "--images", "0", "--out", "{out}"], "must be an integer of at least 1, not '0'"),
        (
            ["--dataset", "random", "--images", "99999999999", "--out", "{out}"],
            "images must be at most 29826161 random frames of 9 inputs, not 99999999999",
        ),
        (["--dataset", "random", "--images", "x", "--out", "{out}"], "must be an integer of at least 1, not 'x'"),
        (["--dataset", "random", "--jobs", "-1", "--out", "{out}"], "must be an integer of at least 1, not '-1'"),
        (["--dataset", "random", "--seed", "-1", "--out", "{out}"], "seed must be a non-negative integer, not -1"),
        (["--dataset", "random", "--seed", "x", "--out", "{out}"], "argument --seed: invalid int value: 'x'"),
        (["--dataset", "random", "--simd", "1,2,3", "--out", "{out}"], "simd must have 2 entries, one per layer, not 3"),
        (["--dataset", "random", "--pe", "7,3", "--out", "{out}"], "pe of layer 0 must be an integer from 1 to its 6 outputs, not 7"),
        (["--dataset", "random", "--form", "delta,and", "--out", "{out}"], "form of layer 1 must be one of delta, xnor, not 'and'"),
        (["--dataset", "random", "--input", "pixels", "--out", "{out}"], "--input pixels needs images, but the data set has spike times"),
        (["--dataset", "{set}", "--images", "31", "--out", "{out}"], "images must be at most the 30 test frames of"),
        (["--dataset", "{out}/missing.npz", "--out", "{out}"], "missing.npz: No such file or directory"),
    ],
)
def test_mistakes(network, images, tmp_path, arguments, message):
    out = tmp_path / "out"
    chosen = images / "network.safetensors" if "{set}" in arguments else network
    done = sim(chosen, *(part.format(out=out, set=images / "set.npz") for part in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not out.exists()


def test_not_a_network(tmp_path):
    (tmp_path / "x").write_text("no")
    done = sim(tmp_path / "x", "--dataset", "random", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "must be a whole safetensors file" in done.stderr


def test_no_compiler(network, tmp_path):
    done = process(network, "--dataset", "random", "--images", 2, "--out", tmp_path / "out", CXX="no-such-compiler")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'no-such-compiler' is not found" in done.stderr
    assert not list((tmp_path / "out").iterdir())


def test_out_cannot_be_written(network):
    done = sim(network, "--dataset", "random", "--images", 2, "--out", "/proc/x")
    assert (done.returncode, done.stderr) == (2, "error: /proc/x: No such file or directory\n")


@pytest.mark.parametrize("bits", [None, 4])
def test_random_spikes_are_the_same_for_a_seed(bits):
    network = replace(random_network(np.random.default_rng(43), (50, 2), 3), encoder=Encoder("none", bits=bits))
    one, same, other = (inputs.random_events(network, 40, seed) for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)
    assert set(one.step.tolist()) == {0, 1, 2}
    assert (one.coefficient.max() > 1) == (bits is not None)
    share = np.bincount(np.unique(one.cell) // 50, minlength=40) / 50
    assert share.min() < 0.2
    assert share.max() > 0.8
