"""The one kind of error that a person at the keyboard can mend."""


class UserError(Exception):
    """Something the user can mend: `main` prints it as one line, without a traceback, and exits with 2.

    The message names the key or file, the value that was given, and what would be right.
    """


class NonFiniteError(UserError):
    """Training produced NaN or infinity; nothing was saved over the last good checkpoint."""
