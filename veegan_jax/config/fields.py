"""The configuration: every field with its comment and default."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from veegan_jax.data import SOURCES
from veegan_jax.models import MODELS
from veegan_jax.objectives import OBJECTIVES
from veegan_jax.objectives.optimizer import adam
from veegan_jax.objectives.penalty import penalty

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


def field_names(config: ConfigDict) -> list[str]:
    """The paths of all fields and sections, as `batch_size`, `optim.gen.b1`, `veegan`."""
    leaves = [path for path, _ in _leaves(config.to_dict())]
    sections = {path[:i] for path in leaves for i, letter in enumerate(path) if letter == "."}
    return sorted({*leaves, *sections})


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
