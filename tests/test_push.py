"""The push of a generator's loss on its samples, where critic and reconstructor are linear, and so known by hand."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.evaluation.push import push
from veegan_jax.inference.model import Sampler

N = 8


def pushed(config):
    """Returns what is found for a method whose critic and reconstructor are linear, with their kernels and samples."""
    config.mlp.disc_hidden, config.mlp.rec_hidden = (), ()
    experiment = build(config)
    objective, sampler = experiment.objective, Sampler(experiment)
    keys = jax.random.split(jax.random.key(0), len(objective.nets))
    params = {
        net: objective.nets[net].init(key, *objective.inputs[net])
        for net, key in zip(objective.nets, keys, strict=True)
    }
    found = push(sampler, experiment, params, sampler.real(N, 3), 0, 5)
    kernels = {
        net: np.asarray(leaf)
        for net in params
        if net != "gen"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params[net])
        if path[-1].key == "kernel"
    }
    return experiment, params, sampler, found, kernels


def test_samples_are_pushed_down_a_linear_critic():
    """With the loss E[D(x)] and D(x) = wᵀx + b, each sample is pushed along −w, however large the batch is."""
    config = tiny("gan")
    config.gan.adversarial_loss = "kl"
    _, params, sampler, found, kernels = pushed(config)
    assert_allclose(found.adversarial, np.tile(-kernels["disc"][:, 0], (N, 1)), rtol=1e-5)
    assert found.whole is None
    assert_allclose(found.x, sampler.generate(params, N, 5)[1])


def test_a_loss_that_saturates_scales_the_push_of_each_sample():
    """With −E[log(1 − σ(D(x)))] the push is −σ(D(x))·w, also where an unrolled method would look ahead."""
    experiment, params, _, found, kernels = pushed(tiny("unrolled"))
    logits = experiment.objective.nets["disc"].apply(params["disc"], found.x)
    slope = np.asarray(jax.nn.sigmoid(logits))
    assert_allclose(found.adversarial, -np.outer(slope, kernels["disc"][:, 0]), rtol=1e-5)


def test_the_whole_loss_of_veegan_adds_the_reconstruction_of_noise():
    """With F(x) = Aᵀx + c, d = ½‖z − F(x)‖² adds λ·A(z − F(x)); D(z, x) adds the part of w that multiplies x."""
    config = tiny("veegan")
    config.veegan.reconstruction_weight = 0.5
    experiment, params, sampler, found, kernels = pushed(config)
    w, z = kernels["disc"][config.latent_dim :, 0], sampler.noise(N, 5)["z"]
    assert_allclose(found.adversarial, np.tile(-w, (N, 1)), rtol=1e-5)
    gap = z - experiment.objective.encode(params, found.x)
    assert_allclose(found.whole - found.adversarial, 0.5 * gap @ kernels["rec"].T, rtol=1e-4, atol=1e-6)


def test_a_critic_of_packs_pushes_each_sample_of_a_pack():
    config = tiny("gan", packing=4)
    config.gan.adversarial_loss = "kl"
    _, _, _, found, kernels = pushed(config)
    # A pack is one of N/4 logits, so that each of its samples counts four times.
    expected = -4 * kernels["disc"][:, 0].reshape(4, 2)
    assert_allclose(found.adversarial, np.tile(expected, (N // 4, 1)), rtol=1e-5)


@pytest.mark.parametrize("method", ["aae", "whitened"])
def test_what_is_not_known_is_not_drawn(method):
    config = tiny("gan" if method == "whitened" else method)
    config.whiten.floor = 0.1 if method == "whitened" else 0.0
    experiment = build(config)
    assert push(Sampler(experiment), experiment, {}, np.zeros((4, 2), np.float32), 0, 0) is None
