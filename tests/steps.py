"""Training steps on devices and logical shards: whole ones by the config, and plain ones whose effect is a gradient."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from veegan_jax.config.build import build
from veegan_jax.objectives.unrolled import unrolled
from veegan_jax.ops.axis import AXIS
from veegan_jax.parallel.devices import over_devices, put_together, replicate
from veegan_jax.parallel.logical_shards import over_shards
from veegan_jax.train.compile import fused_step, initial_state, select_devices
from veegan_jax.train.feed import Batches
from veegan_jax.train.step import batches_of_stream, fuse, make_init, make_step


def trained(config, *seeds):
    """Returns `(params, opt_state, ema, scalars)` after three steps in one call; a list of them if seeds are given.

    Args:
        config: the run's config.
        seeds: seeds in place of the config's, for all of which the step is compiled once.
    """
    experiment, devices = build(config), select_devices(config)
    step, arrays = fused_step(experiment, devices, 3), Batches(experiment.source, config.batch_size, devices, 0).take(3)
    results = []
    for seed in seeds or [config.seed]:
        config.seed = seed
        state, scalars = step(replicate(initial_state(experiment), devices), arrays)
        state = put_together(state)
        results.append(jax.tree.map(np.asarray, (state.params, state.opt_state, state.ema, scalars)))
    return results if seeds else results[0]


BATCH, FIRST = 16, 5


class GradientStep:
    """Steps of gradient descent with a rate of 1 on one config's losses: the first moves parameters by their gradients.

    Adam would hide a factor N in the gradients. The step reads its batches of noise from a stream, since a program that
    draws examples as well takes twice as long to compile.

    Args:
        config: the method, its nets and the shape of the data; batch size, optimizers and averages are not used.
        steps: the number of steps, fused into one call.
    """

    def __init__(self, config, *, steps=1):
        # Unrolled updates are those of the discriminator's optimizer, which is gradient descent here.
        unroll, config.unroll = config.unroll, 0
        experiment = build(config)
        self._optimizers = dict.fromkeys(config.optim, optax.sgd(1.0))
        self._objective = experiment.objective
        if unroll:
            self._objective = unrolled(self._objective, self._optimizers["disc"], unroll)
        self._steps, rng = steps, np.random.default_rng(0)
        # Parameters drawn by numpy need no program, and no kernel of theirs starts at 0.
        self._shapes = jax.eval_shape(make_init(self._objective, self._optimizers, ema=False), 0)
        self._params = jax.tree.map(lambda p: rng.normal(0, 0.4, p.shape).astype(p.dtype), self._shapes.params)
        # The first step does not take the stream's first batch, so that the numbers of steps count.
        self._batches = np.tanh(rng.normal(size=(steps + 1, BATCH, *experiment.source.shape))).astype(np.float32)

    def __call__(self, devices, *, shards=0, parallel="pmap"):
        """Returns `(moved, scalars)`: what the steps add to the parameters, and their losses and metrics.

        Args:
            devices: the number of devices.
            shards: the number of logical shards; 0 for plain data parallelism.
            parallel: 'pmap' or 'shard_map'.
        """
        step = make_step(
            self._objective,
            batches_of_stream(lambda x: x),
            self._optimizers,
            batch_size=BATCH,
            axis=AXIS,
            shards=shards or devices,
        )
        if shards:
            step = over_shards(step, shards, devices, AXIS, split=True)
        chosen = jax.devices()[:devices]
        call = over_devices(fuse(step, self._steps), chosen, parallel, split=True)
        state = dataclasses.replace(self._shapes, step=jnp.int32(FIRST + 1), key=jax.random.key(0), params=self._params)
        after, scalars = call(replicate(state, chosen), (self._batches, np.int32(FIRST)))
        moved = jax.tree.map(lambda a, b: np.asarray(a) - b, after.params, self._params)
        return moved, jax.tree.map(np.asarray, scalars)


def assert_close(found, expected, rtol=1e-4, atol=1e-6):
    """Asserts that two results of a `GradientStep` agree within float error, and that every kernel has a gradient."""
    chex.assert_trees_all_close(found, expected, rtol=rtol, atol=atol)
    assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(expected[0]) if leaf.ndim >= 2)
