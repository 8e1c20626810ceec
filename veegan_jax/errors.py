"""The one kind of error that a person at the keyboard can mend."""


class UserError(Exception):
    """Something the user can mend: `main` prints it as one line, without a traceback, and exits with 2.

    The message names the key or file, the value that was given, and what would be right.
    """


class NonFiniteError(UserError):
    """Training produced NaN or infinity; nothing was saved over the last good checkpoint."""


def one_line(error: BaseException) -> str:
    """Returns the first line of what an error says, at most 300 characters; its type's name where it says nothing."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
