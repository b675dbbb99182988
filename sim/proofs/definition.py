"""The definition of a layer and of a decision, as expressions over symbols, from docs/semantics.md; nothing of ``hw`` is used."""

from collections.abc import Sequence

from amaranth.asserts import AnyConst
from amaranth.hdl import Assume, Const, Module, Mux, Signal, Value, signed


class SymbolicLayer:
    """A layer of arbitrary weights and thresholds.

    Attributes:
        inputs, outputs: sizes.
        positive: per output and input, whether the weight is +1.
        thresholds: per output, signed, from -inputs to inputs + 1.
    """

    def __init__(self, m: Module, inputs: int, outputs: int, index: int):
        self.inputs, self.outputs = inputs, outputs
        self.positive = [[Signal(name=f"weight_{index}_{j}_{i}") for i in range(inputs)] for j in range(outputs)]
        self.thresholds = [Signal(range(-inputs, inputs + 2), name=f"threshold_{index}_{j}") for j in range(outputs)]
        for row, threshold in zip(self.positive, self.thresholds, strict=True):
            m.d.comb += [weight.eq(AnyConst(1)) for weight in row]
            m.d.comb += [threshold.eq(AnyConst(len(threshold))), Assume((threshold >= -inputs) & (threshold <= inputs + 1))]

    def negatives(self, j: int) -> Value:
        """How many weights of neuron ``j`` are -1."""
        return total([~weight for weight in self.positive[j]])

    def margins(self, m: Module, times: Sequence[Value], steps: int, name: str = "margin") -> list[list[Signal]]:
        """``V_j(t) - θ_j`` [S3], per output and step, for inputs that spike at ``times``."""
        arrived = [[Signal(name=f"arrived_{i}_{t}") for t in range(steps)] for i in range(self.inputs)]
        for i, time in enumerate(times):
            m.d.comb += [arrived[i][t].eq(time <= t) for t in range(steps)]
        result = []
        for j in range(self.outputs):
            row = [Signal(signed((2 * self.inputs + 1).bit_length() + 1), name=f"{name}_{j}_{t}") for t in range(steps)]
            for t, margin in enumerate(row):
                terms = [Mux(arrived[i][t], Mux(self.positive[j][i], 1, -1), 0) for i in range(self.inputs)]
                m.d.comb += margin.eq(total(terms) - self.thresholds[j])
            result.append(row)
        return result


class CodedLayer(SymbolicLayer):
    """A layer of arbitrary weights, thresholds and potentials to start from, whose neurons spike with coefficients.

    Attributes:
        thresholds: per output, from 1 to ``greatest``.
        starts: per output, signed, from ``-greatest`` to ``greatest``.
        biases: likewise, if neurons have any; else none.
    """

    def __init__(self, m: Module, inputs: int, outputs: int, greatest: int, *, biased: bool = False):
        self.inputs, self.outputs = inputs, outputs
        self.positive = [[Signal(name=f"weight_{j}_{i}") for i in range(inputs)] for j in range(outputs)]
        self.thresholds = [Signal(range(greatest + 1), name=f"threshold_{j}") for j in range(outputs)]
        self.starts = [Signal(range(-greatest, greatest + 1), name=f"start_{j}") for j in range(outputs)]
        self.biases = [Signal(range(-greatest, greatest + 1), name=f"bias_{j}") for j in range(outputs if biased else 0)]
        for symbol in (*(weight for row in self.positive for weight in row), *self.thresholds, *self.starts, *self.biases):
            m.d.comb += symbol.eq(AnyConst(len(symbol)))
        m.d.comb += [Assume((threshold >= 1) & (threshold <= greatest)) for threshold in self.thresholds]
        m.d.comb += [Assume((number >= -greatest) & (number <= greatest)) for number in (*self.starts, *self.biases)]


def coefficient(code: str, counts: tuple[int, int], potential: Value, threshold: Value, count: Value) -> Value:
    """What a neuron sends when a step closes [S10].

    Parameters:
        code: kind of neuron.
        counts: least and greatest sum of its coefficients; of ``rate`` neurons there are no bounds.
        potential: ``V``, from which what was sent is taken.
        count: ``N``.
    """
    least, greatest = counts
    if code == "rate":
        return potential >= threshold
    if code == "ternary":
        up, down = (potential >= threshold) & (count < greatest), (potential < 0) & (count > least)
        return up.as_unsigned() - down.as_unsigned()
    reached = [potential + threshold * count >= threshold * n for n in range(least + 1, greatest + 1)]
    return total(reached) + least - count


def spikes(m: Module, margins: Sequence[Sequence[Value]], name: str = "spikes") -> list[list[Signal]]:
    """Whether a neuron spikes at a step: the first one at which it reaches its threshold [S3]; per output and step."""
    result = []
    for j, row in enumerate(margins):
        reached: Value = Const(0, 1)
        result.append([Signal(name=f"{name}_{j}_{t}") for t in range(len(row))])
        for t, margin in enumerate(row):
            m.d.comb += result[j][t].eq((margin >= 0) & ~reached)
            reached = reached | (margin >= 0)
    return result


def total(terms: Sequence[Value]) -> Value:
    """Their sum."""
    result: Value = Const(0)
    for term in terms:
        result = result + term
    return result
