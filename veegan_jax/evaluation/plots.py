"""Pictures of a run, as PNG files. Matplotlib is imported when a picture is drawn, since its import takes a second."""

import functools
import itertools
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

import numpy as np

from veegan_jax.errors import UserError, check_installed
from veegan_jax.evaluation.curves import Curve
from veegan_jax.metrics import COLUMNS
from veegan_jax.storage.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger("veegan_jax")
GRID = 10  # images a side
PAIRS = 8  # rows of reconstructions
CURVES = 4  # curves side by side
# The colours of models. Blue is real data in all pictures.
COLORS = [f"tab:{name}" for name in ("red", "orange", "green", "purple", "brown", "pink", "gray", "olive", "cyan")]
REAL_SHOWN = 2500  # points of the plane that are shown; real ones stand for the density
LINES = 200  # lines between points and their reconstructions
FRAMES = 8  # pictures in a film strip


def _plain(draw: Callable[P, T]) -> Callable[P, T]:
    """Lets a function draw in matplotlib's own style, since a user's style may want a LaTeX that is absent."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **options: P.kwargs) -> T:
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            return draw(*args, **options)

    return drawn


@functools.cache
def installed() -> bool:
    """Returns whether pictures can be drawn; the first call warns if they cannot, since Matplotlib is not installed."""
    try:
        check_installed("matplotlib", "report", "drawing pictures")
    except UserError as error:
        _log.warning("no pictures are drawn: %s", error)
        return False
    return True


def drawable(shape: tuple[int, ...]) -> bool:
    """Returns whether examples of this shape are drawn: points or images, if Matplotlib is installed."""
    return (shape == (2,) or len(shape) == 3) and installed()


def num_drawn(num: int, shape: tuple[int, ...]) -> int:
    """Returns how many of `num` samples `draw_samples` draws where it draws samples alone, or points."""
    return min(num, REAL_SHOWN if shape == (2,) else GRID * GRID)


@_plain
def draw_samples(samples: np.ndarray, real: np.ndarray | None, title: str) -> "Figure":
    """Draws samples beside real data: points over the real density, or a grid of images above a row of real ones.

    Args:
        samples: float32 `[N, 2]`, or images `[N, H, W, C]` in [−1, 1].
        real: held-out real examples, of the same shape; None to draw images alone.
        title: the title of the figure.
    """
    if samples.shape[1:] == (2,):
        assert real is not None
        figure = _figure(figsize=(5, 5))
        _density(figure.subplots(), samples, real, title)
        return figure
    if real is None:
        columns = min(GRID, math.ceil(len(samples) ** 0.5))
        figure = _figure(figsize=(6, 6.2))
        _tiles(figure.subplots(), samples[: num_drawn(len(samples), samples.shape[1:])], columns, title)
        return figure
    side = min(GRID, int(len(samples) ** 0.5))
    figure = _figure(figsize=(6, 7.2))
    top, bottom = figure.subplots(2, 1, height_ratios=[side, 1])
    _tiles(top, samples[: side * side], side, title)
    _tiles(bottom, real[:side], side, "real, held out")
    return figure


@_plain
def draw_film(frames: Mapping[int, np.ndarray], real: np.ndarray, title: str = "") -> "Figure":
    """Draws points of the plane over the real density, at up to `FRAMES` steps of a run.

    Args:
        frames: samples by step, `{step: [N, 2]}`; where there are none, the figure is empty.
        real: held-out real examples, `[M, 2]`.
        title: the title of the figure; empty for none.
    """
    if not frames:
        return _figure(figsize=(3, 3.2))
    steps = sorted(frames)
    chosen = [steps[i] for i in np.unique(np.linspace(0, len(steps) - 1, FRAMES).round().astype(int))]
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = _figure(figsize=(3 * columns, 3.2 * rows))
    if title:
        figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(chosen) :]:
        axis.axis("off")
    for axis, step in zip(axes, chosen, strict=False):
        _density(axis, frames[step], real, f"step {step:,}")
    return figure


@_plain
def draw_curves(curves: Mapping[str, Curve], ceiling: Mapping[str, float]) -> "Figure":
    """Draws each score over the steps: one line a run or a row, with a band of ± its standard error, and real data.

    Args:
        curves: the curve of each line, by the line's name; steps without a measurement of a score are passed over.
        ceiling: the real-data row. Its scores are drawn, and all others that are columns of tables, without a line of
            real data. Where there are none, the figure is empty.
    """
    names = dict.fromkeys((*ceiling, *(name for name in COLUMNS if any(name in curve for curve in curves.values()))))
    columns = min(CURVES, max(len(names), 1))
    rows_of_axes = max(math.ceil(len(names) / columns), 1)
    width, height = 3.4 * columns, 2.8 * rows_of_axes
    # A layout engine would take three quarters of the time, since it measures every text of every axis twice.
    figure = _figure(figsize=(width, height), layout=None)
    margins = {"left": 0.7 / width, "right": 1 - 0.15 / width, "bottom": 0.5 / height, "top": 1 - 0.4 / height}
    figure.subplots_adjust(**margins, wspace=0.3, hspace=0.5)
    for i, name in enumerate(names, 1):
        axis = figure.add_subplot(rows_of_axes, columns, i)
        for (label, one), color in zip(curves.items(), itertools.cycle(COLORS), strict=False):
            _line(axis, one, name, label, color)
        if name in ceiling:
            axis.axhline(ceiling[name], color="tab:blue", linestyle="--", label="real data")
        axis.set(title=COLUMNS[name].title if name in COLUMNS else name, xlabel="step")
        axis.locator_params(axis="x", nbins=4)
        axis.ticklabel_format(axis="y", useOffset=False)
    if figure.axes:
        figure.axes[0].legend(fontsize="small" if len(curves) < 4 else "xx-small")
    return figure


def _line(axis: "Axes", one: Curve, name: str, label: str, color: str) -> None:
    """Draws one score over the steps at which it was measured, with a band of ± its standard error if that is known."""
    absent = [None] * len(one["step"])
    values, errors = one.get(name, absent), one.get(f"{name}/se", absent)
    points = [
        (step, value, error)
        for step, value, error in zip(one["step"], values, errors, strict=True)
        if step is not None and value is not None
    ]
    steps, means = [step for step, _, _ in points], [value for _, value, _ in points]
    axis.plot(steps, means, color=color, marker=".", markersize=4, label=label)
    bands = [(step, value - error, value + error) for step, value, error in points if error is not None]
    if bands:
        x, low, high = zip(*bands, strict=True)
        axis.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


@_plain
def draw_pairs(x: np.ndarray, reconstructions: np.ndarray, name: str = "") -> "Figure":
    """Draws real examples and their reconstructions G(F(x)): images one above the other, points joined by a line.

    Args:
        x: real examples, `[N, 2]` or images `[N, H, W, C]` in [−1, 1].
        reconstructions: G(F(x)) of each example, in the shape of `x`.
        name: what the title calls the model; empty for nothing.
    """
    whose = f"{name}: " if name else ""
    if x.shape[1:] == (2,):
        figure = _figure(figsize=(5, 5))
        _arrows(figure.subplots(), x, reconstructions, "G(F(x))", LINES, whose)
        return figure
    columns = min(GRID, len(x))
    rows = min(PAIRS // 2, len(x) // columns)
    stacked = [part[row * columns : (row + 1) * columns] for row in range(rows) for part in (x, reconstructions)]
    figure = _figure(figsize=(6, 0.7 * 2 * rows))
    _tiles(figure.subplots(), np.concatenate(stacked), columns, f"{whose}x, and G(F(x)) below it")
    return figure


@_plain
def draw_ways(ways: np.ndarray, real: np.ndarray | None) -> "Figure":
    """Draws examples along interpolations: a row of images each, or a line through the plane over the real density.

    Args:
        ways: `[N, steps, 2]`, or images `[N, steps, H, W, C]` in [−1, 1].
        real: real points `[M, 2]`; None for images.
    """
    if ways.shape[2:] == (2,):
        assert real is not None
        figure = _figure(figsize=(5, 5))
        axis = figure.subplots()
        shown = ways[:LINES]
        _density(axis, shown.reshape(-1, 2), real, f"{len(shown):,} of {len(ways):,} ways between two samples")
        for way in shown:
            axis.plot(way[:, 0], way[:, 1], color="0.5", linewidth=0.4)
        return figure
    shown, steps = ways[:GRID], ways.shape[1]
    figure = _figure(figsize=(6, 6 * len(shown) / steps + 0.3))
    of = f"{len(shown)} of {len(ways):,}" if len(shown) < len(ways) else f"{len(ways)}"
    _tiles(figure.subplots(), shown.reshape(-1, *ways.shape[2:]), steps, f"{of} ways between two samples, a row each")
    return figure


@_plain
def draw_missing(x: np.ndarray, reached: Mapping[str, np.ndarray]) -> "Figure":
    """Draws the real examples that a generator misses most, and how near it comes to them.

    Args:
        x: real examples, the worst reached first, `[N, 2]` or images `[N, H, W, C]` in [−1, 1].
        reached: one or more reconstructions of each, `{heading: [N, …]}`.
    """
    if x.shape[1:] == (2,):
        figure = _figure(figsize=(5 * len(reached), 5))
        axes = figure.subplots(1, len(reached), squeeze=False)[0]
        for axis, (heading, reconstruction) in zip(axes, reached.items(), strict=True):
            _arrows(axis, x, reconstruction, heading, len(x))
        return figure
    rows = {"real examples, reached worst first": x, **reached}
    figure = _figure(figsize=(6, 0.9 * len(rows)))
    for axis, (heading, images) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        _tiles(axis, images[:GRID], min(GRID, len(x)), heading)
    return figure


@_plain
def draw_regions(
    x: np.ndarray, missed: np.ndarray, beside: Mapping[str, np.ndarray], regions: Mapping[str, int]
) -> "Figure":
    """Draws which real examples a generator misses: points over its samples, or images above what is nearest to them.

    Args:
        x: real examples, `[N, 2]` or images `[N, H, W, C]` in [−1, 1].
        missed: which points are missed, bool `[N]`; images do not need it.
        beside: the generator's samples, `{heading: [M, 2]}`, where `x` are points; else the rows of images to draw.
        regions: the regions that are not covered, by the position of one of their points.
    """
    if x.shape[1:] == (2,):
        ((heading, samples),) = beside.items()
        figure = _figure(figsize=(5, 5))
        axis = figure.subplots()
        _density(axis, samples, x, f"real (blue; missed: black) and {heading} (red)")
        axis.scatter(x[missed, 0], x[missed, 1], s=6, color="black", linewidths=0, zorder=3)
        for name, position in regions.items():
            axis.annotate(name.split(" at ")[0], x[position], fontsize="x-small", zorder=4)
        return figure
    figure = _figure(figsize=(6, 0.9 * len(beside)))
    for axis, (heading, images) in zip(figure.subplots(len(beside), 1), beside.items(), strict=True):
        _tiles(axis, images[:GRID], min(GRID, len(x)), heading)
    return figure


@_plain
def save(figure: "Figure", path: Path, *, shared: bool = False) -> np.ndarray:
    """Writes the figure as a PNG file, and returns its pixels, uint8 `[H, W, 3]`.

    The figure is drawn once, for the file and for TensorBoard; `shared` is that of `replacing`.

    Raises:
        UserError: if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    with replacing(path, shared=shared) as file:
        Image.fromarray(pixels).save(file, "PNG")
    return pixels


