"""``python -m export import MODEL.onnx --out NETWORK``."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from export.artifact import save
from export.cli import Parser, check_random, positive
from export.encoder import random_images
from export.errors import UserError, prefixed
from export.files import check_regular, refuse_overwriting
from export.network import Network
from export.qonnx.graph import Graph
from export.qonnx.proof import prove
from export.qonnx.reader import Imported, Reader
from export.text import dashed

RANDOM = "random"


def read(path: Path, dataset: str | None = None) -> Imported:
    """A QONNX file as a network.

    Parameters:
        path: of the file.
        dataset: the data set that it was trained on, as the network's provenance names it.

    Raises:
        UserError: it is no file, is damaged, or holds a graph that a network cannot be.
        OSError: it cannot be read.
    """
    check_regular(path)
    provenance: dict[str, Any] = {"source": path.name, "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    with prefixed(path):
        return Reader(Graph(path)).read(provenance | ({} if dataset is None else {"dataset": dataset}))


def images_of(network: Network, dataset: str, number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """The first test images of a data set, or all, uint8 (images, inputs), and their labels, if there are any; of ``random``, so many.

    Raises:
        UserError: the data set is unknown, or does not fit the network.
        OSError: it cannot be read.
    """
    if dataset == RANDOM:
        check_random("check-images", number, network.inputs)
        return random_images(number, network.inputs, seed), None
    from model import datasets  # as in `hw.inputs`: which data sets there are is the training side's business

    data = datasets.load(dataset).arranged(network.maps[0])
    if data.test_images is None:
        raise UserError(f"data set must have test images, but {dataset} has none")
    if data.test_images.shape[1] != network.inputs:
        raise UserError(f"the network takes {network.inputs} inputs, but the images of {dataset} have {data.test_images.shape[1]} pixels")
    return data.test_images[:number], None if data.test_labels is None else data.test_labels[:number]


def main(arguments: list[str]) -> int:
    parser = Parser(
        prog="python -m export import",
        description="Write the artifact of a network in a QONNX file, after proving the golden model equal to the graph, as onnx's "
        "reference evaluator runs it, in every activation and every decision.",
    )
    parser.add_argument("model", type=Path, help="MODEL.onnx")
    parser.add_argument("--out", type=Path, required=True, help="network.safetensors to write")
    parser.add_argument("--dataset", default=RANDOM, help="whose test images are compared: as for python -m sim (default: random images)")
    parser.add_argument("--check-images", type=positive, default=1000, metavar="N", help="how many at most (default: 1000)")
    given = parser.parse_args(arguments)
    imported = read(given.model, None if given.dataset == RANDOM else given.dataset)
    refuse_overwriting(given.model, given.out)
    images, labels = images_of(imported.network, given.dataset, given.check_images)
    with prefixed(given.model):
        compared = prove(imported, images)
    sha256 = save(imported.network, given.out)
    of = "random images" if given.dataset == RANDOM else f"test images of {given.dataset}"
    print(f"golden model equal to the graph on {compared.images:,} {of}: {compared.activations:,} activations, and all decisions")
    if labels is not None:
        print(f"decided right: {100 * np.mean(compared.classes == labels):.2f} %")
    if imported.rounded:
        print(f"float32 rounds the sums of {', '.join(imported.rounded)}; thresholds are those of real sums, rounded once")
    network = imported.network
    print(f"{given.out}: {dashed(network.shape)}, T = 1, {given.out.stat().st_size} bytes, sha256 {sha256}")
    return 0
