"""Memories that each frame finds as new, though no pass clears them between frames.

Each row has a *tag* beside its content. The frames of a context count *rounds*, modulo the number ``R`` of places that there are in the
memory for each context. What is in a row counts only if its tag is the round of the frame that asks for it. And before anything else, a
frame of round ``r`` starts place ``r`` anew, and gives it the tag ``r``; so does a reset with each place, which takes a cycle per row.

No tag can mislead. Let a row of place ``p`` be read in a frame, and let its tag be of an earlier one, the last to write the row, ``d > 0``
frames of this context before. Each frame of round ``p`` writes place ``p``, so none of the ``d`` frames since then, the present one
included, has that round. There is one in ``R`` frames on end, so ``d < R``, and both rounds differ. If no frame has written the row since
the reset, its tag is ``p``; the present round is another one, since else this frame would have written it.
"""

from amaranth.hdl import Array, Module, Mux, Signal, Value


def rounds(m: Module, *, contexts: int, count: int, begins: Value, arriving: Value, frame: Value) -> Value:
    """The round of a frame.

    Parameters:
        contexts: frames that are worked on in turn.
        count: ``R``.
        begins: a frame begins; ``arriving`` is its tag.
        frame: tag of the frame whose round is wanted, the last one of its context that has begun.
    """
    bits = (contexts - 1).bit_length()
    counters = [Signal(range(max(2, count)), name=f"round_{context}") for context in range(contexts)]
    for context, counter in enumerate(counters):
        with m.If(begins & (arriving[:bits] == context if bits else 1)):
            m.d.sync += counter.eq(Mux(counter == count - 1, 0, counter + 1))
    return Array(counters)[frame[:bits]] if bits else counters[0]
