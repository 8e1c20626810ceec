"""FID and KID in the features of the Inception network, for those who have its weights.

`VEEGAN_INCEPTION` names a TorchScript file that maps uint8 images `[B, 3, H, W]` of any size, with the argument
`return_features=True`, to features `[B, D]`: the `inception-2015-12-05.pt` that NVIDIA's StyleGAN2-ADA and later code
measure with (D is 2048). PyTorch reads it. Without the variable there is nothing to score, and no column.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from veegan_jax.metrics.base import Metric
from veegan_jax.metrics.two_sample import frechet_distance, kernel_distance

VARIABLE = "VEEGAN_INCEPTION"
# So many images of each sample are compared, so many at a time.
MOST_COMPARED, BATCH = 10_000, 100


def inception(reference: Any) -> Metric:
    """FID (Heusel et al., NIPS 2017) and KID (Bińkowski et al., ICLR 2018) of images `[N, H, W, C]` in [−1, 1].

    Args:
        reference: uint8 images `[N, H, W, C]` to compare with; None for the real ones that are scored beside.

    Raises:
        ValueError: if the file is not there or is no such network, or PyTorch is not installed.
    """
    path = os.environ.get(VARIABLE, "")
    if not path:
        return Metric(lambda samples, real: {}, (), lambda: "")
    features = _network(Path(path))

    def score(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
        x = features(stored(samples[:MOST_COMPARED]))
        y = features(stored(real[:MOST_COMPARED]) if reference is None else reference[:MOST_COMPARED])
        return {"fid": frechet_distance(x, y), "kid": kernel_distance(x, y)}

    note = f"FID and KID of at most {MOST_COMPARED:,} images (50,000 is usual), in the features of {Path(path).name}"
    return Metric(score, ("fid", "kid"), lambda: note)


def stored(images: np.ndarray) -> np.ndarray:
    """Images in [−1, 1] as uint8."""
    return np.clip(np.round((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _network(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    if not path.is_file():
        raise ValueError(f"{VARIABLE} is {path}; it must be a file, such as inception-2015-12-05.pt, or not be set")
    try:
        import torch
    except ImportError as error:
        raise ValueError(f"{VARIABLE} is {path}; to read it PyTorch must be installed: pip install torch") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of TorchScript as a whole
            network = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise ValueError(
            f"{VARIABLE} is {path}; it must be a TorchScript file ({str(error).splitlines()[0]})"
        ) from error

    def features(images: np.ndarray) -> np.ndarray:
        colours = np.broadcast_to(images, (*images.shape[:3], 3)).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            batches = [
                network(torch.from_numpy(colours[i : i + BATCH].copy()).to(device), return_features=True)
                for i in range(0, len(colours), BATCH)
            ]
        return torch.cat(batches).float().cpu().numpy()

    return features
