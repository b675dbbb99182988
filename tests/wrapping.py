"""Builds a wrapped accelerator under Verilator, and runs tests on it. The one that takes pixels has weights that are loaded; words of
coefficients are three of a bus's."""

from pathlib import Path

import numpy as np

from export import Dense, Encoder, Layer, Network, save
from hw import Accelerator, Folding
from hw.buses import wrap
from hw.loading.loader import load_content
from hw.verilog import write
from sim.build import FLAGS, compile_model
from sim.simulate import run_module
from tests.multi_spike import code_network
from tests.networks import random_network

CIRCUITS = {
    "words": ((16, 6, 4), 4, Folding((4, 3), (6, 2), ("delta", "delta")), "words"),
    "coefficients": ((14, 6, 4), 4, Folding((13, 6), (3, 4), ("delta", "delta")), "words"),
    "pixels": ((18, 6, 4), 8, Folding((2, 6), (3, 4), ("delta", "xnor")), "pixels"),
}


def run(folder: Path, module: str, wrapper: str, name: str) -> None:
    """Build a wrapped accelerator and run a module's tests on it."""
    shape, steps, folding, frames_in = CIRCUITS[name]
    rng = np.random.default_rng(12)
    if name == "coefficients":
        network = code_network(rng, shape, steps, "graded, signed", bits=6)
    else:
        network = Network(random_network(rng, shape, steps, spread=0.7).layers, steps, Encoder("latency"))
    images = rng.integers(0, 256, (24, shape[0]), np.uint8) * (rng.random((24, shape[0])) < rng.random((24, 1)))
    images[3], images[5] = 0, 255
    save(network, folder / "network.safetensors")
    np.save(folder / "images.npy", images.astype(np.uint8))
    weights = "loadable" if frames_in == "pixels" else "rom"
    circuit = wrap(Accelerator(network, folding, frames_in=frames_in, weights=weights), wrapper)
    *hidden, last = network.layers
    reverse = Layer(Dense(last.connection.weights[::-1]), type(last.neuron)(last.neuron.thresholds[::-1]))
    other = Network((*hidden, reverse), steps, network.encoder)  # classes in another order
    save(other, folder / "other.safetensors")
    for name, content in (("network", network), ("other", other)):
        (folder / f"{name}.weights").write_bytes(load_content(folding.plans(content)))
    verilog, *_ = write(circuit, folder / "accelerator.v")
    visible = "".join(f'public_flat_rw -module "{circuit.name}" -var "{port}"\n' for port in circuit.signature.members)
    flags = [*FLAGS, "--x-initial", "unique"]  # what comes out must not depend on registers that no reset reaches
    build = compile_model({"public.vlt": f"`verilator_config\n{visible}", "circuit.v": verilog.read_text()}, circuit.name, flags)
    arguments = ["+verilator+rand+reset+2", "+verilator+seed+7"]
    run_module(build, module, folder, arguments, {"WRAPPED_FOLDER": str(folder)}, folder / "log")
