"""An accelerator on a serial line."""

import json

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from export import Network, digest
from hw.accelerator import Accelerator
from hw.folding import Folding
from hw.host_link import HostLink
from hw.packets import VERSION
from hw.readout import result_layout
from hw.recorder import SpikeRecorder
from hw.uart import UARTReceiver, UARTTransmitter


class HostedAccelerator(wiring.Component):
    """An accelerator for pixels whose frames, weights and results come and go over a serial line as packets (see `hw.packets`).

    Every frame's spikes are recorded, so that a host can compare them all with the golden model.

    Parameters:
        network, folding, weights: see `hw.Accelerator`.
        divisor: clock cycles per bit of the line, at least 10 (see `hw.uart.divisor`).

    Members:
        rx, tx: the line.

    Raises:
        UserError: network and folding do not fit, or the network takes no pixels.
    """

    def __init__(self, network: Network, folding: Folding, *, divisor: int, weights: str = "rom", timeout_bits: int | None = None):
        self.accelerator = Accelerator(network, folding, frames_in="pixels", weights=weights)
        self._divisor = divisor
        self._timeout = {} if timeout_bits is None else {"timeout_bits": timeout_bits}
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    @property
    def info(self) -> bytes:
        """What the circuit says of itself: JSON, from which a host can tell what to load and how to read what it gets."""
        accelerator = self.accelerator
        network = accelerator.network
        content = {
            "version": VERSION,
            "shape": network.shape,
            "steps": network.steps,
            "p_min": network.encoder.p_min,
            "folding": accelerator.folding.as_dict(),
            "margin_bits": [plan.margin_bits for plan in accelerator.plans],
            "network": digest(network) if accelerator.weights == "rom" else None,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    def elaborate(self, platform):
        m = Module()
        accelerator = self.accelerator
        loadable = accelerator.weights == "loadable"
        link = HostLink(
            pixels=accelerator.network.inputs,
            result=result_layout(accelerator.plans[-1]),
            info=self.info,
            loadable=loadable,
            **self._timeout,
        )
        m.submodules.accelerator = ResetInserter(link.reset)(accelerator)
        m.submodules.link = link
        m.submodules.recorder = recorder = SpikeRecorder(accelerator.monitor_formats)
        m.submodules.receiver = receiver = UARTReceiver(self._divisor)
        m.submodules.transmitter = transmitter = UARTTransmitter(self._divisor)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        connect(m, receiver.o, link.i)
        connect(m, link.o, transmitter.i)
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
