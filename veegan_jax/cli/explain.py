"""One line for a wrong flag, field or config file: what was given, what is wrong with it, and what would be right."""

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from veegan_jax.errors import UserError, one_line, suggestion


def check_rest(rest: Sequence[str], values: flags.FlagValues) -> None:
    """Checks the arguments that are no known flags: only `--config.FIELD`, with a value, may be among them.

    Raises:
        UserError: naming the first argument that is neither a flag nor the value of one.
    """
    value_may_follow = False
    for argument in rest:
        override = re.match(r"--?(no)?config\.", argument)
        if override and values["config"].value is None:
            name = argument.lstrip("-").partition("=")[0]
            raise UserError(f"--{name} changes a field of --config, which is not given; try --config ring")
        if not override and (argument.startswith("--") or not value_may_follow):
            raise UserError(unknown_flag(argument, values) if argument.startswith("-") else stray_argument(argument))
        value_may_follow = bool(override) and "=" not in argument


def stray_argument(argument: str) -> str:
    """Returns the message about an argument that belongs to no flag."""
    return f"{argument!r} is no flag; flags look like --config=ring"


def unknown_flag(argument: str, values: flags.FlagValues) -> str:
    """Returns the message about an argument that looks like a flag and is none."""
    name = argument.lstrip("-").partition("=")[0]
    return f"--{name} is no flag; {suggestion(name, values)}"


def wrong_flag(error: Exception, values: flags.FlagValues, argv: Sequence[str]) -> str:
    """Returns the message about the value of a flag that absl refuses with this error."""
    match = re.match(r"flag --(\w+)=", str(error))
    if match is None:
        return one_line(error)
    name, parser = match[1], values[match[1]].parser
    value = _given(argv, name)
    if isinstance(parser, flags.EnumParser):
        return f"--{name} is {value!r}; {suggestion(value, parser.enum_values)}"
    return f"--{name} is {value!r}; it must be {parser.syntactic_help or 'true or false'}"


def wrong_field(error: Exception, argv: Sequence[str]) -> str:
    """Returns the message about `--config.FIELD=VALUE` that ml_collections refuses with this error."""
    from veegan_jax.config.check import nearest
    from veegan_jax.config.convert import from_effective
    from veegan_jax.config.fields import base_config, field_names

    if match := re.match(r"flag --config\.([\w.]+)=", str(error)):
        plain: Any = _given(argv, f"config.{match[1]}")
        for part in reversed(match[1].split(".")):
            plain = {part: plain}
        try:
            from_effective(plain)
        except UserError as refused:
            return str(refused)
    if isinstance(error, AttributeError | KeyError):
        known = field_names(base_config())
        given = [re.match(r"--?config\.([^=]*)", argument) for argument in argv]
        if unknown := [match[1] for match in given if match and match[1] not in known]:
            return f"config.{unknown[0]} is no field; {nearest(unknown[0])}"
    return one_line(error)


def wrong_config(error: Exception, given: str) -> str:
    """Returns the message about a Python config that raises this error: the line of the file, if one has to do with it.

    Args:
        error: what was raised.
        given: FILE or FILE:VARIANT.
    """
    file = given.partition(":")[0]
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    for cause in reversed(chain):
        if line := _line_in(Path(file), cause):
            return f"{file}, {line}: {type(cause).__name__}: {one_line(cause)}"
    return f"--config {given}: {one_line(chain[-1])}"


def _line_in(file: Path, cause: BaseException) -> str:
    """Returns the last line of a file that was running when an error was raised; empty if none was."""

    def within(name: str | None) -> bool:
        return bool(name) and Path(str(name)).resolve() == file.resolve()

    if isinstance(cause, SyntaxError) and within(cause.filename):
        return f"line {cause.lineno}: {(cause.text or '').strip()}"
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if within(frame.filename)]
    return f"line {frames[-1].lineno}: {frames[-1].line}" if frames else ""


def _given(argv: Sequence[str], flag: str) -> str:
    """Returns the value of a flag, of which the last counts; empty if it is not given."""
    for argument, following in reversed(list(zip(argv, [*argv[1:], ""], strict=True))):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name == flag:
            return value if equals else following
    return ""
