"""The generative adversarial network (Goodfellow et al., NIPS 2014); on convolutional nets, DCGAN."""

import jax

from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Noise, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import make_critic


def gan(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
) -> Objective:
    """A discriminator on x alone, and no reconstructor. Generated samples are class 1, as everywhere here.

        disc:  −E[log σ(D(x_g))] − E[log(1 − σ(D(x)))]
        gen:   −E[log(1 − σ(D(x_g)))]   ('nonsaturating'; 'minimax' is E[log σ(D(x_g))], the paper's equation 1)

    With packing this is PacGAN; with 'relativistic' and both gradient penalties, R3GAN's loss.

    Args:
        parts: nets `gen(z, ε) → x` and `disc(x) → D`, dimensions, and the penalty.
        adversarial_loss: the loss family.
    """
    nets, shape, latent_dim, noise_dim, penalty = parts
    gen = nets.gen
    critic = make_critic(nets.disc, (shape,), adversarial_loss, penalty)

    def noise(key: jax.Array) -> Noise:
        return standard_normals(key, z=latent_dim, eps=noise_dim)

    def generate(params: Params, noise: Noise) -> jax.Array:
        return gen.apply(params["gen"], noise["z"], noise["eps"])

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        verdict = critic.judge(params, (generate(params, batch.noise),), (batch.x,), batch.step)
        return {"disc": verdict.disc, "gen": verdict.gen}, {}

    return Objective(
        nets={"gen": gen, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen",)},
        noise=noise,
        losses=losses,
        generate=generate,
        encode=None,
    )
