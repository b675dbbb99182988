"""A small share of ``python -m sim.proofs mutants``: one build, a dozen faults, and that survivors and blind benches are noticed."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from export import UserError
from hw import Folding
from hw.verilog import MODULE
from sim.proofs import equivalence, mutants, mutation
from sim.proofs.equivalence import equivalent
from sim.proofs.mutants import SELECTOR_BITS, Mutant, Protocol, kill, mutate
from tests.networks import random_network

NETWORK = random_network(np.random.default_rng(3), (5, 3), 3, spread=0.5)
FOLDING = Folding((2,), (2,), ("delta",))
COUNT, SEQUENCES = 12, 6
HARMLESS = Mutant((1 << SELECTOR_BITS) - 1, "mutate -mode none")
"""A number that selects nothing."""


@pytest.fixture(scope="module")
def mutated():
    return mutate(NETWORK, FOLDING, COUNT)


@pytest.fixture(scope="module")
def complaints(mutated):
    bench = Protocol(mutated, range(SEQUENCES))
    numbers = [0, HARMLESS.number, *(mutant.number for mutant in mutated.mutants)]
    return dict(bench.complaints(numbers))


def test_more_mutants_than_the_selector_can_name():
    with pytest.raises(UserError, match=r"^count must be at most 4095, which the selector of mutants can name, not 4096$"):
        mutate(NETWORK, FOLDING, 4096)


def test_mutants(mutated):
    assert [mutant.number for mutant in mutated.mutants] == list(range(1, COUNT + 1))
    assert len({mutant.place for mutant in mutated.mutants}) == COUNT
    for mutant in mutated.mutants:
        assert re.fullmatch(r"\S+ [A-Z]\w*\[\d+\]( \(\S+\))? (inv|const0|const1|cnot0 by \[\d+\]|cnot1 by \[\d+\])", mutant.place)
    assert f"reg [{SELECTOR_BITS - 1}:0] mutant;" in mutated.verilog


@pytest.mark.proofs
def test_mutants_are_the_same_every_time(mutated):
    assert mutate(NETWORK, FOLDING, COUNT).mutants == mutated.mutants


def test_killed(mutated, complaints):
    assert complaints[0] == complaints[HARMLESS.number] == ""
    killed = [complaints[mutant.number] for mutant in mutated.mutants if complaints[mutant.number]]
    assert len(killed) >= COUNT / 2
    for complaint in killed:
        assert re.match(r"protocol, (full|early|changing) mode: (readout|input|layer \d(, neuron \d+)?): ", complaint)


def constant(mutated):
    """A fault without effect: an input of a cell that is constant in the netlist is stuck at that value."""
    found = re.search(r"^  cell \S+ (\S+)\n(?:    .*\n)*?    connect \\([AB]) 1'([01])$", mutated.netlist, re.MULTILINE)
    place = f"-module {MODULE} -cell {found[1]} -port {found[2]} -portbit 0"
    return Mutant(1, f"mutate -ctrl mutant {SELECTOR_BITS} 1 -mode const{found[3]} {place}")


def test_equivalent(mutated):
    assert equivalent(mutated, constant(mutated), timeout=200) is True


def test_what_is_killed_is_not_equivalent(mutated, complaints):
    killed = next(mutant for mutant in mutated.mutants if complaints[mutant.number])
    assert equivalent(mutated, killed, timeout=200) is False


def test_undecided(mutated, monkeypatch):
    monkeypatch.setattr(equivalence, "run", lambda *_, **__: None)
    assert equivalent(mutated, constant(mutated)) is None


@pytest.mark.proofs
def test_a_clock_that_is_changed_is_undecided(mutated):
    """Of registers with several clocks, sby says that it does not know them."""
    register = re.search(r"^  cell \$\w*dff\w* (\S+)$", mutated.netlist, re.MULTILINE)[1]
    inverted = Mutant(1, f"mutate -ctrl mutant {SELECTOR_BITS} 1 -mode inv -module {MODULE} -cell {register} -port CLK -portbit 0")
    assert equivalent(mutated, inverted) is None


def test_a_name_that_is_in_none(tmp_path):
    with pytest.raises(UserError, match=r"^a name must be in one of '13-7-3, walk, .*'5x3x1-2C3x2-P1x2-3, convolution', but 'z' is not$"):
        mutation.rows(["z"], tmp_path)


class Blind(Protocol):
    """It finds fault with nothing."""

    def look(self, mode, transcript):
        return ""


class Deaf(Protocol):
    """A reset comes in every other cycle, and so nothing comes out."""

    def __init__(self, mutated, numbers):
        super().__init__(mutated, numbers)
        self.runs = [replace(run, cut=1) for run in self.runs]


def test_a_bench_that_sees_nothing(mutated, monkeypatch, tmp_path):
    """All mutants survive, undecided, and the row fails."""
    monkeypatch.setattr(mutation, "CIRCUITS", {"step, event": (NETWORK, FOLDING)})
    monkeypatch.setattr(mutation, "mutate", lambda *_: mutated)
    monkeypatch.setattr(mutation, "equivalent", lambda *_, **__: None)
    monkeypatch.setattr(mutants, "STAGES", (SEQUENCES,))
    monkeypatch.setattr(mutants, "Protocol", Blind)
    monkeypatch.setattr(mutants, "Cycles", lambda mutated: Blind(mutated, range(SEQUENCES)))
    (row,) = mutation.rows([], tmp_path, count=COUNT)
    assert not row.passed
    assert row.result == f"0 killed (), 0 equivalent, {COUNT} left: 0.0 % of those not equivalent killed"
    left = json.loads((tmp_path / "survivors.json").read_text())["survivors"]
    assert [entry["mutant"] for entry in left] == list(range(1, COUNT + 1))
    assert left[0] == {"circuit": "5-3, step, event", "mutant": 1, "place": mutated.mutants[0].place, "verdict": "undecided"}
    monkeypatch.setattr(mutants, "Protocol", Deaf)
    with pytest.raises(AssertionError, match=r"^nothing comes out$"):
        list(kill(mutated))


def test_rows(mutated, monkeypatch, tmp_path):
    """What was killed, what is equivalent, and what is left."""
    monkeypatch.setattr(mutation, "CIRCUITS", {"a": (NETWORK, FOLDING)})
    monkeypatch.setattr(mutation, "mutate", lambda *_: mutated)
    verdicts = {1: True, 2: True, 3: None, 4: False}
    monkeypatch.setattr(mutation, "equivalent", lambda _, mutant, timeout: verdicts[mutant.number])
    found = [(mutant, "" if mutant.number in verdicts else "protocol, full mode: o: x") for mutant in mutated.mutants]
    monkeypatch.setattr(mutation, "kill", lambda _: iter(found))
    (row,) = mutation.rows([], tmp_path, count=COUNT)
    assert row.result == "8 killed (8 by protocol), 2 equivalent, 2 left: 80.0 % of those not equivalent killed"
    assert not row.passed
    monkeypatch.setattr(mutation, "LEAST", 80.0)
    assert next(mutation.rows([], tmp_path, count=COUNT)).passed
    left = json.loads((tmp_path / "survivors.json").read_text())["survivors"]
    assert [entry["verdict"] for entry in left] == ["equivalent", "equivalent", "undecided", "different"]
