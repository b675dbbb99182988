"""The exception for a user's mistake."""

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """A mistake in what the user gave; its message is one line: what must hold, and what came."""


@contextmanager
def prefixed(where: object) -> Iterator[None]:
    """Within the block, the message of a UserError gets the prefix ``where: ``."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
