"""Bidirectional GAN (Donahue, Krähenbühl, Darrell, ICLR 2017): ALI with a deterministic encoder."""

from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.models.network import Nets
from veegan_jax.objectives.ali import ali
from veegan_jax.objectives.base import Objective
from veegan_jax.objectives.critic import Penalty


def bigan(
    nets: Nets,
    *,
    shape: tuple[int, ...],
    latent_dim: int,
    noise_dim: int,
    penalty: Penalty,
    adversarial_loss: FamilyName = "nonsaturating",
    x_critic: float = 0.0,
) -> Objective:
    """As `ali`, with z_g = F(x).

    Args:
        nets: `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z, x) → D`.
        shape: of one data example.
        latent_dim: K.
        noise_dim: dimensions of the generator's own noise ε; 0 for none.
        penalty: on the discriminator's gradients.
        adversarial_loss: 'nonsaturating' swaps the labels (section 3.5); 'minimax' is equation 3.
        x_critic: the weight of a second critic, of x alone; 0 for none.
    """
    return ali(
        nets,
        shape=shape,
        latent_dim=latent_dim,
        noise_dim=noise_dim,
        penalty=penalty,
        adversarial_loss=adversarial_loss,
        reconstructor_std=0.0,
        learned_std=False,
        x_critic=x_critic,
    )
