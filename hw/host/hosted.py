"""An accelerator behind a host link, and one on a serial line."""

import json

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from export import Network, UserError, digest
from hw.core.accelerator import Accelerator
from hw.core.folding import Folding
from hw.core.readout import result_layout
from hw.host.host_link import TIMEOUT_BITS, HostLink
from hw.host.packets import VERSION
from hw.host.recorder import SpikeRecorder, most_records
from hw.host.uart import BYTES, UARTReceiver, UARTTransmitter
from hw.loading.fit import of_codes


def describe(network: Network, folding: Folding, weights: str) -> bytes:
    """A circuit's description as JSON, from which a host can tell what to load and how to read results."""
    content = {
        "version": VERSION,
        "shape": network.shape,
        "steps": network.steps,
        "p_min": network.encoder.p_min,
        "folding": folding.as_dict(),
        "membrane_bits": [plan.membrane_bits for plan in folding.plans(network)],
        "network": digest(network) if weights == "rom" else None,
        **of_codes(network, folding),
    }
    return json.dumps(content, separators=(",", ":")).encode()


def check_host_pixels(pixels: int) -> None:
    """Refuse several pixels per transfer.

    Raises:
        UserError: they are.
    """
    if pixels != 1:
        raise UserError(f"pixels must be 1 where they come from a host, byte by byte, not {pixels}")


class HostedAccelerator(wiring.Component):
    """An accelerator for pixels behind a packet protocol for frames, weights and results (see `hw.host.packets`).

    Every frame's spikes are recorded, for comparison with the golden model on the host.

    Parameters:
        network, folding, weights: see `hw.Accelerator`.
        timeout_bits: see `hw.host.host_link.TIMEOUT_BITS`.

    Members:
        i, o: bytes from and to the host; each must be offered for eight cycles.

    Raises:
        UserError: network and folding do not fit, the network takes no pixels, the folding several at a time, or a layer sends more words
            than can be numbered.
    """

    def __init__(self, network: Network, folding: Folding, *, weights: str = "rom", timeout_bits: int = TIMEOUT_BITS):
        check_host_pixels(folding.pixels)
        self.accelerator = Accelerator(network, folding, frames_in="pixels", weights=weights)
        self._depths = most_records(self.accelerator.plans)
        self._timeout_bits = timeout_bits
        super().__init__({"i": In(BYTES), "o": Out(BYTES)})

    def elaborate(self, platform):
        m = Module()
        accelerator = self.accelerator
        loadable = accelerator.weights == "loadable"
        link = HostLink(
            pixels=accelerator.network.inputs,
            result=result_layout(accelerator.plans[-1]),
            info=describe(accelerator.network, accelerator.folding, accelerator.weights),
            loadable=loadable,
            timeout_bits=self._timeout_bits,
        )
        m.submodules.accelerator = ResetInserter(link.reset)(accelerator)
        m.submodules.link = link
        m.submodules.recorder = recorder = SpikeRecorder(accelerator.monitor_formats, self._depths)
        connect(m, flipped(self.i), link.i)
        connect(m, link.o, flipped(self.o))
        connect(m, link.pixels, accelerator.i)
        connect(m, accelerator.o, link.result)
        connect(m, recorder.o, link.spikes)
        m.d.comb += [accelerator.early.eq(link.early), recorder.clear.eq(link.record), recorder.send.eq(link.send)]
        for index in range(len(accelerator.plans)):
            connect(m, getattr(accelerator, f"monitor_{index}"), getattr(recorder, f"monitor_{index}"))
        if loadable:
            connect(m, link.load, accelerator.load)
            m.d.comb += link.load_ends.eq(accelerator.load_ends)
        return m


class SerialAccelerator(wiring.Component):
    """A hosted accelerator on a serial line.

    Parameters:
        hosted: the accelerator.
        divisor: clock cycles per bit of the line (see `hw.host.uart.divisor`), at least 10, so that a byte is offered for long enough.

    Members:
        rx, tx: the line.
    """

    def __init__(self, hosted: HostedAccelerator, *, divisor: int):
        self.hosted, self._divisor = hosted, divisor
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.hosted = hosted = self.hosted
        m.submodules.receiver = receiver = UARTReceiver(self._divisor)
        m.submodules.transmitter = transmitter = UARTTransmitter(self._divisor)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        connect(m, receiver.o, hosted.i)
        connect(m, hosted.o, transmitter.i)
        return m
