"""The generative adversarial network (Goodfellow et al., NIPS 2014)."""

from collections.abc import Mapping
from typing import Literal

import jax

from veegan_jax.losses import adversarial
from veegan_jax.models.network import Network
from veegan_jax.objectives.base import Noise, Objective, Params, Scalars, standard_normals


def gan(
    nets: Mapping[str, Network],
    *,
    shape: tuple[int, ...],
    latent_dim: int,
    noise_dim: int,
    generator_loss: Literal["nonsaturating", "minimax", "kl"] = "nonsaturating",
) -> Objective:
    """A discriminator on x alone, and no reconstructor. Generated samples are class 1, as everywhere here.

        disc:  −E[log σ(D(x_g))] − E[log(1 − σ(D(x)))]
        gen:   −E[log(1 − σ(D(x_g)))]   ('nonsaturating'; 'minimax' is E[log σ(D(x_g))], the paper's equation 1)

    Args:
        nets: `gen(z, ε) → x` and `disc(x) → D`.
        shape: of one data example.
        latent_dim: K.
        noise_dim: dimensions of additional generator noise ε; 0 for none.
        generator_loss: what the generator minimises; 'kl' is the raw logit.
    """
    gen, disc = nets["gen"], nets["disc"]

    def noise(key: jax.Array) -> Noise:
        return standard_normals(key, z=latent_dim, eps=noise_dim)

    def generate(params: Params, noise: Noise) -> jax.Array:
        return gen.apply(params["gen"], noise["z"], noise["eps"])

    def losses(params: Params, x: jax.Array, noise: Noise) -> tuple[Scalars, Scalars]:
        generated = disc.apply(params["disc"], generate(params, noise))
        real = disc.apply(params["disc"], x)
        gen_loss = adversarial.GENERATOR_LOSSES[generator_loss](generated)
        return {"disc": adversarial.logistic(generated, real), "gen": gen_loss}, {}

    return Objective(
        players={"disc": ("disc",), "gen": ("gen",)},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "disc": (shape,)},
        noise=noise,
        losses=losses,
        generate=generate,
        encode=None,
    )
