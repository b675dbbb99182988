"""``python -m export nir NETWORK --out FILE.nir`` and ``python -m export import FILE.nir --out NETWORK``."""

import hashlib
import io
from pathlib import Path

import nir

from export.artifact import load, save
from export.cli import Parser, check_random, positive
from export.errors import prefixed
from export.files import check_regular, refuse_overwriting, write_together
from export.network import Network
from export.nir.conventions import Frames, frames_of
from export.nir.evaluator import prove
from export.nir.graph import Chain, read
from export.nir.reader import Reader
from export.nir.writer import graph_of
from export.text import dashed

CHECK_FRAMES = 200


def read_network(path: Path, steps: int | None = None, *, subtract: bool = False) -> tuple[Chain, Frames, Network]:
    """A NIR file, what a frame is, and its network.

    Parameters:
        path: of the file.
        steps: ``T``, of a file that does not say it.
        subtract: all neurons are reset by subtraction, whatever the file says.

    Raises:
        UserError: it is no file, is damaged, or holds a graph that a network cannot be.
        OSError: it cannot be read.
    """
    check_regular(path)
    with prefixed(path):
        chain = read(path)
        frames = frames_of(chain.graph, steps)
        provenance = {"source": path.name, "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        return chain, frames, Reader(chain, frames, subtract=subtract).read(provenance)


def write(network: Network, out: Path, check_frames: int = CHECK_FRAMES) -> int:
    """Write a network as a NIR file, if the graph's equations give what the golden model gives.

    Returns:
        How many spikes of hidden neurons were found equal.

    Raises:
        UserError: NIR cannot carry it; the message names the layer.
        OSError: the file cannot be written.
    """
    graph = graph_of(network)
    check_random("check-frames", check_frames, network.inputs * network.steps)
    spikes = prove(Chain(graph), network, frames_of(graph, None), check_frames)
    content = io.BytesIO()  # HDF5 does not survive a full disk
    nir.write(content, graph)
    write_together({out: content.getvalue()})
    return spikes


def export_main(arguments: list[str]) -> int:
    """``python -m export nir``."""
    parser = Parser(
        prog="python -m export nir",
        description="Write a network as a NIR file, after running the graph's equations and the golden model on random frames: every spike "
        "and every decision must be equal. Networks of rate and single neurons; docs/nir.md says what NIR cannot carry.",
    )
    parser.add_argument("network", type=Path, help="network.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="network.nir to write")
    parser.add_argument("--check-frames", type=positive, default=CHECK_FRAMES, metavar="N", help=f"default: {CHECK_FRAMES}")
    given = parser.parse_args(arguments)
    network = load(given.network)
    refuse_overwriting(given.network, given.out)
    with prefixed(given.network):
        spikes = write(network, given.out, given.check_frames)
    print(f"graph equal to the golden model on {given.check_frames:,} random frames: {spikes:,} spikes, and all decisions")
    print(f"{given.out}: {dashed(network.shape)}, T = {network.steps}, {given.out.stat().st_size} bytes")
    return 0


def import_main(arguments: list[str]) -> int:
    """``python -m export import FILE.nir``."""
    parser = Parser(
        prog="python -m export import",
        description="Write the artifact of a network in a NIR file, after running the graph's equations and the golden model on random "
        "frames: every spike and every decision must be equal.",
    )
    parser.add_argument("model", type=Path, help="FILE.nir")
    parser.add_argument("--out", type=Path, required=True, help="network.safetensors to write")
    parser.add_argument("--steps", type=positive, metavar="T", help="time steps of a frame, if the file does not say it")
    parser.add_argument("--reset", choices=["subtract"], help="a spike subtracts the threshold, whatever the file says (snntorch, sinabs)")
    parser.add_argument("--check-frames", type=positive, default=CHECK_FRAMES, metavar="N", help=f"default: {CHECK_FRAMES}")
    given = parser.parse_args(arguments)
    subtract = given.reset is not None
    chain, frames, network = read_network(given.model, given.steps, subtract=subtract)
    refuse_overwriting(given.model, given.out)
    check_random("check-frames", given.check_frames, network.inputs * network.steps)
    with prefixed(given.model):
        spikes = prove(chain, network, frames, given.check_frames, subtract=subtract)
    sha256 = save(network, given.out)
    print(f"golden model equal to the graph on {given.check_frames:,} random frames: {spikes:,} spikes, and all decisions")
    print(f"{given.out}: {dashed(network.shape)}, T = {network.steps}, {given.out.stat().st_size} bytes, sha256 {sha256}")
    return 0
