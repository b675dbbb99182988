"""A small share of the proof ``python -m sim protocol``, and faults that it has to see."""

import re
from functools import cache, partial

import numpy as np
import pytest

from export import reference
from hw.core.words import WordFormat
from sim.__main__ import main
from sim.proofs import record
from sim.protocol import command
from sim.protocol.circuits import BY_KIND, CIRCUITS, THREE_LAYERS, TWO_LAYERS, Circuit, sizes
from sim.protocol.command import table
from sim.protocol.expectation import _events
from sim.protocol.proof import MODES, prove
from sim.protocol.rules import judge
from sim.protocol.sequences import sequence
from tests.command_line import call

CODED = [circuit for kind, of_kind in BY_KIND.items() for circuit in of_kind if kind != "single"]
SHARE = 200
"""Sequences, of the 10,000 of each kind; its circuits share them."""


def test_circuits_differ_in_all_that_a_folding_has():
    foldings = [circuit.folding for circuit in CIRCUITS]
    assert {folding.contexts for folding in foldings} == {1, 2, 4}
    for name in ("form", "loop_order", "swap"):
        assert len({value for folding in foldings for value in getattr(folding, name)}) == 2
    for circuit in CIRCUITS:
        sizes = zip(circuit.network.shape, circuit.folding.simd, strict=False)
        assert any(size % part for size, part in sizes)


@pytest.mark.parametrize(
    "network",
    [TWO_LAYERS, THREE_LAYERS, *dict.fromkeys(circuit.network for circuit in CODED)],
    ids=sizes,
)
def test_networks_decide_at_every_step_and_never(network):
    skips = all(layer.neuron.skips_empty_steps for layer in network.layers)
    ascends = network.steps == 1
    form = WordFormat(network.inputs, network.steps, 3, skips_empty_steps=skips, coefficients=network.coefficients[0], ascending=ascends)
    frames = [frame for number in range(300) for run in sequence(form, 1, number) for frame in run.frames if frame.kind == "good"]
    decisions = reference.run(network, _events([judge(frame.words, form) for frame in frames], form)).decisions
    share = np.bincount(np.where(decisions.silent, network.steps, decisions.step), minlength=network.steps + 1) / len(frames)
    assert share.min() > 0.05
    assert len(np.unique(decisions.class_index)) == network.outputs


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        pytest.param(kind, place, id=f"{kind}-{place}", marks=[pytest.mark.proofs] if place else [])
        for kind, of_kind in BY_KIND.items()
        for place in range(len(of_kind))
    ],
)
def test_share(kind, place):
    circuit = BY_KIND[kind][place]
    numbers = range(place, SHARE, len(CIRCUITS))
    outcome = prove(circuit.network, circuit.verilog(), numbers, seed=0)
    assert outcome.found == []
    assert tuple(outcome.counts) == MODES == ("full", "early", "changing")
    for mode, count in outcome.counts.items():
        assert count["sequences"] == len(numbers)
        assert min(count[name] for name in ("resets", "right", "flagged", "spikes")) > 0
        assert (count["unchecked"] > 0) == (circuit.network.steps > 1)  # in one step whose indices ascend, an input cannot spike twice
        assert (count["cancelled"] > 0) == (mode != "full")
        assert count["right"] + count["flagged"] > 2 * len(numbers)
    lines = table(circuit, outcome).splitlines()
    assert lines[0].startswith(f"{circuit}, ")
    assert re.fullmatch(rf"  full      {len(numbers)} sequences, \d+ resets, \d+ frames, \d+ right, .*, [\d,]+ spikes", lines[1])
    assert len(lines) == 4


def test_text_of_a_circuit():
    assert str(CIRCUITS[1]).startswith("13-7-3, T = 5, simd 3,2  pe 7,3  form delta,delta  loop order event,event  swap 1,1  contexts 2")
    names = [str(circuit).split(", T")[0] for circuit in BY_KIND["convolution"]]
    assert names == ["4x4x2-3C3p1-P2-4C2-3", "5x4x2-4C3x2s2x1p1x0-3C2-P1x2-3", "3x4x1-2C2-P2x1-3", "4x5x2-3C3s2p1-P2x1-3"]


SELECTOR = '  integer fault;\n  initial begin fault = 0; if ($value$plusargs("fault=%d", fault)) begin end end\n'


def plant(text, module, faults, begin_at):
    """The Verilog with faults in a module, each there if the plus argument ``fault`` is its number; and a name for each number.

    Parameters:
        faults: by name, a pattern and what replaces it, where ``FAULT`` stands for the condition. Each place is a fault of its own.
        begin_at: number of the first one.
    """
    begin = text.index(f"module accelerator_{module} (")
    end = text.index("endmodule", begin)
    body, names = text[begin:end], []

    def replaced(match, name, replacement):
        names.append(name)
        return match.expand(replacement.replace("FAULT", f"fault == {begin_at + len(names) - 1}"))

    for name, (pattern, replacement) in faults.items():
        count = len(names)
        body = re.sub(pattern, lambda match, name=name, replacement=replacement: replaced(match, name, replacement), body)
        assert len(names) > count, name
    head, _, rest = body.partition(";\n")
    return f"{text[:begin]}{head};\n{SELECTOR}{rest}{text[end:]}", names


