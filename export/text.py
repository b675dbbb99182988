"""Numbers and sizes in text."""

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """``1 word``, ``2 words``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def dashed(sizes: Iterable[int]) -> str:
    """``784-128-10``: layer sizes, from the inputs to the outputs."""
    return "-".join(map(str, sizes))
