"""A small share of ``python -m sim.proofs mutants``: one build, a dozen faults, and that survivors and blind benches are noticed."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export import UserError
from hw import Folding
from sim.proofs import mutants, mutation
from sim.proofs.mutants import SELECTOR_BITS, Mutant, Protocol, kill, mutate
from tests.networks import random_network

ROOT = Path(__file__).parent.parent
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
    assert mutate(NETWORK, FOLDING, COUNT).mutants == mutated.mutants


def test_killed(mutated, complaints):
    assert complaints[0] == complaints[HARMLESS.number] == ""
    killed = [complaints[mutant.number] for mutant in mutated.mutants if complaints[mutant.number]]
    assert len(killed) >= COUNT / 2
    for complaint in killed:
        assert re.match(r"protocol, (full|early|changing) mode: (readout|input|layer \d(, neuron \d+)?): ", complaint)


class Blind(Protocol):
    """It finds fault with nothing."""

    def look(self, mode, transcript):
        return ""


class Deaf(Protocol):
    """A reset comes in every other cycle, and so nothing comes out."""

    def __init__(self, mutated, numbers):
        super().__init__(mutated, numbers)
        self.runs = [replace(run, cut=1) for run in self.runs]


def test_a_bench_that_sees_nothing(mutated, monkeypatch):
    """All mutants survive, and the row fails and names them."""
    monkeypatch.setattr(mutation, "CIRCUITS", {"step, event": FOLDING})
    monkeypatch.setattr(mutation, "mutate", lambda *_: mutated)
    monkeypatch.setattr(mutants, "STAGES", (SEQUENCES,))
    monkeypatch.setattr(mutants, "Protocol", Blind)
    monkeypatch.setattr(mutants, "Cycles", lambda mutated: Blind(mutated, range(SEQUENCES)))
    (row,) = mutation.rows(count=COUNT)
    assert not row.passed
    places = "; ".join(mutant.place for mutant in mutated.mutants)
    assert row.result == f"0 killed (), 0 survivors reviewed as equivalent, {COUNT} not reviewed: {places}"
    monkeypatch.setattr(mutants, "Protocol", Deaf)
    with pytest.raises(AssertionError, match=r"^nothing comes out$"):
        list(kill(mutated))


def test_rows(mutated, monkeypatch, tmp_path):
    """Killed, reviewed in this circuit, reviewed in another one only, and not reviewed."""
    monkeypatch.setattr(mutation, "CIRCUITS", {"a": FOLDING})
    monkeypatch.setattr(mutation, "mutate", lambda *_: mutated)
    monkeypatch.setattr(mutation, "REVIEWED", tmp_path / "survivors.json")
    found = [(mutant, "" if mutant.number <= 3 else "protocol, full mode: o: x") for mutant in mutated.mutants]
    monkeypatch.setattr(mutation, "kill", lambda _: iter(found))
    places = [mutant.place for mutant in mutated.mutants]
    reviewed = [{"circuit": "a", "place": places[0]}, {"circuit": "a", "place": places[1]}, {"circuit": "b", "place": places[2]}]
    mutation.REVIEWED.write_text(json.dumps(reviewed))
    (row,) = mutation.rows(count=COUNT)
    assert row.result == f"9 killed (9 by protocol), 2 survivors reviewed as equivalent, 1 not reviewed: {places[2]}"
    assert not row.passed
    mutation.REVIEWED.write_text(json.dumps([*reviewed, {"circuit": "a", "place": places[2]}]))
    (row,) = mutation.rows(count=COUNT)
    assert row.result == "9 killed (9 by protocol), 3 survivors reviewed as equivalent, 0 not reviewed"
    assert row.passed


def test_every_survivor_is_of_a_kind_in_the_docs():
    reviewed = json.loads(mutation.REVIEWED.read_text())
    assert len({(entry["circuit"], entry["place"]) for entry in reviewed}) == len(reviewed)
    assert {entry["circuit"] for entry in reviewed} <= mutation.CIRCUITS.keys()
    page = (ROOT / "docs" / "proofs.md").read_text().partition("## Mutants")[2]
    counts = {kind: int(count) for kind, count in re.findall(r"^\| ([^|]+?) \| (\d+) \| [^|]+ \|$", page, re.MULTILINE)}
    assert counts == Counter(entry["kind"] for entry in reviewed)
