"""Integers for neurons that fire, over whole frames, exactly when real ones do."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor

import numpy as np

from export.errors import UserError
from export.neuron import MAX_FRACTION
from export.neurons import Readout
from export.reset_neurons import Rate

Reals = Sequence[Fraction]


def rate_of(thresholds: Reals, initial: Reals, biases: Reals, least: np.ndarray, greatest: np.ndarray, steps: int) -> Rate:
    """Neurons with the smallest fraction that fire when real ones do, which fire above their threshold and lose it then.

    In step ``t``, after ``n`` spikes, a real neuron fires if ``v + S + b · (t+1) - θ · n > θ``: for sums ``S`` from some integer on. That
    integer is the same for ours, for all ``n ≤ t < T``.

    Parameters:
        thresholds: ``θ``, above 0, ``initial``: ``v``, ``biases``: ``b``, one per neuron or channel.
        least, greatest: range of ``S``, int (outputs,).
        steps: ``T``.

    Raises:
        UserError: there are none.
    """
    given = list(zip(thresholds, initial, biases, least.tolist(), greatest.tolist(), strict=True))
    for fraction in range(MAX_FRACTION + 1):
        found = {numbers: _rate(*numbers, steps, fraction) for numbers in dict.fromkeys(given)}
        if all(found.values()):
            columns = np.array([found[numbers] for numbers in given]).T
            return Rate(columns[0], columns[1], bias=columns[2], fraction=fraction)
    j = next(j for j, numbers in enumerate(given) if not found[numbers])
    raise UserError(
        f"thresholds must be such that fixed-point numbers with {MAX_FRACTION} fractional bits give the same spikes in {steps} steps, "
        f"but that of neuron {j} is {float(thresholds[j]):.9g} times its weights' scale"
    )


def _rate(
    threshold: Fraction, initial: Fraction, bias: Fraction, least: int, greatest: int, steps: int, fraction: int
) -> tuple[int, int, int] | None:
    """Threshold, start and bias as fixed-point numbers."""
    one = 1 << fraction
    for own_bias in dict.fromkeys((floor(bias * one), ceil(bias * one))):
        for own in dict.fromkeys((max(1, floor(threshold * one)), ceil(threshold * one))):
            low, high = -(1 << 62), 1 << 62
            for step in range(1, steps + 1) if bias else (steps,):
                for count in range(1, step + 1):
                    fires = min(max(floor(threshold * count - initial - bias * step) + 1, least), greatest + 1)
                    reach = own * count - own_bias * step - fires * one
                    low = max(low, reach) if fires <= greatest else low
                    high = min(high, reach + one - 1) if fires > least else high
            if low <= high:
                return own, min(max(ceil(initial * one) - 1, low), high), own_bias
    return None


def single_of(thresholds: Reals, least: int, greatest: int) -> np.ndarray:
    """Thresholds ``θ`` of neurons that fire when ``V ≥ θ``, for real ones that fire when ``V`` is above theirs: int (outputs,).

    Parameters:
        least, greatest: thresholds that neurons may have; those below and above are always, or never, reached.
    """
    return np.array([min(max(floor(threshold) + 1, least), greatest) for threshold in thresholds])


def readout_of(offsets: Reals, *, early: bool, greatest: int) -> Readout:
    """Output neurons whose margins are in the order of ``S + offset`` for all integers ``S``, ties included.

    Parameters:
        offsets: one per class.
        early: a margin is at least 0 where ``S + offset`` is; otherwise no margin is.
        greatest: the greatest ``S``.

    Raises:
        UserError: there are more different fractions than ours have.
    """
    parts = sorted({offset - floor(offset) for offset in offsets})
    fraction = (len(parts) - 1).bit_length()
    if fraction > MAX_FRACTION:
        raise UserError(f"offsets of classes must have at most {1 << MAX_FRACTION} different fractions, not {len(parts)}")
    ranks = [(floor(offset) << fraction) + parts.index(offset - floor(offset)) for offset in offsets]
    beyond = 0 if early else max(ranks) + ((greatest + 1) << fraction)
    return Readout(np.array([beyond - rank for rank in ranks]), fraction=fraction)
