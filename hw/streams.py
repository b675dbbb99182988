"""The two interfaces inside the accelerator: spike words, which can wait, and rows of neurons, which cannot."""

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature

from hw.folding import LayerPlan
from hw.words import WordFormat, bits_for


def input_format(plan: LayerPlan) -> WordFormat:
    """The words that a layer takes."""
    return WordFormat(plan.layer.inputs, plan.steps, plan.simd)


def words(form: WordFormat) -> Signature:
    """A stream of spike words that its receiver can cut short.

    While ``cancel`` is high, the receiver takes and drops words up to and including the one with ``last_of_frame``; the sender may
    send that one next, empty.

    Members:
        stream: payload, valid, ready.
        cancel: from the receiver.
    """
    return Signature({"stream": Out(stream.Signature(form.layout)), "cancel": In(1)})


def rows(plan: LayerPlan) -> Signature:
    """What a layer's neurons do when a step closes: a row of ``PE`` neurons at a time, groups in order, with no way to stall.

    Instead, a layer does not close a further step before ``release`` has told that the last one is dealt with.

    Members:
        valid: a row is there in this cycle.
        payload: its content; ``margin`` holds ``PE`` values of ``V - θ``.
        flush: forget the rows of this step that came before (a row in the same cycle counts).
        release: from the receiver, for one cycle: the step is dealt with.
        cancel: from the receiver: the current frame is of no more interest, down to its last row.
    """
    layout = data.StructLayout(
        {
            "time": bits_for(plan.steps),
            "group": bits_for(plan.groups),
            "last_of_step": 1,
            "last_of_frame": 1,
            "error": 1,
            "fire": plan.pe,
            "margin": plan.pe * plan.margin_bits,
        }
    )
    return Signature({"valid": Out(1), "payload": Out(layout), "flush": Out(1), "release": In(1), "cancel": In(1)})
