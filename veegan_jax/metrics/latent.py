"""Scores of latents, which need no labels: what a reconstructor betrays of collapse, and what inversion finds."""

import numpy as np

from veegan_jax.metrics.base import Column

RECONSTRUCTION = Column(
    name="reconstruction",
    heading="‖z−F(G(z))‖/√K",
    unit="",
    direction="lower",
    definition="How well the reconstructor F inverts the generator G: E[‖z − F(G(z))‖² / K]^½ over latents z of the "
    "prior, of K dimensions. 0 is perfect, and 1 is the score of F = 0.",
    source="Srivastava et al., NIPS 2017 (VEEGAN), section 3",
)
PRIOR_GAP = Column(
    name="prior_gap",
    heading="F(x) from N(0,I)",
    unit="",
    direction="lower",
    definition="The squared 2-Wasserstein distance, per dimension, between N(0, I) and a Gaussian with the moments of "
    "F(x) over real examples x: VEEGAN's own alarm for missing modes. 0 is the prior, and 1 is a single point.",
    source="Srivastava et al., NIPS 2017 (VEEGAN), section 3 and figure 1",
    least=2,
)
IVOM_TRAIN = Column(
    name="ivom_train",
    heading="IvOM, train",
    unit="",
    direction="lower",
    definition="Inference via optimisation: the mean squared error, per pixel on [0, 1], between training images and "
    "the nearest image that the generator makes to each, found by L-BFGS over z.",
    source="Srivastava et al., NIPS 2017 (VEEGAN), section 4.2; Metz et al., ICLR 2017 (unrolled GAN)",
)
IVOM_HELD_OUT = IVOM_TRAIN._replace(
    name="ivom_held_out",
    heading="IvOM, held out",
    definition=IVOM_TRAIN.definition.replace("training images", "held-out images"),
)
# Every objective that has a reconstructor is given the first two, on every source of data; a config that asks for
# inversion gives the last two.
RECONSTRUCTOR_COLUMNS = (RECONSTRUCTION, PRIOR_GAP)
INVERSION_COLUMNS = (IVOM_TRAIN, IVOM_HELD_OUT)


def reconstruction_error(z: np.ndarray, reconstruction: np.ndarray) -> float:
    """Computes the RMS of z − F(G(z)) per latent dimension: E[‖z − F(G(z))‖² / K]^½.

    Args:
        z: latents, `[N, K]`.
        reconstruction: F(G(z)), `[N, K]`.

    Returns:
        0 if every latent is reconstructed, 1 for a reconstructor that answers 0 to everything.
    """
    return float(np.sqrt(np.mean(np.square(z - reconstruction))))


def prior_gap(z: np.ndarray) -> float:
    """Computes how far latents are from N(0, I): the squared 2-Wasserstein distance of Gaussians, per dimension.

    With the mean μ and covariance Σ of `z` it is (‖μ‖² + tr(Σ + I − 2 Σ^½)) / K: 0 for the prior, 1 for a single point
    at the origin, and finite where Σ is singular. Σ is singular where data have fewer dimensions than latents, and the
    score is then at least the share of the dimensions that are missing.

    Args:
        z: latents, `[N, K]`.

    Raises:
        ValueError: if there are fewer than 2, which have no covariance.
    """
    if len(z) < 2:
        raise ValueError(f"a covariance needs 2 latents or more, and there are {len(z)}")
    mean = np.asarray(np.mean(z, axis=0), np.float64)
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.cov(z, rowvar=False)))
    return float((np.sum(np.square(mean)) + np.sum(np.square(np.sqrt(np.maximum(eigenvalues, 0)) - 1))) / z.shape[-1])


def inversion_error(error: np.ndarray) -> float:
    """Computes IvOM from what inversion leaves, for images in [−1, 1].

    Args:
        error: mean squared errors per pixel, `[N]`.

    Returns:
        The mean, per pixel of images in [0, 1], whose squared differences are a quarter.
    """
    return float(np.mean(error)) / 4
