"""Drawings of a report, as SVG texts that take the colour of the page's text, in light and dark themes.

Points are drawn as pixels within the SVG, since thousands of them would make the page large.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from veegan_jax.evaluation.curves import Curve
from veegan_jax.metrics import COLUMNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that people with any kind of colour blindness can tell apart (Okabe and Ito, 2008).
REAL, MODEL, MISSED = "#0072B2", "#D55E00", "#CC79A7"
ROWS = (MODEL, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#999999")
# The colour that stands for the colour of the page's text.
INK = "#123456"
STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.framealpha": 0.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
# Pixels an inch of what is drawn as pixels, and the largest number of rows in a legend.
DPI, LEGEND = 110, 10


def drawn(paint: Callable[["Figure"], None], width: float = 4.5, height: float = 4.5, *, tight: bool = True) -> str:
    """Returns as SVG what a function paints on a figure of this size, in inches; it sets the margins if not `tight`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained" if tight else None)
        paint(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = out.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def points(real: np.ndarray, samples: np.ndarray, title: str) -> str:
    """Draws samples `[N, 2]` over real examples `[M, 2]`."""

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, real, title)
        _scatter(axes, real, REAL, "real data", size=9, alpha=0.25)
        _scatter(axes, samples, MODEL, "samples", size=4, alpha=0.6)
        _legend(axes)

    return drawn(paint)


def pairs(x: np.ndarray, reconstructions: np.ndarray) -> str:
    """Draws lines from points x `[N, 2]` to G(F(x))."""

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, x, "x → G(F(x))")
        for a, b in zip(x, reconstructions, strict=True):
            axes.plot([a[0], b[0]], [a[1], b[1]], color=INK, linewidth=0.4, alpha=0.6)
        _scatter(axes, x, REAL, "x, held out", size=9)
        _scatter(axes, reconstructions, MODEL, "G(F(x))", size=9)
        _legend(axes)

    return drawn(paint)


def ways(found: np.ndarray, real: np.ndarray) -> str:
    """Draws the ways of interpolations `[N, steps, 2]` through the plane."""

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, real, f"{len(found)} ways between two latents")
        _scatter(axes, real, REAL, "real data", size=9, alpha=0.25)
        for i, way in enumerate(found):
            label = "G along a way" if i == 0 else None
            axes.plot(way[:, 0], way[:, 1], color=MODEL, linewidth=0.8, marker=".", markersize=3, label=label)
        _legend(axes)

    return drawn(paint)


def missed(x: np.ndarray, found: np.ndarray, samples: np.ndarray) -> str:
    """Draws which points `[N, 2]` are missed, bool `[N]`, over the samples."""

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, x, "Held-out examples with too few samples near them")
        _scatter(axes, samples, MODEL, "samples", size=4, alpha=0.4)
        _scatter(axes, x[~found], REAL, "held out, reached", size=9)
        _scatter(axes, x[found], MISSED, "held out, missed", size=12)
        _legend(axes)

    return drawn(paint)


def critic(real: np.ndarray, logit: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], samples: np.ndarray) -> str:
    """Draws the critic over the plane: how real it takes a point for, and where it pulls the generator's samples.

    Args:
        real: real points `[M, 2]`, by which the part of the plane is chosen.
        logit: from points `[B, 2]` to how real the critic takes them for, `[B]`, and the gradient of that `[B, 2]`.
        samples: the samples at which arrows are drawn, `[N, 2]`.
    """
    low, high = _window(real)
    axis = [np.linspace(low[i], high[i], 80, dtype=np.float32) for i in (0, 1)]
    lattice = np.stack(np.meshgrid(*axis), axis=-1)
    values = logit(lattice.reshape(-1, 2))[0].reshape(lattice.shape[:2])
    pull = logit(samples)[1]

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, real, "How real the critic takes a point for")
        shown = axes.pcolormesh(*axis, values, cmap="cividis", shading="nearest", rasterized=True)
        figure.colorbar(shown, ax=axes, shrink=0.7, label="how real, as the critic has it")
        axes.quiver(*samples.T, *pull.T, color=MODEL, width=0.004, label="where the value grows")
        _legend(axes)

    return drawn(paint, width=5.4)


