"""The methods, one file each. An entry is a function from `NetsAndDims` to an `Objective`; its keywords are options."""

from collections.abc import Callable

from veegan_jax.objectives.aae import aae
from veegan_jax.objectives.ali import ali
from veegan_jax.objectives.base import Objective
from veegan_jax.objectives.bigan import bigan
from veegan_jax.objectives.gan import gan
from veegan_jax.objectives.infogan import infogan
from veegan_jax.objectives.veegan import veegan
from veegan_jax.objectives.veegan_data_ae import veegan_data_ae

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "aae": aae,
    "ali": ali,
    "bigan": bigan,
    "gan": gan,
    "infogan": infogan,
    "veegan": veegan,
    "veegan_data_ae": veegan_data_ae,
}
