"""What the methods share whose discriminator judges pairs (z, x): VEEGAN, ALI and BiGAN."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from veegan_jax.objectives.base import Batch, NetsAndDims, Noise, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import Verdict, make_critic

# Bounds of what F tells of log σ: data far from unit scale would otherwise overflow exp before the nets have adapted.
LOG_STD_RANGE = (-10.0, 10.0)


class Pairs(NamedTuple):
    """Both kinds of pairs, and what the critic says of them.

    Attributes:
        z: latents of the prior, `[B, K]`.
        x_g: what the generator makes of them, `[B, …]`.
        z_g: a draw from p(z|x) of data x, `[B, K]`.
        verdict: on (z, x_g), generated, against (z_g, x), real.
    """

    z: jax.Array
    x_g: jax.Array
    z_g: jax.Array
    verdict: Verdict


Posterior = Callable[[Params, jax.Array], tuple[jax.Array, jax.Array | float]]


def joint_objective(
    parts: NetsAndDims,
    combine: Callable[[Params, Batch, Pairs, Posterior], tuple[jax.Array, Scalars]],
    *,
    adversarial_loss: str,
    reconstructor_std: float,
    learned_std: bool,
    x_critic: float,
) -> Objective:
    """An objective with a joint critic, whose generator and reconstructor are one player.

    Args:
        parts: nets `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z, x) → D`, dimensions, and the penalty.
        combine: `combine(params, batch, pairs, posterior) -> (loss of generator and reconstructor, metrics)`.
        adversarial_loss: the loss family.
        reconstructor_std: σ of p(z|x) = N(F(x), σ²I).
        learned_std: whether F tells σ as well, as a factor exp(s(x)) per latent on `reconstructor_std`, with s(x)
            clipped to ±10.
        x_critic: the weight of a second critic, of x alone; 0 for none.

    Raises:
        ValueError: if a number is out of range.
    """
    if reconstructor_std < 0:
        raise ValueError(f"reconstructor_std is {reconstructor_std}; it is a standard deviation, so 0 or more")
    if learned_std and reconstructor_std == 0:
        raise ValueError("learned_std is True; then reconstructor_std, which it scales, must be more than 0")
    nets, shape, latent_dim, noise_dim, penalty = parts
    gen, rec = nets.gen, nets.rec(latent_dim * (2 if learned_std else 1))
    critic = make_critic(nets.disc, ((latent_dim,), shape), adversarial_loss, penalty, x_critic)

    def noise(key: jax.Array) -> Noise:
        return standard_normals(key, z=latent_dim, eps=noise_dim, xi=latent_dim)

    def generate(params: Params, noise: Noise) -> jax.Array:
        return gen.apply(params["gen"], noise["z"], noise["eps"])

    def posterior(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array | float]:
        told = rec.apply(params["rec"], x)
        factor = jnp.exp(jnp.clip(told[:, latent_dim:], *LOG_STD_RANGE)) if learned_std else 1.0
        return told[:, :latent_dim], reconstructor_std * factor

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        z, x_g = batch.noise["z"], generate(params, batch.noise)
        mean, std = posterior(params, batch.x)
        z_g = mean + std * batch.noise["xi"]
        verdict = critic.judge(params, (z, x_g), (z_g, batch.x), batch.step)
        loss, metrics = combine(params, batch, Pairs(z, x_g, z_g, verdict), posterior)
        return {"disc": verdict.disc, "gen": loss}, metrics

    return Objective(
        nets={"gen": gen, "rec": rec, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=noise,
        losses=losses,
        generate=generate,
        encode=lambda params, x: posterior(params, x)[0],
    )
