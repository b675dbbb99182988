"""Two processes against one. Where the loss has gradients that float32 adds up without rounding, all must be equal to the bit."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from export import UserError
from export.artifact import read_tensors
from model import __main__, metrics, training
from model.processes import Processes, connect
from model.recipe_file import RecipeFile
from model.recipes import Recipe
from model.reproduce import Runner
from model.trainer import Trainer
from tests.several import connected, outcome, start_connected
from tests.small_data import save_npz, stripes

ROOT = Path(__file__).parent.parent
# 81 training frames: five batches of 16 and one of a single frame, less than one for each process. 16 inputs: a window of 2.
RECIPE = Recipe(hidden=(24,), epochs=3, batch_size=16, learning_rate=0.01, validation=19, max_silent=20.0)
DATA = stripes(side=4)


def exact_loss(margins, labels, scale):
    """Gradients are small multiples of a power of two."""
    right = torch.nn.functional.one_hot(labels, margins.shape[1])
    return (margins * (0.25 - right)).sum(1).mean()


def train(processes, out, recipe=RECIPE, exact=False, resume=False):
    """All parameters, and what was said."""
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        if exact:
            patch.setattr("model.trainer.margin_loss", exact_loss)
        with processes.stopped_together():
            training.train(DATA, recipe, out / str(processes.rank), resume=resume, say=lines.append, processes=processes)
    return lines


def tensors_of(directory):
    return {
        file: {name: tensor.tolist() for name, tensor in read_tensors(directory / "0" / f"{file}.safetensors")[0].items()}
        for file in ("checkpoint", "resume")
    }


@pytest.mark.parametrize(
    ("count", "changes"), [(2, {}), (3, {"epochs": 1, "batch_size": 1}), (2, {"augment": 0.3, "drop_spikes": 0.2, "hidden": (16, 16)})]
)
def test_equal_to_one_process(tmp_path, count, changes):
    recipe = dataclasses.replace(RECIPE, **changes)
    lines = train(Processes(), tmp_path / "one", recipe, True)
    found = connected(train, tmp_path / "several", recipe, True, count=count)
    assert found == [lines] * count
    assert tensors_of(tmp_path / "several") == tensors_of(tmp_path / "one")
    assert [path.name for path in (tmp_path / "several").iterdir()] == ["0"]  # only the first writes
    provenance = read_tensors(tmp_path / "several" / "0" / "checkpoint.safetensors")[1]["provenance"]
    assert (provenance["processes"], provenance["device"]) == (count, "cpu")
    weights, thresholds = (read_tensors(tmp_path / "one" / "0" / "resume.safetensors")[0][f"optimizer.{i}.exp_avg"] for i in (0, 2))
    assert np.count_nonzero(weights) > 100  # something was learned
    assert np.count_nonzero(thresholds) > 5


def gradients(processes, frames):
    """Of one update with the true loss, and its sums."""
    trainer = Trainer(DATA, RECIPE, processes)
    part = processes.share(frames)
    sums = trainer._update(trainer.train.times[:frames][part], trainer.train.labels[:frames][part], 0.5)
    return sums, [parameter.grad.numpy() for parameter in trainer.network.parameters()], trainer.loss_scale


@pytest.mark.parametrize("frames", [16, 7, 1])
def test_gradients_of_the_true_loss(frames):
    sums, expected, scale = gradients(Processes(), frames)
    for found_sums, found, _ in connected(gradients, frames):
        assert found_sums[1:] == sums[1:]
        # An output's gradients of all frames add up to at most the scale, a hidden neuron's to twice the scale over a window of 2. Each is
        # off by a few roundings, and each addition rounds once.
        bound = scale * (frames + 8) * 2**-23
        for mine, other in zip(found, expected, strict=True):
            assert np.abs(mine - other).max() <= bound
        assert abs(found_sums[0] - sums[0]) <= abs(sums[0]) * (frames + 8) * 2**-23


def parameters(processes, out):
    trainer = Trainer(DATA, dataclasses.replace(RECIPE, validation=24), processes)  # 76 frames: batches of 16, and 12
    for _ in range(2):
        trainer.run_epoch(training.tqdm(disable=True))
    return [parameter.tolist() for parameter in trainer.network.parameters()], trainer.best.epoch


def test_all_processes_hold_the_same_parameters(tmp_path):
    first, *others = connected(parameters, tmp_path, count=3)
    assert others == [first, first]


def stopped(processes, out, epoch):
    """Ctrl-C in the second process alone, in the middle of an epoch."""
    update = Trainer._update

    def interrupted(self, *arguments):
        if processes.rank == 1 and self.epoch == epoch:
            os.kill(os.getpid(), signal.SIGINT)
        return update(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", interrupted)
        return train(processes, out, exact=True)


def test_ctrl_c_in_one_process_stops_all_and_resume_goes_on(tmp_path):
    train(Processes(), tmp_path / "one", exact=True)
    for error in connected(stopped, tmp_path / "several", 2):
        assert isinstance(error, KeyboardInterrupt)
    provenance = read_tensors(tmp_path / "several" / "0" / "checkpoint.safetensors")[1]["provenance"]
    assert provenance["epochs"] == 2
    first, second = connected(train, tmp_path / "several", RECIPE, True, True)  # the second has no file to resume from
    assert first == second
    assert first[0] == "resumed after epoch 2 of 3"
    assert tensors_of(tmp_path / "several") == tensors_of(tmp_path / "one")


def test_ctrl_c_before_the_first_epoch_ends(tmp_path):
    for error in connected(stopped, tmp_path, 0):
        assert isinstance(error, KeyboardInterrupt)
    assert list((tmp_path / "0").iterdir()) == []


PLACE = "RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE"
LOST = "all processes must stay to the end, but one has stopped or cannot be reached: --resume goes on after the last finished epoch"


@pytest.mark.parametrize("killed", [0, 1])
def test_killed_process_ends_the_others(tmp_path, killed):
    started = start_connected(train, tmp_path, dataclasses.replace(RECIPE, epochs=100_000))
    while not (tmp_path / "0" / "resume.safetensors").exists():
        time.sleep(0.01)
        assert all(process.is_alive() for process, _ in started)
    started[killed][0].kill()
    found = [outcome(*one) for one in started]
    assert found[killed] is None
    assert str(found[1 - killed]) == LOST


def mistake_here(processes, rank, error):
    def load():
        if processes.rank == rank:
            raise error
        return processes.rank

    return processes.together(load)


@pytest.mark.parametrize("error", [UserError("no such data"), FileNotFoundError(2, "No such file or directory", "no such data")])
def test_mistake_in_one_process_ends_all(error):
    line = "no such data" if isinstance(error, UserError) else "no such data: No such file or directory"
    first, second = connected(mistake_here, 1, error)
    assert (str(first), str(second)) == (f"process 1: {line}", str(error))
    first, second = connected(mistake_here, 0, error)
    assert (str(first), str(second)) == (str(error), f"process 0: {line}")
    assert connected(mistake_here, None, None) == [0, 1]


def test_what_the_first_cannot_write_ends_all(tmp_path):
    (tmp_path / "0").write_text("a file")
    first, second = connected(train, tmp_path)
    assert isinstance(first, FileExistsError)
    assert str(second) == f"process 0: {tmp_path}/0: File exists"
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def nan(processes, out):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.trainer.margin_loss", lambda margins, labels, scale: margins.sum() * (np.nan if processes.rank else 1))
        return train(processes, out)


def test_loss_that_is_no_number_in_one_process(tmp_path):
    for error in connected(nan, tmp_path):
        assert str(error) == "the loss must stay a number, but is nan in epoch 1: try a --learning-rate below 0.01"


def other_recipe(processes, out):
    return train(processes, out, dataclasses.replace(RECIPE, hidden=(24 + processes.rank,)))


def drift(processes, out):
    trainer = Trainer(DATA, RECIPE, processes)
    with torch.no_grad():
        trainer.thresholds[0][processes.rank] += 1
    return trainer.run_epoch(training.tqdm(disable=True))


def test_processes_that_differ(tmp_path):
    for error in connected(other_recipe, tmp_path):
        assert str(error).startswith("the recipe must be the same in all processes, but is {'hidden': [24], ")
        assert "in process 0 and {'hidden': [25], " in str(error)
    for error in connected(drift, tmp_path):
        pattern = "the SHA-256 of all parameters must be the same in all processes, but is [0-9a-f]{64} in process 0 and [0-9a-f]{64} in 1"
        assert re.fullmatch(pattern, str(error))


def reproduced(processes, out):
    lines = []
    file = RecipeFile("stripes", "stripes", (0,), dataclasses.replace(RECIPE, epochs=1))
    runner = Runner("command", say=lines.append, processes=processes)
    runs = [runner.reproduce(file, DATA, (0,), out / str(processes.rank)) for _ in range(2)]
    return runs, lines


def test_reproduce_in_two_processes(tmp_path):
    first, second = connected(reproduced, tmp_path)
    assert first[0] == second[0]
    assert first[0][0] == first[0][1] == [metrics.read(tmp_path / "0" / "seed-0" / "metrics.json")]
    assert first[0][0][0]["machine"]["processes"] == 2
    assert len([line for line in first[1] if line.startswith("finished on ")]) == 1
    assert (tmp_path / "0" / "network.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, f"{PLACE} must be numbers, as torchrun sets them: 'RANK'"),
        ({"RANK": "x"}, f"{PLACE} must be numbers, as torchrun sets them: invalid literal for int() with base 10: 'x'"),
        ({"RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, "the processes must reach each other, but process 1 cannot: no route"),
    ],
)
def test_processes_that_cannot_connect(monkeypatch, environment, message):
    def fail(*arguments, **options):
        raise RuntimeError("no route")

    monkeypatch.setattr(torch.distributed, "init_process_group", fail)
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"WORLD_SIZE": "2"} | environment).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as caught, connect("cpu"):
        pytest.fail("must not come here")
    assert str(caught.value) == message


def test_only_the_first_process_speaks(monkeypatch, capsys):
    for rank, expected in (("0", "line\n"), ("1", "")):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        __main__.say("line")
        assert capsys.readouterr().out == expected


def test_no_thread_of_the_group_is_left(tmp_path):
    """Not even where PyTorch imports, in the middle, what keeps the group that it finds; a process that ends with such threads may be
    aborted."""
    script = tmp_path / "left.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "from model.processes import connect\n"
        "with connect('cpu') as processes:\n"
        "    processes.check_same('what', 1)\n"
        "    import torch._dynamo\n"
        "print([task.joinpath('comm').read_text() for task in pathlib.Path('/proc/self/task').iterdir()])\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(launch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("python") == 2
    assert "gloo" not in done.stdout


def test_torchrun(tmp_path):
    save_npz(tmp_path / "stripes.npz", DATA)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "model"]
    options = ["--hidden", "8", "--epochs", "2", "--batch-size", "16", "--validation", "0.25", "--out", str(tmp_path / "out")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*launch, "train", "--dataset", str(tmp_path / "stripes.npz"), *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith("warning: ")]
    assert said == ["epoch", "epoch", "strict", "validation", "test", str(tmp_path / "out" / training.CHECKPOINT)]
    assert metrics.read(tmp_path / "out" / "metrics.json")["command"].startswith("torchrun --nproc-per-node 2 -m model train --dataset ")
