"""The whole circuit."""

from dataclasses import replace

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, Signature, connect, flipped

from export import Network, UserError
from hw.core.emitter import SpikeEmitter
from hw.core.folding import Folding
from hw.core.frame_check import FrameCheck
from hw.core.layer import IFLayer
from hw.core.plan import LayerPlan
from hw.core.readout import Readout, result_layout
from hw.core.scheduler import StepScheduler
from hw.core.streams import input_format
from hw.core.words import WordFormat
from hw.encoder.codes import code_of
from hw.encoder.distributor import FrameDistributor
from hw.encoder.encoder import PixelEncoder, pixel_layout
from hw.loading.loader import LOAD, Loader, row_memories

INPUTS = ("words", "pixels")
WEIGHTS = ("rom", "loadable")


def check_frames_in(network: Network, frames_in: str) -> None:
    """Refuse what a network's circuit cannot take.

    Raises:
        UserError: ``frames_in`` is something else than `INPUTS`, or pixels are for a network without an encoder.
    """
    if frames_in not in INPUTS:
        raise UserError(f"frames_in must be one of {', '.join(INPUTS)}, not {frames_in!r}")
    if frames_in == "pixels" and network.encoder.kind == "none":
        raise UserError("frames_in 'pixels' needs a network with encoder 'latency' or 'spread', not 'none'")


