"""Pictures of a run, as PNG files."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from veegan_jax.storage.files import replacing

_log = logging.getLogger("veegan_jax")
GRID = 10  # images a side
PAIRS = 8  # rows of reconstructions
REAL_SHOWN = 2500  # real points that stand for the density
FRAMES = 8  # pictures in a film strip


def drawable(shape: tuple[int, ...]) -> bool:
    """Whether there is a picture for examples of this shape: points of the plane, or images."""
    return shape == (2,) or len(shape) == 3


def draw_samples(samples: np.ndarray, real: np.ndarray, title: str) -> Figure:
    """Samples beside real data: points over the real density, or a grid of images above a row of real ones."""
    if samples.shape[1:] == (2,):
        figure = Figure(figsize=(5, 5), layout="constrained")
        _density(figure.subplots(), samples, real, title)
        return figure
    side = min(GRID, int(len(samples) ** 0.5))
    figure = Figure(figsize=(6, 7.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=[side, 1])
    _tiles(top, samples[: side * side], side, title)
    _tiles(bottom, real[:side], side, "real, held out")
    return figure


def draw_film(frames: Mapping[int, np.ndarray], real: np.ndarray) -> Figure:
    """Points of the plane over the real density, at up to `FRAMES` steps of a run."""
    steps = sorted(frames)
    chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, FRAMES).round().astype(int))]
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(3 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(chosen) :]:
        axis.axis("off")
    for axis, step in zip(axes, chosen, strict=False):
        _density(axis, frames[step], real, f"step {step:,}")
    return figure


def draw_curves(rows: Sequence[Mapping[str, float]], ceiling: Mapping[str, float]) -> Figure:
    """Each score of a run over its steps, beside what real data score.

    Args:
        rows: of `metrics.jsonl`, `{"step": …, score: …}`; those without a measurement are passed over.
        ceiling: the real-data row; its names are the scores drawn.
    """
    figure = Figure(figsize=(3.4 * len(ceiling), 2.8), layout="constrained")
    for axis, (name, best) in zip(figure.subplots(1, len(ceiling), squeeze=False)[0], ceiling.items(), strict=True):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        axis.plot(*zip(*points, strict=True) if points else ([], []), color="tab:red", marker=".", label="model")
        axis.axhline(best, color="tab:blue", linestyle="--", label="real data")
        axis.set(title=name, xlabel="step")
        axis.locator_params(axis="x", nbins=4)
        axis.ticklabel_format(axis="y", useOffset=False)
    figure.axes[0].legend(fontsize="small")
    return figure


def draw_pairs(x: np.ndarray, reconstructions: np.ndarray) -> Figure:
    """Real examples above what the model makes of them, x → G(F(x)); in the plane, joined by a line."""
    if x.shape[1:] == (2,):
        figure = Figure(figsize=(5, 5), layout="constrained")
        axis = figure.subplots()
        _density(axis, reconstructions, x, "x (blue) → G(F(x)) (red)")
        for a, b in zip(x[:200], reconstructions[:200], strict=True):
            axis.plot([a[0], b[0]], [a[1], b[1]], color="0.5", linewidth=0.4)
        return figure
    columns = min(GRID, len(x))
    rows = min(PAIRS // 2, len(x) // columns)
    stacked = [part[row * columns : (row + 1) * columns] for row in range(rows) for part in (x, reconstructions)]
    figure = Figure(figsize=(6, 0.7 * 2 * rows), layout="constrained")
    _tiles(figure.subplots(), np.concatenate(stacked), columns, "x, and G(F(x)) below it")
    return figure


def draw_missing(x: np.ndarray, reached: Mapping[str, np.ndarray]) -> Figure:
    """The real examples that a generator misses most, and how near it comes to them.

    Args:
        x: real examples, the one that is reached worst first, `[N, …]`.
        reached: what is made of each, in one or more ways, `{heading: [N, …]}`.
    """
    if x.shape[1:] == (2,):
        figure = Figure(figsize=(5 * len(reached), 5), layout="constrained")
        for axis, (heading, made) in zip(
            figure.subplots(1, len(reached), squeeze=False)[0], reached.items(), strict=True
        ):
            _density(axis, made, x, f"x (blue) → {heading} (red)")
            for a, b in zip(x, made, strict=True):
                axis.plot([a[0], b[0]], [a[1], b[1]], color="0.5", linewidth=0.4)
        return figure
    rows = {"real examples, reached worst first": x, **reached}
    figure = Figure(figsize=(6, 0.9 * len(rows)), layout="constrained")
    for axis, (heading, made) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        _tiles(axis, made[:GRID], min(GRID, len(x)), heading)
    return figure


def pixels(figure: Figure) -> np.ndarray:
    """The figure as uint8 `[H, W, 3]`."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG.

    Raises:
        UserError: if it cannot be written.
    """
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")


def _density(axis: Axes, samples: np.ndarray, real: np.ndarray, title: str) -> None:
    low, high = real.min(axis=0), real.max(axis=0)
    margin = 0.2 * (high - low).max() or 1.0  # a single point has no extent
    axis.scatter(real[:, 0], real[:, 1], s=8, color="tab:blue", alpha=0.2, linewidths=0)
    axis.scatter(samples[:2500, 0], samples[:2500, 1], s=2, color="tab:red", alpha=0.5, linewidths=0)
    axis.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), title=title)
    axis.set_aspect("equal")
    axis.tick_params(labelsize="small")


def _tiles(axis: Axes, images: np.ndarray, columns: int, title: str) -> None:
    """Images `[N, H, W, C]` in [−1, 1] on a canvas, row by row, one pixel apart; 1 or 3 channels are shown."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    canvas = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for i, image in enumerate(np.clip((images + 1) / 2, 0, 1)):
        y, x = (i // columns) * (height + 1), (i % columns) * (width + 1)
        canvas[y : y + height, x : x + width] = image if channels == 3 else image[..., :1]
    axis.imshow(canvas, interpolation="nearest")
    axis.set_title(title, fontsize="medium")
    axis.axis("off")


def load_frames(folder: Path) -> dict[int, np.ndarray]:
    """The samples stored by step, `{step: [N, …]}`, from `folder/{step}.npy`; a damaged file is named, and left out."""
    frames = {}
    for path in sorted(folder.glob("*.npy")):
        try:
            frames[int(path.stem)] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            _log.warning("%s is damaged, and left out: %s", path, error)
    return frames
