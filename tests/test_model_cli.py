import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model import kept, metrics
from model.__main__ import main
from model.datasets import CHOICES
from tests.command_line import Done, in_process
from tests.small_data import FIGURES, save_npz

ROOT = Path(__file__).parent.parent
QUICK = ("--hidden", "16", "--epochs", "2", "--batch-size", "16", "--learning-rate", "0.01", "--validation", "0.25", "--augment", "0")


@pytest.fixture
def model(capfd, monkeypatch):
    return in_process(main, capfd, monkeypatch)


def start(*arguments):
    """Starts it in a process of its own."""
    command = [sys.executable, "-m", "model", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell in the background makes its children deaf to it
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, preexec_fn=listen, **streams)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("npz") / "stripes.npz")


@pytest.fixture(scope="module")
def trained(npz):
    out = npz.parent / "out"
    with start("train", "--dataset", npz, "--out", out, *QUICK) as process:
        streams = process.communicate(timeout=120)
    return Done(process.returncode, *streams), out


def test_train(trained, npz):
    done, out = trained
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 6
    pattern = (
        r"epoch \d/2: loss \d\.\d{4}, \d+\.\d\d % right, \d+\.\d % silent, \d\.\d\d steps; "
        r"validation, shift -?\d+: \d+\.\d\d % right, \d+\.\d % silent, \d\.\d\d steps"
    )
    assert all(re.fullmatch(pattern, line) for line in lines[:2])
    assert lines[2].split()[:6] == ["strict", "first_index", "lenient", "fired", "silent", "steps"]
    assert [line.split()[0] for line in lines[3:5]] == ["validation", "test"]
    assert lines[5] == f"{out}/checkpoint.safetensors"
    plots = [f"{name}.svg" for name in ("learning", "operating-points", "raster", "steps", "thresholds")]
    assert sorted(path.name for path in out.iterdir()) == sorted(["checkpoint.safetensors", "metrics.json", "resume.safetensors", *plots])
    content = metrics.read(out / "metrics.json")
    assert content["command"] == f"python -m model train --dataset {npz} {' '.join(QUICK)}"
    assert (content["recipe"], content["seed"], content["finished"]) == ("stripes", 0, True)


@pytest.fixture
def recipe(npz, tmp_path):
    """A recipe file that trains on it within a second."""
    path = tmp_path / "quick.toml"
    path.write_text(
        f'dataset = "{npz}"\nseeds = [3, 5]\nhidden = [16]\nepochs = 2\nbatch_size = 16\nlearning_rate = 0.01\nvalidation = 0.25\n'
    )
    return path


