"""Checking and building a network that somebody else trained needs no training framework: only ``model`` imports torch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def modules(package):
    found = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / package).rglob("*.py"))]
    return [name.removesuffix(".__init__") for name in found]


def imported(names):
    """Names of all modules in ``sys.modules`` after importing ``names`` in a fresh interpreter."""
    program = f"import sys\nfor name in {names!r}: __import__(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["export", "hw", "sim"])
def test_no_torch(package):
    names = modules(package)
    assert {package, f"{package}.__main__"} <= set(names)
    assert "torch" not in imported(names)


def test_no_torch_in_data_sets_recipes_and_drawing():
    assert "torch" not in imported(["model.datasets", "model.drawing", "model.recipe_file"])


@pytest.mark.parametrize(
    ("package", "others"), [("export", {"hw", "model", "sim"}), ("hw", {"model", "sim"}), ("model", {"hw", "sim"})], ids=lambda p: str(p)
)
def test_arrows_point_one_way(package, others):
    assert not others & imported(modules(package))


def test_export_needs_numpy_and_safetensors_only():
    heavy = {"amaranth", "cocotb", "hw", "joblib", "matplotlib", "model", "sim", "sklearn", "torch"}
    assert not heavy & imported(modules("export"))


def test_one_import_of_export_is_enough():
    names = ["Encoder", "Layer", "Network", "UserError", "digest", "load", "reference.run", "save", "scores.score"]
    program = "import export\n" + "\n".join(f"export.{name}" for name in names)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
