"""VEEGAN, and the GANs it is compared with, in JAX.

>>> import veegan_jax
>>> run = veegan_jax.load("runs/ring")
>>> samples = run.sample(1000, seed=0)
"""

from veegan_jax.errors import UserError
from veegan_jax.generate import Run, load
from veegan_jax.version import __version__

__all__ = ["Run", "UserError", "__version__", "load"]