def latents(z: np.ndarray, mode: np.ndarray | None) -> str:
    """Draws F(x) `[N, K]`, in the plane in which it varies most, against the prior; colours tell modes `[N]` apart."""
    centred = z - z.mean(axis=0)
    if z.shape[1] > 2:  # Rotations keep the prior N(0, I) as it is.
        centred_basis = np.linalg.svd(centred, full_matrices=False)[2][:2]
        z = z @ centred_basis.T

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        if z.shape[1] == 1:
            axes.hist(z[:, 0], bins=60, density=True, color=REAL, alpha=0.7, label="F(x)")
            line = np.linspace(-4, 4, 200)
            axes.plot(line, np.exp(-(line**2) / 2) / np.sqrt(2 * np.pi), color=MODEL, label="prior")
            axes.set(title="F(x) and the prior", xlabel="latent")
        else:
            colours = {"c": mode, "cmap": "viridis"} if mode is not None else {"color": REAL}
            label = "F(x), a colour for each mode" if mode is not None else "F(x)"
            axes.scatter(z[:, 0], z[:, 1], s=6, linewidths=0, alpha=0.7, rasterized=True, label=label, **colours)
            angle = np.linspace(0, 2 * np.pi, 200)
            for radius in (1, 2, 3):
                name = "prior: 1, 2 and 3 std" if radius == 1 else None
                axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=INK, linewidth=0.7, label=name)
            axes.set_aspect("equal")
            axes.set(title="F(x) in the plane in which it varies most", xlabel="first direction", ylabel="second")
        _legend(axes)

    return drawn(paint)


def curve_of(name: str, curves: Mapping[str, Curve], real: float | None) -> str:
    """Draws one score over the steps, a line a run with a band of ± its standard error, and real data.

    Args:
        name: the score.
        curves: the curve of each run by its name.
        real: the score of real data; None if there is none.
    """

    def paint(figure: "Figure") -> None:
        figure.subplots_adjust(left=0.17, right=0.98, top=0.9, bottom=0.3)  # A layout would take half of the time.
        axes = figure.subplots()
        for i, (label, one) in enumerate(curves.items()):
            absent = [None] * len(one["step"])
            rows = zip(one["step"], one.get(name, absent), one.get(f"{name}/se", absent), strict=True)
            kept = [(step, value, error) for step, value, error in rows if value is not None]
            if not kept:
                continue
            steps, values = (np.array([row[i] for row in kept], float) for i in (0, 1))
            errors = np.array([row[2] or 0.0 for row in kept], float)
            colour = ROWS[i % len(ROWS)]
            style = ("-", "--", ":", "-.")[i // len(ROWS) % 4]
            axes.plot(steps, values, color=colour, linestyle=style, marker=".", markersize=4, label=label)
            axes.fill_between(steps, values - errors, values + errors, color=colour, alpha=0.2, linewidth=0)
        if real is not None:
            axes.axhline(real, color=REAL, linestyle="--", linewidth=1, label="real data")
        axes.set(title=COLUMNS[name].title if name in COLUMNS else name)
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel("step", loc="right", labelpad=0)
        if len(curves) + (real is not None) <= LEGEND:
            _legend(axes, below=0.2)

    return drawn(paint, width=3.6, height=2.8, tight=False)


def image_grid(images: np.ndarray, columns: int, scale: int = 1) -> str:
    """Returns images uint8 `[N, H, W, 1 or 3]` as one PNG picture, row by row, two pixels apart, as a data address."""
    from PIL import Image

    n, height, width, channels = images.shape
    rows = -(-n // columns)
    canvas = np.full((rows * (height + 2) - 2, columns * (width + 2) - 2, 4), 0, np.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + 2), (i % columns) * (width + 2)
        canvas[top : top + height, left : left + width, :3] = image if channels == 3 else image[..., :1]
        canvas[top : top + height, left : left + width, 3] = 255
    picture = Image.fromarray(canvas)
    if scale > 1:
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    return _address(picture)


def as_address(png: bytes) -> str:
    """Returns a PNG picture that is on disk as a data address, in a format that takes less."""
    from PIL import Image

    return _address(Image.open(io.BytesIO(png), formats=("PNG",)).convert("RGB"), "WEBP")


def _address(picture: object, kind: str = "PNG") -> str:
    out = io.BytesIO()
    picture.save(out, kind)  # type: ignore[attr-defined]
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def _plane(figure: "Figure", real: np.ndarray, title: str) -> "Axes":
    axes = figure.subplots()
    low, high = _window(real)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=title)
    axes.set_aspect("equal")
    return axes


def _window(real: np.ndarray) -> tuple[Sequence[float], Sequence[float]]:
    """Returns the corners of the part of the plane around real points."""
    low, high = real.min(axis=0), real.max(axis=0)
    margin = 0.2 * (high - low).max() or 1.0
    return low - margin, high + margin


def _scatter(axes: "Axes", x: np.ndarray, colour: str, label: str, size: float, alpha: float = 0.8) -> None:
    axes.scatter(x[:, 0], x[:, 1], s=size, color=colour, alpha=alpha, linewidths=0, label=label, rasterized=True)


def _legend(axes: "Axes", below: float = 0.1) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -below), ncols=2, fontsize=8, frameon=False, markerscale=2)
