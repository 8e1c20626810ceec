"""Where a generator's loss pushes its samples: minus the gradient of the loss with respect to them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from veegan_jax.config.build import Experiment, parts
from veegan_jax.inference.model import Sampler
from veegan_jax.models.network import Network
from veegan_jax.objectives import OBJECTIVES
from veegan_jax.objectives.base import Batch, Params
from veegan_jax.objectives.whitened import NET

# The weight of what a method adds to the adversarial loss of samples G(z, ε), by the method; empty for nothing. An
# adversarial autoencoder has no adversarial loss of samples, and of other methods nothing is known.
WEIGHTS = {"gan": "", "ali": "", "bigan": "", "veegan_data_ae": "reconstruction_weight"} | {
    "veegan": "reconstruction_weight",
    "infogan": "information_weight",
}
# In these methods what is added is a function of the samples too; in `veegan_data_ae`, of G(F(x)) alone.
ADDS_TO_SAMPLES = ("veegan", "infogan")


class Push(NamedTuple):
    """Samples, and where the generator's loss pushes each of them.

    Attributes:
        x: the samples G(z, ε), float32 `[N, …]`.
        adversarial: minus the gradient of a sample's adversarial loss with respect to it, `[N, …]`.
        whole: minus the gradient of the whole loss, `[N, …]`; None where nothing else pushes samples.
    """

    x: np.ndarray
    adversarial: np.ndarray
    whole: np.ndarray | None


def push(sampler: Sampler, experiment: Experiment, params: Params, x: np.ndarray, step: int, seed: int) -> Push | None:
    """Computes where the generator's loss, as the method has it, pushes as many samples as there are real examples.

    The method is built once more, with a generator whose samples are shifted by parameters δ = 0, and the loss is
    differentiated with respect to δ. The adversarial loss alone is that of the method with all else at weight 0. An
    unrolled method is taken without looking ahead, against the present discriminator.

    Args:
        sampler: the networks' compiled functions.
        experiment: the experiment that they were trained in.
        params: the parameters of a replica.
        x: real examples, float32 `[N, …]`, which the loss compares the samples with.
        step: the number of steps that have been taken.
        seed: the seed of the samples, which are those that `sampler.generate` makes.

    Returns:
        None for a method of which it is not known, or that sees whitened data.
    """
    config, weight = experiment.config, WEIGHTS.get(experiment.config.objective)
    if weight is None or NET in experiment.objective.nets:
        return None
    x = x[: len(x) // config.packing * config.packing]
    batch = Batch(jnp.asarray(x), sampler.noise(len(x), seed), jnp.asarray(step), {})
    made, options = parts(config, experiment.spec), dict(config[config.objective])
    # Penalties are no part of the generator's loss, and take long to trace.
    penalty = made.penalty._replace(r1=0.0, r2=0.0)
    made = made._replace(nets=made.nets._replace(gen=_shifted(made.nets.gen)), penalty=penalty)

    def pushed(**changed: float) -> np.ndarray:
        objective = OBJECTIVES[config.objective](made, **{**options, **changed})

        def loss(shift: jax.Array) -> jax.Array:
            # Losses are means over the batch, so that N times as much is the loss of each sample.
            shifted = {**params, "gen": {"net": params["gen"], "shift": shift}}
            return len(x) * objective.losses(shifted, batch)[0]["gen"]

        return -np.asarray(jax.jit(jax.grad(loss))(jnp.zeros(x.shape, jnp.float32)))

    adversarial = pushed(**{weight: 0.0} if weight else {})
    # With the reconstruction loss 'none', samples get no gradient of d.
    adds = config.objective in ADDS_TO_SAMPLES and options[weight] and options.get("reconstruction_loss") != "none"
    whole = pushed() if adds else None
    return Push(sampler.generate(params, len(x), seed)[1], adversarial, whole)


def _shifted(gen: Network) -> Network:
    """Returns a generator with parameters `{"net": …, "shift": δ}`, whose samples `[N, …]` are G(z, ε) + δ."""
    return gen._replace(apply=lambda params, *inputs: gen.apply(params["net"], *inputs) + params["shift"])
