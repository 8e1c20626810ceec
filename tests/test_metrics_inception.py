"""FID and KID by a TorchScript network: a small one made here, since Inception's weights are not at hand."""

import warnings

import numpy as np
import pytest

from veegan_jax.errors import UserError
from veegan_jax.evaluation.inception import VARIABLE, inception
from veegan_jax.metrics import METRICS, Features
from veegan_jax.metrics.features import as_uint8
from veegan_jax.metrics.two_sample import frechet_distance, kernel_distance

RNG = np.random.default_rng(0)
FEATURES = Features(classifier=None, inception=inception)


def images(n, channels=3, mean=0.0):
    return np.clip(RNG.normal(mean, 0.3, (n, 4, 4, channels)), -1, 1).astype(np.float32)


@pytest.fixture
def network(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Channels(torch.nn.Module):
        def forward(self, x, return_features: bool = False):
            assert return_features
            assert x.dtype == torch.uint8
            return x.float().flatten(2)[:, :, :3].mean(1)  # the mean of the first three pixels, by channel

    path = tmp_path / "channels.pt"
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.script(Channels()).save(str(path))
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def by_hand(x):
    return as_uint8(x)[:, 0, :3].astype(np.float64).mean(-1)


def test_scores_are_those_of_the_networks_features(network):
    metric, x, real = METRICS["inception"].make(None, FEATURES), images(250), images(250, mean=0.2)
    score = metric.score(x, real)
    np.testing.assert_allclose(score["fid"], frechet_distance(by_hand(x), by_hand(real)), rtol=1e-4)
    np.testing.assert_allclose(score["kid"], kernel_distance(by_hand(x), by_hand(real)), rtol=1e-4)
    assert [column.name for column in metric.columns] == ["fid", "kid"]
    assert "channels.pt" in metric.against(None).note()


def test_stored_images_are_a_reference_and_grey_ones_become_colours(network):
    x, real = images(150, channels=1), images(150, channels=1)
    score = METRICS["inception"].make(as_uint8(real), FEATURES).score(x, None)
    np.testing.assert_allclose(score["fid"], frechet_distance(by_hand(x), by_hand(real)), rtol=1e-4)


def test_images_are_stored_from_0_to_255():
    np.testing.assert_array_equal(as_uint8(np.float32([-1, -0.999, 0.0001, 1])), [0, 0, 128, 255])


def test_without_weights_there_is_no_column(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    metric = METRICS["inception"].make(None, FEATURES)
    assert metric.columns == ()
    assert metric.score(images(4), images(4)) == {}


def test_clear_errors(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent.pt"))
    with pytest.raises(UserError, match=r"VEEGAN_INCEPTION is .*absent.pt; it must be a file"):
        METRICS["inception"].make(None, FEATURES)
    (tmp_path / "text.pt").write_text("no network")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "text.pt"))
    with pytest.raises(UserError, match=r"text.pt; (to read it PyTorch must be|it must be a TorchScript file)"):
        METRICS["inception"].make(None, FEATURES)
