"""The fields of the configuration: one table, to which each registry's entry adds a section of its options."""

import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from ml_collections import ConfigDict

from veegan_jax.data import SOURCES
from veegan_jax.models import MODELS
from veegan_jax.objectives import OBJECTIVES
from veegan_jax.objectives.optimizer import adam
from veegan_jax.objectives.penalty import penalty
from veegan_jax.objectives.whitened import whiten


class Field(NamedTuple):
    """One field of the configuration.

    Attributes:
        default: the value of a config that does not change the field; its type is the field's type.
        doc: what the field does, as `docs/config.md` and `--help_config` say it.
        minimum: the smallest allowed value; None for a field that has none.
        choices: the allowed values; empty for a field of any value.
    """

    default: Any
    doc: str
    minimum: float | None = None
    choices: Collection[Any] = ()


# The field that chooses an entry of each registry. The options of an entry are the section of the entry's name.
REGISTRIES: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "objective": OBJECTIVES,
    "data": SOURCES,
    "model": MODELS,
}

# The fields that are in no section, in groups. (The choices of a registry's field are the registry itself, so that an
# entry that is added later is valid.)
GROUPS: Mapping[str, Mapping[str, Field]] = {
    "What is learned": {
        "objective": Field(
            "veegan", "The method; the options of each are the section of its name.", choices=OBJECTIVES
        ),
        "data": Field("ring", "The source of data; the options of each are the section of its name.", choices=SOURCES),
        "model": Field("mlp", "The architecture; the options of each are the section of its name.", choices=MODELS),
        "plugins": Field(
            "",
            "The modules that add methods, data, architectures, metrics and writers, joined by commas; `--plugin` sets "
            "it.",
        ),
        "latent_dim": Field(64, "The number of dimensions K of the latent z.", minimum=1),
        "noise_dim": Field(0, "The number of dimensions of the generator's own noise ε; 0 for none.", minimum=0),
        "packing": Field(
            1,
            "The number of examples of one class that the discriminator judges together (PacGAN); 1 is the usual GAN.",
            minimum=1,
        ),
        "spectral_norm": Field(
            False,
            "Whether every kernel of the discriminator is divided by its largest singular value (spectral "
            "normalisation).",
        ),
        "dtype": Field(
            "float32",
            "The type in which networks compute; parameters are always float32.",
            choices=("float32", "bfloat16"),
        ),
    },
    "How networks are updated": {
        "update_order": Field(
            "simultaneous",
            "'simultaneous' takes the gradients of both players at one point and then updates both, as the paper's "
            "Algorithm 1; 'alternating' updates the discriminator before it takes the generator's gradient.",
            choices=("simultaneous", "alternating"),
        ),
        "disc_updates": Field(1, "The number of updates of the discriminator in a step.", minimum=1),
        "gen_updates": Field(1, "The number of updates of the generator in a step.", minimum=1),
        "unroll": Field(
            0,
            "The number of updates of the discriminator that the generator's loss looks ahead (unrolled GAN, whose "
            "paper has 5); 0 for none.",
            minimum=0,
        ),
        "ema_half_life": Field(
            0.0,
            "The half-life, in examples, of the moving average of the generator's and the reconstructor's parameters; "
            "0 for none.",
            minimum=0.0,
        ),
    },
    "How long": {
        "num_steps": Field(10_000, "The number of steps of the run.", minimum=1),
        "batch_size": Field(128, "The number of examples in a step, over all devices.", minimum=1),
    },
    "Seeds": {
        "seed": Field(0, "The seed of everything random in the run.", minimum=0),
        "num_seeds": Field(
            1,
            "The number of replicas, which are trained at once from the seeds `seed`, `seed` + 1, …; scores are then "
            "mean ± standard error.",
            minimum=1,
        ),
        "seed_mapping": Field(
            "auto",
            "How replicas are computed: 'side_by_side' each by a program of its own, several at once on the cores of a "
            "CPU or on several devices, with each replica's whole batch on one device; 'map' one after another; 'vmap' "
            "batched, with bits that depend on the number of devices. 'auto' is 'side_by_side' on one CPU device, "
            "'map' on several and with logical shards, and else 'vmap'.",
            choices=("auto", "side_by_side", "map", "vmap"),
        ),
    },
    "Where it runs": {
        "devices": Field(
            0,
            "The number of devices over which the batch is split, or replicas are spread if they are computed "
            "'side_by_side'; 0 for all.",
            minimum=0,
        ),
        "parallel": Field(
            "pmap",
            "The transformation that splits the batch over devices; results are the same.",
            choices=("pmap", "shard_map"),
        ),
        "logical_shards": Field(
            0,
            "The number of logical shards that make a batch. 0 means one for each device, which is the fastest; "
            "another number, as 8, gives the same bits on any number of devices and hosts that divides it.",
            minimum=0,
        ),
        "deterministic": Field(
            False,
            "Whether GPUs are kept to kernels that give the same bits in every run, which costs speed; CPUs and TPUs "
            "have no others.",
        ),
        "steps_per_call": Field(
            50, "The number of steps in one compiled call; the host sees the run between calls.", minimum=1
        ),
    },
    "What is measured and kept": {
        "log_every": Field(500, "The number of steps from one row of losses to the next.", minimum=1),
        "eval_every": Field(2_000, "The number of steps from one measurement and picture to the next.", minimum=1),
        "eval_samples": Field(
            0,
            "The number of samples in a measurement, and of real examples in the row of real data, so that it cannot "
            "be above the number of images held out; 0 for that of the data set's published protocol.",
            minimum=0,
        ),
        "ivom_images": Field(
            0,
            "The number of training images, and of held-out ones, whose nearest image of the generator is found by "
            "optimisation at the end of a run (IvOM); 0 for none. The paper's second author has 64.",
            minimum=0,
        ),
        "save_every": Field(2_000, "The number of steps from one checkpoint to the next.", minimum=1),
        "keep_latest": Field(2, "The number of latest checkpoints that are kept.", minimum=1),
        "keep_best": Field(
            1, "The number of best checkpoints, by `best_metric`, that are kept beside the latest.", minimum=0
        ),
        "best_metric": Field(
            "",
            "The score by which a checkpoint is the best, one of those that the data have. Empty for the "
            "(K+1)-bin KL of mixtures (`bin_kl`), the reverse KL of other modes and classes (`kl`), and the smaller of "
            "clipped density and clipped coverage of images without labels (`fidelity_diversity`).",
        ),
    },
    "What is written": {
        "writers": Field(
            "tensorboard",
            "The writers of scalars and pictures beside `metrics.jsonl`, joined by commas: 'tensorboard', 'csv' (the "
            "rows as `metrics.csv`), 'wandb' (Weights & Biases), and those of plug-ins; empty for none. A run may be "
            "resumed with others.",
        ),
    },
    "Comparison": {
        "compare": Field(
            {},
            "The rows of a table, each a run with the fields in which it differs from this config, as "
            "`{'pacgan': {'objective': 'gan', 'packing': 2}}`; empty for a single run.",
        ),
    },
}

