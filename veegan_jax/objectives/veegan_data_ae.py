"""VEEGAN's joint discriminator with the autoencoder loss in data space (VEEGAN, section 4, research question 4)."""

import jax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars
from veegan_jax.objectives.joint import Pairs, Posterior, joint_objective


def veegan_data_ae(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "kl",
    reconstruction_weight: float = 1.0,
    reconstructor_std: float = 1.0,
    learned_std: bool = False,
    x_critic: float = 0.0,
) -> Objective:
    """As VEEGAN, but data are reconstructed rather than noise: what the paper argues against.

    With x_g = G(z, ε), z_g = F(x) + σ·ξ and pairs (z, x_g) in class 1:

        disc:      −E[log σ(D(z, x_g))] − E[log(1 − σ(D(z_g, x)))]
        gen, rec:  E[D(z, x_g)] + λ·E[½‖x − G(z_g, ε)‖²]

    Args:
        parts: nets `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z, x) → D`, dimensions, and the penalty.
        adversarial_loss: the loss family; 'kl' is the paper's raw logit.
        reconstruction_weight: λ; the squared error is summed over an example's dimensions.
        reconstructor_std: σ of p(z|x) = N(F(x), σ²I).
        learned_std: whether the reconstructor tells σ as well, per latent, as a factor on `reconstructor_std`.
        x_critic: the weight of a second critic, of x alone, in the generator's loss; 0 for none.

    Raises:
        ValueError: if a weight or σ is out of range.
    """
    if reconstruction_weight < 0:
        raise ValueError(f"reconstruction_weight is {reconstruction_weight}; it must be 0 or more")
    gen = parts.nets.gen

    def combine(params: Params, batch: Batch, pairs: Pairs, posterior: Posterior) -> tuple[jax.Array, Scalars]:
        error = reconstruction.half_squared_error(batch.x, gen.apply(params["gen"], pairs.z_g, batch.noise["eps"]))
        return pairs.verdict.gen + reconstruction_weight * error, {"data_error": error}

    return joint_objective(
        parts,
        combine,
        adversarial_loss=adversarial_loss,
        reconstructor_std=reconstructor_std,
        learned_std=learned_std,
        x_critic=x_critic,
    )
