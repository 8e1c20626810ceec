"""InfoGAN (Chen et al., NIPS 2016)."""

import math

import jax
import jax.numpy as jnp
import optax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, Noise, Objective, Params, Parts, Scalars, standard_normals
from veegan_jax.objectives.critic import make_critic


def infogan(
    parts: Parts,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    categories: int = 10,
    continuous: int = 2,
    information_weight: float = 1.0,
) -> Objective:
    """A GAN whose generator keeps part of its latent, the codes c, recoverable from what it generates.

    z is [one-hot of c₁ ~ Cat(`categories`), c₂ ~ U(−1, 1)^`continuous`, the rest ~ N(0, I)], and

        gen, rec:  L_GAN − λ·L_I,  L_I = E[log Q(c | G(z))] + H(c) ≤ I(c; G(z))      (equations 5 and 6)

    with Q a categorical for c₁ and a Gaussian with learned means and variances for c₂ (section 6). Q is a net of its
    own, with the reconstructor's architecture, where the paper shares the discriminator's first layers: so that all
    methods are compared with the same nets.

    Args:
        parts: nets `gen(z, ε) → x`, `rec(x) → Q`, `disc(x) → D`, dimensions, and the penalty.
        adversarial_loss: the loss family.
        categories: values of the categorical code; 0 for none.
        continuous: dimensions of the continuous code; 0 for none.
        information_weight: λ.

    Raises:
        ValueError: if the codes do not fit into the latent, or there are none.
    """
    nets, shape, latent_dim, noise_dim, penalty = parts
    if min(categories, continuous) < 0 or not 0 < categories + continuous <= latent_dim:
        raise ValueError(
            f"categories is {categories} with {continuous} continuous codes; together they must take 1 to latent_dim, "
            f"{latent_dim}, dimensions"
        )
    if information_weight < 0:
        raise ValueError(f"information_weight is {information_weight}; it must be 0 or more")
    gen, q_net = nets.gen, nets.rec(categories + 2 * continuous)
    critic = make_critic(nets.disc, (shape,), adversarial_loss, penalty)
    entropy = (math.log(categories) if categories else 0.0) + continuous * math.log(2)

    def noise(key: jax.Array) -> Noise:
        normal_key, code_key, category_key = jax.random.split(key, 3)
        drawn = standard_normals(normal_key, rest=latent_dim - categories - continuous, eps=noise_dim)
        code = jax.random.uniform(code_key, (continuous,), minval=-1.0, maxval=1.0)
        category = jax.random.randint(category_key, (), 0, max(categories, 1))
        one_hot = jax.nn.one_hot(category, categories)
        return {"z": jnp.concatenate([one_hot, code, drawn["rest"]]), "eps": drawn["eps"]}

    def generate(params: Params, noise: Noise) -> jax.Array:
        return gen.apply(params["gen"], noise["z"], noise["eps"])

    def information(params: Params, z: jax.Array, x_g: jax.Array) -> jax.Array:
        told = q_net.apply(params["rec"], x_g)
        logits, means, log_stds = jnp.split(told, (categories, categories + continuous), axis=-1)
        bound = jnp.asarray(entropy, jnp.float32)
        if categories:
            bound -= jnp.mean(optax.softmax_cross_entropy(logits, z[:, :categories]))
        if continuous:
            code = z[:, categories : categories + continuous]
            bound -= reconstruction.gaussian_nll(code, means, jnp.exp(log_stds))
        return bound

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x_g = generate(params, batch.noise)
        verdict = critic.judge(params, (x_g,), (batch.x,), batch.step)
        bound = information(params, batch.noise["z"], x_g)
        gen_loss = verdict.gen - information_weight * bound
        return {"disc": verdict.disc, "gen": gen_loss}, {"information": bound}

    return Objective(
        nets={"gen": gen, "rec": q_net, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=noise,
        losses=losses,
        generate=generate,
        encode=None,
    )
