"""hw.buses.axi: an accelerator with AXI interfaces under Verilator, against cocotbext-axi; see `cocotb_axi`."""

import pytest

from tests.wrapping import run


@pytest.mark.parametrize("name", [pytest.param("words", marks=pytest.mark.proofs), "pixels"])
def test_bus_models(tmp_path, name):
    run(tmp_path, "tests.cocotb_axi", "axi", name)
