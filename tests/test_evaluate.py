"""Tables: mean and standard error, the real-data row, the published figures."""

import math

import numpy as np
import pytest

from tests.helpers import tiny
from veegan_jax.config.build import build
from veegan_jax.evaluation.scores import measure, measure_real
from veegan_jax.evaluation.tables import as_row, mean_and_error, table
from veegan_jax.inference.model import Sampler
from veegan_jax.train.compile import initial_state


def test_mean_and_standard_error_by_hand():
    mean, error = mean_and_error([{"kl": 1.0}, {"kl": 2.0}, {"kl": 6.0}])
    assert mean["kl"] == 3
    assert error["kl"] == pytest.approx(math.sqrt((4 + 1 + 9) / 2) / math.sqrt(3))
    assert math.isnan(mean_and_error([{"kl": 1.0}])[1]["kl"])
    assert as_row([{"kl": 1.0}]) == {"kl": 1.0}
    assert set(as_row([{"kl": 1.0}, {"kl": 2.0}])) == {"kl", "kl/se"}


@pytest.fixture(scope="module")
def experiment():
    return build(tiny(data="grid", eval_samples=2500))


def test_table_has_real_data_and_published_rows(experiment):
    sampler = Sampler(experiment)
    params = sampler.trained(initial_state(experiment), 0)
    scores, samples = measure(experiment, sampler, params)
    assert samples.shape == (2500, 2)
    assert set(scores) == set(experiment.columns)
    real = measure_real(experiment, sampler)
    assert real["modes"] == 25
    assert real["prior_gap"] < 0.01
    markdown = table(experiment, {"veegan, step 0": [scores, scores]}, real)
    assert "| veegan, step 0" in markdown
    assert "| real data" in markdown
    assert "| veegan (paper) " in markdown
    assert "24.6" in markdown
    assert "2,500 samples a row" in markdown


def test_reconstruction_of_an_untrained_model_is_near_that_of_knowing_nothing(experiment):
    sampler = Sampler(experiment)
    scores, _ = measure(experiment, sampler, sampler.trained(initial_state(experiment), 0))
    assert 0.8 < scores["reconstruction"] < 2
    assert np.isfinite(scores["prior_gap"])
