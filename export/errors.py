"""The exception for a user's mistake."""


class UserError(ValueError):
    """A mistake in what the user gave; its message is one line: what must hold, and what came."""