FAULTS = {
    "frame_check_0": {
        "a rule is forgotten": (r"\n    (\(.+\))( \||;)(?=\n)", r"\n    (\1 & !(FAULT))\2"),
        "what failed is forgotten": (r"(failed <= wrong);", r"\1 && !(FAULT);"),
        "a new frame does not show": (r"(\w+ <= i__stream__payload_last_of_frame);", r"\1 && !(FAULT);"),
    },
    "readout_queue": {
        "a result is taken back": (r"if \(o__ready\)(\s+o__valid <= 1'b0;)", r"if (o__ready || FAULT)\1"),
        "a result waits for its receiver": (r"\(!o__valid \| o__ready\)", r"((!o__valid & !(FAULT)) | o__ready)"),
    },
}


@cache
def planted():
    """Verilog with all faults, and port map; by module, number and name of its faults."""
    (text, port_map), numbered, number = CIRCUITS[0].verilog(), {}, 1
    for module, faults in FAULTS.items():
        text, names = plant(text, module, faults, number)
        numbered[module] = dict(enumerate(names, number))
        number += len(names)
    return (text, port_map), numbered


@pytest.mark.parametrize("module", FAULTS)
def test_planted_fault(module):
    network = CIRCUITS[0].network
    verilog, numbered = planted()
    seen = set()
    for number, name in numbered[module].items():
        outcome = prove(network, verilog, range(60), seed=0, modes=MODES[:2], plusargs=[f"+fault={number}"])
        assert outcome.found, name
        first = outcome.found[0]
        place = r"(readout|input|layer \d(, neuron \d+)?)"
        named = rf"{first.mode} mode, sequence {first.sequence}, after reset \d, frame \d \([a-z0 ]+\), {place}: "
        assert re.match(named, first.text)
        seen.add(tuple(found.text for found in outcome.found))
    assert len(seen) == len(numbered[module])


def test_no_fault():
    assert prove(CIRCUITS[0].network, planted()[0], range(60), seed=0).found == []


def test_command_with_a_fault(monkeypatch, tmp_path, capsys):
    """It names the first difference, exits with 1, and writes the waveform of its sequence."""

    class Faulty(Circuit):
        def verilog(self):
            return planted()[0]

    monkeypatch.setattr(command, "BY_KIND", {"single": [Faulty(CIRCUITS[0].network, CIRCUITS[0].folding)]})
    monkeypatch.setattr(command, "prove", partial(prove, plusargs=["+fault=9"]))
    assert command.main(["--sequences", "20", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    mode, number = re.search(r"^  (full|early|changing) mode, sequence (\d+), after reset \d, frame \d \(", said, re.MULTILINE).groups()
    waveform = tmp_path / "out" / f"sequence_{number}_{mode}.vcd"
    assert f"  waveform: {waveform}\n" in said
    assert waveform.stat().st_size > 10_000
    assert set(waveform.parent.iterdir()) == {waveform, tmp_path / "out" / "proofs-protocol.json"}
    (row,) = record.load(tmp_path / "out")["protocol"]
    assert not row.passed
    assert row.result in said


run = partial(call, main, "protocol")


def test_command(tmp_path):
    done = run("--sequences", 2, "--seed", 3, "--neurons", "single", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\d.*T = \d", done.stdout, re.MULTILINE) == ["13-7-3, T = 5"] * 2
    assert done.stdout.count("  early     1 sequences, ") == 2
    first, second = record.load(tmp_path)["protocol"]
    assert (first.name, second.name) == ("0: 13-7-3, 1 context", "1: 13-7-3, 2 contexts")
    assert (first.how, first.passed) == ("1 sequences, 3 modes", True)
    assert re.fullmatch(r"\d+ frames right, \d+ flagged, \d+ resets", first.result)
    done = run("--only", 6, "--seed", 3, "--neurons", "single")
    assert re.findall(r"^\d.*T = \d", done.stdout, re.MULTILINE) == ["10-9-6-3, T = 6"]


@pytest.mark.parametrize(("name", "value"), [("--sequences", "0"), ("--seed", "x"), ("--only", "1.5")])
def test_mistakes(name, value):
    must_be = "an integer of at least 1" if name == "--sequences" else "a non-negative integer"
    done = run(name, value)
    assert done.returncode == 2
    line = f"error: argument {name}: must be {must_be}, not '{value}' (see python -m sim protocol --help)\n"
    assert (done.stdout, done.stderr) == ("", line)