# The sections that every run uses, and the functions whose options they are.
SHARED_SECTIONS: Mapping[str, Callable[..., Any]] = {
    "optim.gen": adam,
    "optim.disc": adam,
    "penalty": penalty,
    "whiten": whiten,
}

MAX_SEED = 2**32 - 1

# The largest value of every other integer, since steps are counted in 32 bits.
MAX_INT = 2**31 - 1

# What a field of each type takes, in the words of errors and of the documentation.
KINDS = {
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    str: "a text",
    tuple: "a tuple of integers",
    dict: "one section for each row",
}


def base_config() -> ConfigDict:
    """Returns the defaults, from which each file in `configs/` starts; locked, so that a misspelt field is an error."""
    return ConfigDict(defaults()).lock()


def defaults() -> dict[str, Any]:
    """Returns the default of every field, as a tree of dicts."""
    tree = {name: field.default for name, field in _top_fields().items()}
    for path, entry in sections().items():
        outer, _, name = path.rpartition(".")
        inside = tree.setdefault(outer, {}) if outer else tree
        inside[name] = {option: field.default for option, field in options(entry).items()}
    return tree


def all_fields() -> dict[str, Field]:
    """Returns every field by its path, as `batch_size` and `optim.gen.b1`."""
    inner = {
        f"{section}.{name}": field for section, entry in sections().items() for name, field in options(entry).items()
    }
    return {**_top_fields(), **inner}


def _top_fields() -> dict[str, Field]:
    return {name: field for group in GROUPS.values() for name, field in group.items()}


def sections() -> dict[str, Callable[..., Any]]:
    """Returns every section by its path, as the function whose options are the section's fields."""
    entries = {name: entry for registry in REGISTRIES.values() for name, entry in registry.items()}
    return {**SHARED_SECTIONS, **entries}


@functools.cache
def options(entry: Callable[..., Any]) -> Mapping[str, Field]:
    """Returns the options of a function by name: its keyword-only arguments that have defaults."""
    docs = _argument_docs(entry)
    return {
        p.name: Field(
            default=p.default,
            doc=docs.get(p.name, ""),
            choices=typing.get_args(p.annotation) if typing.get_origin(p.annotation) is Literal else (),
        )
        for p in inspect.signature(entry, eval_str=True).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }


def _argument_docs(function: Callable[..., Any]) -> dict[str, str]:
    """Returns what the section `Args:` of a docstring says of each argument, as one line."""
    _, _, after = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    section = re.split(r"^\S", after, maxsplit=1, flags=re.MULTILINE)[0]
    _, *parts = re.split(r"^ {4}(\w+): ", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def field_names(config: ConfigDict | Mapping[str, Any]) -> list[str]:
    """Returns the paths of all fields and sections of a config, as `batch_size`, `optim.gen.b1`, `veegan`."""
    names = set(config)
    for name, value in config.items():
        if isinstance(value, ConfigDict | Mapping):
            names |= {f"{name}.{inner}" for inner in field_names(value)}
    return sorted(names)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the path and the value of every leaf of a tree of dicts."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
