"""InfoGAN (Chen et al., NIPS 2016)."""

import math

import jax
import jax.numpy as jnp
import optax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Noise, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import Critic
from veegan_jax.ops import draws


def infogan(
    parts: NetsAndDims,
    *,
    adversarial_loss: FamilyName = "nonsaturating",
    categories: int = 10,
    continuous: int = 2,
    information_weight: float = 1.0,
) -> Objective:
    """InfoGAN: a GAN that keeps a part of its latent, the codes c = (c₁, c₂), recoverable from what it generates.

    The latent is z = (c₁, c₂, rest), with a one-hot category c₁ ~ Cat(`categories`), continuous codes
    c₂ ~ U(−1, 1)^`continuous`, and the rest ~ N(0, I). With L_GAN the generator's loss of `gan`:

        gen, rec:  L_GAN − λ·L_I,  where  L_I = E[log Q(c | G(z, ε))] + H(c) ≤ I(c; G(z, ε))      (equations 5 and 6)

    Q is a categorical distribution for c₁, and a Gaussian with learned means and variances for c₂ (section 6). Its
    network is one of its own, with the reconstructor's architecture, so that all methods are compared with the same
    nets; in the paper Q shares the discriminator's first layers.

    Args:
        parts: The nets `gen(z, ε) → x`, `rec(x) → Q` and `disc(x) → D`, the dimensions, and the penalty.
        adversarial_loss: The loss family.
        categories: The number of values of the categorical code c₁; 0 for no such code.
        continuous: The number of dimensions of the continuous code c₂; 0 for no such code.
        information_weight: The weight λ of the mutual information between the codes and the generated example.

    Raises:
        ValueError: If there are no codes, or they do not fit into the latent, or the weight is negative.
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
    critic = Critic(nets.disc, (shape,), adversarial_loss, penalty)

    def noise(key: jax.Array) -> Noise:
        normal_key, continuous_key, category_key = (draws.fold_in(key, code) for code in range(3))
        category = draws.integers(category_key, 1, max(categories, 1))[0]
        c2 = 2 * draws.uniforms(continuous_key, continuous) - 1
        normals = standard_normals(normal_key, rest=latent_dim - categories - continuous, eps=noise_dim)
        z = jnp.concatenate([jax.nn.one_hot(category, categories), c2, normals["rest"]])
        return {"z": z, "eps": normals["eps"]}

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        z, eps = batch.noise["z"], batch.noise["eps"]

        # The adversarial losses are those of a GAN.
        x_g = gen.apply(params["gen"], z, eps)
        adversarial = critic.losses(params, generated=(x_g,), real=(batch.x,), step=batch.step)

        # The bound L_I says how well Q recovers the codes from x_g.
        bound = information_bound(z, q_net.apply(params["rec"], x_g), categories, continuous)
        return {"disc": adversarial.disc, "gen": adversarial.gen - information_weight * bound}, {"information": bound}

    return Objective(
        nets={"gen": gen, "rec": q_net, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=noise,
        losses=losses,
        encode=None,
    )


def information_bound(z: jax.Array, q_out: jax.Array, categories: int, continuous: int) -> jax.Array:
    """Computes L_I = E[log Q(c | x_g)] + H(c), float32 `[]`, in nats (equation 5).

    Args:
        z: Latents `[B, K]`, which begin with the codes c₁ `[B, categories]` and c₂ `[B, continuous]`.
        q_out: The outputs of Q: the logits of c₁, and the means and log standard deviations of c₂, float32
            `[B, categories + 2·continuous]`.
        categories: The number of values of c₁; 0 for no such code.
        continuous: The number of dimensions of c₂; 0 for no such code.
    """
    ends = categories, categories + continuous
    c1, c2, _ = jnp.split(z, ends, axis=-1)
    logits, means, log_stds = jnp.split(q_out, ends, axis=-1)
    entropy = (math.log(categories) if categories else 0.0) + continuous * math.log(2)
    bound = jnp.asarray(entropy, jnp.float32)
    if categories:
        bound -= jnp.mean(optax.softmax_cross_entropy(logits, c1))
    if continuous:
        bound -= reconstruction.gaussian_nll(c2, means, jnp.exp(log_stds))
    return bound
