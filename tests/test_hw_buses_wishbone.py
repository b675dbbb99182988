"""hw.buses.wishbone: an accelerator on a Wishbone bus under Verilator, against cocotbext-wishbone; see `cocotb_wishbone`."""

import pytest

from tests.wrapping import run


@pytest.mark.parametrize("name", ["coefficients", pytest.param("pixels", marks=pytest.mark.proofs)])
def test_bus_model(tmp_path, name):
    run(tmp_path, "tests.cocotb_wishbone", "wishbone", name)
