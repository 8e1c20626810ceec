"""Adversarially learned inference (Dumoulin et al., ICLR 2017)."""

import jax

from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars
from veegan_jax.objectives.joint import Pairs, Posterior, joint_objective


def ali(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    reconstructor_std: float = 1.0,
    learned_std: bool = True,
    x_critic: float = 0.0,
) -> Objective:
    """A joint discriminator on (z, x), and a generator and a stochastic encoder that both try to fool it.

    With x_g = G(z, ε), z_g = F(x) + σ(x)·ξ and pairs (z, x_g) in class 1:

        disc:      −E[log σ(D(z, x_g))] − E[log(1 − σ(D(z_g, x)))]      (equation 2)
        gen, rec:  −E[log(1 − σ(D(z, x_g)))] − E[log σ(D(z_g, x))]      (section 2, the labels swapped)

    Args:
        parts: nets `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z, x) → D`, dimensions, and the penalty.
        adversarial_loss: 'nonsaturating' swaps the labels; 'minimax' is the negative of the discriminator's loss.
        reconstructor_std: σ of p(z|x) before it has learned anything.
        learned_std: whether the encoder tells σ as well, per latent, as the paper's does.
        x_critic: the weight of a second critic, of x alone; 0 for none.

    Raises:
        ValueError: if a weight or σ is out of range.
    """

    def combine(params: Params, batch: Batch, pairs: Pairs, posterior: Posterior) -> tuple[jax.Array, Scalars]:
        return pairs.verdict.both, {}

    return joint_objective(
        parts,
        combine,
        adversarial_loss=adversarial_loss,
        reconstructor_std=reconstructor_std,
        learned_std=learned_std,
        x_critic=x_critic,
    )
