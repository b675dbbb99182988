"""Brute-force oracle of maps: one synapse, one window, one neuron at a time, in plain Python integers.

Written from the statements [S15] and [S16] of ``docs/semantics.md`` alone, and sharing no code with :mod:`export`.
"""

from tests import oracle_codes


def index(y, x, channel, width, channels):
    """[S15] Position-major."""
    return (y * width + x) * channels + channel


def positions(length, kernel, stride, padding):
    """[S15] How many places a kernel has."""
    return (length + 2 * padding - kernel) // stride + 1


def synapses(kernels, shape, stride, padding):
    """[S15] The synapses of each neuron, as (input, weight), and the neuron's channel, in the order of the neurons' indices.

    ``kernels`` are nested lists [o][i][k][l], ``shape`` is (height, width, channels) of the map that comes in.
    """
    height, width, channels = shape
    rows, columns = len(kernels[0][0]), len(kernels[0][0][0])
    found = {}
    height_out, width_out = positions(height, rows, stride[0], padding[0]), positions(width, columns, stride[1], padding[1])
    for o, kernel in enumerate(kernels):
        for y in range(height_out):
            for x in range(width_out):
                reached = []
                for i in range(channels):
                    for k in range(rows):
                        for m in range(columns):
                            above, left = y * stride[0] + k - padding[0], x * stride[1] + m - padding[1]
                            if 0 <= above < height and 0 <= left < width:
                                reached.append((index(above, left, i, width, channels), kernel[i][k][m]))
                found[index(y, x, o, width_out, len(kernels))] = (reached, o)
    return [found[j] for j in range(len(found))]


def pool(kind, shape, window, steps):
    """[S16] What comes out of a pool, step by step, of coefficients per step and input."""
    height, width, channels = shape
    height_out, width_out = height // window[0], width // window[1]
    spiked = set()
    result = []
    for step in steps:
        out = [0] * (height_out * width_out * channels)
        for y in range(height_out * window[0]):
            for x in range(width_out * window[1]):
                for c in range(channels):
                    out[index(y // window[0], x // window[1], c, width_out, channels)] += step[index(y, x, c, width, channels)]
        if kind == "max":
            out = [1 if value and j not in spiked else 0 for j, value in enumerate(out)]
            spiked |= {j for j, value in enumerate(out) if value}
        result.append(out)
    return result


def potentials(reached, steps):
    """The sum of what came in until the end of each step."""
    total, result = 0, []
    for step in steps:
        total += sum(weight * step[i] for i, weight in reached)
        result.append(total)
    return result


def run_single(neurons, thresholds, steps):
    """[S3] Coefficients per step and neuron; ``neurons`` as `synapses` gives them."""
    sent = [[0] * len(neurons) for _ in steps]
    for j, (reached, channel) in enumerate(neurons):
        for t, potential in enumerate(potentials(reached, steps)):
            if potential >= thresholds[channel]:
                sent[t][j] = 1
                break
    return sent


def run_codes(neurons, code, levels, signed, thresholds, starts, steps):
    """[S9] Coefficients per step and neuron."""
    sent = [[0] * len(neurons) for _ in steps]
    for j, (reached, channel) in enumerate(neurons):
        count = 0
        for t, potential in enumerate(potentials(reached, steps)):
            value = starts[channel] + potential - thresholds[channel] * count
            sent[t][j] = oracle_codes.respond(code, levels, signed, thresholds[channel], value, count)
            count += sent[t][j]
    return sent


def decide(neurons, thresholds, steps):
    """[S5] Class, step, margin and silence of the output layer."""
    sums = [potentials(reached, steps) for reached, _ in neurons]
    for t in range(len(steps)):
        margins = [sums[j][t] - thresholds[channel] for j, (_, channel) in enumerate(neurons)]
        if max(margins) >= 0:
            return margins.index(max(margins)), t, max(margins), False
    return margins.index(max(margins)), len(steps) - 1, max(margins), True
