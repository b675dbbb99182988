"""Training that is killed at any moment and goes on, against training that was left alone."""

import os
import random
import signal
import sys
from pathlib import Path

import pytest

from model import __main__, metrics, plots
from model.training import CHECKPOINT, RESUME
from tests.several import outcome, start
from tests.small_data import save_npz

OPTIONS = ("--hidden", "16", "--epochs", "6", "--batch-size", "16", "--learning-rate", "0.01", "--validation", "0.25", "--augment", "0.4")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("data") / "stripes.npz")


def command(data, out):
    """``python -m model train``, with ``--resume`` where there is something to resume."""
    resume = ["--resume"] if (out / RESUME).exists() else []
    sys.argv = ["model", "train", "--dataset", str(data), "--out", str(out), *OPTIONS, *resume]
    plots.write = lambda *arguments, **options: []  # the slowest part, and nothing to resume
    return __main__.main()


def killed_at_call(data, out, number):
    """Dies at a function call of that number; how many there were, if it gets to its end."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    command(data, out)
    sys.setprofile(None)
    return calls


def killed_while_writing(data, out, name, when, number):
    """Dies when a file is written for the given time: with half of it written, before it takes its name, or after."""
    replace, times = Path.replace, 0

    def dying(self, target):
        nonlocal times
        times += target.name == name
        last = target.name == name and times == number
        if last and when == "half written":
            os.truncate(self, self.stat().st_size // 2)
        if last and when != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        replace(self, target)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    Path.replace = dying
    return command(data, out)


def result(out):
    """All that a run has left, but for times and dates."""
    said = metrics.read(out / metrics.FILE)
    epochs = [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in said["epochs"]]
    files = [(out / name).read_bytes() for name in (CHECKPOINT, RESUME)]
    return files, epochs, said["scores"], said["digest"], sorted(path.name for path in out.rglob("*"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """What a run leaves that nobody kills, and how many calls of functions it takes."""
    out = tmp_path_factory.mktemp("whole")
    calls = outcome(*start(killed_at_call, data, out, -1))
    assert calls > 10_000
    return result(out), calls


def test_killed_at_random_moments(data, whole, tmp_path):
    """Runs that are killed again and again until they get through, until three have gone on from what an earlier one left."""
    expected, calls = whole
    moments = random.Random(4)
    resumed = 0
    for out in (tmp_path / str(number) for number in range(10)):
        while outcome(*start(killed_at_call, data, out, moments.randrange(calls))) is None:
            resumed += (out / RESUME).exists() and not (out / CHECKPOINT).exists()
        assert result(out) == expected
        if resumed >= 3:
            break
    assert resumed >= 3


@pytest.mark.parametrize(
    ("name", "when", "number"),
    [
        (RESUME, "half written", 1),
        (RESUME, "half written", 3),
        (RESUME, "before", 4),
        (RESUME, "after", 2),
        (metrics.FILE, "half written", 3),
        (metrics.FILE, "after", 3),
        (CHECKPOINT, "half written", 1),
        (CHECKPOINT, "after", 1),
        (metrics.FILE, "before", 7),
    ],
)
def test_killed_while_writing(data, whole, tmp_path, name, when, number):
    assert outcome(*start(killed_while_writing, data, tmp_path, name, when, number)) is None
    assert outcome(*start(command, data, tmp_path)) == 0
    assert result(tmp_path) == whole[0]


def test_checkpoint_holds_what_was_learned(whole, data):
    """Equality above is not that of empty files."""
    assert len(whole[0][1]) == 6
    assert whole[0][2]["test"]["strict"] > 50
