"""Faults planted in the circuit make the formal proofs of layers and circuits fail, and each proof names its place.

The tests have one per harness, ``nox -s proofs`` the others, too.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Assume, Const, Mux, Signal

import hw.core.accelerator
import hw.core.readout
from export import Conv2d, Pool2d
from hw import Folding
from hw.core.convolution import ConvPlan
from hw.core.frame_check import FrameCheck
from hw.core.layer import IFLayer
from hw.core.membranes import Membranes, RingMemory, StateMemory
from hw.core.neurons import NEURONS, GradedNeurons, IFNeurons, RateNeurons, Response, TernaryNeurons
from hw.core.pool import Pool
from hw.core.readout import Readout
from hw.core.reorder_buffer import ReorderBuffer
from hw.core.rows import RowSequencer
from hw.core.words import WordFormat
from hw.encoder.codes import LatencyCode
from sim.proofs import catalogue, circuit, coded_layer, conv_layer, encoder, layer, observer, pool
from sim.proofs.sby import ANY_CONTENT, Proof, prove, run
from tests.neuron_faults import BiasTwice, Spoilt, ThresholdTooLarge


def fails(harness, depth, method="reduced"):
    """The line of the harness that a run of at most ``depth`` cycles makes fail."""
    found = run(rtlil.convert(harness), method, depth, timeout=600, passes=[ANY_CONTENT])
    assert found, "nothing fails"
    file, line = re.match(r"(\w+\.py):(\d+) fails in cycle \d+$", found[0]).groups()
    return Path("sim/proofs", file).read_text(encoding="utf-8").splitlines()[int(line) - 1]


class AboveThreshold(IFNeurons):
    """Neurons that want one more than their threshold."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        for p in range(self._pe):
            after = self.new_potential.word_select(p, self._width).as_signed()
            m.d.comb += self.fire[p].eq(self.test & ~self.flags[p] & (after > 0))
        return m


class Hasty(ReorderBuffer):
    """Results that do not wait."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.o.valid):
            m.d.sync += self.o.valid.eq(0)
        return m


class SaysNothing(Readout):
    """The gate never hears what became of a step; in early mode it waits for that."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.step_done.valid.eq(0)
        m.d.comb += Assume(self.early)
        return m


class EmptyFrame(FrameCheck):
    """Surroundings that send two empty steps and an end, so that the solver need not look for a frame that is held up."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        number, port, word = Signal(2), self.i.stream, self.i.stream.payload
        m.d.sync += number.eq(number + (port.valid & port.ready & (number < 2)))
        m.d.comb += [
            Assume(port.valid & word.last_of_step & ~word.error & (word.bits == 0) & (word.index == 0)),
            Assume((word.time == (number != 0)) & (word.last_of_frame == (number == 2))),
        ]
        return m


class OneFrame(FrameCheck):
    """Takes one frame, and never another word."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        dead, port = Signal(), self.i.stream
        m.d.sync += dead.eq(dead | (port.valid & port.ready & port.payload.last_of_frame))
        with m.If(dead):
            m.d.comb += port.ready.eq(0)
        return m


def small_layer(*, form="delta", holds_vectors=False):
    return layer.neuron_vectors((2, 2), 2, Folding((1,), (1,), (form,)), neuron=1, holds_vectors=holds_vectors)


@pytest.mark.parametrize("form", ["delta", pytest.param("xnor", marks=pytest.mark.proofs)])
def test_threshold(form, monkeypatch):
    monkeypatch.setitem(NEURONS, IFNeurons.kind, AboveThreshold)
    assert "vector.fire[lane] ==" in fails(small_layer(form=form), 12)


class Ungated(Spoilt, TernaryNeurons):
    """A negative spike takes back what was never sent."""

    def spoil(self, response, potential, emitted, threshold):
        down = potential + threshold < 0
        return Response(
            Mux(down, -1, response.coefficient),
            Mux(down, potential + threshold, response.potential),
            Mux(down, emitted - 1, response.count),
        )


class LosesTheNegative(Spoilt, GradedNeurons):
    """Nothing is taken back outside, though it is inside."""

    def spoil(self, response, potential, emitted, threshold):
        return response._replace(coefficient=Mux(response.coefficient < 0, 0, response.coefficient))


