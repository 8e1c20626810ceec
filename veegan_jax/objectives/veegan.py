"""VEEGAN (Srivastava, Valkov, Russell, Gutmann, Sutton, NIPS 2017), Algorithm 1."""

from collections.abc import Mapping
from typing import Literal

import jax

from veegan_jax.losses import adversarial, reconstruction
from veegan_jax.models.network import Network
from veegan_jax.objectives.base import Noise, Objective, Params, Scalars, standard_normals


def veegan(
    nets: Mapping[str, Network],
    *,
    shape: tuple[int, ...],
    latent_dim: int,
    noise_dim: int,
    generator_loss: Literal["kl", "nonsaturating", "minimax"] = "kl",
    reconstruction_weight: float = 1.0,
    reconstruction_reduction: Literal["sum", "mean"] = "sum",
    reconstructor_std: float = 1.0,
    real_pair_weight: float = 0.0,
) -> Objective:
    """VEEGAN: a joint discriminator on (z, x) and an autoencoder loss in noise space.

    With x_g = G(z, ε), z_g = F(x) + σ·ξ and pairs (z, x_g) in class 1:

        disc:      −E[log σ(D(z, x_g))] − E[log(1 − σ(D(z_g, x)))]      (equation 5)
        gen, rec:  E[D(z, x_g)] + E[d(z, F(x_g))]                       (equation 6)

    The defaults are the paper's and its notebook's; each option is a choice that other implementations make
    differently.

    Args:
        nets: `gen(z, ε) → x`, `rec(x) → F(x)`, `disc(z, x) → D`.
        shape: of one data example.
        latent_dim: K.
        noise_dim: dimensions of the generator's own noise ε; 0 for none.
        generator_loss: 'kl' is the paper's raw logit; 'nonsaturating' and 'minimax' put it through a log-sigmoid.
        reconstruction_weight: λ in E[D] + λ·E[d].
        reconstruction_reduction: d summed over the K latents (the paper), or their mean, K times less.
        reconstructor_std: σ of p(z|x) = N(F(x), σ²I) on real data; 0 is deterministic, and collapses on the ring.
        real_pair_weight: w adds w·E[D(z_g, x)] to the reconstructor's loss: 0 in the paper; others use 1; −1 is ALI's
            direction, in which F tries to pass real pairs for generated ones.

    Raises:
        ValueError: if a weight or σ is out of range.
    """
    if reconstructor_std < 0:
        raise ValueError(f"reconstructor_std is {reconstructor_std}; it is a standard deviation, so 0 or more")
    if reconstruction_weight < 0:
        raise ValueError(f"reconstruction_weight is {reconstruction_weight}; it must be 0 or more")
    gen, rec, disc = nets["gen"], nets["rec"], nets["disc"]
    scale = reconstruction_weight / (latent_dim if reconstruction_reduction == "mean" else 1)

    def noise(key: jax.Array) -> Noise:
        return standard_normals(key, z=latent_dim, eps=noise_dim, xi=latent_dim)

    def generate(params: Params, noise: Noise) -> jax.Array:
        return gen.apply(params["gen"], noise["z"], noise["eps"])

    def encode(params: Params, x: jax.Array) -> jax.Array:
        return rec.apply(params["rec"], x)

    def losses(params: Params, x: jax.Array, noise: Noise) -> tuple[Scalars, Scalars]:
        x_g = generate(params, noise)
        z_g = encode(params, x) + reconstructor_std * noise["xi"]
        d = reconstruction.gaussian_nll(noise["z"], encode(params, x_g))
        generated = disc.apply(params["disc"], noise["z"], x_g)
        real = disc.apply(params["disc"], z_g, x)
        gen_loss = adversarial.GENERATOR_LOSSES[generator_loss](generated) + scale * d
        if real_pair_weight:
            gen_loss += real_pair_weight * real.mean()
        return {"disc": adversarial.logistic(generated, real), "gen": gen_loss}, {"d": d}

    return Objective(
        players={"disc": ("disc",), "gen": ("gen", "rec")},
        inputs={"gen": ((latent_dim,), (noise_dim,)), "rec": (shape,), "disc": ((latent_dim,), shape)},
        noise=noise,
        losses=losses,
        generate=generate,
        encode=encode,
    )
