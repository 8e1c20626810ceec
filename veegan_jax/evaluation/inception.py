"""The Inception network, for those who have its weights.

`VEEGAN_INCEPTION` names a TorchScript file that maps uint8 images `[B, 3, H, W]` of any size, with the argument
`return_features=True`, to features `[B, D]`: the `inception-2015-12-05.pt` that NVIDIA's StyleGAN2-ADA and later code
measure with (D is 2048). PyTorch reads it.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from veegan_jax.errors import UserError, one_line
from veegan_jax.metrics.base import FeatureNetwork
from veegan_jax.ops.chunks import map_in_chunks
from veegan_jax.paths import path_of_variable

VARIABLE = "VEEGAN_INCEPTION"
BATCH = 100


def inception() -> FeatureNetwork | None:
    """Reads the network that `VEEGAN_INCEPTION` names; None if the variable is not set.

    Raises:
        UserError: if the file is not there or is no such network, or PyTorch is not installed.
    """
    path = path_of_variable(VARIABLE)
    return FeatureNetwork(path.name, _features(path)) if path else None


def _features(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    if not path.is_file():
        raise UserError(f"{VARIABLE} is {path}; it must be a file, such as inception-2015-12-05.pt, or not be set")
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{VARIABLE} is {path}; to read it PyTorch must be installed: pip install torch") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        # PyTorch warns that TorchScript as a whole is deprecated.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            network = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise UserError(f"{VARIABLE} is {path}; it must be a TorchScript file ({one_line(error)})") from error

    def batch(images: np.ndarray) -> np.ndarray:
        colours = np.broadcast_to(images, (*images.shape[:3], 3)).transpose(0, 3, 1, 2)
        with torch.inference_mode():
            features = network(torch.from_numpy(colours.copy()).to(device), return_features=True)
        return features.float().cpu().numpy()

    return lambda images: map_in_chunks(batch, images, size=BATCH)
