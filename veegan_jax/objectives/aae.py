"""The adversarial autoencoder (Makhzani et al., 2015)."""

import jax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Noise, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import make_critic


def aae(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    reconstruction_weight: float = 1.0,
) -> Objective:
    """An autoencoder in data space whose latents a discriminator pulls towards the prior (sections 2 and 2.1).

    Here the *encoder* generates: F(x) is class 1, and z ~ N(0, I) is real. With x' = G(F(x), ε):

        disc:      −E[log σ(D(F(x)))] − E[log(1 − σ(D(z)))]
        gen, rec:  λ·E[½‖x − x'‖²] − E[log(1 − σ(D(F(x))))]

    The discriminator never sees x, so nothing but the fit of F(x) to the prior makes G(z) look like data: a latent with
    more dimensions than the data have leaves the generator unconstrained where no F(x) falls.

    Args:
        parts: nets `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z) → D`, dimensions, and the penalty.
        adversarial_loss: the loss family.
        reconstruction_weight: λ; the squared error is summed over an example's dimensions.

    Raises:
        ValueError: if the weight is negative.
    """
    if reconstruction_weight < 0:
        raise ValueError(f"reconstruction_weight is {reconstruction_weight}; it must be 0 or more")
    nets, shape, latent_dim, noise_dim, penalty = parts
    gen, rec = nets.gen, nets.rec(latent_dim)
    critic = make_critic(nets.disc, ((latent_dim,),), adversarial_loss, penalty)

    def noise(key: jax.Array) -> Noise:
        return standard_normals(key, z=latent_dim, eps=noise_dim)

    def generate(params: Params, noise: Noise) -> jax.Array:
        return gen.apply(params["gen"], noise["z"], noise["eps"])

    def encode(params: Params, x: jax.Array) -> jax.Array:
        return rec.apply(params["rec"], x)

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        z_g = encode(params, batch.x)
        verdict = critic.judge(params, (z_g,), (batch.noise["z"],), batch.step)
        error = reconstruction.half_squared_error(batch.x, generate(params, {**batch.noise, "z": z_g}))
        return {"disc": verdict.disc, "gen": verdict.gen + reconstruction_weight * error}, {"data_error": error}

    return Objective(
        nets={"gen": gen, "rec": rec, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=noise,
        losses=losses,
        generate=generate,
        encode=encode,
    )
