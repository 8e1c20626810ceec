"""A method: the least-squares GAN (Mao et al., ICCV 2017). Its place would be veegan_jax/objectives/lsgan.py."""

from functools import partial

import jax.numpy as jnp

from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars, standard_normals


def lsgan(
    parts: NetsAndDims,
    *,
    margin: float = 1.0,
) -> Objective:
    """A discriminator that regresses: generated examples to m, real ones to −m; the generator aims at 0.

        disc:  ½ E[(D(x_g) − m)²] + ½ E[(D(x) + m)²]
        gen:   ½ E[D(x_g)²]

    Args:
        parts: The nets `gen(z, ε) → x` and `disc(x) → D`, and the dimensions. This method ignores the penalty.
        margin: The value m to which the discriminator regresses: `config.lsgan.margin`.

    Raises:
        ValueError: If the margin is not positive. The message begins with the option's name.
    """
    if margin <= 0:
        raise ValueError(f"margin is {margin}; it must be more than 0")
    nets, shape, latent_dim, noise_dim, _ = parts
    gen, disc = nets.gen, nets.disc

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x_g = gen.apply(params["gen"], batch.noise["z"], batch.noise["eps"])
        generated = disc.apply(params["disc"], x_g)
        real = disc.apply(params["disc"], batch.x)
        disc_loss = 0.5 * jnp.mean((generated - margin) ** 2) + 0.5 * jnp.mean((real + margin) ** 2)
        return {"disc": disc_loss, "gen": 0.5 * jnp.mean(generated**2)}, {}

    return Objective(
        nets={"gen": gen, "disc": disc},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "disc": (shape,)},
        players={"disc": ("disc",), "gen": ("gen",)},
        noise=partial(standard_normals, z=latent_dim, eps=noise_dim),
        losses=losses,
        encode=None,
    )