def _figure(figsize: tuple[float, float], layout: Literal["constrained"] | None = "constrained") -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=figsize, dpi=120, layout=layout)


def _arrows(
    axis: "Axes", x: np.ndarray, reconstructions: np.ndarray, heading: str, lines: int, whose: str = ""
) -> None:
    """Draws points `[N, 2]` and their reconstructions over one another, and joins the first few by lines."""
    _density(axis, reconstructions, x, f"{whose}x (blue) → {heading} (red)")
    for a, b in zip(x[:lines], reconstructions[:lines], strict=True):
        axis.plot([a[0], b[0]], [a[1], b[1]], color="0.5", linewidth=0.4)


def _density(axis: "Axes", samples: np.ndarray, real: np.ndarray, title: str) -> None:
    """Draws samples `[N, 2]` over the density of real examples `[M, 2]`."""
    low, high = real.min(axis=0), real.max(axis=0)
    margin = 0.2 * (high - low).max() or 1.0  # a single point has no extent
    axis.scatter(real[:, 0], real[:, 1], s=8, color="tab:blue", alpha=0.2, linewidths=0)
    axis.scatter(samples[:REAL_SHOWN, 0], samples[:REAL_SHOWN, 1], s=2, color="tab:red", alpha=0.5, linewidths=0)
    axis.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), title=title)
    axis.set_aspect("equal")
    axis.tick_params(labelsize="small")


def _tiles(axis: "Axes", images: np.ndarray, columns: int, title: str) -> None:
    """Draws images `[N, H, W, C]` in [−1, 1] row by row, one pixel apart; 3 channels are colours, else one is shown."""
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
    """Reads the samples stored as `folder/{step}.npy`, `{step: [N, …]}`; a damaged file is left out with a warning."""
    frames = {}
    for path in sorted(folder.glob("*.npy")):
        try:
            frames[int(path.stem)] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            _log.warning("%s is damaged, and left out: %s", path, error)
    return frames
