"""Scores of a reconstructor, which need no labels: VEEGAN's idea that it betrays collapse (section 3, figure 1)."""

import numpy as np


def reconstruction_error(z: np.ndarray, reconstruction: np.ndarray) -> float:
    """RMS of z − F(G(z)), per latent dimension: E[‖z − F(G(z))‖² / K]^½; `[N, K]` each.

    0 is perfect; a reconstructor that knows nothing of z and answers 0 scores 1.
    """
    return float(np.sqrt(np.mean(np.square(z - reconstruction))))


def prior_gap(z: np.ndarray) -> float:
    """How far latents `[N, K]` are from N(0, I): the squared 2-Wasserstein distance between Gaussians, per dimension.

    With the mean μ and covariance Σ of `z`: (‖μ‖² + tr(Σ + I − 2 Σ^½)) / K. It is 0 for the prior, 1 for a single
    point at the origin, and finite where Σ is singular, as it is when data have fewer dimensions than latents: then it
    cannot be below the share of the missing ones.
    """
    mean = np.asarray(np.mean(z, axis=0), np.float64)
    eigenvalues = np.linalg.eigvalsh(np.atleast_2d(np.cov(z, rowvar=False)))
    return float((np.sum(np.square(mean)) + np.sum(np.square(np.sqrt(np.maximum(eigenvalues, 0)) - 1))) / z.shape[-1])
