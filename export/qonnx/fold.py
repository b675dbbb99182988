"""Encoders and neurons that give the same levels as a table, for every integer in it."""

from dataclasses import dataclass

import numpy as np

from export.connections import Connection, Totals
from export.encoder import MAX_BITS, Encoder
from export.errors import UserError
from export.neuron import MAX_FRACTION, MAX_THRESHOLD, Neuron
from export.neurons import Readout, Single
from export.qonnx.table import Table
from export.reset_neurons import MAX_LEVELS, Graded, Rate, Ternary

EVEN = 2.0**-18
"""Greatest difference of levels from even ones, as a share of the greatest: what rounding to float32 can make."""
NEARLY = 2.0**-14
"""How far apart offsets of scores, in sums, may come out by rounding, though they are the same."""


@dataclass(frozen=True, eq=False)
class Code:
    """Levels as counts: a count ``n`` from ``least`` to ``greatest`` stands for ``zero + n * worth``.

    Attributes:
        least, greatest: counts.
        zero, worth: float64 (channels,).
        values: float32 (channels, counts), the level of each count, as the graph has it; nan where it has none.
        reached_after: how many of the integers, in the order in which the potential grows, come before the count is ``n``: int64
            (greatest - least, channels), for ``n`` from ``least + 1``.
        flips: whether the potential grows while the integers fall, bool (channels,).
    """

    least: int
    greatest: int
    zero: np.ndarray
    worth: np.ndarray
    values: np.ndarray
    reached_after: np.ndarray
    flips: np.ndarray


