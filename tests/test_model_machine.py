import re
import subprocess

import torch

from export import provenance
from model import machine


def test_machine():
    found = machine.machine()
    assert set(found) == {"cpu", "cores", "device", "threads", "torch", "python"}
    assert found["cpu"]
    assert found["cores"] >= 1
    assert (found["device"], found["threads"], found["torch"]) == ("cpu", torch.get_num_threads(), torch.__version__)


def test_commit(monkeypatch):
    answers = {"rev-parse": "1234\n", "status": ""}

    def git(command, **options):
        return subprocess.CompletedProcess(command, 0, stdout=answers[command[1]])

    monkeypatch.setattr(subprocess, "run", git)
    assert machine.commit() == "1234"
    answers["status"] = " M model/training.py\n"
    assert machine.commit() == "1234+"


def test_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert machine.commit() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.commit() is None


def test_now():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", machine.now())


def test_command(monkeypatch):
    monkeypatch.chdir(machine.ROOT / "recipes")
    words = ["train", "digits.toml", "--out", "/some/where", "--hidden", "600,10", "--out=x", "a b"]
    assert machine.command(words) == "python -m model train recipes/digits.toml --hidden 600,10 'a b'"


def test_command_under_torchrun(monkeypatch):
    for name, value in (("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2"), ("GROUP_WORLD_SIZE", "1")):
        monkeypatch.setenv(name, value)
    assert machine.command(["train", "--out=x"]) == "torchrun --nproc-per-node 2 -m model train"
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    assert machine.command(["train"]) == "torchrun --nnodes 2 --nproc-per-node 2 -m model train"


def test_who_speaks(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("RANK", "1")  # left over from something else
    assert (machine.launched(), machine.is_first_process()) == (False, True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert (machine.launched(), machine.is_first_process()) == (False, True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (machine.launched(), machine.is_first_process()) == (True, False)
    monkeypatch.setenv("RANK", "0")
    assert (machine.launched(), machine.is_first_process()) == (True, True)
