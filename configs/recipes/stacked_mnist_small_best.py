"""The recipe of stacked MNIST for two CPU cores: half the batch and a sixth of the steps.

    python -m veegan_jax.main --config configs/recipes/stacked_mnist_small_best.py

Not measured to the end. Two cores take about 3 steps a second, and so an hour.
"""

from ml_collections import ConfigDict

from configs.recipes import stacked_mnist_best


def get_config() -> ConfigDict:
    c = stacked_mnist_best.get_config()
    c.batch_size = 64
    c.ema_half_life = 64_000.0
    c.num_steps = 10_000
    c.eval_every = c.save_every = 2_500
    return c
