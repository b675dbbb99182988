"""Formal proofs of what stands around the circuit, buses and the loader, are seen to fail by faults planted there.

The tests have one per harness, ``nox -s proofs`` the others, too.
"""

import pytest
from amaranth.hdl import Signal

import hw.buses.axi
import hw.buses.wishbone
from hw.buses.axi import AXIAccelerator, AXILiteBridge
from hw.buses.frame_window import FrameWindow
from hw.buses.managed import ManagedAccelerator
from hw.buses.wishbone import WishboneAccelerator
from hw.loading.loader import Loader
from sim.proofs import axi, catalogue, loader, wishbone
from sim.proofs.sby import prove
from tests.test_sim_proofs_faults import fails


@pytest.mark.proofs
def test_proof():
    (proof,) = (proof for proof in catalogue.WRAPPERS if proof.name == "AXI-Lite bridge")
    outcome = prove(proof)
    assert outcome.holds, outcome.failed


class Restless(AXILiteBridge):
    """A bridge that takes a response back in every other cycle."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        odd = Signal()
        m.d.sync += odd.eq(~odd)
        with m.If(odd):
            m.d.comb += self.s_axi_bvalid.eq(0)
        return m


class FirstByte(AXILiteBridge):
    """A bridge that writes the lowest byte everywhere."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.bus.w_data.eq(self.s_axi_wdata[:8])
        return m


@pytest.mark.parametrize(
    ("fault", "assertion"), [pytest.param(Restless, "Assert(held)", marks=pytest.mark.proofs), (FirstByte, "Assert(bus.w_data ==")]
)
def test_bridge(fault, assertion):
    assert assertion in fails(axi.bridge(fault), 20)


@pytest.mark.proofs
def test_a_bound_that_is_too_small(monkeypatch):
    """A write may wait for a read, 14 cycles in all."""
    monkeypatch.setattr(axi, "BOUND", axi.BOUND - 1)
    assert "Assert(waits != BOUND)" in fails(axi.bridge(), 24)


class TakesBack(AXIAccelerator):
    """A wrapper from which a reset by software takes the result that is on offer."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self._managed.reset):
            m.d.sync += self.m_axis_tvalid.eq(0)
        return m


class Hasty(ManagedAccelerator):
    """Frames that do not wait for weights."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.accelerator.i.valid.eq(self.i.valid)
        return m


class Careless(ManagedAccelerator):
    """A byte of weights that is gone if it is not taken at once."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        load = self.accelerator.load
        with m.If(load.valid):
            m.d.sync += load.valid.eq(0)
        return m


def test_a_result_that_is_taken_back():
    assert "Assert(held)" in fails(axi.wrapper(catalogue.SMALL, make=TakesBack), 6)


@pytest.mark.proofs
@pytest.mark.parametrize(("fault", "assertion"), [(Hasty, "Assert(inside.valid =="), (Careless, "Assert(came == expected)")])
def test_loadable(fault, assertion, monkeypatch):
    monkeypatch.setattr(hw.buses.axi, "ManagedAccelerator", fault)
    assert assertion in fails(axi.wrapper(catalogue.SMALL, weights="loadable"), 10)


class AcknowledgesTwice(FrameWindow):
    """Frames whose access is acknowledged once more."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.sync += self.bus.ack.eq(self.bus.cyc & self.bus.stb)
        return m


class Alarms(WishboneAccelerator):
    """A peripheral that always has a result."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.interrupt.eq(1)
        return m


def test_an_ack_too_many(monkeypatch):
    monkeypatch.setattr(hw.buses.wishbone, "FrameWindow", AcknowledgesTwice)
    assert "Assert(bus.ack ==" in fails(wishbone.wrapper(catalogue.SMALL), 6)


@pytest.mark.proofs
def test_an_interrupt_without_a_result():
    assert "Assert(~dut.interrupt" in fails(wishbone.wrapper(catalogue.SMALL, Alarms), 4)


class GoesOn(Loader):
    """A loader that takes the first byte of a new load while it is busy with the old one."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(1)
        return m


def test_a_load_that_begins_anew():
    assert "Assert(dut.loaded == whole)" in fails(loader.loader(((5, 3), (9, 2)), GoesOn), 12)
