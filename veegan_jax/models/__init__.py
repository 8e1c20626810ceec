"""Architectures, one file each. An entry is a function to `{'gen', 'rec', 'disc'}`; its defaults are its options."""

from collections.abc import Callable

from veegan_jax.models.mlp import mlp
from veegan_jax.models.network import Network

MODELS: dict[str, Callable[..., dict[str, Network]]] = {"mlp": mlp}
