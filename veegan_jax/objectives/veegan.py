"""VEEGAN (Srivastava, Valkov, Russell, Gutmann, Sutton, NIPS 2017), Algorithm 1."""

from functools import partial
from typing import Literal

import jax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.contrast import Contrast
from veegan_jax.objectives.critic import Critic
from veegan_jax.objectives.reconstructor import gaussian_reconstructor


def veegan(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "kl",
    reconstruction_loss: Literal["gaussian", "contrastive", "none"] = "gaussian",
    reconstruction_weight: float = 1.0,
    reconstruction_reduction: Literal["sum", "mean"] = "sum",
    reconstructor_std: float = 1.0,
    learned_std: bool = False,
    real_pair_weight: float = 0.0,
    x_critic: float = 0.0,
) -> Objective:
    """VEEGAN: a discriminator that sees pairs (z, x), and an autoencoder loss in noise space.

    With x_g = G(z, ε) and z_g = F(x) + σ·ξ, where z, ε and ξ are standard normal, and pairs (z, x_g) in class 1:

        disc:      −E[log σ(D(z, x_g))] − E[log(1 − σ(D(z_g, x)))]      (equation 5)
        gen, rec:  E[D(z, x_g)] + λ·E[d(z, F(x_g))]                     (equation 6, where λ is 1)

    A contrastive loss may bound the same mutual information I(z; x_g) in the place of E[d] (MEG, Kumar et al. 2019,
    arXiv 1901.08508). A network T, with the discriminator's architecture, tells the pairs (z, x_g) from pairs of x_g
    and another latent z̃ of the prior, and G and T both minimise

        gen, info:  E[D(z, x_g)] + λ·(−E[log σ(T(z, x_g))] − E[log(1 − σ(T(z̃, x_g)))])

    F then minimises λ·E[d(z, F(x_g))] beside it, with no gradient to G.

    The defaults are those of the paper and of its authors' notebook; each option is a choice that other implementations
    make differently. By default the reconstructor follows d alone, whatever the loss family.

    Args:
        parts: The nets `gen(z, ε) → x`, `rec(x) → F(x)` and `disc(z, x) → D`, the dimensions, and the penalty.
        adversarial_loss: The loss family. 'kl' is the paper's: the generator minimises the raw logit, E[D(z, x_g)].
        reconstruction_loss: What asks the generator to keep z recoverable: the paper's d ('gaussian'), T's loss
            ('contrastive'), or nothing ('none'). The reconstructor always minimises d.
        reconstruction_weight: The weight λ of the reconstruction loss in the generator's and reconstructor's loss.
        reconstruction_reduction: Whether d is the sum over the K latent dimensions ('sum', as in the paper) or their
            mean ('mean', K times less).
        reconstructor_std: The standard deviation σ of p(z|x) = N(F(x), σ²I) on real data. 0 makes the reconstructor
            deterministic, which collapses on the ring. A fixed σ has no effect on d, which takes σ = 1.
        learned_std: Whether the reconstructor also learns σ, for each latent dimension, as a factor on
            `reconstructor_std`. The loss d is then −log N(z; F(x_g), σ(x_g)²).
        real_pair_weight: The weight w of an added term w·E[D(z_g, x)], through which the discriminator moves the
            reconstructor. It is 0 in the paper, and 1 in other implementations; with −1 the reconstructor tries to
            pass real pairs for generated ones, as in ALI.
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
    contrast = Contrast({"info": nets.disc} if reconstruction_loss == "contrastive" else {}, latent_dim, shape)
    weight = reconstruction_weight / (latent_dim if reconstruction_reduction == "mean" else 1)

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x, z, eps, xi = batch.x, batch.noise["z"], batch.noise["eps"], batch.noise["xi"]

        # A generated pair (z, x_g) is a latent of the prior, and what the generator makes of it.
        x_g = gen.apply(params["gen"], z, eps)

        # A real pair (z_g, x) is an example of the data, and a draw from the reconstructor's p(z|x).
        mean, std = posterior(params["rec"], x)
        z_g = mean + std * xi

        # The discriminator sees both kinds of pairs: `adversarial.disc` is equation 5 and the gradient penalties,
        # and `adversarial.gen` is the first term of equation 6, E[D(z, x_g)].
        adversarial = critic.losses(params, generated=(z, x_g), real=(z_g, x), step=batch.step)

        # The reconstruction loss in noise space: d asks the reconstructor to map x_g back to the z that it came from.
        x_d = x_g if reconstruction_loss == "gaussian" else jax.lax.stop_gradient(x_g)
        mean_g, std_g = posterior(params["rec"], x_d)
        d = reconstruction.gaussian_nll(z, mean_g, std_g if learned_std else 1.0)
        metrics = {"d": d, **contrast.losses(params, batch.noise, x_g)}
        loss = {
            "disc": adversarial.disc,  # equation 5
            "gen": adversarial.gen + weight * d,  # equation 6
        }
        if contrast.nets:  # MEG's loss, which is no part of the paper's method
            loss["gen"] += reconstruction_weight * metrics["contrast"]
        if real_pair_weight:  # no part of the paper's method
            loss["gen"] += real_pair_weight * adversarial.real.mean()
        return loss, metrics

    return Objective(
        nets={"gen": gen, "rec": rec, **contrast.nets, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **contrast.inputs, **critic.inputs},
        # Algorithm 1 takes three gradients at one point, before any update: that of D is ∇ equation 5, that of G is
        # ∇ equation 6, and that of F is ∇ mean d alone. G and F minimise equation 6 together, because d is its only
        # term in which F occurs. The step (`train.step`) differentiates each player's loss with respect to that
        # player's own nets, and stops the gradients of the other nets.
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec", *contrast.nets)},
        noise=partial(standard_normals, z=latent_dim, eps=noise_dim, xi=latent_dim, **contrast.noise),
        losses=losses,
        encode=lambda params, x: posterior(params["rec"], x)[0],
    )