class TakesTooMuch(ThresholdTooLarge, RateNeurons):
    """A spike takes one more than the threshold."""


class AddsTheBiasTwice(BiasTwice, GradedNeurons):
    """Where the step closes."""


@pytest.mark.parametrize(
    ("make", "options"),
    [
        pytest.param(Ungated, {"levels": 2}, marks=pytest.mark.proofs),
        (AddsTheBiasTwice, {"levels": 2, "fraction": 1, "biased": True}),
        pytest.param(LosesTheNegative, {"levels": 2}, marks=pytest.mark.proofs),
        pytest.param(TakesTooMuch, {}, marks=pytest.mark.proofs),
    ],
)
def test_coefficients(make, options, monkeypatch):
    monkeypatch.setitem(NEURONS, make.kind, make)
    harness = coded_layer.coefficients((2, 2), 2, Folding((2, 1), (2, 1), ("delta", "delta")), make.kind, **options)
    assert "worth == Mux(again, 0" in fails(harness, 10)


@pytest.mark.proofs
def test_counts_that_are_not_reset(monkeypatch):
    """A frame begins with the count that another one ended with."""
    elaborate = StateMemory.elaborate

    def keeps(self, platform):
        m = elaborate(self, platform)
        m.d.comb += self.flags.eq(self._kept)
        return m

    def memory(self, m, content, *, write):
        self._kept = stored = Membranes._memory(self, m, content, write=write)
        return stored

    monkeypatch.setattr(StateMemory, "_memory", memory)
    monkeypatch.setattr(StateMemory, "elaborate", keeps)
    harness = coded_layer.coefficients((2, 2), 2, Folding((2, 1), (1, 1), ("delta", "delta")), "graded", levels=2)
    assert "worth == Mux(again, 0" in fails(harness, 14)


@pytest.mark.proofs
@pytest.mark.parametrize("name", ["convolution, graded, position 0", "pool, max"])
def test_proofs_of_maps(name):
    (proof,) = (proof for proof in catalogue.PROOFS if proof.name == name)
    outcome = prove(proof)
    assert outcome.holds, outcome.failed


def small_convolution():
    return conv_layer.positions(Conv2d(np.ones((1, 1, 2, 2)), (3, 2)), 2, Folding((1, 1), (1, 1), ("delta", "delta")))


def test_kernel_places_exchanged(monkeypatch):
    """Upside down: a vector has a spike of its own, or does not come."""
    monkeypatch.setattr(ConvPlan, "reach", property(upside_down))
    assert re.search(r"Assert\(vector\.fire\.word_select|Assert\(\(had_to_come", fails(small_convolution(), 10, "bmc"))


def upside_down(plan):
    down, across = REACH.func(plan)
    return down._replace(kernel=plan.connection.kernel_shape[0] - 1 - down.kernel), across


REACH = ConvPlan.reach


class KeepsItsMembranes(RingMemory):
    """A test leaves the potential that it looked at to the next frame, or to a later row of the same."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        (write,) = m.submodules.memory.write_ports
        with m.If(self.now.test):
            m.d.comb += write.data.eq(self.new_potential)
        return m


class BeginsAsItIs(RowSequencer):
    """Membranes are not made as new after a reset."""

    def _clean(self, m, *, again=None):
        return Const(0), Const(0)


class TestsTwice(RowSequencer):
    """Each position."""

    __test__ = False

    def _fold_counter(self, m, *, moves):
        again = Signal()
        with m.If(self.tests):
            m.d.sync += again.eq(~again)
        return Const(0, 1), Const(0, 1), ~self.tests | again


class TestsTooSoon(RowSequencer):
    """The first row of positions, before a word that still reaches it."""

    __test__ = False

    @staticmethod
    def rom(plan):
        line = plan.walk_layout["line"]
        return plan.walk_layout.size, [row | (row & 1) << line.offset for row in plan.walk_rows]


def always_a_place(layer_, m, sequencer):
    """For one more vector."""
    return 1


class SendsTwice(IFLayer):
    """Neurons that begin above their threshold spike again where the step is closed again."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o.payload.fire.eq(m.submodules.neurons.fire)
        return m


