"""Brute-force oracle of spikes with coefficients: one frame, one neuron, one step at a time, in plain Python integers.

Written from the statements [S9]…[S13] of ``docs/semantics.md`` alone, and sharing no code with :mod:`export.reference`.
"""


def spread(intensity, bits, steps):
    """[S13] The coefficients of one 8-bit intensity, step by step."""
    return deal(intensity >> (8 - bits), steps)


def deal(count, steps):
    """[S13] A count, dealt out evenly."""
    return [count * (t + 1) // steps - count * t // steps for t in range(steps)]


def respond(code, levels, signed, threshold, potential, count):
    """[S10] The coefficient of a neuron with potential V and running count N at the end of a step."""
    least, greatest = (-levels if signed else 0), levels
    if code == "rate":
        return 1 if potential >= threshold else 0
    if code == "ternary":
        if potential >= threshold and count < greatest:
            return 1
        if potential < 0 and count > least:
            return -1
        return 0
    steps = potential // threshold  # rounds down, also below 0
    return max(least, min(greatest, count + steps)) - count


def run_layer(weights, neurons, inputs):
    """[S9] Coefficients per step and neuron of a layer.

    ``neurons`` are (code, levels, signed, threshold, start, bias, fraction) each, ``inputs`` coefficients per step and input.
    """
    sent = [[] for _ in inputs]
    for row, (code, levels, signed, threshold, start, bias, fraction) in zip(weights, neurons, strict=True):
        total, count = start, 0
        for t, step in enumerate(inputs):
            for weight, coefficient in zip(row, step, strict=True):
                total += 2**fraction * weight * coefficient
            total += bias
            c = respond(code, levels, signed, threshold, total - threshold * count, count)
            count += c
            sent[t].append(c)
    return sent


def decide(weights, thresholds, inputs):
    """[S12] Class, step, margin and silence of the output layer."""
    sums = [0] * len(weights)
    for t, step in enumerate(inputs):
        for j, row in enumerate(weights):
            sums[j] += sum(w * c for w, c in zip(row, step, strict=True))
        margins = [s - threshold for s, threshold in zip(sums, thresholds, strict=True)]
        if max(margins) >= 0:
            return margins.index(max(margins)), t, max(margins), False
    return margins.index(max(margins)), len(inputs) - 1, max(margins), True


def spread_bias(weights, neurons, inputs):
    """As `run_layer`, of neurons (code, levels, signed, threshold, start, bias) whose bias is dealt out over the steps [S9]."""
    steps = len(inputs)
    sent = [[] for _ in inputs]
    for row, (code, levels, signed, threshold, start, bias) in zip(weights, neurons, strict=True):
        total, count = start, 0
        for t, step in enumerate(inputs):
            total += sum(weight * coefficient for weight, coefficient in zip(row, step, strict=True))
            total += bias * (t + 1) // steps - bias * t // steps
            c = respond(code, levels, signed, threshold, total - threshold * count, count)
            count += c
            sent[t].append(c)
    return sent


def integer_network(weights, levels, signed, thresholds, starts, totals, biases, fraction, step):
    """[S11] The counts of a layer after a step, in which nothing else has a time, from the sums of its inputs' coefficients until then."""
    least = -levels if signed else 0
    counts = []
    for row, threshold, start, bias in zip(weights, thresholds, starts, biases, strict=True):
        value = (start + 2**fraction * sum(w * n for w, n in zip(row, totals, strict=True)) + bias * (step + 1)) // threshold
        counts.append(max(least, min(levels, value)))
    return counts