def test_train_by_recipe_file(model, recipe, tmp_path):
    done = model("train", recipe, "--epochs", "1", "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("epoch 1/1: ")
    content = metrics.read(tmp_path / "metrics.json")
    assert (content["recipe"], content["seed"], content["choices"]["epochs"], content["choices"]["hidden"]) == ("quick", 3, 1, [16])


def test_reproduce(model, recipe, tmp_path):
    out = tmp_path / "out"
    done = model("reproduce", recipe, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("seed ") and ": " in line] == [f"seed {seed}: {out}/seed-{seed}" for seed in (3, 5)]
    at = lines.index("test frames")
    assert [line.split("  ")[0] for line in lines[at + 2 : at + 6]] == ["seed 3", "seed 5", "mean", "sample standard deviation"]
    assert lines[-1] == f"{out}/network.safetensors"
    again = model("reproduce", recipe, "--out", out).stdout
    assert again.count("nothing to do") == 2
    assert again.splitlines()[-11:] == lines[-11:]


def test_plots(model, trained):
    done = model("plots", trained[1], "--frame", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{trained[1]}/{name}.svg" for name in ("learning", "raster", "steps", "thresholds", "operating-points")
    ]


def test_ablate(model, recipe, tmp_path):
    variants = tmp_path / "part.toml"
    variants.write_text('title = "A part"\n[all]\nepochs = 1\n[variants.without]\nhidden = []\n')
    done = model("ablate", recipe, variants, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[lines.index("validation frames, mean") + 2 : -1]] == ["as it is", "without"]
    assert lines[-1] == f"{tmp_path}/out/ablation-part.json"


def test_results(model, tmp_path, monkeypatch):
    project = kept.Project(tmp_path)
    monkeypatch.setattr(kept, "Project", lambda: project)
    project.folder.mkdir(parents=True)
    (project.folder / "rows.toml").write_text("")
    (tmp_path / "bench-x.json").write_text(json.dumps(FIGURES))
    done = model("results", "--keep", tmp_path / "bench-x.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [str(project.folder / "bench-x.json"), str(project.page)]
    assert "## Side by side" in project.page.read_text()
    monkeypatch.setattr(kept, "problems", lambda project: ["something does not agree"])
    assert model("results").stdout.splitlines()[0] == "warning: something does not agree"


def test_evaluate(model, trained, npz, tmp_path):
    out, curve = tmp_path / "scores.json", tmp_path / "curve.csv"
    done = model("evaluate", trained[1] / "checkpoint.safetensors", "--dataset", npz, "--out", out, "--shift-curve", curve)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].startswith("PyTorch, test")
    assert lines[2:] == [str(out), str(curve), str(tmp_path / "curve.svg")]
    report = json.loads(out.read_text())
    assert f"{report['strict']:.2f}%" in lines[1]
    assert report["dataset"] == "stripes.npz"


def test_scores_are_printed_only(model, trained, npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(trained[1].iterdir())
    done = model("evaluate", trained[1] / "checkpoint.safetensors", "--dataset", npz)
    assert (done.returncode, done.stdout.count("\n")) == (0, 2)
    assert (sorted(trained[1].iterdir()), list(tmp_path.iterdir())) == (before, [])


@pytest.mark.parametrize("option", ["--out", "--shift-curve"])
def test_scores_do_not_overwrite_the_network(model, trained, npz, option):
    network = trained[1] / "checkpoint.safetensors"
    done = model("evaluate", network, "--dataset", npz, option, network)
    assert done == (2, "", f"error: {option} must be another file than {network}, which it would overwrite\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--dataset", "minst", "--out", "x"],
            f"data set must be {CHOICES}, not 'minst'",
        ),
        (["train", "--dataset", "no.npz", "--out", "x"], "no.npz: No such file or directory"),
        (["train", "--dataset", "digits", "--out", "x", "--epochs", "0"], "epochs must be an integer, at least 1, not 0"),
        (
            ["train", "--dataset", "digits", "--out", "x", "--hidden", "6oo"],
            "argument --hidden: must be integers such as 8 or 8,128, not '6oo' (see python -m model train --help)",
        ),
        (["train", "--out", "x"], "one of the arguments RECIPE.toml --dataset is required (see python -m model train --help)"),
        (
            ["train", "x.toml", "--dataset", "digits", "--out", "x"],
            "argument --dataset: not allowed with argument RECIPE.toml (see python -m model train --help)",
        ),
        (["train", "x.toml", "--out", "x"], "x.toml: No such file or directory"),
        (
            ["reproduce", "recipes/digits.toml", "--seeds", "1,1"],
            "argument --seeds: must be different integers such as 0,1,2, not '1,1' (see python -m model reproduce --help)",
        ),
        (
            ["reproduce", "recipes/digits.toml", "--seeds", "0,-1"],
            "seed must be an integer, at least 0 and at most 4294967295, not -1",
        ),
        ([], "the following arguments are required: command (see python -m model --help)"),
        (["evaluate", "no.safetensors", "--dataset", "digits"], "no.safetensors: No such file or directory"),
        (
            ["evaluate", "README.md", "--dataset", "minst"],
            f"data set must be {CHOICES}, not 'minst'",
        ),
    ],
)
def test_mistakes_get_one_line(model, arguments, message):
    done = model(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_empty_data_directory(model, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path))
    done = model("train", "--dataset", "mnist", "--out", tmp_path / "out")
    assert done.stderr == f"error: data directory {tmp_path} must have a folder 'mnist', but holds nothing\n"
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_then_resume(npz, tmp_path):
    with start("train", "--dataset", npz, "--out", tmp_path, *QUICK, "--epochs", "100000") as process:
        while not (tmp_path / "resume.safetensors").exists():
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "interrupted\n")
    assert re.search(r"^interrupted: keeping epoch \d+, the best of \d+; --resume goes on$", out, re.MULTILINE)
    assert (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_device_that_is_not_there(model, trained, npz, tmp_path, command):
    arguments = ["--out", tmp_path / "out"] if command == "train" else [trained[1] / "checkpoint.safetensors"]
    done = model(command, "--dataset", npz, *arguments, "--device", "tpu")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: device must be cpu, cuda or cuda:N, not 'tpu'\n")
    assert list(tmp_path.iterdir()) == []


def test_commands_for_one_process(model, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    done = model("evaluate", "x.safetensors", "--dataset", "digits")
    assert done.stderr == "error: evaluate must run in one process: start it without torchrun\n"
