"""Text files are UTF-8, whatever the locale says."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import export
from tests.networks import random_network

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "firstspike.py", *(path for folder in ("export", "hw", "model", "sim") for path in sorted((ROOT / folder).rglob("*.py")))]


def by_locale(text):
    """Lines of a program with calls that read or write text in the locale's encoding."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = getattr(node.func, "attr", None)
        opens = name == "open" and any(isinstance(part, ast.Constant) and part.value in ("r", "w", "a", "x") for part in node.args)
        if name in ("read_text", "write_text") or opens or any(keyword.arg == "text" for keyword in node.keywords):
            yield node.lineno


@pytest.mark.parametrize("folder", ["firstspike", "export", "hw", "model", "sim"])
def test_no_text_in_the_encoding_of_the_locale(folder):
    found = {
        path.relative_to(ROOT): list(by_locale(path.read_text(encoding="utf-8")))
        for path in FILES
        if folder in path.parts or path.stem == folder
    }
    assert found
    assert not {path: lines for path, lines in found.items() if lines}


def test_such_calls_are_found():
    assert list(by_locale('a.read_text()\nb.write_text(t, encoding="utf-8")\nc.open("w")\nd.open("rb")\nrun(x, text=True)\n')) == [1, 3, 5]


def test_vectors_in_a_locale_without_letters(tmp_path):
    network = random_network(np.random.default_rng(41), (9, 6, 3), 4, spread=0.6)
    export.save(export.Network(network.layers, 4, class_names=("θ", "≥", "→")), tmp_path / "network.safetensors")
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in (
        ["sim", "vectors", "network.safetensors", "--dataset", "random", "--images", "3", "--out", "v"],
        ["export", "inspect", "network.safetensors"],
    ):
        command = [sys.executable, str(ROOT / "firstspike.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="ascii", check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert r"classes     \u03b8, \u2265, \u2192" in done.stdout
    assert (tmp_path / "v" / "README.txt").read_text(encoding="utf-8").startswith("Golden vectors")
