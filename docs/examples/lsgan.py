"""An objective: least-squares GAN (Mao et al., ICCV 2017). It would be veegan_jax/objectives/lsgan.py."""

import jax
import jax.numpy as jnp

from veegan_jax.objectives.base import Batch, NetsAndDims, Noise, Objective, Params, Scalars, standard_normals


def lsgan(
    parts: NetsAndDims,
    *,
    margin: float = 1.0,
) -> Objective:
    """A discriminator that regresses: generated samples to +margin, real ones to −margin, and the generator to 0.

        disc:  ½ E[(D(x_g) − m)²] + ½ E[(D(x) + m)²]
        gen:   ½ E[D(x_g)²]

    Args:
        parts: nets `gen(z, ε) → x` and `disc(x) → D`, dimensions, and the penalty, which this method has none of.
        margin: m. A keyword with a default is an option: `config.lsgan.margin`.

    Raises:
        ValueError: if an option is out of range; its message begins with the option's name.
    """
    if margin <= 0:
        raise ValueError(f"margin is {margin}; it must be more than 0")

    nets, shape, latent_dim, noise_dim, _ = parts

    def noise(key: jax.Array) -> Noise:
        return standard_normals(key, z=latent_dim, eps=noise_dim)

    def generate(params: Params, noise: Noise) -> jax.Array:
        return nets.gen.apply(params["gen"], noise["z"], noise["eps"])

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        generated = nets.disc.apply(params["disc"], generate(params, batch.noise))
        real = nets.disc.apply(params["disc"], batch.x)
        disc = 0.5 * jnp.mean((generated - margin) ** 2) + 0.5 * jnp.mean((real + margin) ** 2)
        return {"disc": disc, "gen": 0.5 * jnp.mean(generated**2)}, {}

    inputs = {"gen": ((latent_dim,), (noise_dim,)), "disc": (shape,)}
    players = {"disc": ("disc",), "gen": ("gen",)}
    return Objective({"gen": nets.gen, "disc": nets.disc}, inputs, players, noise, losses, generate, encode=None)
