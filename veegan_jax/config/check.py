"""The checks of a configuration that need neither data nor devices."""

import math
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from veegan_jax.config.fields import (
    CHOICES,
    KINDS,
    MAX_INT,
    MAX_SEED,
    MINIMA,
    REGISTRIES,
    _leaves,
    base_config,
    field_names,
)
from veegan_jax.errors import UserError, suggestion
from veegan_jax.objectives.optimizer import adam


def validate(config: ConfigDict) -> None:
    """Checks whatever needs neither data nor devices.

    Raises:
        UserError: naming the field, its value, and what would be right.
    """
    _check_fields(config)
    for field, registry in REGISTRIES.items():
        _check_choice(field, config[field], sorted(registry))
        _check_options(config[field], config[config[field]], registry[config[field]])
    for player in config.optim:
        _check_options(f"optim.{player}", config.optim[player], adam)
    for field, choices in CHOICES.items():
        _check_choice(field, config[field], choices)
    for field, least in MINIMA.items():
        if config[field] < least:
            raise UserError(f"config.{field} is {config[field]}; it must be at least {least}")
    if config.seed + config.num_seeds - 1 > MAX_SEED:
        raise UserError(
            f"config.seed is {config.seed} with config.num_seeds {config.num_seeds}; seeds must lie in 0 to {MAX_SEED}"
        )
    if config.batch_size % config.packing:
        raise UserError(f"config.batch_size is {config.batch_size}; it must divide by config.packing, {config.packing}")


def _check_fields(config: ConfigDict) -> None:
    """That the fields are those of the base, each of its type: a ConfigDict takes None, bools and NaN for numbers."""
    base = base_config()
    present = {path for path, _ in _fields(config.to_dict(), base)}
    if missing := [path for path, _ in _leaves(base.to_dict()) if path not in present]:
        raise UserError(f"config.{missing[0]} is missing; a config starts from base_config(), which has every field")


def _check_options(section: str, chosen: ConfigDict, entry: Callable[..., Any]) -> None:
    hints = typing.get_type_hints(entry)
    for name, value in chosen.items():
        if typing.get_origin(hints[name]) is typing.Literal:
            _check_choice(f"{section}.{name}", value, typing.get_args(hints[name]))
        elif typing.get_origin(hints[name]) is tuple and not all(
            isinstance(v, int) and not isinstance(v, bool) and 0 < v <= MAX_INT for v in value
        ):
            raise UserError(
                f"config.{section}.{name} is {value}; it must be a tuple of positive integers, as (128, 128)"
            )


def _check_choice(field: str, value: Any, choices: typing.Iterable[Any]) -> None:
    if value not in (listed := list(choices)):
        raise UserError(f"config.{field} is {value!r}; {suggestion(str(value), listed)}")


def _fields(given: Mapping[str, Any], known: ConfigDict, section: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a tree by their paths, each value of the field's type; `compare` is one, of no type that is known.

    Raises:
        UserError: naming a field that is not known, or whose value is of another type.
    """
    for name, value in given.items():
        path = f"{section}{name}"
        if not isinstance(name, str) or name not in known:
            path = path if path.isprintable() else repr(path)
            raise UserError(f"config.{path} is no field of this version; {nearest(path)}")
        if not isinstance(known[name], ConfigDict):
            yield path, _typed(path, value, known[name])
        elif not isinstance(value, Mapping):
            inside = ", ".join(known[name]) or "one section for each row"
            raise UserError(f"config.{path} is {_shown(value)}; it is a section, of {inside}")
        elif path == "compare":
            yield path, _rows(value)
        else:
            yield from _fields(value, known[name], f"{path}.")


def _rows(given: Mapping[str, Any]) -> ConfigDict:
    try:
        return ConfigDict(given)
    except (TypeError, ValueError) as error:  # of a name that has a dot, or is no text
        raise UserError(f"config.compare is {_shown(given)}: {error}") from error


def _typed(path: str, value: Any, default: Any) -> Any:
    """A value as the type of the field's default."""
    kind = type(default)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INT:
        return float(value)
    sound = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not sound or (kind is float and not math.isfinite(value)):
        raise wrong_type(path, value, default)
    if kind is int and abs(value) > MAX_INT and path != "seed":
        raise UserError(f"config.{path} is {_shown(value)}; it must be at most {MAX_INT}")
    return value


def wrong_type(path: str, value: Any, default: Any) -> UserError:
    """The error for a value that is of another type than its field."""
    return UserError(f"config.{path} is {_shown(value)}; it must be {KINDS[type(default)]}, as {default!r}")


def _shown(value: Any) -> str:
    """A value as one short line."""
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:100]}…"


def nearest(path: str) -> str:
    """What a field may have been meant by a path that names none: fields of the innermost section that there is."""
    known = field_names(base_config())
    *sections, name = path.split(".")
    while sections and not any(field.startswith(".".join(sections) + ".") for field in known):
        name = sections.pop()
    prefix = "".join(f"{section}." for section in sections)
    inside = [field for field in known if field.startswith(prefix) and "." not in field[len(prefix) :]]
    return suggestion(prefix + name, inside)
