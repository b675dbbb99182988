"""hw.buses.wishbone: an accelerator on a Wishbone bus under Verilator, against cocotbext-wishbone; see `cocotb_wishbone`."""

import pytest

from tests.wrapping import run


@pytest.mark.parametrize("name", [pytest.param("coefficients", marks=pytest.mark.proofs), "pixels"])
def test_bus_model(tmp_path, name):
    run(tmp_path, "tests.cocotb_wishbone", "wishbone", name)
