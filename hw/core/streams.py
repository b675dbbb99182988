"""The interfaces between components: spike words, which can wait, and neuron vectors, which cannot."""

from dataclasses import replace

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature

from hw.core.plan import LayerPlan
from hw.core.words import WordFormat, bits_for


def input_format(plan: LayerPlan) -> WordFormat:
    """The words that a layer takes, before they are pooled."""
    return WordFormat(plan.layer.inputs, plan.steps, plan.simd, plan.frames, plan.skips_empty_steps, plan.input_coefficients, plan.by_rows)


def connection_format(plan: LayerPlan) -> WordFormat:
    """The words that come to a layer's connection: behind its pool, if it has one."""
    return replace(input_format(plan), inputs=plan.layer.connection.inputs)


def words(form: WordFormat) -> Signature:
    """A stream of spike words from outside, which its receiver can cut short.

    While ``cancel`` is high, the receiver takes and drops words up to and including the one with ``last_of_frame``; the sender may
    send that one next, empty.

    Members:
        stream: payload, valid, ready.
        cancel: from the receiver.
    """
    return Signature({"stream": Out(stream.Signature(form.layout)), "cancel": In(1)})


def neuron_vectors(plan: LayerPlan) -> Signature:
    """What a layer's neurons do when a step closes: a vector of ``PE`` neurons at a time, in order, with no way to stall.

    Members:
        valid: a vector is there in this cycle.
        payload: its content; ``first``: the step is the first of its frame; in the last layer only, ``fold`` says
            which vector it is, and ``margin`` holds ``PE`` values of ``V - θ``; where not all vectors of a step come, ``fold`` and
            ``position`` say which one it is.
        release: from a receiver that holds vectors, for one cycle: a place has become free. It has `LayerPlan.vector_slots` of them.
    """
    fields = {
        "time": bits_for(plan.steps),
        "first": 1,
        "last_of_step": 1,
        "last_of_frame": 1,
        "error": 1,
        "frame": bits_for(plan.frames),
        "fire": plan.pe * plan.coefficient_bits,
    }
    if plan.addressed:
        fields |= {"position": bits_for(plan.positions), "fold": bits_for(plan.neuron_folds)}
    if plan.is_last:
        fields |= {"fold": bits_for(plan.neuron_folds), "margin": plan.pe * plan.membrane_bits}
    return Signature({"valid": Out(1), "payload": Out(data.StructLayout(fields)), "release": In(1)})


def step_done(plan: LayerPlan) -> Signature:
    """The end of a step.

    Members:
        valid: for one cycle: the step of this frame that was closed last is done.
        frame: the frame's tag.
        decided: the frame was decided by it, and nothing that comes later in it matters.
    """
    return Signature({"valid": Out(1), "frame": Out(bits_for(plan.frames)), "decided": Out(1)})
