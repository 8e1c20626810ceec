"""The ratio of two densities, learned by a classifier of examples (Sugiyama et al., 2012, chapter 4)."""

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from veegan_jax.data.base import DataSpec
from veegan_jax.losses.adversarial import logistic
from veegan_jax.models import MODELS
from veegan_jax.models.network import Network, Params

_log = logging.getLogger("veegan_jax")
# The most coordinates of examples whose sines and cosines the classifier sees as well: they have D·2·`octaves` numbers.
MOST_WITH_WAVES = 3
# The smallest side, in pixels, of the images that are classified by convolutions; smaller ones are flattened.
LEAST_CONVOLVED = 16
# The number of steps in a call of the compiled function; the time that is left is reported between calls.
STEPS_PER_CALL = 50
# The seconds between two lines that report progress.
REPORT_EVERY = 30.0
# The number of examples that give mean and standard deviation of each coordinate.
MEASURED = 4096


class Recipe(NamedTuple):
    """The way a classifier is trained.

    Attributes:
        model: the architecture of the classifier, a key of `MODELS`, whose discriminator of x alone it is.
        options: the options of the architecture.
        octaves: the frequencies of the sines and cosines are 2⁰ to 2 to this power less one, in radians per standard
            deviation of the coordinate.
        steps: the number of steps.
        batch: the number of examples of each of the two classes in a step.
        learning_rate: the first rate of Adam, which falls to 0 along a cosine.
        seed: the seed of the initial weights and of all that training draws.
    """

    model: str
    options: dict[str, Any]
    octaves: int = 8
    steps: int = 4000
    batch: int = 512
    learning_rate: float = 2e-3
    seed: int = 0


def recipe(spec: DataSpec) -> Recipe:
    """Returns the way to train a classifier of examples of this shape: convolutions of images, and MLPs of the rest."""
    if len(spec.shape) == 3 and min(spec.shape[:2]) >= LEAST_CONVOLVED:
        return Recipe("dcgan", {"base_width": 32, "disc_norm": "none"}, steps=3000, batch=64, learning_rate=5e-4)
    return Recipe("mlp", {"disc_hidden": (256, 256, 256), "activation": "silu"})


class Sampled(NamedTuple):
    """A distribution from which a compiled function draws.

    Attributes:
        arrays: arrays that `draw` reads.
        draw: `draw(arrays, keys) -> x` draws an example for each of some keys `[B]`, float32 `[B, …]`.
    """

    arrays: Any
    draw: Callable[[Any, jax.Array], jax.Array]


