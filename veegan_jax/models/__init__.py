"""Architectures, one file each. An entry is a function to `{'gen', 'rec', 'disc'}`; its defaults are its options."""

from veegan_jax.models.mlp import mlp

MODELS = {"mlp": mlp}
