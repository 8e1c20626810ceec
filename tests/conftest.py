"""Several simulated devices, strict promotion, and no warning unnoticed, in every test."""

from typing import Any

import jax
import optax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a test writes lands in its own folder, whatever default it leaves unset."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture(autouse=True)
def _lenient_optax(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets optax's Adam, and nothing else, off strict promotion: it raises a float to an integer power."""
    strict = optax.tree.bias_correction

    def lenient(*args: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return strict(*args)

    monkeypatch.setattr(optax.tree, "bias_correction", lenient)
