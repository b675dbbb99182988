"""Numbers on command lines."""


def above_zero(text: str) -> float:
    """An argument that must be a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


above_zero.__name__ = "number above 0"  # argparse names it in its message
