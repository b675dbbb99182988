"""Checking and building a network that somebody else trained needs no training framework: only ``model`` imports torch."""

import ast
import graphlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def modules(package):
    found = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / package).rglob("*.py"))]
    return [name.removesuffix(".__init__") for name in found]


@cache
def imported(*names):
    """Names of all modules in ``sys.modules`` after importing ``names`` in a fresh interpreter."""
    program = f"import sys\nfor name in {names!r}: __import__(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def imports(name, known):
    """The modules that a module imports, at any place in it, function bodies and type checking included."""
    path = ROOT.joinpath(*name.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{name}: imports must be absolute"
            found |= {part if (part := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return found & known


def circle(graph):
    """Modules that import each other in turn, the first of them repeated at the end; empty if there are none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]
    return []


@pytest.mark.parametrize("package", ["export", "hw", "model", "sim"])
def test_no_circles(package):
    known = set(modules(package))
    found = circle({name: imports(name, known) for name in known})
    assert not found, f"circle of imports: {' -> '.join(found)}"


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}
    assert "model.bstdg" in imports("model.layers", {"model.bstdg", "model.data"})


@pytest.mark.parametrize("package", ["export", "hw", "sim"])
def test_no_torch(package):
    names = modules(package)
    assert {package, f"{package}.__main__"} <= set(names)
    assert "torch" not in imported(*names)


def test_no_torch_in_data_sets_recipes_and_drawing():
    assert "torch" not in imported("model.datasets", "model.drawing", "model.recipe_file")


@pytest.mark.parametrize(
    ("package", "others"),
    [("export", {"hw", "model", "sim"}), ("hw", {"model", "sim"}), ("model", {"hw", "sim"})],
    ids=["export", "hw", "model"],
)
def test_arrows_point_one_way(package, others):
    assert not others & imported(*modules(package))


def test_export_needs_numpy_and_safetensors_only():
    heavy = {"amaranth", "cocotb", "hw", "joblib", "matplotlib", "model", "sim", "sklearn", "torch"}
    assert not heavy & imported(*modules("export"))


def test_only_what_imports_qonnx_needs_onnx_and_only_what_imports_nir_nir():
    names = [name for package in ("export", "hw", "model", "sim") for name in modules(package)]
    assert not {"onnx", "nir"} & imported(*(name for name in names if not name.startswith(("export.qonnx", "export.nir"))))
    assert "nir" not in imported("export.qonnx.command")
    assert "onnx" not in imported("export.nir.command")


def test_one_import_of_export_is_enough():
    names = ["Encoder", "Layer", "Network", "UserError", "digest", "load", "reference.run", "save", "scores.score"]
    program = "import export\n" + "\n".join(f"export.{name}" for name in names)
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
