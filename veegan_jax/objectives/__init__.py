"""Methods, one file each. An entry is a function of the nets to an `Objective`; its defaults are its options."""

from veegan_jax.objectives.gan import gan
from veegan_jax.objectives.veegan import veegan

OBJECTIVES = {"gan": gan, "veegan": veegan}