@pytest.mark.parametrize(
    ("target", "fault", "options", "place"),
    [
        ("hw.core.layer.RowSequencer", TestsTooSoon, {}, "came.word_select"),
        pytest.param("hw.core.membranes.RingMemory", KeepsItsMembranes, {}, "came.word_select", marks=pytest.mark.proofs),
        pytest.param(
            *("hw.core.layer.IFLayer._place_for_vector", always_a_place, {"holds_vectors": True}, "held != plan.vector_slots"),
            marks=pytest.mark.proofs,
        ),
        pytest.param("hw.core.layer.RowSequencer", BeginsAsItIs, {}, "came.word_select", marks=pytest.mark.proofs),
        pytest.param("hw.core.layer.RowSequencer", TestsTwice, {}, "vector.last_of_step == last", marks=pytest.mark.proofs),
        pytest.param(
            "sim.proofs.conv_layer.IFLayer", SendsTwice, {"code": "graded", "levels": 2}, "vector.fire == 0", marks=pytest.mark.proofs
        ),
    ],
)
def test_convolutions_by_rows(target, fault, options, place, monkeypatch):
    monkeypatch.setattr(target, fault)
    harness = conv_layer.positions(Conv2d(np.ones((1, 1, 2, 2)), (3, 2)), 1, Folding((1, 1), (1, 1), ("delta", "delta")), **options)
    assert place in fails(harness, 14, "bmc")


class SendsAll(Pool):
    """A window spikes as often as its neurons do."""

    def elaborate(self, platform):
        self._pool = replace(self._pool, kind="sum")
        return super().elaborate(platform)


def test_a_pooled_spike_sent_twice(monkeypatch):
    monkeypatch.setattr(pool, "Pool", SendsAll)
    assert "Assert(now == due)" in fails(pool.pool(Pool2d((2, 1), 1, (2, 1)), 2, 1), 4, "bmc")


@pytest.mark.proofs
def test_rows_without_a_place(monkeypatch):
    monkeypatch.setattr(IFLayer, "_place_for_vector", always_a_place)
    assert "held != plan.vector_slots" in fails(small_layer(holds_vectors=True), 12)


def test_results_that_do_not_wait(monkeypatch):
    monkeypatch.setattr(hw.core.readout, "ReorderBuffer", Hasty)
    assert "Assert(held)" in fails(circuit.streams(catalogue.SMALL), 18)


@pytest.mark.proofs
def test_deadlock(monkeypatch):
    monkeypatch.setattr(hw.core.accelerator, "Readout", SaysNothing)
    monkeypatch.setattr(hw.core.accelerator, "FrameCheck", EmptyFrame)
    assert "idle != bound" in fails(circuit.moves(catalogue.SMALL, stalls=1, bound=20), 26)


@pytest.mark.proofs
def test_a_circuit_that_takes_one_frame_only(monkeypatch):
    monkeypatch.setattr(hw.core.accelerator, "FrameCheck", OneFrame)
    assert "idle != bound" in fails(circuit.moves(catalogue.FOLDED, stalls=1, bound=23, covered=22), 42)


def test_a_bound_that_is_too_small():
    assert "idle != bound" in fails(circuit.moves(catalogue.SMALL, stalls=1, bound=6), 12)


def test_an_encoder_of_another_threshold(monkeypatch):
    monkeypatch.setattr(encoder, "LatencyCode", lambda steps, p_min: LatencyCode(steps, p_min + 1))
    assert "time == form.steps" in fails(encoder.encoder(WordFormat(3, 2, 2), p_min=1, pixels=1), 12)


@pytest.mark.parametrize("base", [observer.Observer, pytest.param(observer.AgreementObserver, marks=pytest.mark.proofs)])
def test_a_sum_that_is_not_the_definition(base):
    class OneTooMuch(base):
        """A sum that is one too large."""

        def __init__(self, m, layer_, form, word, mine, name):
            super().__init__(m, layer_, form, word, mine, name)
            self.running = [running + 1 for running in self.running]

    harness = observer.equals_definition(WordFormat(2, 2, 2), 1, OneTooMuch)
    assert "observer.py" in prove(Proof("", "", lambda: harness, "bmc", 3, 3)).failed
