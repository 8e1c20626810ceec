"""The architectures, one file each. An entry is a function to `Nets`; its keywords with defaults are options."""

from collections.abc import Callable

from veegan_jax.models.dcgan import dcgan
from veegan_jax.models.mlp import mlp
from veegan_jax.models.network import Nets
from veegan_jax.models.resnet import resnet

MODELS: dict[str, Callable[..., Nets]] = {"dcgan": dcgan, "mlp": mlp, "resnet": resnet}
