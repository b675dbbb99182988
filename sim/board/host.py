"""A data set through a circuit on a serial line, and every spike that comes back against the golden model."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from amaranth.lib import data

from export import Network, UserError, digest, reference
from hw.core.accelerator import monitor_formats
from hw.core.plan import LayerPlan
from hw.core.readout import result_layout
from hw.core.words import WordFormat
from hw.host.packets import Request, packet
from hw.host.recorder import record_layout, record_size
from hw.inputs import Inputs
from hw.loading.fit import fit
from hw.loading.loader import load_content
from sim.board.link import Info, SerialLink
from sim.compare import RESULT_FIELDS, compare
from sim.frames import Spikes, spikes
from sim.outcome import Outcome
from sim.ports import Field, Payload
from sim.report import Report, assemble
from sim.simulate import MODES, Recording

SUBJECT = "circuit"
Progress = Callable[[str, np.ndarray], Iterable[np.ndarray]]
"""Shows how far the images of a mode are."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """A circuit that is ready for frames.

    Attributes:
        info: what it says of itself.
        network: what it runs: the user's, with neurons added up to the circuit's sizes.
        plans: of the network, as the circuit has them.
        loaded: whether weights were loaded now.
    """

    info: Info
    network: Network
    plans: tuple[LayerPlan, ...]
    loaded: bool


def prepare(link: SerialLink, network: Network) -> Circuit:
    """See that the circuit can run the network, and load it where it takes weights and does not have just these.

    Raises:
        UserError: it cannot; the message says what does not fit.
        LinkError: the line fails.
    """
    info = link.info()
    if info.network is not None and info.network != digest(network):
        raise UserError(f"the bitstream's network must be {digest(network)[:16]}…, the one given, not {info.network[:16]}…")
    larger, plans = fit(network, info)
    loads = False
    if info.network is None:
        content = load_content(plans)
        loads = not info.loaded or info.digest != packet(Request.LOAD, content)[-len(info.digest) :]
        if loads:
            link.load(content)
    return Circuit(info, larger, plans, loads)


def run(link: SerialLink, circuit: Circuit, images: Iterable[np.ndarray], mode: str) -> Recording:
    """Send images one by one.

    Parameters:
        images: uint8 (pixels,) each.
        mode: "full" or "early".

    Returns:
        a recording as of a simulation, without cycle numbers: the line sets the pace.

    Raises:
        LinkError: the line fails, or the circuit gives no result.
    """
    began = time.monotonic()
    layout = result_layout(circuit.plans[-1])
    forms = monitor_formats(circuit.plans)
    result_size = -(-layout.size // 8)
    sizes = tuple(record_size(form) for form in forms)
    results: list[bytes] = []
    words: list[list[bytes]] = [[] for _ in forms]
    for image in images:
        pixels = image.tobytes().ljust(circuit.network.inputs, b"\0")
        result, parts = link.frame(pixels, early=mode == "early", result_size=result_size, record_sizes=sizes)
        results.append(result)
        for kept, part in zip(words, parts, strict=True):
            kept.append(part)
    payload = _payload(layout)
    records = _records(results, result_size)
    return Recording(
        layers=tuple(_spikes(form, parts) for form, parts in zip(forms, words, strict=True)),
        results={name: payload.get(records, name) for name in RESULT_FIELDS},
        starts=np.arange(len(results)),
        ends=np.arange(len(results)),
        stuck=False,
        seconds=time.monotonic() - began,
    )


def check(link: SerialLink, network: Network, frames: Inputs, progress: Progress = lambda _, images: images) -> Report:
    """Prepare a circuit, send all images in both modes, and compare everything with the golden model.

    Raises:
        UserError: the circuit cannot run the network, or there are no images.
        LinkError: the line fails.
    """
    if frames.images is None:
        raise UserError("the data set must have images, since a circuit on a board takes pixels, but has spike times")
    began = time.monotonic()
    circuit = prepare(link, network)
    seconds = {"load": time.monotonic() - began}
    images = frames.images.reshape(len(frames.images), -1)
    inputs = replace(frames.events, shape=(*frames.events.shape[:2], circuit.network.inputs))
    golden = reference.run(circuit.network, inputs)
    comparisons = {}
    for mode in MODES:
        recording = run(link, circuit, progress(mode, images), mode)
        comparisons[mode] = compare(mode, recording, golden, circuit.network)
        seconds[mode] = recording.seconds
    return assemble(
        circuit.network,
        inputs,
        frames.labels,
        Outcome.of(golden, comparisons, {}, None, frames.labels),
        folding=circuit.info.folding,
        build=None,
        seconds=seconds,
        waveforms=[],
        about=frames.about,
        subject=SUBJECT,
    )


def _payload(layout: data.StructLayout, form: WordFormat | None = None) -> Payload:
    """Fields of a layout; of words, with coefficients of several bits, if ``form`` has them."""
    fields = {name: Field(field.offset, field.width, bool(getattr(field.shape, "signed", False))) for name, field in layout}
    if form is not None and form.lane_bits > 1:
        fields["bits"] = replace(fields["bits"], lanes=form.simd, signed=form.signed)
    return Payload(layout.size, {"index": Field(0, 0)} | fields)  # words that hold all neurons have no index


def _records(parts: Sequence[bytes], size: int) -> np.ndarray:
    """Records of ``size`` bytes as uint32 (records, units)."""
    content = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, size)
    return np.ascontiguousarray(np.pad(content, ((0, 0), (0, -size % 4)))).view("<u4")


def _spikes(form: WordFormat, parts: Sequence[bytes]) -> Spikes:
    """The spikes in the words that a layer emitted, by frame."""
    size = record_size(form)
    return spikes(
        _records(parts, size), _payload(record_layout(form), form), np.repeat(np.arange(len(parts)), [len(part) // size for part in parts])
    )
