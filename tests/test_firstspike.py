"""The command ``firstspike``, as ``pip install -e .`` makes it, in a folder full of files with the names of the project's packages."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import export
import firstspike
from tests.command_line import in_process
from tests.networks import random_network

ROOT = Path(__file__).parent.parent
NAMES = ("export", "model", "hw", "sim")


@pytest.fixture
def command(tmp_path):
    """Calls the script in a folder with modules of all these names, and with others on Python's path: none may be run."""
    folder = tmp_path / "user"
    for place in (folder, tmp_path / "path"):
        for name in NAMES:
            (place / name).mkdir(parents=True)
            (place / name / "__init__.py").write_text(f"raise SystemExit('the {name} of the user')\n")
    (folder / "random.py").write_text("raise SystemExit('the random of the user')\n")
    script = tmp_path / "bin" / "firstspike"
    script.parent.mkdir()
    script.write_text(f"import sys\nsys.path.append({str(ROOT)!r})\nfrom firstspike import main\nif __name__ == '__main__':\n    main()\n")
    network = random_network(np.random.default_rng(41), (9, 6, 3), 4, spread=0.6)  # test_sim_cli builds its simulator, too
    export.save(network, folder / "network.safetensors")

    def call(*arguments):
        command = [sys.executable, str(script), *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(tmp_path / "path")}
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return call


def test_every_package(command):
    done = command("export", "inspect", "network.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("network     9-6-3\n")
    done = command("hw", "network.safetensors", "--out", "a.v")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a.v: ")
    done = command("sim", "vectors", "network.safetensors", "--dataset", "random", "--images", 3, "--out", "vectors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "vectors/testbench.v\n" in done.stdout
    done = command("evaluate", "network.safetensors", "--dataset", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: data set must be ")
    done = command("proofs", "table", "--out", "nothing")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: nothing must hold results of proofs, but has none\n")


def test_simulators_and_workers_find_it_too(command):
    """Neither the simulator's Python nor the processes that share the frames look into the user's folder."""
    done = command("sim", "network.safetensors", "--dataset", "random", "--images", 4, "--jobs", 2, "--out", "cosim")
    assert (done.returncode, done.stderr) == (0, "")
    assert "equal to the golden model: 4 frames" in done.stdout


def test_every_command_of_model_is_there():
    done = subprocess.run([sys.executable, "-m", "model", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = re.search(r"\{(.*?)\}", done.stdout, re.DOTALL)[1]
    assert set(found.split(",")) == {name for name, (package, _) in firstspike.COMMANDS.items() if package == "model"}


def test_help_and_messages_name_the_command(command):
    done = command("sim", "--help")
    assert done.stdout.startswith("usage: firstspike sim ")
    assert "'firstspike sim vectors NETWORK …'" in done.stdout
    assert "python -m" not in done.stdout
    done = command("train")
    assert (done.returncode, done.stderr) == (2, "error: the following arguments are required: --out (see firstspike train --help)\n")


def test_what_it_takes(capfd, monkeypatch):
    front = in_process(firstspike._dispatch, capfd, monkeypatch)
    for arguments in ((), ("--help",)):
        done = front(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(f"\n  {name} " in done.stdout for name in firstspike.COMMANDS)
    message = f"error: the command must be one of {', '.join(firstspike.COMMANDS)}, not 'trian'\n"
    assert front("trian") == (2, "", message)


def test_only_from_a_clone(tmp_path, monkeypatch):
    monkeypatch.setattr(firstspike, "ROOT", tmp_path)
    with pytest.raises(export.UserError, match=rf"^firstspike must be installed from its clone .*, but {tmp_path} is not the clone$"):
        firstspike._dispatch()


def test_without_its_packages(tmp_path):
    done = subprocess.run([sys.executable, "-S", ROOT / "firstspike.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    line = f"error: package 'numpy' must be installed: 'pip install -e {ROOT}' brings it\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_it_needs_what_its_commands_need():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    def group(name):
        for entry in project["dependency-groups"][name]:
            yield from group(entry["include-group"]) if isinstance(entry, dict) else [entry]

    assert set(project["project"]["dependencies"]) == {*group("import"), *group("model"), *group("sim"), *group("fpga")}
