"""The circuit's ports under Verilator: gaps, stalls, resets, broken frames. What happens inside the simulator is in `cocotb_protocol`."""

import re

import numpy as np
import pytest

from export import save
from hw import Accelerator, Folding
from hw.verilog import MODULE, write
from sim.build import FLAGS, compile_model
from sim.simulate import run_module
from tests.networks import random_network, random_spike_times

FOLDINGS = [
    pytest.param((13, 11, 5), 5, Folding((1, 4), (11, 5), ("delta", "delta")), id="delta"),
    pytest.param((13, 11, 5), 5, Folding((4, 3), (4, 2), ("xnor", "delta")), id="xnor and groups"),
    pytest.param((10, 9, 6, 3), 6, Folding((3, 2, 6), (5, 6, 1), ("delta", "xnor", "xnor")), id="three layers"),
]


@pytest.mark.parametrize(("shape", "steps", "folding"), FOLDINGS)
def test_protocol(tmp_path, shape, steps, folding):
    rng = np.random.default_rng(sum(shape))
    network = random_network(rng, shape, steps, spread=0.7)
    times = random_spike_times(rng, 24, shape[0], steps)
    times[3] = steps
    times[5] = 0
    save(network, tmp_path / "network.safetensors")
    np.save(tmp_path / "times.npy", times)
    verilog, _ = write(Accelerator(network, folding), tmp_path / "accelerator.v")
    text = verilog.read_text()
    ports = re.search(rf"^module {MODULE}\((.*?)\);", text, re.MULTILINE).group(1).split(", ")
    visible = "`verilator_config\n" + "".join(f'public_flat_rw -module "{MODULE}" -var "{name}"\n' for name in ports)
    # Registers that no reset reaches begin at random: what comes out must not depend on them.
    flags = [*FLAGS, "--x-initial", "unique"]
    build = compile_model({"public.vlt": visible, "circuit.v": text}, MODULE, flags)
    arguments = ["+verilator+rand+reset+2", "+verilator+seed+7"]
    run_module(build, "tests.cocotb_protocol", tmp_path, arguments, {"PROTOCOL_FOLDER": str(tmp_path)}, tmp_path / "log")