class Accelerator(wiring.Component):
    """A network as a circuit: frames in, one result per frame out.

    Parameters:
        network: weights and thresholds, kept in memories.
        folding: inputs and neurons per cycle, form and order of each layer, and how many frames are worked on in turn.
        weights: ``"rom"`` (in the bitstream) or ``"loadable"`` (see `hw.loading.loader`; the network then says how large others may be).
        frames_in: ``"words"`` (spike words in time order) or ``"pixels"`` (raster order, through a `PixelEncoder` per context).

    Members:
        early: 1: the result leaves at the decision and the rest of its frame is dropped; 0: every spike of the frame is computed.
        i: spike words or pixels. Words for several contexts come on streams ``i_0``, ``i_1``, …, frame k on stream k modulo contexts.
        i_cancel: (words only; ``i_0_cancel``, …) the rest of its current frame is being dropped; the sender may go to the last word.
        o: results, in the order of the frames (see `hw.core.readout.result_layout`).
        load, load_ends, loaded: (loadable only) what fills the memories, whether the byte that is offered is the last, and whether they are
            full; frames must wait until then.
        monitor_0, …: what each layer sends, ``valid`` in the cycle in which a word passes. To be looked at or left open.

    Raises:
        UserError: the folding or ``frames_in`` does not fit the network, or ``frames_in`` or ``weights`` is something else.
    """

    def __init__(self, network: Network, folding: Folding, *, frames_in: str = "words", weights: str = "rom"):
        if weights not in WEIGHTS:
            raise UserError(f"weights must be one of {', '.join(WEIGHTS)}, not {weights!r}")
        check_frames_in(network, frames_in)
        self.network, self.folding, self.frames_in, self.weights = network, folding, frames_in, weights
        self.plans = plans = folding.plans(network)
        self.input_format = replace(input_format(plans[0]), frames=0)
        last = plans[-1]
        self.monitor_formats = monitor_formats(plans)
        several = frames_in == "words" and folding.contexts > 1
        self.input_names = tuple(f"i_{context}" for context in range(folding.contexts)) if several else ("i",)
        payload = pixel_layout(folding.pixels) if frames_in == "pixels" else self.input_format.layout
        members = {"early": In(1), "o": Out(stream.Signature(result_layout(last)))}
        for name in self.input_names:
            members[name] = In(stream.Signature(payload))
            if frames_in == "words":
                members[f"{name}_cancel"] = Out(1)
        if weights == "loadable":
            members |= {"load": In(stream.Signature(LOAD)), "load_ends": Out(1), "loaded": Out(1)}
        for index, form in enumerate(self.monitor_formats):
            members[f"monitor_{index}"] = Out(Signature({"valid": Out(1), "payload": Out(form.layout)}))
        super().__init__(members)

    @property
    def word_ports(self) -> dict[str, WordFormat]:
        """The format of the words on each port that carries some."""
        inputs = dict.fromkeys(self.input_names, self.input_format) if self.frames_in == "words" else {}
        monitors = {f"monitor_{index}": form for index, form in enumerate(self.monitor_formats)}
        return {f"{name}_payload": form for name, form in (inputs | monitors).items()}

    def elaborate(self, platform):
        m = Module()
        m.submodules.scheduler = scheduler = StepScheduler(self.plans[0], self.input_format, done_ports=len(self.plans))
        self._connect_inputs(m, scheduler)
        m.submodules.readout = readout = Readout(self.plans[-1])
        upstream = scheduler.o
        layers: list[IFLayer] = []
        for index, plan in enumerate(self.plans):
            layer = IFLayer(plan, holds_vectors=not plan.is_last, loadable=self.weights == "loadable")
            m.submodules[f"layer_{index}"] = layer
            layers.append(layer)
            connect(m, upstream, layer.i)
            monitor = getattr(self, f"monitor_{index}")
            if plan.is_last:
                connect(m, layer.o, readout.i)
                vector = layer.o.payload
                m.d.comb += [monitor.valid.eq(layer.o.valid), monitor.payload.index.eq(vector.fold), monitor.payload.bits.eq(vector.fire)]
                m.d.comb += [monitor.payload.last_of_frame.eq(vector.last_of_step & vector.last_of_frame)]
                m.d.comb += [monitor.payload.first.eq(vector.first & (vector.fold == 0))]
                m.d.comb += [monitor.payload[name].eq(vector[name]) for name in ("time", "last_of_step", "error", "frame")]
                connect(m, readout.step_done, getattr(scheduler, f"step_done_{index}"))
            else:
                emitter = SpikeEmitter(plan)
                m.submodules[f"emitter_{index}"] = emitter
                connect(m, layer.o, emitter.i)
                upstream = emitter.o
                m.d.comb += [monitor.valid.eq(upstream.valid & upstream.ready), monitor.payload.eq(upstream.payload)]
                connect(m, emitter.step_done, getattr(scheduler, f"step_done_{index}"))
        connect(m, readout.o, flipped(self.o))
        if self.weights == "loadable":
            self._connect_loader(m, layers)
        m.d.comb += [readout.early.eq(self.early), scheduler.early.eq(self.early), scheduler.oldest.eq(readout.oldest)]
        return m

    def _connect_loader(self, m: Module, layers: list[IFLayer]) -> None:
        memories = [(width, len(rows)) for plan in self.plans for width, rows in row_memories(plan)]
        m.submodules.loader = loader = Loader(memories)
        connect(m, flipped(self.load), loader.i)
        m.d.comb += [self.load_ends.eq(loader.ends), self.loaded.eq(loader.loaded)]
        writes = [write for layer in layers for write in (layer.write_weights, layer.write_initial)]
        for index, write in enumerate(writes):
            connect(m, getattr(loader, f"write_{index}"), write)

    def _connect_inputs(self, m: Module, scheduler: StepScheduler) -> None:
        """Whatever makes words of the frames that come in."""
        if self.frames_in == "pixels":
            code = code_of(self.network.encoder, self.network.steps)
            layout = pixel_layout(self.folding.pixels)
            m.submodules.distributor = distributor = FrameDistributor(self.folding.contexts, layout)
            connect(m, flipped(self.i), distributor.i)
            for context in range(self.folding.contexts):
                encoder = PixelEncoder(self.input_format, code, pixels=self.folding.pixels)
                m.submodules[f"encoder_{context}"] = encoder
                connect(m, getattr(distributor, f"o_{context}"), encoder.i)
                connect(m, encoder.o, getattr(scheduler, f"i_{context}"))
            return
        for context, name in enumerate(self.input_names):
            check = FrameCheck(self.input_format)
            m.submodules[f"frame_check_{context}"] = check
            connect(m, flipped(getattr(self, name)), check.i.stream)
            connect(m, check.o, getattr(scheduler, f"i_{context}"))
            m.d.comb += getattr(self, f"{name}_cancel").eq(check.i.cancel)


def monitor_formats(plans: tuple[LayerPlan, ...]) -> tuple[WordFormat, ...]:
    """The words on each layer's monitor: what the next layer takes; of the last layer, a word for each fold of neurons."""
    last = plans[-1]
    return (*(input_format(plan) for plan in plans[1:]), WordFormat(last.layer.outputs, last.steps, last.pe, last.frames))
