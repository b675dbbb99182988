"""Checked, read-only arrays."""

from typing import Any

import numpy as np

from export.errors import UserError


def array(name: str, value: Any) -> np.ndarray:
    """``value`` as an array.

    Raises:
        UserError: its rows differ in length.
    """
    try:
        return np.asarray(value)
    except ValueError:
        raise UserError(f"{name} must be an array, all rows of one length") from None


def is_integer(value: object) -> bool:
    """Whether ``value`` is an integer of Python or numpy, and no bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def frozen(value: np.ndarray, dtype: type) -> np.ndarray:
    """A read-only copy in C order."""
    copy: np.ndarray = np.array(value, dtype=dtype, order="C")
    copy.flags.writeable = False
    return copy
