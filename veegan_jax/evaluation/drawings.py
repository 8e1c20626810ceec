"""Drawings of a report, as SVG texts that take the colour of the page's text, in light and dark themes.

Points are drawn as pixels within the SVG, since thousands of them would make the page large.
"""

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from veegan_jax.evaluation.curves import Curve
from veegan_jax.metrics import COLUMNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that people with any kind of colour blindness can tell apart (Okabe and Ito, 2008).
REAL, MODEL, MISSED, WHOLE = "#0072B2", "#D55E00", "#CC79A7", "#009E73"
# Rows have a colour and a mark each, so that no row is known by its colour alone.
ROWS, MARKS = (MODEL, WHOLE, MISSED, "#E69F00", "#56B4E9", "#999999"), "os^DvPX"
# The colour that stands for the colour of the page's text.
INK = "#123456"
REAL_LINE: dict[str, Any] = {"color": REAL, "linestyle": "--", "linewidth": 1.5, "label": "real data"}
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
PATH = re.compile(r'\sd="[^"]*"')
# Pixels an inch of what is drawn as pixels, and the largest number of rows in the legend of a curve.
DPI, LEGEND = 110, 4
# The longest arrow, as a share of the plane that is drawn, and the share of all arrows that are no longer.
LONGEST, SHORTER = 0.12, 95
# The largest number of modes that a scale names one by one.
NAMED_MODES = 12


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
    # Paths have six digits behind the point, and four of them make a page a third larger.
    short = PATH.sub(lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg[svg.index("<svg") :])
    return short.replace(INK, "currentColor")


def points(real: np.ndarray, samples: np.ndarray, title: str) -> str:
    """Draws samples `[N, 2]` over real examples `[M, 2]`."""

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, real, title)
        _scatter(axes, real, REAL, "real data", size=9, alpha=0.25)
        _scatter(axes, samples, MODEL, "samples", size=4, alpha=0.6)
        _legend(axes)

    return drawn(paint)


def pairs(x: np.ndarray, reconstructions: np.ndarray, real: np.ndarray, to: str = "G(F(x))") -> str:
    """Draws lines from points x `[N, 2]` to what the generator makes of them, which has a name; over real points."""

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, real, f"x → {to}")
        if real is not x:
            _scatter(axes, real, REAL, "real data", size=4, alpha=0.15)
        for a, b in zip(x, reconstructions, strict=True):
            axes.plot([a[0], b[0]], [a[1], b[1]], color=INK, linewidth=0.4, alpha=0.6)
        _scatter(axes, x, REAL, "x, held out", size=9)
        _scatter(axes, reconstructions, MODEL, to, size=9)
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
        _quiver(axes, samples, {"where the value grows": pull}, (MODEL,))
        _legend(axes)

    return drawn(paint, width=5.4)


def pushes(real: np.ndarray, samples: np.ndarray, arrows: Mapping[str, np.ndarray]) -> str:
    """Draws samples `[N, 2]` over real points `[M, 2]`, with arrows `{label: [N, 2]}` that all have one scale."""

    def paint(figure: "Figure") -> None:
        axes = _plane(figure, real, "Where the generator's loss pushes its samples")
        _scatter(axes, real, REAL, "real data", size=9, alpha=0.25)
        _scatter(axes, samples, MODEL, "samples G(z)", size=12)
        _quiver(axes, samples, arrows, (INK, WHOLE))
        _legend(axes)

    return drawn(paint, width=5.4)


def latents(z: np.ndarray, mode: np.ndarray | None, number: int = 0, what: str = "mode") -> str:
    """Draws F(x) in the plane in which it varies most, against the prior.

    Args:
        z: F(x), `[N, K]`.
        mode: the mode of each, int `[N]` from 0 to `number` − 1, which has a colour; None where none is known.
        number: the number of modes.
        what: what a mode is called.
    """
    centred = z - z.mean(axis=0)
    if z.shape[1] > 2:  # Rotations keep the prior N(0, I) as it is.
        centred_basis = np.linalg.svd(centred, full_matrices=False)[2][:2]
        z = z @ centred_basis.T
    import matplotlib
    from matplotlib.colors import ListedColormap

    def paint(figure: "Figure") -> None:
        axes = figure.subplots()
        if z.shape[1] == 1:
            axes.hist(z[:, 0], bins=60, density=True, color=REAL, alpha=0.7, label="F(x)")
            line = np.linspace(-4, 4, 200)
            axes.plot(line, np.exp(-(line**2) / 2) / np.sqrt(2 * np.pi), color=MODEL, label="prior")
            axes.set(title="F(x) and the prior", xlabel="latent")
        else:
            points: dict[str, Any] = {"s": 6, "linewidths": 0, "alpha": 0.7, "rasterized": True}
            if mode is None:
                axes.scatter(z[:, 0], z[:, 1], color=REAL, label="F(x)", **points)
            else:
                label = f"F(x), a colour for each {what}"
                points |= {"vmin": -0.5, "vmax": number - 0.5}
                # The ends of the scale would not be seen on a dark page, and on a light one.
                colours = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.25, 0.9, number)))
                shown = axes.scatter(z[:, 0], z[:, 1], c=mode, cmap=colours, label=label, **points)
                ticks = range(number) if number <= NAMED_MODES else None
                figure.colorbar(shown, ax=axes, shrink=0.7, label=what, ticks=ticks)
            angle = np.linspace(0, 2 * np.pi, 200)
            for radius in (1, 2, 3):
                name = "prior: 1, 2 and 3 std" if radius == 1 else None
                axes.plot(radius * np.cos(angle), radius * np.sin(angle), color=INK, linewidth=0.7, label=name)
            axes.set_aspect("equal")
            axes.set(title="F(x) in the plane in which it varies most", xlabel="first direction", ylabel="second")
        _legend(axes)

    return drawn(paint, width=4.5 if mode is None else 5.2)


