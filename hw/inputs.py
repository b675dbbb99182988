"""The frames that a command line asks for: the test part of a data set, or random spikes."""

from argparse import ArgumentParser
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from export import Encoder, Events, Network, UserError
from export.cli import check_random, positive

RANDOM = "random"
RANDOM_FRAMES = 1000


def add_frame_arguments(parser: ArgumentParser) -> None:
    """Add ``--dataset`` and ``--images``."""
    parser.add_argument(
        "--dataset",
        help="digits, mnist, fashion-mnist, fashion-mnist-thermometer, cifar-10, caltech, spoken-digits, spoken-digits-without-SPEAKER, "
        "shd, n-mnist, n-mnist-counts, a .npz file, or random (default: what the network was trained on)",
    )
    parser.add_argument("--images", type=positive, metavar="N", help="the first N test frames only (default: all; random: 1000)")


@dataclass(frozen=True, eq=False)
class Inputs:
    """Frames for a network.

    Attributes:
        events: the spikes of the inputs.
        labels: int64 (frames,), or None.
        images: uint8 (frames, inputs), or None where there are only spikes.
        about: what the report says of them.
    """

    events: Events
    labels: np.ndarray | None = None
    images: np.ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)


def load(network: Network, dataset: str, images: int | None = None, seed: int = 0) -> Inputs:
    """The first ``images`` test frames of a data set, or all; of ``random``, that many frames of random spikes.

    Raises:
        UserError: the data set is unknown, has no test part, does not fit the network, or is smaller; or the seed is negative.
        OSError: it cannot be read.
    """
    if images is not None and images < 1:
        raise UserError(f"images must be at least 1, not {images}")
    if seed < 0:
        raise UserError(f"seed must be a non-negative integer, not {seed}")
    if dataset == RANDOM:
        check_random("images", images or 1, network.inputs)
        events = random_events(network, images or RANDOM_FRAMES, seed)
        return Inputs(events, about={"dataset": RANDOM, "seed": seed, "image_shape": None})
    from model import datasets  # which data sets there are is the training side's business; it needs no training framework

    data = datasets.load(dataset).arranged(network.maps[0])
    part = data.test_images if data.test_spike_times is None else data.test_spike_times
    if part is None:
        raise UserError(f"data set must have a test part, but {dataset} has none")
    if images is not None and images > len(part):
        raise UserError(f"images must be at most the {len(part)} test frames of {dataset}, not {images}")
    outside = data.test_spike_times is not None
    times: np.ndarray | Events
    if data.test_events is not None and network.encoder.kind == "none":
        times, outside = data.test_events[:images], True
    else:
        times = (network.check_spike_times if outside else network.encode)(part[:images])
    events = network.check_inputs(times)
    labels = None if data.test_labels is None else data.test_labels[: events.shape[0]]
    shape = None if data.image_shape is None else list(data.image_shape)
    about = {"dataset": data.name, "dataset_digest": data.digest, "split": data.split, "test_frames": len(part), "image_shape": shape}
    return Inputs(events, labels, None if outside else part[:images], about)


def trained_on(network: Network) -> str:
    """The data set that the network's provenance names.

    Raises:
        UserError: it names none.
    """
    name = network.provenance.get("dataset")
    if not isinstance(name, str):
        raise UserError("--dataset must be given, because the network does not say what it was trained on")
    return name


def random_events(network: Network, frames: int, seed: int) -> Events:
    """Spikes of the inputs: in each frame another share of them spikes, from none to all; with coefficients, in several steps."""
    rng = np.random.default_rng(seed)
    shape = (frames, network.inputs)
    spikes = rng.random(shape) < rng.random((frames, 1))
    if network.encoder.spikes_once:
        return Events.from_spike_times(np.where(spikes, rng.integers(0, network.steps, shape), network.steps), network.steps)
    intensities = (rng.integers(0, 256, shape) * spikes).astype(np.uint8)
    encoder = network.encoder if network.encoder.kind == "spread" else Encoder("spread", bits=network.encoder.bits)
    found = encoder.encode(intensities, network.steps)
    assert isinstance(found, Events)
    return found
