"""Sources of data, one file each. An entry is a function to a `Source`; its defaults are its options."""

from veegan_jax.data.mixtures import grid, ring, synthetic1200
from veegan_jax.data.stacked_digits import stacked_digits

SOURCES = {"grid": grid, "ring": ring, "stacked_digits": stacked_digits, "synthetic1200": synthetic1200}
