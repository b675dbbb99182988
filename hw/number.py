"""Numbers on command lines, and in text."""

from argparse import ArgumentTypeError
from collections.abc import Iterable


def positive(text: str) -> int:
    """An argument that must be an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ArgumentTypeError(f"must be an integer of at least 1, not {text!r}")
    return value


def above_zero(text: str) -> float:
    """An argument that must be a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


above_zero.__name__ = "number above 0"  # argparse names it in its message


def counted(number: int, noun: str) -> str:
    """``1 word``, ``2 words``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def dashed(sizes: Iterable[int]) -> str:
    """``784-128-10``: layer sizes, from the inputs to the outputs."""
    return "-".join(map(str, sizes))
