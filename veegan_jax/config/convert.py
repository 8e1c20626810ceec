"""A configuration to and from plain JSON, and the rows of a comparison."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from veegan_jax.config.check import shown, typed_leaves
from veegan_jax.config.fields import REGISTRIES, base_config, defaults, leaves
from veegan_jax.config.plugins import load_plugins
from veegan_jax.errors import UserError


def effective(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields that a run depends on as plain JSON: sections of entries that are not chosen are left out."""
    chosen = {config[field] for field in REGISTRIES}
    unused = {"compare", *(name for registry in REGISTRIES.values() for name in registry)} - chosen
    # The values of sections that are left out are not checked, and may be no JSON.
    used = {name: value for name, value in config.to_dict().items() if name not in unused}
    plain: dict[str, Any] = json.loads(json.dumps(used))
    return plain


def from_effective(plain: Mapping[str, Any]) -> ConfigDict:
    """Returns the config of some or all fields, as `effective` gives them; the others have their defaults.

    Raises:
        UserError: naming a field that this version does not know, a value of another type, or a plug-in that is not
            there.
    """
    load_plugins(plugins if isinstance(plugins := plain.get("plugins", ""), str) else "")
    config = base_config()
    config.update_from_flattened_dict(dict(typed_leaves(plain, defaults())))
    return config


def from_json(file: Path) -> ConfigDict:
    """Returns the config in a JSON file: some or all fields, as a run's `config.json` has them.

    Raises:
        UserError: naming the file, and the field that is wrong.
    """
    try:
        return from_effective(read_json(file))
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def read_json(file: Path) -> dict[str, Any]:
    """Returns the JSON object in a file.

    Raises:
        UserError: saying what is wrong with the file, which the caller names.
    """

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is there twice")
        return dict(pairs)

    def no_number(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        plain = json.loads(file.read_text("utf-8"), object_pairs_hook=distinct, parse_constant=no_number)
    except OSError as error:
        raise UserError(f"it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"it is not JSON ({error})") from error
    if not isinstance(plain, dict):
        raise UserError(f"it holds {shown(plain)}; it must be an object of fields, as " + '{"batch_size": 128}')
    return plain


def differences(given: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Returns one line for each field in which a given effective config and a run's stored one differ.

    A field that the stored config lacks came in a later version, and has its default.
    """
    known = dict(leaves(json.loads(json.dumps(defaults()))))
    a = dict(leaves(given))
    b = {**{path: known[path] for path in a.keys() & known.keys()}, **dict(leaves(stored))}
    absent = "(absent)"
    return [
        f"config.{path}: {a.get(path, absent)!r}, but the run has {b.get(path, absent)!r}"
        for path in sorted(a.keys() | b.keys())
        if a.get(path, absent) != b.get(path, absent)
    ]


def comparison(config: ConfigDict) -> dict[str, ConfigDict]:
    """Returns the config of each row of a comparison by the row's name; empty for a single run.

    Raises:
        UserError: naming the row and the field that is wrong.
    """
    rows = {}
    for name, changes in config.compare.to_dict().items():
        if not isinstance(changes, Mapping):
            raise UserError(f"config.compare.{name} is {shown(changes)}; it must be fields, as {{'objective': 'gan'}}")
        if name in ("", ".", "..") or "/" in name or not name.isprintable():
            raise UserError(f"config.compare has a row {name!r}; a row is a folder, and its name must be that of one")
        row = config.copy_and_resolve_references()
        with row.unlocked():
            row.compare = ConfigDict()
        try:
            row.update_from_flattened_dict(dict(typed_leaves(changes, row.to_dict())))
        except UserError as error:
            raise UserError(f"config.compare.{name}.{str(error).removeprefix('config.')}") from error
        rows[name] = row
    return rows
