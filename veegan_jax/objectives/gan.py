"""The generative adversarial network (Goodfellow et al., NIPS 2014); on convolutional nets, DCGAN."""

from functools import partial

from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import Critic


def gan(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
) -> Objective:
    """GAN: a discriminator that sees x alone, and no reconstructor. Generated examples are class 1, as in every method.

        disc:  −E[log σ(D(x_g))] − E[log(1 − σ(D(x)))]
        gen:   −E[log(1 − σ(D(x_g)))]

    With packing this is PacGAN; with the 'relativistic' loss and both gradient penalties it is R3GAN's loss.

    Args:
        parts: The nets `gen(z, ε) → x` and `disc(x) → D`, the dimensions, and the penalty.
        adversarial_loss: The loss family. With 'nonsaturating' the generator minimises the loss above; with 'minimax'
            it minimises E[log σ(D(x_g))] (the paper's equation 1).
    """
    nets, shape, latent_dim, noise_dim, penalty = parts
    gen = nets.gen
    critic = Critic(nets.disc, (shape,), adversarial_loss, penalty)

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x_g = gen.apply(params["gen"], batch.noise["z"], batch.noise["eps"])
        adversarial = critic.losses(params, generated=(x_g,), real=(batch.x,), step=batch.step)
        return {"disc": adversarial.disc, "gen": adversarial.gen}, {}

    return Objective(
        nets={"gen": gen, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen",)},
        noise=partial(standard_normals, z=latent_dim, eps=noise_dim),
        losses=losses,
        encode=None,
    )
