"""VEEGAN with the autoencoder loss in data space instead (VEEGAN, section 4, research question 4)."""

from functools import partial

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import Critic
from veegan_jax.objectives.reconstructor import gaussian_reconstructor


def veegan_data_ae(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "kl",
    reconstruction_weight: float = 1.0,
    reconstructor_std: float = 1.0,
    learned_std: bool = False,
    x_critic: float = 0.0,
) -> Objective:
    """VEEGAN, except that it reconstructs data where VEEGAN reconstructs noise: what the paper argues against.

    With x_g = G(z, ε) and z_g = F(x) + σ·ξ, where z, ε and ξ are standard normal, and pairs (z, x_g) in class 1:

        disc:      −E[log σ(D(z, x_g))] − E[log(1 − σ(D(z_g, x)))]
        gen, rec:  E[D(z, x_g)] + λ·E[½‖x − G(z_g, ε)‖²]

    Args:
        parts: The nets `gen(z, ε) → x`, `rec(x) → F(x)` and `disc(z, x) → D`, the dimensions, and the penalty.
        adversarial_loss: The loss family. 'kl' is the paper's: the generator minimises the raw logit, E[D(z, x_g)].
        reconstruction_weight: The weight λ of the reconstruction loss, which is summed over an example's dimensions.
        reconstructor_std: The standard deviation σ of p(z|x) = N(F(x), σ²I).
        learned_std: Whether the reconstructor also learns σ, for each latent dimension, as a factor on
            `reconstructor_std`.
        x_critic: The weight, in the generator's loss, of a second discriminator that sees x alone; 0 for none.

    Raises:
        ValueError: If a weight or a standard deviation is out of range.
    """
    if reconstruction_weight < 0:
        raise ValueError(f"reconstruction_weight is {reconstruction_weight}; it must be 0 or more")
    nets, shape, latent_dim, noise_dim, penalty = parts
    gen = nets.gen
    rec, posterior = gaussian_reconstructor(nets.rec, latent_dim, reconstructor_std, learned_std)
    critic = Critic(nets.disc, ((latent_dim,), shape), adversarial_loss, penalty, x_critic)

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x, z, eps, xi = batch.x, batch.noise["z"], batch.noise["eps"], batch.noise["xi"]

        # Generated pairs (z, x_g), real pairs (z_g, x), and the adversarial losses are those of VEEGAN.
        x_g = gen.apply(params["gen"], z, eps)
        mean, std = posterior(params["rec"], x)
        z_g = mean + std * xi
        adversarial = critic.losses(params, generated=(z, x_g), real=(z_g, x), step=batch.step)

        # The reconstruction loss is in data space: x → z_g → x again.
        error = reconstruction.half_squared_error(x, gen.apply(params["gen"], z_g, eps))
        return {"disc": adversarial.disc, "gen": adversarial.gen + reconstruction_weight * error}, {"data_error": error}

    return Objective(
        nets={"gen": gen, "rec": rec, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=partial(standard_normals, z=latent_dim, eps=noise_dim, xi=latent_dim),
        losses=losses,
        encode=lambda params, x: posterior(params["rec"], x)[0],
    )
