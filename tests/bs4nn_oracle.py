"""BS4NN by brute force, from the equations in ``docs/comparison.md`` alone: plain loops, no state carried from step to step."""

import math


def run_layer(times, weights, scale, threshold, steps):
    """Spike times of a layer: one step after the first at which ``α · Σ_i sign(w_ij) [t_i ≤ t]`` lies above the threshold.

    ``weights[i][j]`` are latent; ``times`` may hold any spike times, also the last step.
    """
    result = []
    for j in range(len(weights[0])):
        spike = steps
        for t in range(steps):
            potential = scale * sum((1 if weights[i][j] >= 0 else -1) for i in range(len(times)) if times[i] <= t)
            if potential > threshold:
                spike = min(t + 1, steps)
                break
        result.append(spike)
    return result


def run_frame(layers, times, threshold, steps):
    """Spike times of every layer; ``layers`` are pairs of latent weights and scaling factor."""
    result = []
    for weights, scale in layers:
        times = run_layer(times, weights, scale, threshold, steps)
        result.append(times)
    return result


def run_target(outputs, label, gamma, steps):
    """Target spike times."""
    first = min(outputs)
    if first == steps:
        return [steps - gamma if j == label else steps for j in range(len(outputs))]
    return [first if j == label else max(t, min(first + gamma, steps)) for j, t in enumerate(outputs)]


def unit(values):
    length = math.sqrt(sum(value * value for value in values))
    return [value / length for value in values] if length else list(values)


def run_gradients(layers, times, target):
    """Gradients (latent, scale) of every layer for one frame; ``times`` are those of the inputs and of every layer."""
    delta = unit([wanted - seen for wanted, seen in zip(target, times[-1], strict=True)])
    result = []
    for (weights, _), before, after in reversed(list(zip(layers, times[:-1], times[1:], strict=True))):
        inputs, outputs = range(len(before)), range(len(after))
        latent = [[delta[j] if before[i] < after[j] else 0.0 for j in outputs] for i in inputs]
        signed = [latent[i][j] * (1 if weights[i][j] >= 0 else -1) for i in inputs for j in outputs]
        result.append((latent, sum(signed) / len(signed)))
        delta = unit([sum(latent[i][j] * weights[i][j] for j in outputs) for i in inputs])
    return result[::-1]