def curve_of(name: str, curves: Mapping[str, Curve], real: Sequence[float]) -> str:
    """Draws one score over the steps, a line a run with a band of ± its standard error, and real data.

    Args:
        name: the score.
        curves: the curve of each run by its name.
        real: the score of each draw of real data: a line is its mean, and a band the range of several.
    """

    def paint(figure: "Figure") -> None:
        figure.subplots_adjust(left=0.17, right=0.98, top=0.9, bottom=0.3)  # A layout would take half of the time.
        axes = figure.subplots()
        for i, (label, one) in enumerate(curves.items()):
            if not (kept := measured(one, name)):
                continue
            steps, values, errors = np.array(kept, float).T
            axes.plot(steps, values, label=label, **_line(i))
            axes.fill_between(steps, values - errors, values + errors, color=_line(i)["color"], alpha=0.2, linewidth=0)
        if len(real):
            axes.axhline(float(np.mean(real)), **REAL_LINE)
        if len(real) > 1:
            axes.axhspan(min(real), max(real), color=REAL, alpha=0.2, linewidth=0)
        # A title whose place is given need not be kept from the ticks, which takes a fifth of the time.
        axes.set_title(COLUMNS[name].title if name in COLUMNS else name, y=1.02)
        axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel("step", loc="right", labelpad=0)
        if len(curves) <= LEGEND:
            _legend(axes, below=0.2)

    return drawn(paint, width=3.6, height=2.8, tight=False)


def key(names: Sequence[str]) -> str:
    """Draws the legend of many rows by itself, with that of real data."""

    def paint(figure: "Figure") -> None:
        from matplotlib.lines import Line2D

        lines = [Line2D([], [], label=name, **_line(i)) for i, name in enumerate(names)]
        figure.legend(handles=[*lines, Line2D([], [], **REAL_LINE)], loc="center", frameon=False)

    return drawn(paint, width=3.6, height=max(2.8, 0.21 * (len(names) + 2)), tight=False)


def measured(one: Curve, name: str) -> list[tuple[float, float, float]]:
    """Returns the steps at which a score was measured, its values, and their standard errors, which may be 0."""
    absent = [None] * len(one["step"])
    rows = zip(one["step"], one.get(name, absent), one.get(f"{name}/se", absent), strict=True)
    return [(step, value, error or 0.0) for step, value, error in rows if step is not None and value is not None]


def _line(row: int) -> dict[str, Any]:
    """Returns how the curve of a row is drawn."""
    style = ("-", "--", ":", "-.")[row // len(ROWS) % 4]
    return {"color": ROWS[row % len(ROWS)], "linestyle": style, "marker": MARKS[row % len(MARKS)], "markersize": 3}


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


def _quiver(axes: "Axes", at: np.ndarray, arrows: Mapping[str, np.ndarray], colours: Sequence[str]) -> None:
    """Draws arrows `{label: [N, 2]}` at points `[N, 2]`, in proportion to one another but for the longest."""
    norms = np.concatenate([np.linalg.norm(arrow, axis=1) for arrow in arrows.values()])
    unit = np.percentile(norms, SHORTER) or 1.0
    longest = LONGEST * max(np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim()))
    straight: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004}
    for colour, (label, arrow) in zip(colours, arrows.items(), strict=False):
        scaled = longest * arrow / np.maximum(np.linalg.norm(arrow, axis=1, keepdims=True), unit)
        axes.quiver(*at.T, *scaled.T, color=colour, label=label, **straight)


def _legend(axes: "Axes", below: float = 0.1) -> None:
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -below), "ncols": 2, "markerscale": 2}
    for handle in axes.legend(fontsize=8, frameon=False, **place).legend_handles:
        if handle:
            handle.set_alpha(1.0)  # What is faint where there is much of it would not be seen alone.
