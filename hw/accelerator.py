"""The whole circuit."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, Signature, connect, flipped

from export import Network, UserError
from hw.emitter import SpikeEmitter
from hw.encoder import LatencyEncoder, pixel_layout
from hw.folding import Folding
from hw.frame_check import FrameCheck
from hw.layer import IFLayer
from hw.readout import Readout, result_layout
from hw.streams import input_format
from hw.words import WordFormat

INPUTS = ("words", "pixels")


class Accelerator(wiring.Component):
    """A network as a circuit: frames in, one result per frame out.

    Parameters:
        network: weights and thresholds, kept in memories.
        folding: inputs and neurons per cycle, and the form, of each layer.
        frames_in: ``"words"`` (spike words in time order) or ``"pixels"`` (intensities in raster order, through a `LatencyEncoder`).

    Members:
        early: 1: the result leaves at the decision and the rest of its frame is dropped; 0: every spike of the frame is computed.
        i: spike words or pixels.
        i_cancel: (words only) the rest of the current frame is being dropped; the sender may go to its last word at once.
        o: results (see `hw.readout.result_layout`).
        monitor_0, …: what each layer sends, ``valid`` in the cycle in which a word passes. To be looked at or left open.

    Raises:
        UserError: the folding or ``frames_in`` does not fit the network.
    """

    def __init__(self, network: Network, folding: Folding, *, frames_in: str = "words"):
        if frames_in not in INPUTS:
            raise UserError(f"frames_in must be one of {', '.join(INPUTS)}, not {frames_in!r}")
        if frames_in == "pixels" and network.encoder.kind != "latency":
            raise UserError(f"frames_in 'pixels' needs a network with encoder 'latency', not {network.encoder.kind!r}")
        self.network, self.folding, self.frames_in = network, folding, frames_in
        self.plans = plans = folding.plans(network)
        self.input_format = input_format(plans[0])
        self.monitor_formats = (
            *(input_format(plan) for plan in plans[1:]),
            WordFormat(network.outputs, network.steps, plans[-1].pe),
        )
        payload = pixel_layout(1) if frames_in == "pixels" else self.input_format.layout
        members = {"early": In(1), "i": In(stream.Signature(payload)), "o": Out(stream.Signature(result_layout(plans[-1])))}
        if frames_in == "words":
            members["i_cancel"] = Out(1)
        for index, form in enumerate(self.monitor_formats):
            members[f"monitor_{index}"] = Out(Signature({"valid": Out(1), "payload": Out(form.layout)}))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        upstream = self._entry(m)
        for index, plan in enumerate(self.plans):
            layer = IFLayer(plan)
            m.submodules[f"layer_{index}"] = layer
            connect(m, upstream, layer.i)
            monitor = getattr(self, f"monitor_{index}")
            if index + 1 < len(self.plans):
                emitter = SpikeEmitter(plan, simd=self.plans[index + 1].simd)
                m.submodules[f"emitter_{index}"] = emitter
                connect(m, layer.o, emitter.i)
                upstream = emitter.o
                m.d.comb += [
                    monitor.valid.eq(upstream.stream.valid & upstream.stream.ready),
                    monitor.payload.eq(upstream.stream.payload),
                ]
            else:
                m.d.comb += [
                    monitor.valid.eq(layer.o.valid),
                    monitor.payload.time.eq(layer.o.payload.time),
                    monitor.payload.index.eq(layer.o.payload.group),
                    monitor.payload.bits.eq(layer.o.payload.fire),
                    monitor.payload.last_of_step.eq(layer.o.payload.last_of_step),
                    monitor.payload.last_of_frame.eq(layer.o.payload.last_of_step & layer.o.payload.last_of_frame),
                    monitor.payload.error.eq(layer.o.payload.error),
                ]
        m.submodules.readout = readout = Readout(self.plans[-1])
        connect(m, layer.o, readout.i)
        connect(m, readout.o, flipped(self.o))
        m.d.comb += readout.early.eq(self.early)
        return m

    def _entry(self, m: Module):
        """Whatever makes words of the frames that come in; returns its words."""
        if self.frames_in == "pixels":
            p_min = self.network.encoder.p_min
            assert p_min is not None  # a network resolves its encoder
            m.submodules.encoder = encoder = LatencyEncoder(self.input_format, p_min=p_min)
            connect(m, flipped(self.i), encoder.i)
            return encoder.o
        m.submodules.frame_check = check = FrameCheck(self.input_format)
        connect(m, flipped(self.i), check.i.stream)
        m.d.comb += self.i_cancel.eq(check.i.cancel)
        return check.o
