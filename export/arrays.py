"""Checked, read-only arrays; and converters for the shapes in which other tools have weights, thresholds and spikes.

The converters are called by name, each for one thing: nothing is guessed from the numbers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from export.errors import UserError


def array(name: str, value: Any) -> np.ndarray:
    """``value`` as an array: of numpy, nested sequences, or a tensor of PyTorch, on any device, in bfloat16, or with a gradient.

    Raises:
        UserError: its rows differ in length, or entries of it are masked, or it is nothing of these.
    """
    if np.ma.is_masked(value):
        raise UserError(f"{name} must have no masked entries, but has {np.ma.count_masked(value)}")
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value  # numpy has no such type
        return np.asarray(value)
    except ValueError:
        raise UserError(f"{name} must be an array, all rows of one length") from None
    except (TypeError, RuntimeError) as error:
        raise UserError(f"{name} must be something that numpy makes an array of: {error}") from None


def ordered(name: str, value: Any, of: str) -> tuple[Any, ...]:
    """The items of a sequence, an array or an iterator.

    Raises:
        UserError: it is something else: a single item, a string, or without an order.
    """
    if isinstance(value, str | bytes | set | frozenset | dict):
        raise UserError(f"{name} must be a sequence of {of}, not {type(value).__name__}")
    try:
        return tuple(value)
    except TypeError:
        raise UserError(f"{name} must be a sequence of {of}, not {type(value).__name__}") from None


def is_integer(value: object) -> bool:
    """Whether ``value`` is an integer of Python or numpy, and no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def frozen(value: np.ndarray, dtype: type) -> np.ndarray:
    """A read-only copy in C order."""
    copy: np.ndarray = np.array(value, dtype=dtype, order="C")
    copy.flags.writeable = False
    return copy


def from_bits(weights: Any) -> np.ndarray:
    """±1 weights of 0 and 1, or of False and True: 0 is -1.

    Returns:
        int8, of the same shape.

    Raises:
        UserError: there is something else in it.
    """
    bits = _of_kinds("bits of weights", weights, "biuf")
    _refuse(~np.isin(bits, (0, 1)), bits, "bits of weights must be 0 or 1")
    return np.where(bits == 1, 1, -1).astype(np.int8)


def outputs_first(weights: Any) -> np.ndarray:
    """A matrix (inputs, outputs) as (outputs, inputs).

    Raises:
        UserError: it is no matrix.
    """
    matrix = array("weights", weights)
    if matrix.ndim != 2:
        raise UserError(f"weights must have shape (inputs, outputs), not {matrix.shape}")
    return np.ascontiguousarray(matrix.T)


def reached(thresholds: Any, fan_in: int | None = None) -> np.ndarray:
    """Integer thresholds of real ones that a potential has to reach, ``V ≥ θ``: rounded up, since potentials are integers [S3].

    Parameters:
        thresholds: real numbers of any shape.
        fan_in: of neurons whose inputs spike once, the synapses of each. What no potential reaches, infinity too, becomes ``fan_in + 1``,
            which stands for never, and what every potential reaches, ``-fan_in``. None: no threshold is infinite.

    Returns:
        int32, of the same shape.

    Raises:
        UserError: one is no number, or does not fit.
    """
    return _whole(thresholds, fan_in, np.ceil)


def exceeded(thresholds: Any, fan_in: int | None = None) -> np.ndarray:
    """Integer thresholds of real ones that a potential has to exceed, ``V > θ``: the next integer above; otherwise as `reached`."""
    return _whole(thresholds, fan_in, lambda numbers: np.floor(numbers) + 1)


def spike_times(times: Any, steps: int, never: float) -> np.ndarray:
    """Spike times in which ``never`` stands for no spike, with ``steps`` for it [S1].

    Parameters:
        times: whole numbers (frames, inputs), 0 … steps - 1 where they are not ``never``.
        steps: ``T``.
        never: such as -1, ``math.inf`` or ``math.nan``.

    Returns:
        int32 (frames, inputs), 0 … steps.

    Raises:
        UserError: one is neither.
    """
    numbers = _of_kinds("spike times", times, "iuf")
    none = np.isnan(numbers) if math.isnan(never) else numbers == never
    with np.errstate(invalid="ignore"):
        wrong = ~none & ~((numbers >= 0) & (numbers < steps) & (numbers % 1 == 0))
    _refuse(wrong, numbers, f"spike times must be whole numbers from 0 to {steps - 1}, or {never} for never")
    return np.where(none, steps, np.where(none, 0, numbers)).astype(np.int32)


def first_spikes(train: Any) -> np.ndarray:
    """Spike times of a dense spike train in which every input spikes at most once.

    Parameters:
        train: 0 and 1, (steps, frames, inputs), as simulators of networks step by step have it.

    Returns:
        int32 (frames, inputs), 0 … steps, ``steps`` = never.

    Raises:
        UserError: there is something else in it, or an input spikes again: a network whose inputs may do so takes
            ``export.Events.from_dense(train.transpose(1, 0, 2))``.
    """
    spikes = _of_kinds("spikes of a train", train, "biuf")
    if spikes.ndim != 3 or not len(spikes):
        raise UserError(f"a spike train must have shape (steps, frames, inputs), not {spikes.shape}")
    _refuse(~np.isin(spikes, (0, 1)), spikes, "spikes of a train must be 0 or 1")
    counts = np.count_nonzero(spikes, axis=0)
    _refuse(counts > 1, counts, "an input must spike at most once in a frame", "spikes[frame, input]")
    return np.where(counts, spikes.argmax(axis=0), len(spikes)).astype(np.int32)


def _of_kinds(name: str, value: Any, kinds: str) -> np.ndarray:
    numbers = array(name, value)
    if numbers.dtype.kind not in kinds:
        raise UserError(f"{name} must be numbers, not {numbers.dtype}")
    return numbers


def _refuse(wrong: np.ndarray, values: np.ndarray, must: str, what: str = "") -> None:
    """Refuse an array in which something is wrong; name the first place."""
    if wrong.any():
        place = tuple(map(int, np.argwhere(wrong)[0]))
        raise UserError(f"{must}, but {what or 'that'} at {place} is {values[place]}")


def _whole(thresholds: Any, fan_in: int | None, rounded: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    numbers = _of_kinds("thresholds", thresholds, "iuf")
    _refuse(np.isnan(numbers), numbers, "thresholds must be numbers")
    limit = np.iinfo(np.int32).max if fan_in is None else fan_in + 1
    whole = rounded(numbers)
    if fan_in is None:
        _refuse(np.abs(whole) > limit, numbers, "thresholds must fit into 32 bits")
    return np.clip(whole, -limit if fan_in is None else -fan_in, limit).astype(np.int32)
