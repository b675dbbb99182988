"""Names of signals are the same in every version of Python."""

import ast
from pathlib import Path

import numpy as np
import pytest
from amaranth import tracer
from amaranth.hdl import Signal

import hw.tracer
from hw import Accelerator, Folding, verilog
from tests.networks import random_network

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("behind", "name"),
    [
        ([("STORE_FAST", "read")], "read"),
        ([("CACHE", None), ("LOAD_FAST", "self"), ("STORE_ATTR", "read")], "read"),
        ([("STORE_FAST_LOAD_FAST", ("read", "m"))], "read"),  # read = …; m.d.comb += …
        ([("COPY", 1), ("STORE_FAST_STORE_FAST", ("one", "other"))], "one"),  # one = other = …
        ([("LOAD_FAST_LOAD_FAST", ("a", "b")), ("BUILD_LIST", 2), ("STORE_DEREF", "found")], "found"),
        ([("RETURN_VALUE", None), ("STORE_FAST", "other")], None),
        ([("LOAD_FAST", "x"), ("CALL", 1), ("STORE_FAST", "other")], None),
        ([], None),
    ],
)
def test_instructions_of_any_version(behind, name):
    class Instruction:
        def __init__(self, opname, argval):
            self.opname, self.argval = opname, argval

    assert hw.tracer.stored(Instruction(*pair) for pair in behind) == name


def test_it_names_what_amaranths_own_names(monkeypatch):
    """All signals of a circuit, of which none may be left without a name."""
    network = random_network(np.random.default_rng(6), (9, 7, 5), 4)
    folding = Folding((4, 3), (4, 2), ("delta", "delta"), ("step", "event"), (1, 1), 2)
    texts = []
    for function in (tracer.get_var_name, hw.tracer.get_var_name):
        monkeypatch.setattr(tracer, "get_var_name", function)
        texts.append(verilog.generate(Accelerator(network, folding)))
    assert texts[0] == texts[1]
    assert "signature__" not in texts[0]
    one = two = Signal()
    assert one is two
    assert one.name == "one"
    with pytest.raises(tracer.NameNotFound):
        tracer.get_var_name(depth=1)


def test_signals_are_not_assigned_in_pairs():
    """Of which the order in the bytecode depends on the version."""
    for path in (ROOT / "hw").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
                for value in node.value.elts:
                    named = isinstance(value, ast.Call) and any(keyword.arg == "name" for keyword in value.keywords)
                    made = getattr(value, "func", None)
                    makes = getattr(made, "attr", getattr(made, "id", "")) in ("Signal", "read_port", "write_port", "Memory", "create")
                    assert named or not makes, f"{path}:{node.lineno}"
