"""A contrastive bound on the mutual information I(z; x_g), which may stand in the place of VEEGAN's Gaussian d."""

from typing import NamedTuple

import jax

from veegan_jax.losses.adversarial import logistic
from veegan_jax.models.network import Network
from veegan_jax.objectives.base import Noise, Params


class Contrast(NamedTuple):
    """The network T, which tells a latent that x_g comes from, z, from another one of the prior, z̃ (MEG).

    T and the generator both minimise −E[log σ(T(z, x_g))] − E[log(1 − σ(T(z̃, x_g)))]. It is 2 log 2 less a lower bound
    of 2 JSD(p(z, x_g) ‖ p(z) p(x_g)), and reaches the bound where T is the log ratio of the two densities (Kumar et al.
    2019, arXiv 1901.08508, with the estimator of Hjelm et al., ICLR 2019). MEG takes z̃ from the batch, shuffled. Here
    z̃ is a draw of its own, which has the same distribution, and needs no other examples.

    Attributes:
        nets: T by its name, `{"info": Network}`; empty for a method without it.
        latent_dim: K.
        shape: The shape of one example of the data.
    """

    nets: dict[str, Network]
    latent_dim: int
    shape: tuple[int, ...]

    @property
    def inputs(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """The shapes of one example of each input of T, z and x."""
        return dict.fromkeys(self.nets, ((self.latent_dim,), self.shape))

    @property
    def noise(self) -> dict[str, int]:
        """The dimensions of z̃, a standard normal."""
        return {"z_mixed": self.latent_dim} if self.nets else {}

    def losses(self, params: Params, noise: Noise, x_g: jax.Array) -> dict[str, jax.Array]:
        """Computes T's loss `{"contrast": float32 []}` of the noise that made x_g `[B, …]`; nothing without T."""
        if not self.nets:
            return {}
        matched, mixed = (self.nets["info"].apply(params["info"], noise[z], x_g) for z in ("z", "z_mixed"))
        return {"contrast": logistic(matched, mixed)}
