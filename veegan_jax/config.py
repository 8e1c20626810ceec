"""The configuration: every field with its comment and default, and the checks that need no device."""

import difflib
import inspect
import json
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from veegan_jax.data import SOURCES
from veegan_jax.errors import UserError
from veegan_jax.models import MODELS
from veegan_jax.objectives import OBJECTIVES
from veegan_jax.objectives.penalty import penalty
from veegan_jax.optim import adam

# The field that chooses an entry of each registry. An entry's own options are a section by the entry's name.
REGISTRIES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "objective": OBJECTIVES,
    "data": SOURCES,
    "model": MODELS,
}
# The allowed values of a few fields of the base configuration.
CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "parallel": ("pmap", "shard_map"),
    "seed_mapping": ("auto", "map", "vmap"),
    "update_order": ("simultaneous", "alternating"),
}
# The smallest allowed values.
MINIMA = {
    "seed": 0,
    "num_seeds": 1,
    "num_steps": 1,
    "batch_size": 1,
    "disc_updates": 1,
    "gen_updates": 1,
    "unroll": 0,
    "packing": 1,
    "latent_dim": 1,
    "noise_dim": 0,
    "ema_half_life": 0.0,
    "devices": 0,
    "logical_shards": 0,
    "steps_per_call": 1,
    "log_every": 1,
    "eval_every": 1,
    "eval_samples": 0,
    "ivom_images": 0,
    "save_every": 1,
    "keep_latest": 1,
    "keep_best": 0,
}
MAX_SEED = 2**32 - 1
# Of every other integer: steps are counted in 32 bits.
MAX_INT = 2**31 - 1
# What a field of each type takes, as errors say it.
KINDS = {
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    str: "a text",
    tuple: "a tuple of integers",
}


def base_config() -> ConfigDict:
    """The defaults, which every file in `configs/` starts from. Locked: a misspelt field is an error."""
    c = ConfigDict()
    _method(c)
    _run(c)
    for registry in REGISTRIES.values():
        for name, entry in registry.items():
            c[name] = ConfigDict(options(entry))
    return c.lock()


def _method(c: ConfigDict) -> None:
    """The fields that say what is learned, from what, by what."""
    # What to train. Options of each are in the section of that name: `c.veegan`, `c.ring`, `c.mlp`, …
    c.objective = "veegan"
    c.data = "ring"
    c.model = "mlp"
    # Dimensions of the latent z, and of the generator's own noise ε (0 for none).
    c.latent_dim = 64
    c.noise_dim = 0
    # How many examples of one class the discriminator judges at once (PacGAN); 1 is the usual GAN.
    c.packing = 1
    # Whether every kernel of the discriminator is divided by its largest singular value (spectral normalisation).
    c.spectral_norm = False
    # Gradient penalties of the discriminator: r1, r2 (0 for none), and their schedule.
    c.penalty = ConfigDict(options(penalty))
    # How many updates of the discriminator the generator's loss looks ahead (unrolled GAN; the paper's has 5).
    c.unroll = 0
    # Updates per step of the discriminator and of the generator: all from one point ('simultaneous', the paper's), or
    # the discriminator's and then the generator's ('alternating').
    c.update_order = "simultaneous"
    c.disc_updates = 1
    c.gen_updates = 1
    # Adam for each player: learning_rate, b1, b2, eps, schedule.
    c.optim = ConfigDict({"gen": options(adam), "disc": options(adam)})
    # Half-life, in examples, of the moving average of the generator's (and reconstructor's) parameters; 0 for none.
    c.ema_half_life = 0.0
    # What networks compute in, 'float32' or 'bfloat16'; parameters are always float32.
    c.dtype = "float32"


def _run(c: ConfigDict) -> None:
    """The fields that say how much, where, and what is kept of it."""
    # The replica's seed. With num_seeds = n, seeds seed, seed + 1, … are trained at once and metrics are mean ± s.e.
    c.seed = 0
    c.num_seeds = 1
    # How replicas run: 'map' one after another, 'vmap' batched, 'auto' by platform (map on CPUs).
    c.seed_mapping = "auto"
    # Over how many devices the batch is split (0: all), and how: 'pmap' or 'shard_map'.
    c.devices = 0
    c.parallel = "pmap"
    # Of how many logical shards a batch is made: 0 for one a device, which is the fastest; a number, as 8, for the same
    # bits on any number of devices and hosts that divides it.
    c.logical_shards = 0
    # Whether GPUs are kept from whatever changes bits from one run to the next, which costs speed; CPUs and TPUs have
    # nothing of the kind.
    c.deterministic = False

    # Steps, and examples per step over all devices.
    c.num_steps = 10_000
    c.batch_size = 128

    # Steps compiled into one call; the host looks at the run between calls.
    c.steps_per_call = 50
    # How often, in steps, to print and write losses, to measure and draw, and to save.
    c.log_every = 500
    c.eval_every = 2_000
    c.save_every = 2_000
    # Samples per measurement; 0 for as many as the data set's published protocol has.
    c.eval_samples = 0
    # IvOM, at the end of a run: of how many training images, and as many held-out ones, the nearest that the generator
    # makes is looked for by optimisation; 0 for none. The paper's second author has 64.
    c.ivom_images = 0
    # Checkpoints to keep: the latest so many, and the best so many by a metric that is measured (see the table); empty
    # for the reverse KL, or where there is none NDB, the share of bins filled otherwise than by real data.
    c.keep_latest = 2
    c.keep_best = 1
    c.best_metric = ""
    # A comparison: the rows of one table, each a run with the fields in which it departs from this config, as
    # {"pacgan": {"objective": "gan", "packing": 2}}; empty for a single run.
    c.compare = ConfigDict()