class DensityRatio:
    """The logarithm of the ratio of two densities, as a network of x."""

    def __init__(self, spec: DataSpec, way: Recipe):
        """Builds the network; nothing is compiled yet."""
        self._with_waves = len(spec.shape) == 1 and spec.shape[0] <= MOST_WITH_WAVES
        width = spec.shape[0] * (1 + 2 * way.octaves) if self._with_waves else 0
        self._shape, self._bounded = (width,) if width else spec.shape, spec.bounded
        self.way = way
        self._network: Network = MODELS[way.model](
            shape=self._shape, bounded=spec.bounded, dtype="float32", **way.options
        ).disc

    def log_ratio(self, fitted: Params, x: jax.Array) -> jax.Array:
        """Returns log p(x)/q(x) of examples `[B, …]`, float32 `[B]`.

        Args:
            fitted: what `fit` returns.
            x: examples `[B, …]`.
        """
        return -self._logits(fitted["network"], fitted, x)

    def _logits(self, params: Params, scale: Params, x: jax.Array) -> jax.Array:
        """Returns the logits `[B]` of the class *q*, as discriminators here have it: generated is class 1."""
        return self._network.apply(params, self._inputs(scale, x))

    def _inputs(self, scale: Params, x: jax.Array) -> jax.Array:
        """Returns standardised coordinates and, of few coordinates, their sines and cosines."""
        h = (x - scale["mean"][None]) / scale["std"][None]
        if not self._with_waves:
            return h
        frequencies = np.exp2(np.arange(self.way.octaves, dtype=np.float32))
        waves = (h[:, :, None] * frequencies[None, None]).reshape(h.shape[0], -1)
        return jnp.concatenate([h, jnp.sin(waves), jnp.cos(waves)], axis=-1)

    def _scale(self, p: Sampled, key: jax.Array) -> Params:
        """Returns the mean and the standard deviation of each coordinate; 0 and 1 for images, which have one scale."""
        if self._bounded:
            return {"mean": jnp.zeros(self._shape), "std": jnp.ones(self._shape)}
        x = jax.jit(p.draw)(p.arrays, jax.random.split(key, MEASURED))
        std = jnp.std(x, axis=0)
        return {"mean": jnp.mean(x, axis=0), "std": jnp.where(std > 0, std, 1.0)}  # A coordinate may be constant.

    def fit(self, p: Sampled, q: Sampled) -> Params:
        """Trains the classifier on fresh draws of both distributions in every step.

        The classifier that minimises the logistic loss has the logit log q(x)/p(x). The parameters are averages over
        the last steps, a tenth of all of them. They are a function of the recipe and of the two distributions.

        Returns:
            The tree of numpy arrays that `log_ratio` takes.
        """
        way, arrays = self.way, (p.arrays, q.arrays)
        measure_key, init_key, step_key = jax.random.split(jax.random.key(way.seed), 3)
        cosine = optax.cosine_decay_schedule(way.learning_rate, way.steps)
        optimizer = optax.adam(lambda count: cosine(count.astype(jnp.float32)))

        def step(state: Any, i: jax.Array, scale: Params, arrays: Any) -> tuple[Any, None]:
            params, opt_state, averaged = state
            keys = jax.random.split(jax.random.fold_in(step_key, i), (2, way.batch))
            of_p, of_q = p.draw(arrays[0], keys[0]), q.draw(arrays[1], keys[1])

            def loss(params: Params) -> jax.Array:
                logits = self._logits(params, scale, jnp.concatenate([of_q, of_p]))
                return logistic(generated=logits[: way.batch], real=logits[way.batch :])

            updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
            params = optax.apply_updates(params, updates)
            # The newest parameters have this share of the average, which is thus over the last tenth of the steps.
            share = jnp.maximum(1 / (i.astype(jnp.float32) + 1), 10 / way.steps)
            averaged = jax.tree.map(lambda old, new: old + share * (new - old), averaged, params)
            return (params, opt_state, averaged), None

        @jax.jit
        def steps(state: Any, first: jax.Array, scale: Params, arrays: Any) -> Any:
            def one(state: Any, i: jax.Array) -> tuple[Any, None]:
                return step(state, i, scale, arrays)

            return jax.lax.scan(one, state, first + jnp.arange(min(STEPS_PER_CALL, way.steps)))[0]

        scale = self._scale(p, measure_key)
        params = self._network.init(init_key, self._shape)
        state = params, optimizer.init(params), params
        progress = _Progress(way.steps)
        for first in range(0, way.steps, STEPS_PER_CALL):
            state = steps(state, jnp.asarray(first), scale, arrays)
            jax.block_until_ready(state)
            progress.report(min(first + STEPS_PER_CALL, way.steps))
        return jax.tree.map(np.asarray, {"network": state[2], **scale})


class _Progress:
    """Reports how long training takes, from its second call on, since the first one compiles."""

    def __init__(self, steps: int):
        self._steps, self._first, self._started, self._reported = steps, 0, 0.0, -REPORT_EVERY

    def report(self, done: int) -> None:
        """Logs the time that is left, at most every half a minute."""
        now = time.monotonic()
        if not self._first:
            self._first, self._started = done, now
        elif now - self._reported >= REPORT_EVERY and done < self._steps:
            left = (now - self._started) / (done - self._first) * (self._steps - done)
            _log.info("step %s of %s of the classifier, %d s left", f"{done:,}", f"{self._steps:,}", left)
            self._reported = now
