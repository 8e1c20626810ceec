"""VEEGAN, and the GANs it is compared with, in JAX.

>>> import veegan_jax
>>> run = veegan_jax.load("runs/ring")
>>> samples = run.sample(1000, seed=0)
>>> print(veegan_jax.score(samples, "ring").table)
"""

import importlib
from typing import TYPE_CHECKING, Any

from veegan_jax.errors import UserError
from veegan_jax.version import __version__

if TYPE_CHECKING:
    from veegan_jax.evaluation.score import score
    from veegan_jax.evaluation.trained import Run, load

__all__ = ["Run", "UserError", "__version__", "load", "score"]
# Where what needs JAX is defined.
_MODULES = {
    "Run": "veegan_jax.evaluation.trained",
    "load": "veegan_jax.evaluation.trained",
    "score": "veegan_jax.evaluation.score",
}


def __getattr__(name: str) -> Any:
    """Imports JAX when something needs it, so that the command line can say what is wrong with JAX's environment."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
