"""InfoGAN (Chen et al., NIPS 2016)."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from veegan_jax.losses import reconstruction
from veegan_jax.losses.adversarial import FamilyName
from veegan_jax.objectives.base import Batch, NetsAndDims, Noise, Objective, Params, Scalars, standard_normals
from veegan_jax.objectives.critic import make_critic


class Codes(NamedTuple):
    """The part of the latent that is to be recovered: a one-hot category, and dimensions that are uniform.

    Attributes:
        categories: values of the categorical code; 0 for none.
        continuous: dimensions of the continuous code; 0 for none.
    """

    categories: int
    continuous: int

    @property
    def entropy(self) -> float:
        """H(c), in nats."""
        return (math.log(self.categories) if self.categories else 0.0) + self.continuous * math.log(2)

    def draw(self, code_key: jax.Array, category_key: jax.Array) -> jax.Array:
        """C `[categories + continuous]`: one-hot c₁ ~ Cat, then c₂ ~ U(−1, 1)."""
        code = jax.random.uniform(code_key, (self.continuous,), minval=-1.0, maxval=1.0)
        category = jax.random.randint(category_key, (), 0, max(self.categories, 1))
        return jnp.concatenate([jax.nn.one_hot(category, self.categories), code])

    def information(self, z: jax.Array, told: jax.Array) -> jax.Array:
        """L_I, float32 `[]` in nats, of latents `[B, K]` that begin with codes.

        `told` is what Q says of them: logits of c₁, means and log standard deviations of c₂,
        `[B, categories + 2·continuous]`.
        """
        split = self.categories, self.categories + self.continuous
        logits, means, log_stds = jnp.split(told, split, axis=-1)
        bound = jnp.asarray(self.entropy, jnp.float32)
        if self.categories:
            bound -= jnp.mean(optax.softmax_cross_entropy(logits, z[:, : split[0]]))
        if self.continuous:
            bound -= reconstruction.gaussian_nll(z[:, split[0] : split[1]], means, jnp.exp(log_stds))
        return bound


def infogan(
    parts: NetsAndDims,
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
    codes = Codes(categories, continuous)
    gen, q_net = nets.gen, nets.rec(categories + 2 * continuous)
    critic = make_critic(nets.disc, (shape,), adversarial_loss, penalty)

    def noise(key: jax.Array) -> Noise:
        normal_key, *code_keys = jax.random.split(key, 3)
        drawn = standard_normals(normal_key, rest=latent_dim - categories - continuous, eps=noise_dim)
        return {"z": jnp.concatenate([codes.draw(*code_keys), drawn["rest"]]), "eps": drawn["eps"]}

    def generate(params: Params, noise: Noise) -> jax.Array:
        return gen.apply(params["gen"], noise["z"], noise["eps"])

    def losses(params: Params, batch: Batch) -> tuple[Scalars, Scalars]:
        x_g = generate(params, batch.noise)
        verdict = critic.judge(params, (x_g,), (batch.x,), batch.step)
        bound = codes.information(batch.noise["z"], q_net.apply(params["rec"], x_g))
        return {"disc": verdict.disc, "gen": verdict.gen - information_weight * bound}, {"information": bound}

    return Objective(
        nets={"gen": gen, "rec": q_net, **critic.nets},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), **critic.inputs},
        players={"disc": tuple(critic.nets), "gen": ("gen", "rec")},
        noise=noise,
        losses=losses,
        generate=generate,
        encode=None,
    )
