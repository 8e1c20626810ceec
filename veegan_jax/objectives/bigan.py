"""Bidirectional GAN (Donahue, Krähenbühl, Darrell, ICLR 2017): ALI with a deterministic encoder."""

from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.ali import ali
from veegan_jax.objectives.base import NetsAndDims, Objective


def bigan(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    x_critic: float = 0.0,
) -> Objective:
    """As `ali`, with z_g = F(x).

    Args:
        parts: nets `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z, x) → D`, dimensions, and the penalty.
        adversarial_loss: 'nonsaturating' swaps the labels (section 3.5); 'minimax' is equation 3.
        x_critic: the weight of a second critic, of x alone; 0 for none.
    """
    return ali(
        parts,
        adversarial_loss=adversarial_loss,
        reconstructor_std=0.0,
        learned_std=False,
        x_critic=x_critic,
    )
