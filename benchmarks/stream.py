"""Measures how many images a second a stream reads, from arrays in memory and on disk and from image files.

python -m benchmarks.stream
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from veegan_jax.data.readers.files import open_images
from veegan_jax.data.readers.pixels import ImageSpec
from veegan_jax.data.stream import batches

BATCH, SECONDS = 128, 5.0


def main() -> None:
    """Prints one line for each kind of data."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size, num in ((32, 50_000), (64, 20_000)):
            images = rng.integers(0, 256, (num, size, size, 3), dtype=np.uint8)
            np.save(folder / "x.npy", images)
            np.savez(folder / "x.npz", images)
            (folder / "files").mkdir(exist_ok=True)
            for i, image in enumerate(images[:2000]):
                Image.fromarray(image).save(folder / "files" / f"{i}.png")
            for path in ("x.npz", "x.npy", "files"):
                print(f"{size}×{size}×3, {path}: {speed(str(folder / path), size):,.0f} images/s", flush=True)


def speed(path: str, size: int) -> float:
    """Returns the images a second that a stream of a path reads after its first batch."""
    stream = batches(open_images(path, ImageSpec(size, 3))[0], BATCH)
    next(stream)
    start, taken = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        taken += len(next(stream))
    return taken / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
