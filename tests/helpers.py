"""Small runs that take no time, of every entry of the registries."""

import itertools
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from tests.data_files import tiny_options
from veegan_jax.config.fields import base_config
from veegan_jax.data import SOURCES
from veegan_jax.models import MODELS
from veegan_jax.objectives import OBJECTIVES

ROOT = Path(__file__).resolve().parent.parent
# VEEGAN with a contrastive loss, and the unrolled GAN, which is a wrapper, are tested as methods of their own.
METHODS = [*sorted(OBJECTIVES), "contrastive", "unrolled"]
KINDS = ("ring", "stacked_digits")
# The sources of finite sets, of which all held-out examples are measured, since few files are written for a test.
FINITE = ("celeba", "cifar10", "images", "mnist")


def slow(*values: object) -> object:
    """A row of a parametrised test that `make test-slow` runs: the same claim has faster rows in `make test`."""
    return pytest.param(*values, marks=pytest.mark.slow)


# Every method × architecture × kind of data, points and images, that goes together. The fast ones have each method
# once, and one convolutional net: the residual net, which takes longest to trace, is in the fast tests of models alone.
METHODS_AND_MODELS = [
    (o, m, d) if (o == "veegan" and m != "resnet") or (m, d) == ("mlp", "ring") else slow(o, m, d)
    for o, m, d in itertools.product(METHODS, sorted(MODELS), KINDS)
    if m == "mlp" or d != "ring"
]
# These rows, and every other source once, with 'stream' for images that are not kept on the device.
COMBINATIONS = [*METHODS_AND_MODELS, *(("veegan", "mlp", d) for d in ["stream", *sorted(SOURCES)] if d not in KINDS)]


def tiny(objective: str = "veegan", model: str = "mlp", data: str = "ring", **fields: object) -> ConfigDict:
    """A config of small nets, batches and budgets."""
    c = base_config()
    c.objective, c.model, c.data = {"contrastive": "veegan", "unrolled": "gan"}.get(objective, objective), model, data
    if objective == "contrastive":
        c.veegan.reconstruction_loss = "contrastive"
    if data == "stream":
        c.data, c.images.resident_gib = "images", 0.0
    c[c.data].update(tiny_options(c.data))
    c.images.size = 8
    c.dcgan.base_width, c.dcgan.rec_hidden, c.dcgan.disc_hidden = 2, (8,), (8,)
    c.resnet.base_width, c.resnet.rec_hidden, c.resnet.disc_hidden = 2, (8,), (8,)
    c.unroll = 2 if objective == "unrolled" else 0
    c.latent_dim, c.noise_dim = 3, 2
    c.mlp.gen_hidden = c.mlp.rec_hidden = (8, 8)
    c.mlp.disc_hidden = (8,)
    c.infogan.categories, c.infogan.continuous = 2, 1
    c.batch_size, c.num_steps, c.steps_per_call = 16, 8, 2
    c.devices = 1
    c.log_every, c.eval_every, c.save_every, c.eval_samples = 2, 4, 4, 0 if c.data in FINITE else 64
    c.ema_half_life = 64.0
    c.update(fields)
    return c
