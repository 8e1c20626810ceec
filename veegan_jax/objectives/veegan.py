"""VEEGAN (Srivastava, Valkov, Russell, Gutmann, Sutton, NIPS 2017), Algorithm 1."""

from typing import Literal

import jax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars
from veegan_jax.objectives.joint import Pairs, Posterior, joint_objective


def veegan(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "kl",
    reconstruction_weight: float = 1.0,
    reconstruction_reduction: Literal["sum", "mean"] = "sum",
    reconstructor_std: float = 1.0,
    learned_std: bool = False,
    real_pair_weight: float = 0.0,
    x_critic: float = 0.0,
) -> Objective:
    """VEEGAN: a joint discriminator on (z, x) and an autoencoder loss in noise space.

    With x_g = G(z, ε), z_g = F(x) + σ·ξ and pairs (z, x_g) in class 1:

        disc:      −E[log σ(D(z, x_g))] − E[log(1 − σ(D(z_g, x)))]      (equation 5)
        gen, rec:  E[D(z, x_g)] + E[d(z, F(x_g))]                       (equation 6)

    The defaults are the paper's and its notebook's; each option is a choice that other implementations make
    differently. The reconstructor follows d alone, whatever the loss family: no adversarial gradient reaches it.

    Args:
        parts: nets `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z, x) → D`, dimensions, and the penalty.
        adversarial_loss: 'kl' is the paper's raw logit; see `losses.adversarial` for the others.
        reconstruction_weight: λ in E[D] + λ·E[d].
        reconstruction_reduction: d summed over the K latents (the paper), or their mean, K times less.
        reconstructor_std: σ of p(z|x) = N(F(x), σ²I) on real data; 0 is deterministic, and collapses on the ring. A
            fixed σ does not enter d, which is that of σ = 1.
        learned_std: whether the reconstructor tells σ as well, per latent, as a factor on `reconstructor_std`; then d
            is −log N(z; F(x_g), σ(x_g)²).
        real_pair_weight: w adds w·E[D(z_g, x)] to the reconstructor's loss: 0 in the paper; others use 1; −1 is ALI's
            direction, in which F tries to pass real pairs for generated ones.
        x_critic: the weight of a second critic, of x alone, in the generator's loss; 0 for none.

    Raises:
        ValueError: if a weight or σ is out of range.
    """
    if reconstruction_weight < 0:
        raise ValueError(f"reconstruction_weight is {reconstruction_weight}; it must be 0 or more")
    scale = reconstruction_weight / (parts.latent_dim if reconstruction_reduction == "mean" else 1)

    def combine(params: Params, batch: Batch, pairs: Pairs, posterior: Posterior) -> tuple[jax.Array, Scalars]:
        mean, std = posterior(params, pairs.x_g)
        d = reconstruction.gaussian_nll(pairs.z, mean, std if learned_std else 1.0)
        loss = pairs.verdict.gen + scale * d
        if real_pair_weight:
            loss += real_pair_weight * pairs.verdict.real.mean()
        return loss, {"d": d}

    return joint_objective(
        parts,
        combine,
        adversarial_loss=adversarial_loss,
        reconstructor_std=reconstructor_std,
        learned_std=learned_std,
        x_critic=x_critic,
    )
