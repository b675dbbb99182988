"""The decision, taken at the first step in which an output spikes [S5]."""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core.plan import LayerPlan
from hw.core.reorder_buffer import ReorderBuffer
from hw.core.streams import neuron_vectors, step_done
from hw.core.trees import ArgMax
from hw.core.words import bits_for

VECTOR_TO_STEP_DONE = 1  # cycles from a step's last vector to the news of what became of it


def vector_to_result(plan: LayerPlan) -> int:
    """Cycles from the vector that finishes a frame to its result, if nothing stands in its way."""
    return 3 + (plan.pe - 1).bit_length()


def result_layout(plan: LayerPlan) -> data.StructLayout:
    """A frame's result, from the last layer's plan.

    ``class_index``, ``step`` (t*), ``margin`` (V - θ of the class at t*), ``silent`` (no output spiked), ``error`` (the frame broke a
    rule).
    """
    return data.StructLayout(
        {
            "class_index": bits_for(plan.layer.outputs),
            "step": bits_for(plan.steps),
            "margin": signed(plan.membrane_bits),
            "silent": 1,
            "error": 1,
        }
    )


class Readout(wiring.Component):
    """Largest margin among all outputs at the deciding step, lowest index on a tie.

    With ``early`` high, a decision finishes its frame, and what still comes of it is ignored. With ``early`` low, the frame's end does.
    That a vector decides shows without comparing margins, so a step is done one cycle after its last vector, and the result comes
    `vector_to_result` cycles after the vector, when those of earlier frames have left. Vectors are taken as they come: there is a place for
    the result of every frame that was let in.

    Parameters:
        plan: the last layer.

    Members:
        i: vectors of output neurons.
        early: mode; looked at when a decision falls.
        o: results, in the order of the frames.
        step_done: what became of a step.
        oldest: number of the oldest frame whose result has not left, modulo twice the tags.
    """

    def __init__(self, plan: LayerPlan):
        self._plan = plan
        super().__init__(
            {
                "i": In(neuron_vectors(plan)),
                "early": In(1),
                "o": Out(stream.Signature(result_layout(plan))),
                "step_done": Out(step_done(plan)),
                "oldest": Out(bits_for(2 * plan.frames)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        verdict = self._judge(m)
        verdict, step_margin, step_index = self._best(m, verdict)

        # The result waits for those before it.
        m.submodules.queue = queue = ReorderBuffer(self._plan, result_layout(self._plan))
        decision = queue.decision
        m.d.comb += [
            queue.frame.eq(verdict.frame),
            queue.decides.eq(verdict.decides),
            decision.class_index.eq(step_index),
            decision.step.eq(Mux(verdict.fired, verdict.time, self._plan.steps - 1)),
            decision.margin.eq(step_margin),
            decision.silent.eq(~verdict.fired),
            queue.finishes.eq(verdict.finishes),
            queue.error.eq(verdict.error),
            self.oldest.eq(queue.oldest),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m

    def _judge(self, m: Module):
        """What a vector means, one cycle after it: the verdict on its step so far.

        Whether a neuron fires is known late in the vector's cycle: all else is made ready for it, and put together in the next one. A
        context's flags hold for the frame that set them; those that are being made go before those that were kept.
        """
        plan, vector = self._plan, self.i.payload
        came = Signal(_seen(plan))
        flags = data.StructLayout({"frame": bits_for(plan.frames), "decided": 1, "finished": 1})
        kept = Array(Signal(flags, name=f"flags_{context}") for context in range(plan.contexts))
        context_bits = (plan.contexts - 1).bit_length()
        context, came_context = vector.frame[:context_bits], came.frame[:context_bits]
        made = Signal(flags)
        mine = Signal(flags)
        same = Signal()
        some_fired = Signal()
        arriving = Signal.like(came)
        fires = Signal()
        m.d.comb += [
            mine.eq(Mux(came.closes & (came_context == context if context_bits else 1), made, kept[context])),
            same.eq(mine.frame == vector.frame),
            fires.eq(vector.fire.any()),
            arriving.valid.eq(self.i.valid),
            arriving.starts.eq(vector.fold == 0),
            arriving.closes.eq(self.i.valid & vector.last_of_step & ~(mine.finished & same)),
            arriving.ends.eq(arriving.closes & vector.last_of_frame),
            arriving.fired.eq(fires),
            arriving.fired_before.eq(some_fired & ~arriving.starts),
            arriving.decided.eq(mine.decided & same),
            arriving.decides_if_fired.eq(arriving.closes & ~arriving.decided),
            arriving.decides_anyway.eq(arriving.decides_if_fired & (arriving.fired_before | vector.last_of_frame)),
            arriving.early.eq(self.early),
        ]
        m.d.comb += [arriving[name].eq(vector[name]) for name in ("time", "fold", "error", "frame")]
        m.d.sync += [
            came.eq(arriving),
            self.step_done.valid.eq(self.i.valid & vector.last_of_step),
            self.step_done.frame.eq(vector.frame),
            self.step_done.decided.eq(self.early & (arriving.decides_anyway | (arriving.decides_if_fired & fires))),
        ]
        compared = Signal(_verdict(plan))
        m.d.comb += [
            compared.valid.eq(came.valid),
            compared.starts.eq(came.starts),
            compared.fired.eq(came.fired | came.fired_before),
            compared.decides.eq(came.decides_anyway | (came.decides_if_fired & came.fired)),
            compared.finishes.eq((compared.decides & came.early) | came.ends),
            compared.time.eq(came.time),
            compared.first_neuron.eq(came.fold * plan.pe),
            compared.error.eq(came.error),
            compared.frame.eq(came.frame),
            made.frame.eq(came.frame),
            made.decided.eq(came.decided | compared.decides),
            made.finished.eq(compared.finishes),
        ]
        fired_before = Signal()  # in a vector that is not the last one
        m.d.comb += some_fired.eq(Mux(came.valid, compared.fired, fired_before))
        m.d.sync += fired_before.eq(some_fired)
        with m.If(came.closes):
            for index, signal in enumerate(kept):
                with m.If(came_context == index):
                    m.d.sync += signal.eq(made)
        return compared

    def _best(self, m: Module, compared):
        """The vector's best margin, level by level; the verdict when it is known, and the best of the step so far: margin and output."""
        plan, vector = self._plan, self.i.payload
        m.submodules.argmax = argmax = ArgMax(count=plan.pe, width=plan.membrane_bits, always=plan.last_fold_size)
        margins = Signal(plan.pe * plan.membrane_bits)
        all_present = Signal()
        m.d.sync += [margins.eq(vector.margin), all_present.eq(vector.fold != plan.neuron_folds - 1)]
        m.d.comb += [argmax.values.eq(margins), argmax.all_present.eq(all_present)]
        for level in range(argmax.latency):
            following = Signal(compared.shape(), name=f"compared_{level}")
            m.d.sync += following.eq(compared)
            compared = following
        best_margin = Signal(signed(plan.membrane_bits))
        best_index = Signal(bits_for(plan.layer.outputs))
        step_margin = Signal.like(best_margin)
        step_index = Signal.like(best_index)
        vector_wins = Signal()
        m.d.comb += [
            vector_wins.eq(compared.starts | (argmax.value > best_margin)),
            step_margin.eq(Mux(vector_wins, argmax.value, best_margin)),
            step_index.eq(Mux(vector_wins, compared.first_neuron + argmax.place, best_index)),
        ]
        with m.If(compared.valid):
            m.d.sync += [best_margin.eq(step_margin), best_index.eq(step_index)]
        return compared, step_margin, step_index


def _seen(plan: LayerPlan) -> data.StructLayout:
    """What is kept of a vector for the cycle after it."""
    return data.StructLayout(
        {
            "valid": 1,
            "starts": 1,
            "closes": 1,  # the step, of a frame that is not finished
            "ends": 1,  # the frame, too
            "fired": 1,
            "fired_before": 1,  # in an earlier vector of this step
            "decided": 1,  # by an earlier step
            "decides_if_fired": 1,
            "decides_anyway": 1,
            "early": 1,
            "time": bits_for(plan.steps),
            "fold": bits_for(plan.neuron_folds),
            "error": 1,
            "frame": bits_for(plan.frames),
        }
    )


def _verdict(plan: LayerPlan) -> data.StructLayout:
    """What a vector means for its step and frame."""
    return data.StructLayout(
        {
            "valid": 1,
            "starts": 1,  # first vector of its step
            "decides": 1,
            "finishes": 1,
            "fired": 1,  # an output fired in this step
            "time": bits_for(plan.steps),
            "first_neuron": bits_for(plan.layer.outputs),
            "error": 1,
            "frame": bits_for(plan.frames),
        }
    )
