"""VEEGAN on stacked MNIST, 1000 modes, with DCGAN networks.

    python -m veegan_jax.main --config configs/stacked_mnist.py

Not measured: the run needs a GPU, for PacGAN's budget of 100,000 steps (50 epochs of 128,000 triples).
Paper: 150 modes, reverse KL 2.95. `--config.stacked_mnist.channels=4` has 10,000 modes. MNIST is read from
VEEGAN_DATA_DIR/mnist or TFDS.
"""

from ml_collections import ConfigDict

from veegan_jax.config import base_config


def get_config() -> ConfigDict:
    c = base_config()
    c.data = "stacked_mnist"
    c.model = "dcgan"
    c.latent_dim = 100
    c.veegan.adversarial_loss = "nonsaturating"
    c.veegan.reconstruction_weight = 0.1
    c.veegan.reconstructor_std = 0.5
    for player in ("gen", "disc"):
        c.optim[player].learning_rate = 2e-4
    c.gen_updates = 2
    c.packing = 2
    c.batch_size = 64
    c.num_steps = 100_000
    c.ema_half_life = 64_000.0
    c.eval_every = 10_000
    c.save_every = 5_000
    return c
