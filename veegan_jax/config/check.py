"""The checks of a configuration that need neither data nor devices."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from veegan_jax.config.fields import (
    KINDS,
    MAX_INT,
    MAX_SEED,
    REGISTRIES,
    SHARED_SECTIONS,
    Field,
    all_fields,
    defaults,
    field_names,
)
from veegan_jax.errors import UserError, suggestion

# Settings of JAX that change the dtypes of a run or whether its keys fit a checkpoint, or that make it many times as
# slow, or compute nothing. Other settings that change numbers are recorded: see `storage/versions.py`.
NEEDED_SETTINGS = {"jax_enable_x64": False, "jax_default_prng_impl": "threefry2x32"}
NEEDED_SETTINGS |= dict.fromkeys(("jax_disable_jit", "jax_no_tracing", "jax_no_execution"), False)


def check_jax() -> None:
    """Checks that JAX makes float32 numbers and threefry keys, as every run has them, and that it compiles.

    Raises:
        UserError: naming the setting, its value, and how to set it.
    """
    for name, needed in NEEDED_SETTINGS.items():
        if (found := getattr(jax.config, name)) != needed:
            raise UserError(
                f"{name} is {found}, and runs are made with {needed}: unset the variable {name.upper()}, or in Python "
                f"call jax.config.update({name!r}, {needed!r})"
            )


def validate(config: ConfigDict) -> None:
    """Checks the types, the choices and the ranges of the fields that a run uses.

    Raises:
        UserError: naming the field, its value, and what would be right.
    """
    fields = all_fields()
    values = dict(typed_leaves(config.to_dict(), defaults()))  # a ConfigDict takes None, bools and NaN for numbers
    if missing := [path for path in fields if path not in values]:
        raise UserError(f"config.{missing[0]} is missing; a config starts from base_config(), which has every field")
    used = {"", *SHARED_SECTIONS, *(values[name] for name in REGISTRIES)}
    for path, field in fields.items():
        if path.rpartition(".")[0] in used:
            _check_value(path, values[path], field)
    if config.seed + config.num_seeds - 1 > MAX_SEED:
        raise UserError(
            f"config.seed is {config.seed} with config.num_seeds {config.num_seeds}; seeds must lie in 0 to {MAX_SEED}"
        )
    if config.batch_size % config.packing:
        raise UserError(f"config.batch_size is {config.batch_size}; it must divide by config.packing, {config.packing}")


def _check_value(path: str, value: Any, field: Field) -> None:
    """Checks a value of the field's type against the choices and the range of the field."""
    if field.choices and value not in field.choices:
        raise UserError(f"config.{path} is {value!r}; {suggestion(str(value), field.choices)}")
    if field.minimum is not None and value < field.minimum:
        raise UserError(f"config.{path} is {value}; it must be at least {field.minimum}")
    if isinstance(value, tuple) and not all(type(v) is int and 0 < v <= MAX_INT for v in value):
        raise UserError(f"config.{path} is {value}; it must be a tuple of positive integers, as (128, 128)")


def typed_leaves(given: Mapping[str, Any], known: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the path and the value of each field of a tree, the value as the type of the field.

    `compare` is one field, since its rows are of names and fields that only the rows themselves say.

    Args:
        given: the tree, as a JSON file or a config has it.
        known: the tree of all fields with values of their types, as `defaults` gives it.
        section: the path of the section that both trees are, with a dot behind it; empty for whole configs.

    Raises:
        UserError: naming a field that is not known, or whose value is of another type.
    """
    for name, value in given.items():
        path = f"{section}{name}"
        if not isinstance(name, str) or name not in known:
            path = path if path.isprintable() else repr(path)
            raise UserError(f"config.{path} is no field of this version; {nearest(path)}")
        if not isinstance(known[name], Mapping):
            yield path, _typed(path, value, known[name])
        elif not isinstance(value, Mapping):
            inside = KINDS[dict] if path == "compare" else ", ".join(known[name]) or "no fields"
            raise UserError(f"config.{path} is {shown(value)}; it is a section, of {inside}")
        elif path == "compare":
            yield path, _rows(value)
        else:
            yield from typed_leaves(value, known[name], f"{path}.")


def _rows(given: Mapping[str, Any]) -> ConfigDict:
    try:
        return ConfigDict(given)
    except (TypeError, ValueError) as error:  # a row's name has a dot, or is no text
        raise UserError(f"config.compare is {shown(given)}: {error}") from error


def _typed(path: str, value: Any, known: Any) -> Any:
    """Returns a value as the type of a known value: a list for a tuple and an integer for a float are converted."""
    kind = type(known)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INT:
        return float(value)
    sound = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not sound or (kind is float and not math.isfinite(value)):
        raise UserError(f"config.{path} is {shown(value)}; it must be {KINDS[kind]}, as {known!r}")
    if kind is int and abs(value) > MAX_INT and path != "seed":
        raise UserError(f"config.{path} is {shown(value)}; it must be at most {MAX_INT}")
    return value


def shown(value: Any) -> str:
    """Returns a value as one short line."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def nearest(path: str) -> str:
    """Returns the suggestion for a path that is no field: the fields of the innermost section that exists."""
    known = field_names(defaults())
    *sections, name = path.split(".")
    while sections and not any(field.startswith(".".join(sections) + ".") for field in known):
        name = sections.pop()
    prefix = "".join(f"{section}." for section in sections)
    inside = [field for field in known if field.startswith(prefix) and "." not in field[len(prefix) :]]
    return suggestion(prefix + name, inside)
