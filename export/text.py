"""Numbers and sizes in text."""

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """``1 word``, ``2 words``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_of(names: Iterable[str]) -> str:
    """``'if'``, or ``one of latency, none``."""
    only, *more = names
    return f"one of {', '.join((only, *more))}" if more else f"'{only}'"


def dashed(sizes: Iterable[int]) -> str:
    """``784-128-10``: layer sizes, from the inputs to the outputs."""
    return "-".join(map(str, sizes))
