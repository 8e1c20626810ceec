"""Methods, one file each. An entry is a function of the nets to an `Objective`; its defaults are its options."""

from collections.abc import Callable

from veegan_jax.objectives.base import Objective
from veegan_jax.objectives.gan import gan
from veegan_jax.objectives.veegan import veegan

OBJECTIVES: dict[str, Callable[..., Objective]] = {"gan": gan, "veegan": veegan}
