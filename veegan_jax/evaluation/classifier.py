"""A small convolutional classifier, which recognises modes, and in whose features images are compared.

Images are `[N, H, W]` or `[N, H, W, C]`, either uint8 from 0 to 255 or float32 from −1 to 1, the range of generators;
both are brought to the latter. A classifier is trained once, from a fixed seed, and kept in a file of the user's cache.
"""

import logging
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from veegan_jax.metrics.base import Recognised
from veegan_jax.ops.chunks import map_in_chunks
from veegan_jax.storage.caches import user_cache
from veegan_jax.storage.files import digest
from veegan_jax.storage.trees import read_tree, write_tree

BATCH, TEST_BATCH = 128, 1000
_log = logging.getLogger("veegan_jax")


class Recipe(NamedTuple):
    """The way a classifier is trained. A trained one is kept under a name that depends on every field.

    Attributes:
        channels: the channels of each convolution; the first is 4×4, the others 3×3, all of stride 2.
        features: the width of the layer below the logits.
        dropout: the share of features that training drops.
        shift: training moves images by at most this number of pixels either way.
        epochs: how often training sees each image on average, since its batches are drawn with replacement.
        learning_rate: the peak of Adam's rate, a quarter of the way; the rate rises from 0 and falls to 0 linearly.
        seed: the seed of the initial weights and of all that training draws.
    """

    channels: tuple[int, ...] = (32, 64, 64)
    features: int = 128
    dropout: float = 0.5
    shift: int = 2
    epochs: int = 8
    learning_rate: float = 3e-3
    seed: int = 0


RECIPE = Recipe()


class Cnn(nn.Module):
    """Strided convolutions, a dense layer of features, and a linear layer of logits."""

    recipe: Recipe
    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Maps images `[B, H, W, C]` to logits `[B, num_classes]` and features `[B, D]`; with a key, drops features."""
        h = x
        for layer, channels in enumerate(self.recipe.channels):
            size = 3 if layer else 4
            h = nn.relu(nn.Conv(channels, (size, size), strides=(2, 2))(h))
        features = nn.relu(nn.Dense(self.recipe.features)(h.reshape(h.shape[0], -1)))
        h = features
        if key is not None:
            kept = jax.random.bernoulli(key, 1 - self.recipe.dropout, h.shape)
            h = jnp.where(kept, h / (1 - self.recipe.dropout), 0.0)
        return nn.Dense(self.num_classes)(h), features


class Classifier:
    """A `Cnn` with its parameters; numpy in and out."""

    def __init__(self, recipe: Recipe, num_classes: int, params: Any):
        module = Cnn(recipe, num_classes)

        def outputs(params: Any, images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            logits, features = module.apply({"params": params}, scaled(images))
            return jnp.argmax(logits, axis=-1), features, jax.nn.softmax(logits)

        self._params, self._outputs = params, jax.jit(outputs)

    def __call__(self, images: np.ndarray) -> Recognised:
        """Returns the classes, the activations below the logits, and the probabilities of classes, of images."""
        return Recognised(*map_in_chunks(lambda x: self._outputs(self._params, x), images, size=TEST_BATCH))


def scaled(images: jax.Array) -> jax.Array:
    """Returns images of either range as float32 `[N, H, W, C]` in [−1, 1]."""
    x = _with_channels(images)
    return x.astype(jnp.float32) / 127.5 - 1.0 if x.dtype == jnp.uint8 else x


def _with_channels(images: Any) -> Any:
    return images if images.ndim == 4 else images[..., None]


def classifier(labelled: Any, recipe: Recipe = RECIPE) -> tuple[Classifier, float]:
    """Reads a classifier of labelled images from the cache, or trains it and puts it there.

    Args:
        labelled: has `train_images` and `test_images`, and `train_labels` and `test_labels`, int `[N]` from 0.
        recipe: the way to train it.

    Returns:
        The classifier, trained on the training images, and its accuracy on the test images, 0 to 1.
    """
    images, test_images = (_with_channels(i) for i in (labelled.train_images, labelled.test_images))
    labels, test_labels = (np.asarray(i, np.int32) for i in (labelled.train_labels, labelled.test_labels))
    num_classes = int(np.max(labels)) + 1
    name = f"classifier-{digest(repr(recipe), images, labels, test_images, test_labels)[:16]}.npz"
    path = cache / name if (cache := user_cache("the classifier is")) else None
    if path and (kept := read_tree(path, "the classifier is trained again")):
        return Classifier(recipe, num_classes, kept["params"]), float(kept["accuracy"])
    params = train(images, labels, num_classes, recipe)
    trained = Classifier(recipe, num_classes, params)
    accuracy = float(np.mean(trained(test_images)[0] == test_labels))
    if path:
        write_tree(path, {"params": params, "accuracy": np.asarray(accuracy)}, "the classifier is not kept")
    return trained, accuracy


def train(images: np.ndarray, labels: np.ndarray, num_classes: int, recipe: Recipe) -> Any:
    """Trains a `Cnn`, and returns its parameters, which are a function of the arguments alone.

    Args:
        images: `[N, …]`.
        labels: int `[N]`, from 0.
        num_classes: how many classes there are.
        recipe: the way to train.
    """
    steps = max(1, recipe.epochs * len(images) // BATCH)
    _log.warning("training a classifier, once: %s steps of about 30 ms on two CPU cores", f"{steps:,}")
    module = Cnn(recipe, num_classes)
    optimizer = optax.adam(
        lambda count: recipe.learning_rate * _one_cycle((count + 1).astype(jnp.float32) / (steps + 1))
    )
    key = jax.random.key(recipe.seed)

    @jax.jit
    def step(state: Any, i: jax.Array, images: jax.Array, labels: jax.Array) -> Any:
        params, opt_state = state
        drawn, moved, dropped = jax.random.split(jax.random.fold_in(key, i), 3)
        chosen = jax.random.randint(drawn, (BATCH,), 0, len(images))
        x = _shifted(moved, scaled(images[chosen]), recipe.shift)

        def loss(params: Any) -> jax.Array:
            logits, _ = module.apply({"params": params}, x, dropped)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[chosen]).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    on_device = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
    params = jax.jit(module.init)(key, scaled(on_device[0][:1]))["params"]
    state = params, optimizer.init(params)
    # Each step is one call: in a loop of XLA's, kernel gradients are many times slower on a CPU.
    for i in range(steps):
        state = step(state, jnp.asarray(i), *on_device)
    return jax.tree.map(np.asarray, state[0])


def _one_cycle(t: jax.Array) -> jax.Array:
    """Returns the share of the peak learning rate at time t, 0 to 1: up in the first quarter, then down to 0."""
    return jnp.minimum(4 * t, (1 - t) / 0.75)


def _shifted(key: jax.Array, x: jax.Array, shift: int) -> jax.Array:
    """Moves each image `[H, W, C]` by at most `shift` pixels either way, over a background of −1."""
    padded = jnp.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)), constant_values=-1.0)
    corners = jax.random.randint(key, (len(x), 2), 0, 2 * shift + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), x.shape[1:]))(padded, corners)
