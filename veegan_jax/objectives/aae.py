"""The adversarial autoencoder (AAE; Makhzani et al., 2015)."""

from functools import partial

import jax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import Critic


def aae(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    reconstruction_weight: float = 1.0,
) -> Objective:
    """AAE: an autoencoder in data space, and a discriminator that pulls its latents to the prior (sections 2 and 2.1).

    Here the *encoder* generates: z_g = F(x) is class 1, and z ~ N(0, I) is real.

        disc:      −E[log σ(D(z_g))] − E[log(1 − σ(D(z)))]
        gen, rec:  λ·E[½‖x − G(z_g, ε)‖²] − E[log(1 − σ(D(z_g)))]

    The discriminator never sees x, so G(z) looks like data only as far as the latents F(x) match the prior. Where the
    latent has more dimensions than the data, no F(x) falls into most of its space, and there G is unconstrained.

    Args:
        parts: The nets `gen(z, ε) → x`, `rec(x) → F(x)` and `disc(z) → D`, the dimensions, and the penalty.
        adversarial_loss: The loss family.
        reconstruction_weight: The weight λ of the reconstruction loss, which is summed over an example's dimensions.

    Raises:
        ValueError: If the weight is negative.
    """
    if reconstruction_weight < 0:
        raise ValueError(f"reconstruction_weight is {reconstruction_weight}; it must be 0 or more")
    nets, shape, latent_dim, noise_dim, penalty = parts
    gen, rec = nets.gen, nets.rec(latent_dim)
    critic = Critic(nets.disc, ((latent_dim,),), adversarial_loss, penalty)

    def encode(params: Params, x: jax.Array) -> jax.Array:
        return rec.apply(params["rec"], x)

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x, z, eps = batch.x, batch.noise["z"], batch.noise["eps"]

        # The discriminator sees latents: those of the data are class 1, those of the prior are class 0.
        z_g = encode(params, x)
        adversarial = critic.losses(params, generated=(z_g,), real=(z,), step=batch.step)

        # The reconstruction loss is in data space: x → z_g → x again.
        error = reconstruction.half_squared_error(x, gen.apply(params["gen"], z_g, eps))
        return {"disc": adversarial.disc, "gen": adversarial.gen + reconstruction_weight * error}, {"data_error": error}

    return Objective(
        nets={"gen": gen, "rec": rec, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=partial(standard_normals, z=latent_dim, eps=noise_dim),
        losses=losses,
        encode=encode,
    )
