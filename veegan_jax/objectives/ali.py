"""Adversarially learned inference (ALI; Dumoulin et al., ICLR 2017)."""

from functools import partial

from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import Critic
from veegan_jax.objectives.reconstructor import gaussian_reconstructor


def ali(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    reconstructor_std: float = 1.0,
    learned_std: bool = True,
    x_critic: float = 0.0,
) -> Objective:
    """ALI: a discriminator that sees pairs (z, x), and a generator and a stochastic encoder that both try to fool it.

    With x_g = G(z, ε) and z_g = F(x) + σ(x)·ξ, where z, ε and ξ are standard normal, and pairs (z, x_g) in class 1:

        disc:      −E[log σ(D(z, x_g))] − E[log(1 − σ(D(z_g, x)))]      (equation 2)
        gen, rec:  −E[log(1 − σ(D(z, x_g)))] − E[log σ(D(z_g, x))]      (section 2, with the labels swapped)

    Args:
        parts: The nets `gen(z, ε) → x`, `rec(x) → F(x)` and `disc(z, x) → D`, the dimensions, and the penalty.
        adversarial_loss: The loss family. 'nonsaturating' swaps the labels, as the paper does in practice; with
            'minimax' the generator and encoder minimise the negative of the discriminator's loss (equation 2).
        reconstructor_std: The standard deviation σ of p(z|x), or where σ is learned, its value before training, about.
        learned_std: Whether the encoder also learns σ, for each latent dimension, as a factor on `reconstructor_std`.
        x_critic: The weight, in the generator's loss, of a second discriminator that sees x alone; 0 for none.

    Raises:
        ValueError: If a weight or a standard deviation is out of range.
    """
    nets, shape, latent_dim, noise_dim, penalty = parts
    gen = nets.gen
    rec, posterior = gaussian_reconstructor(nets.rec, latent_dim, reconstructor_std, learned_std)
    critic = Critic(nets.disc, ((latent_dim,), shape), adversarial_loss, penalty, x_critic)

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x, z, eps, xi = batch.x, batch.noise["z"], batch.noise["eps"], batch.noise["xi"]

        # A generated pair (z, x_g) is a latent of the prior, and what the generator makes of it.
        x_g = gen.apply(params["gen"], z, eps)

        # A real pair (z_g, x) is an example of the data, and a draw from the encoder's p(z|x).
        mean, std = posterior(params["rec"], x)
        z_g = mean + std * xi

        # The generator wants (z, x_g) to pass for real, and the encoder wants (z_g, x) to pass for generated: their
        # loss is the discriminator's with the labels swapped.
        adversarial = critic.losses(params, generated=(z, x_g), real=(z_g, x), step=batch.step)
        return {"disc": adversarial.disc, "gen": adversarial.swapped}, {}

    return Objective(
        nets={"gen": gen, "rec": rec, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=partial(standard_normals, z=latent_dim, eps=noise_dim, xi=latent_dim),
        losses=losses,
        encode=lambda params, x: posterior(params["rec"], x)[0],
    )
