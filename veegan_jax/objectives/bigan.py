"""The bidirectional GAN (BiGAN; Donahue, Krähenbühl, Darrell, ICLR 2017): ALI with a deterministic encoder."""

from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.ali import ali
from veegan_jax.objectives.base import NetsAndDims, Objective


def bigan(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    x_critic: float = 0.0,
) -> Objective:
    """BiGAN: ALI with z_g = F(x).

    Args:
        parts: The nets `gen(z, ε) → x`, `rec(x) → F(x)` and `disc(z, x) → D`, the dimensions, and the penalty.
        adversarial_loss: The loss family. 'nonsaturating' swaps the labels (section 3.5); with 'minimax' the generator
            and encoder minimise the negative of the discriminator's loss (equation 3).
        x_critic: The weight, in the generator's loss, of a second discriminator that sees x alone; 0 for none.

    Raises:
        ValueError: If the weight is negative.
    """
    return ali(
        parts,
        adversarial_loss=adversarial_loss,
        reconstructor_std=0.0,
        learned_std=False,
        x_critic=x_critic,
    )