def code_of(table: Table, *, padded: bool, neurons: bool) -> Code:
    """How a table's levels become counts.

    Those of neurons are from ``-L`` to ``L`` if levels are, 0 among them, or if zeros are added; else they are from 0.

    Parameters:
        table: of an activation.
        padded: zeros are added to the activation: their count must be 0.
        neurons: of neurons, whose counts may be below 0, and whose weights may be flipped; else of the inputs.

    Raises:
        UserError: there is only one level, levels are not evenly spaced, or zeros are added where 0 would not be the count of 0.
    """
    levels = table.levels.astype(np.float64)
    if len(levels) == 1:
        raise UserError(f"an activation must have at least two levels, not only {levels[0]:g}")
    places = np.rint((levels - levels[0]) / np.diff(levels).min()).astype(np.int64)
    top = int(places[-1])
    worth = (levels[-1] - levels[0]) / top
    if (np.abs(levels[0] + worth * places - levels) > EVEN * np.abs(levels).max()).any():
        raise UserError(f"levels of an activation must be evenly spaced, not {', '.join(f'{level:g}' for level in levels[:8])}")
    centred = neurons and levels[0] == -levels[-1]
    if centred and padded and top % 2:
        places, worth, top = 2 * places, worth / 2, 2 * top
    least = -(top // 2) if centred and top % 2 == 0 else 0
    below = np.concatenate([table.below, np.full((1, table.below.shape[1]), table.integers)])
    before = below[np.searchsorted(places, np.arange(1, top + 1))]  # integers whose count is less
    values = np.full(top + 1, np.nan, np.float32)
    values[places] = table.levels
    flips = table.falls_before if neurons else np.zeros(len(table.falls), bool)
    turned = table.falls ^ flips  # what is tested falls while what is pooled grows
    zero = np.zeros(len(flips)) if least else np.where(turned, levels[-1], levels[0])
    if padded and zero.any():
        possible = "from 0, or from -s to s" if neurons else "from 0"
        raise UserError(f"zeros can only be added to an activation with levels {possible}, not from {levels[0]:g} to {levels[-1]:g}")
    return Code(
        least,
        least + top,
        zero,
        np.where(turned, -worth, worth),
        np.where(turned[:, None], values[::-1], values),
        np.where(turned, table.integers - before[::-1], before),
        flips,
    )


def encoder_of(thresholds: np.ndarray) -> Encoder:
    """An encoder that counts how many of some thresholds, ascending, an intensity reaches, at ``T`` = 1."""
    if len(thresholds) == 1:
        return Encoder("latency", p_min=int(thresholds[0]))
    bits = len(thresholds).bit_length()
    if np.array_equal(thresholds, np.arange(1, 1 << bits) << (MAX_BITS - bits)):
        return Encoder("spread", bits=bits)
    return Encoder("spread", thresholds=tuple(map(int, thresholds)))


def neuron_of(code: Code, first: int, last: int, connection: Connection, sums: tuple[np.ndarray, np.ndarray]) -> Neuron:
    """Neurons whose count after the only step is that of ``code``, for each sum.

    Parameters:
        code: of an activation.
        first, last: the integers of its table.
        connection: the synapses, flipped as the code says.
        sums: the least and greatest sum of each channel, int64 (channels,).

    Raises:
        UserError: there are none.
    """
    least, greatest = sums
    thresholds = code.reached_after + np.where(code.flips, -last, first)
    if code.greatest == 1 and code.least == 0:
        return _binary(np.clip(thresholds[0], least, greatest + 1), connection, least)
    if code.greatest > MAX_LEVELS:
        raise UserError(f"counts of an activation must be at most {MAX_LEVELS}, not {code.greatest}")
    counts = np.arange(code.least + 1, code.greatest + 1)
    fraction, steps, starts = spaced(thresholds, counts, least, greatest)
    kind = Ternary if code.least == -1 else Graded
    return kind(steps, starts, levels=code.greatest, signed=code.least < 0, fraction=fraction)


def _binary(thresholds: np.ndarray, connection: Connection, least: np.ndarray) -> Neuron:
    """Neurons that spike where the sum reaches a threshold."""
    lowest, highest = single_range(connection)
    raised = np.where(thresholds <= least, np.maximum(thresholds, lowest), thresholds)
    if ((raised >= lowest) & (raised <= highest) & ((raised == thresholds) | (raised <= least))).all():
        return Single(raised)
    return Rate(np.ones_like(thresholds), 1 - thresholds)


def single_range(connection: Connection) -> Totals:
    """Least and greatest threshold of `Single` neurons [S3], [S15]."""
    return (-connection.fan_in if connection.output_map is None else 1), connection.fan_in + 1


def spaced(thresholds: np.ndarray, counts: np.ndarray, least: np.ndarray, greatest: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """``F``, ``θ`` and ``v`` (channels,) with ``2**F * S + v >= n * θ`` exactly where the sum ``S`` reaches the threshold of count ``n``.

    Parameters:
        thresholds: integers (counts, channels).
        counts: the counts, ascending.
        least, greatest: of the sums that there are, (channels,).

    Raises:
        UserError: there are none, with a fraction that neurons can have.
    """
    failed = 0
    for fraction in range(MAX_FRACTION + 1):
        found = []
        for channel in range(thresholds.shape[1]):
            one = _spaced_one(thresholds[:, channel].tolist(), counts, int(least[channel]), int(greatest[channel]), fraction)
            if one is None:
                failed = channel
                break
            found.append(one)
        else:
            steps, starts = np.array(found, np.int64).T
            return fraction, steps, starts
    raise UserError(f"thresholds must be evenly spaced, but those of channel {failed}, {thresholds[:8, failed].tolist()}, are not")


def _spaced_one(thresholds: list[int], counts: np.ndarray, least: int, greatest: int, fraction: int) -> tuple[int, int] | None:
    """``θ`` and ``v`` of one channel, if there are any with this fraction.

    With ``u = n * θ - v``, a threshold ``t`` says ``2**F * (t - 1) < u <= 2**F * t``; one that all sums reach, only that ``u`` is not
    greater; one that none reaches, only that it is not less.
    """
    one = 1 << fraction
    limits = np.clip(thresholds, least, greatest + 1)
    always, never = limits <= least, limits > greatest
    tests = ~(always | never)
    if tests.sum() < 2:
        steps = np.array([one * (greatest - least + 1)])  # no two thresholds are among the sums
    else:
        n, t = counts[tests], limits[tests]
        gaps, spans = n[1:] - n[0], t[1:] - t[0]
        lowest, highest = (one * (spans - 1) / gaps).max(), (one * (spans + 1) / gaps).min()
        steps = np.arange(max(1, int(np.floor(lowest))), int(np.ceil(highest)) + 1)
    products = counts[:, None] * steps
    at_least = np.where(never[:, None], -np.inf, products - one * limits[:, None]).max(axis=0)
    at_most = np.where(always[:, None], np.inf, products - one * (limits[:, None] - 1) - 1).min(axis=0)
    if never.all():
        at_least = at_most
    if always.all():
        at_most = at_least
    room = at_most - at_least
    good = (room >= 0) & (steps <= MAX_THRESHOLD)
    if not good.any():
        return None
    best = int(np.argmax(np.where(good, room, -1)))
    start = int((at_least[best] + at_most[best]) // 2)
    return (int(steps[best]), start) if abs(start) <= MAX_THRESHOLD else None


def readout_of(values: np.ndarray, first: int, single: Totals | None) -> tuple[bool, Single]:
    """Whether weights must be flipped, and output neurons whose margins are in the order of the graph's scores.

    The first of several equal margins, and of equal scores, is the class. A margin of at least 0 is a score of at least 0, where that
    can be.

    Parameters:
        values: the scores of each sum from ``first`` on, float (sums, classes).
        single: least and greatest threshold of neurons that spike once; None if what comes in does not.

    Raises:
        UserError: there are none.
    """
    values = values.astype(np.float64)
    change = np.diff(values, axis=0)
    flips = bool((change < 0).all())
    if not flips and not (change > 0).all():
        raise UserError("scores must rise with the sum, or fall, for all classes, and be different for each sum")
    if flips:
        values, first = values[::-1], -(first + len(values) - 1)
    sums = first + np.arange(len(values))[:, None]
    scale = (values[-1] - values[0]).mean() / (len(values) - 1)
    for score in (0.0, *values[len(values) // 2]):
        reached = sums.mean() - (values.mean(axis=0) - score) / scale  # the real sums at which classes have this score
        thresholds = np.ceil(reached - NEARLY).astype(np.int64)
        above = thresholds - reached
        order = np.argsort(above)
        ranks = np.empty_like(thresholds)  # classes whose sums are as far above their thresholds are in this order
        ranks[order] = np.cumsum(np.diff(above[order], prepend=above[order[0]]) > NEARLY)
        fraction = int(ranks.max()).bit_length()
        thresholds = (thresholds << fraction) - ranks
        if fraction > MAX_FRACTION or not _ordered(values, (sums << fraction) - thresholds):
            continue
        if not fraction and single is not None and single[0] <= thresholds.min() <= thresholds.max() <= single[1]:
            return flips, Single(thresholds)
        return flips, Readout(thresholds, fraction=fraction)
    raise UserError(
        f"scores must be one scale times the sums, the same for all classes, and offsets, at most {1 << MAX_FRACTION} fractions"
    )


def _ordered(values: np.ndarray, margins: np.ndarray) -> bool:
    """Whether margins, (sums, classes), are in the order of the values: ties, too."""
    classes = np.broadcast_to(-np.arange(values.shape[1]), values.shape)
    order = np.lexsort((classes.ravel(), margins.ravel()))
    before, after = values.ravel()[order][:-1], values.ravel()[order][1:]
    earlier, later = classes.ravel()[order][:-1], classes.ravel()[order][1:]
    return bool(((after > before) | ((after == before) & (later > earlier))).all())