def options(entry: Callable[..., Any]) -> dict[str, Any]:
    """The options of a registry's entry: its keyword arguments that have defaults."""
    parameters = inspect.signature(entry).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


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


def suggestion(given: str, valid: typing.Iterable[str]) -> str:
    """'did you mean …?' where something is close, and always what is valid."""
    listed = sorted(map(str, valid))
    near = difflib.get_close_matches(given, listed, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"valid: {', '.join(listed)}"


def effective(config: ConfigDict) -> dict[str, Any]:
    """The fields that this run depends on, as plain JSON: the sections of entries not chosen are left out."""
    chosen = {config[field] for field in REGISTRIES}
    unused = {"compare", *(name for registry in REGISTRIES.values() for name in registry)} - chosen
    plain: dict[str, Any] = json.loads(config.to_json())
    return {name: value for name, value in plain.items() if name not in unused}


def from_effective(plain: Mapping[str, Any]) -> ConfigDict:
    """The config whose `effective` this is; fields that are left out have their defaults.

    Raises:
        UserError: naming a field that this version does not know, or a value of another type.
    """
    config = base_config()
    for path, value in _fields(plain, config):
        section, _, name = path.rpartition(".")
        _section(config, section)[name] = value
    return config


def from_json(file: Path) -> ConfigDict:
    """The config in a JSON file: some or all fields, as a run's `config.json` has them.

    Raises:
        UserError: naming the file, and the field that is wrong.
    """
    try:
        return from_effective(read_json(file))
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

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
        raise UserError(f"it holds {_shown(plain)}; it must be an object of fields, as " + '{"batch_size": 128}')
    return plain


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


def differences(given: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """One line for each field in which two effective configs differ."""
    a, b = dict(_leaves(given)), dict(_leaves(stored))
    absent = "(absent)"
    return [
        f"config.{path}: {a.get(path, absent)!r}, but the run has {b.get(path, absent)!r}"
        for path in sorted(a.keys() | b.keys())
        if a.get(path, absent) != b.get(path, absent)
    ]


def nearest(path: str) -> str:
    """What a field may have been meant by a path that names none: fields of the innermost section that there is."""
    known = field_names(base_config())
    *sections, name = path.split(".")
    while sections and not any(field.startswith(".".join(sections) + ".") for field in known):
        name = sections.pop()
    prefix = "".join(f"{section}." for section in sections)
    inside = [field for field in known if field.startswith(prefix) and "." not in field[len(prefix) :]]
    return suggestion(prefix + name, inside)


def field_names(config: ConfigDict) -> list[str]:
    """The paths of all fields and sections, as `batch_size`, `optim.gen.b1`, `veegan`."""
    leaves = [path for path, _ in _leaves(config.to_dict())]
    sections = {path[:i] for path in leaves for i, letter in enumerate(path) if letter == "."}
    return sorted({*leaves, *sections})


def _section(config: ConfigDict, path: str) -> ConfigDict:
    for name in path.split(".") if path else []:
        config = config[name]
    return config


def comparison(config: ConfigDict) -> dict[str, ConfigDict]:
    """The config of each row of a comparison; none for a single run.

    Raises:
        UserError: naming the row and the field that is wrong.
    """
    rows = {}
    for name, changes in config.compare.to_dict().items():
        if not isinstance(changes, Mapping):
            raise UserError(f"config.compare.{name} is {_shown(changes)}; it must be fields, as {{'objective': 'gan'}}")
        if name in ("", ".", "..") or "/" in name or not name.isprintable():
            raise UserError(f"config.compare has a row {name!r}; a row is a folder, and its name must be that of one")
        row = config.copy_and_resolve_references()
        with row.unlocked():
            row.compare = ConfigDict()
        try:
            for path, value in _fields(changes, row):
                section, _, field = path.rpartition(".")
                _section(row, section)[field] = value
        except UserError as error:
            raise UserError(f"config.compare.{name}.{str(error).removeprefix('config.')}") from error
        rows[name] = row
    return rows


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
