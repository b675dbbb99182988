"""The two benchmarks on tiny settings: what they report, what they refuse, their command line."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import export
from export import Encoder, Network, UserError
from export.scores import Scores
from model.__main__ import main
from model.comparison import bench_inference, bench_training
from model.comparison.bench_training import Point
from model.comparison.bs4nn_training import Bs4nnRecipe, train
from model.comparison.measuring import Row
from model.datasets import CHOICES
from model.encoding import LatencyEncoder
from model.kept import read_table
from model.layers import SingleSpikeNetwork
from tests.command_line import in_process
from tests.networks import random_network
from tests.small_data import save_npz, stripes

ROOT = Path(__file__).parent.parent
RECIPE = Bs4nnRecipe((36, 20, 4), epochs=1, batch=20, validation=20, rise=50)


@pytest.fixture(scope="module")
def network():
    layers = random_network(np.random.default_rng(3), (36, 20, 4), 8, spread=0.5).layers
    return Network(layers, 8, Encoder("latency"), provenance={"dataset": "stripes.npz"})


@pytest.fixture(scope="module")
def trained():
    return train(stripes(), RECIPE, lambda line: None)


def figures_of(bench):
    return {name: (value, unit) for name, value, unit in bench.figures()}


ACCURACY = {
    "strict": "strict accuracy",
    "first_index": "first_index accuracy",
    "lenient": "lenient accuracy (ties are right)",
    "fired": "fired accuracy (silence is wrong)",
    "silent_share": "silent frames",
}


@pytest.mark.parametrize("frames", [None, 7])
def test_inference(network, trained, frames):
    bench = bench_inference.measure(network, trained, RECIPE, stripes(), frames=frames, rounds=1)
    times = network.encoder.encode(stripes().test_images[:frames], 8)
    golden = export.reference.run(network, times)
    expected = export.scores.score(golden, stripes().test_labels[:frames])
    figures = figures_of(bench)
    for field, name in ACCURACY.items():
        assert figures[f"{name}, this project"] == (getattr(expected, field), "%")
    assert figures["steps taken, mean, this project"] == (expected.steps_mean, "")
    assert figures["hidden spikes by the decision, mean, this project"] == (expected.hidden_spikes_by_decision_mean, "")
    taken_in = times <= golden.decisions.step[:, None]
    assert figures["input spikes by the decision, mean, this project"][0] == pytest.approx(taken_in.sum(1).mean())
    assert bench.about.startswith(f"{len(times)} test frames; ")
    assert figures["dense through all steps, a frame, BS4NN / this project"][0] > 1
    names = ("dense to the decision", "dense through all steps", "event-driven to the decision")
    assert all(figures[f"{name}, a frame, {side}"][0] > 0 for name in names for side in ("BS4NN", "this project"))
    assert len(figures) == 2 * 11 + 6


def test_figures_of_the_authors():
    score = Scores(98.0, 98.0, 98.0, 95.0, 4.0, 2.0, 50.0)
    assert bench_inference.of_authors("stripes", (36, 20, 4), score) == []
    assert bench_inference.of_authors("mnist", (784, 600, 10), score) == [
        ("steps taken, 113 of BS4NN's authors' network / this project", 56.5, "×"),
        ("hidden spikes, 201 of BS4NN's authors' network / this project", 4.02, "×"),
    ]


@pytest.mark.parametrize("broken", ["class_index", "step", "margin", "silent"])
def test_inference_stops_where_evaluators_differ(network, trained, monkeypatch, broken):
    whole = bench_inference.evaluate

    def evaluate(evaluator, timed, times):
        result = whole(evaluator, timed, times)
        if evaluator is bench_inference.dense:
            getattr(result.decisions, broken)[3] ^= 1
        return result

    monkeypatch.setattr(bench_inference, "evaluate", evaluate)
    with pytest.raises(RuntimeError, match=r"^both evaluators must give the same decisions, but do not$"):
        bench_inference.measure(network, trained, RECIPE, stripes(), rounds=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            dataclasses.replace(stripes(), test_labels=None),
            "stripes must have test images with labels to be compared on, but has none",
        ),
        (
            stripes(side=5),
            "the network has 36 inputs and 4 outputs, but stripes has 25 inputs and 4 classes",
        ),
    ],
)
def test_inference_refuses(network, data, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        bench_inference.check(network, data)


def test_training_figures():
    """What is derived from the measurements."""
    points = (Point(8, 0.016, 0.064, 4_000_000, 20_000_000, 0.008), Point(128, 0.032, 0.64, 4_000_000, 400_000_000, None))
    rows, epochs = bench_training.rows(points), bench_training.epochs(points, 60000, 256)
    assert rows == [
        Row("T = 8: update", "ms", 1, 64, 16),
        Row("T = 8: peak memory", "MB", 1, 20, 4),
        Row("T = 128: update", "ms", 1, 640, 32),
        Row("T = 128: peak memory", "MB", 1, 400, 4),
        Row("update, T = 128 / T = 8", "×", 2, 10, 2, ratio=False),
    ]
    assert [(name, pytest.approx(value), unit) for name, value, unit in epochs] == [
        ("T = 8: 60,000 frames, this project", 235 * 0.016, "s"),
        ("T = 8: the same with augmentation", 235 * 0.024, "s"),
        ("T = 128: 60,000 frames, this project", 235 * 0.032, "s"),
    ]
    assert len(bench_training.rows(points[:1])) == 2


def test_training():
    bench = bench_training.measure(stripes(), hidden=(16,), steps=(2, 32), batch=50, rounds=1)
    figures = figures_of(bench)
    assert figures["T = 32: peak memory, BPTT / this project"][0] > figures["T = 2: peak memory, BPTT / this project"][0] > 0
    assert 1e6 * figures["T = 32: peak memory, BPTT"][0] > 32 * 50 * (36 + 16) * 4  # at least the spikes of every step
    for steps in (2, 32):
        plain, augmented = figures[f"T = {steps}: 100 frames, this project"][0], figures[f"T = {steps}: the same with augmentation"][0]
        assert augmented > plain == pytest.approx(2e-3 * figures[f"T = {steps}: update, this project"][0])


def test_silent_frames_at_the_start():
    times = LatencyEncoder(16)(torch.from_numpy(stripes(600).train_images))
    network = SingleSpikeNetwork((36, 16, 4), 16, generator=torch.Generator().manual_seed(0))
    bench_training.initialize(network, times)
    assert network(times).silent.float().mean() <= 0.15
    assert 0.15 < (network.run(times)[0][0] < 16).float().mean() < 0.45  # ties add to a quarter
    with torch.no_grad():
        network.layers[-1].thresholds += 1
    assert network(times).silent.float().mean() > 0.15


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (
            dataclasses.replace(stripes(), train_images=None),
            {},
            "stripes must have training images with labels to be trained on, but has none",
        ),
        (stripes(), {"batch": 101}, "batch must be at most 100, the training images of stripes, not 101"),
        (stripes(), {"batch": 4, "steps": (0,)}, "steps .T. must be an integer from 1 to 32768, not 0"),
        (stripes(), {"batch": 4, "hidden": (0,)}, "a layer's outputs must be a positive integer, not 0"),
    ],
)
def test_training_refuses(data, changes, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        bench_training.measure(data, **changes)


@pytest.fixture
def model(capfd, monkeypatch):
    return in_process(main, capfd, monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, network):
    """A folder with the network and the data set that it names."""
    path = tmp_path_factory.mktemp("bench")
    save_npz(path / "stripes.npz")
    export.save(network, path / "network.safetensors")
    return path


def test_inference_command(model, folder, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = ("bench", "inference", "network.safetensors", "--epochs", 1, "--rounds", 1, "--keep", "kept", "--out", "bench-figures.json")
    code, out, error = model(*arguments)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("BS4NN, epoch 1/1: ")
    assert lines[-1] == "bench-figures.json"
    assert lines[-2].endswith(" cores, PyTorch " + json.loads((folder / "bench-figures.json").read_text())["machine"]["torch"])
    report = read_table(folder / "bench-figures.json")
    assert (report["title"], report["network"], report["seed"]) == (
        "Inference beside BS4NN, 36-20-4 on stripes.npz",
        "network.safetensors",
        0,
    )
    assert report["command"].startswith("python -m model bench inference network.safetensors --epochs 1")
    assert report["network_digest"] == export.digest(export.load(folder / "network.safetensors"))
    assert [path.name for path in (folder / "kept").iterdir()] == ["bs4nn-stripes-36-20-4.safetensors"]
    assert model(*arguments)[1].splitlines()[0] == "BS4NN network: kept/bs4nn-stripes-36-20-4.safetensors, trained before"


def test_training_command(folder):
    """In a process of its own: nothing but the table may be said, by PyTorch's profiler either."""
    command = [sys.executable, "-W", "error", "-m", "model", "bench", "training", "--dataset", str(folder / "stripes.npz")]
    options = ["--hidden", "8", "--steps", "2,4", "--batch", "16", "--rounds", "1", "--out", str(folder / "bench-training.json")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    report = read_table(folder / "bench-training.json")
    title = "Training beside backpropagation through time, 36-8-4 on stripes.npz"
    assert done.stdout.splitlines()[0] == report["title"] == title
    assert report["about"].startswith("Batch 16; an update, processor time, median of 1 rounds. BPTT is that of snntorch ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inference", "no.safetensors"], "no.safetensors: No such file or directory"),
        (["inference", "nameless.safetensors"], "--dataset must be given: nameless.safetensors does not say what it was trained on"),
        *(
            (
                [subject, option, "0"],
                f"argument {option}: must be an integer of at least 1, not '0' (see python -m model bench {subject} --help)",
            )
            for subject, options in (("inference", ("--epochs", "--rounds", "--frames")), ("training", ("--batch", "--rounds")))
            for option in options
        ),
        (
            ["training", "--steps", "8;128"],
            "argument --steps: must be integers such as 8 or 8,128, not '8;128' (see python -m model bench training --help)",
        ),
        (["training", "--dataset", "minst"], f"data set must be {CHOICES}, not 'minst'"),
        (["speed"], "argument subject: invalid choice: 'speed' (choose from 'inference', 'training') (see python -m model bench --help)"),
    ],
)
def test_mistakes_get_one_line(model, folder, network, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    export.save(dataclasses.replace(network, provenance={}), "nameless.safetensors")
    assert model("bench", *arguments) == (2, "", f"error: {message}\n")
