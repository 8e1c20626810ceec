"""Pictures are of the right kind, and show what they should."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from veegan_jax.evaluation import plots
from veegan_jax.evaluation.curves import curve, mean_curve

RNG = np.random.default_rng(0)
POINTS = RNG.standard_normal((500, 2)).astype(np.float32)
IMAGES = RNG.uniform(-1, 1, (120, 8, 8, 3)).astype(np.float32)


def test_what_is_drawable():
    assert plots.drawable((2,))
    assert plots.drawable((8, 8, 3))
    assert not plots.drawable((1200,))


@pytest.mark.parametrize("examples", [POINTS, IMAGES, POINTS[:1], IMAGES[:1]])
def test_samples_and_pairs_become_files(tmp_path, examples):
    real = POINTS if examples.ndim == 2 else IMAGES
    plots.save(plots.draw_samples(examples, real, "samples"), tmp_path / "deep" / "samples.png")
    plots.save(plots.draw_pairs(examples, examples), tmp_path / "pairs.png")
    for path in (tmp_path / "deep" / "samples.png", tmp_path / "pairs.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_film_takes_few_frames_of_many_with_the_first_and_the_last():
    figure = plots.draw_film(dict.fromkeys(range(100, 2600, 100), POINTS), POINTS, "pacgan2 on ring")
    titles = [axis.get_title() for axis in figure.axes if axis.axison]
    assert figure.get_suptitle() == "pacgan2 on ring"
    assert len(titles) == plots.FRAMES
    assert (titles[0], titles[-1]) == ("step 100", "step 2,500")


def test_a_damaged_frame_is_named_and_left_out(tmp_path, caplog):
    for step in (10, 20, 30):
        np.save(tmp_path / f"{step:08d}.npy", POINTS)
    for step, content in ((20, (tmp_path / "00000020.npy").read_bytes()[:200]), (30, b"")):
        (tmp_path / f"{step:08d}.npy").write_bytes(content)
    assert list(plots.load_frames(tmp_path)) == [10]
    assert caplog.text.count("is damaged, and left out") == 2


def test_curves_draw_measured_steps_and_the_ceiling():
    rows = [{"step": 1, "loss": 1.0}, {"step": 2, "kl": 0.5}, {"step": 4, "kl": 0.25}, {"step": 5, "kl": None}]
    (axis,) = plots.draw_curves({"model": curve(rows)}, {"kl": 0.1}).axes
    model, ceiling = axis.get_lines()
    assert (list(model.get_xdata()), list(model.get_ydata())) == ([2, 4], [0.5, 0.25])
    assert set(ceiling.get_ydata()) == {0.1}
    assert axis.get_title() == "reverse KL (nats) ↓"
    # A score that real data have none of is drawn by itself, and a loss is not.
    _, axis = plots.draw_curves({"model": curve([{"step": 1, "reconstruction": 0.5, "loss/gen": 3}])}, {"kl": 0.1}).axes
    (model,) = axis.get_lines()
    assert list(model.get_ydata()) == [0.5]


def test_the_rows_of_a_comparison_are_lines_with_a_band_of_the_standard_error():
    seeds = [
        curve([{"step": 10, "kl": 1.0, "modes": 3.0}, {"step": 20, "kl": 0.5}]),
        curve([{"step": 10, "kl": 3.0}, {"step": 20, "kl": 0.7}, {"step": 30, "kl": 0.1}]),
    ]
    mean = mean_curve(seeds)
    assert mean == {"step": [10, 20], "kl": [2.0, pytest.approx(0.6)], "kl/se": [1.0, pytest.approx(0.1)]}
    assert mean_curve(seeds[:1]) == seeds[0]
    axis, _ = plots.draw_curves({"gan": seeds[0], "veegan": mean}, {"kl": 0.0}).axes
    gan, veegan, _ = axis.get_lines()
    assert [line.get_label() for line in axis.get_lines()] == ["gan", "veegan", "real data"]
    assert list(veegan.get_ydata()) == [2.0, pytest.approx(0.6)]
    assert gan.get_color() != veegan.get_color()
    (band,) = axis.collections  # A single seed has no standard error.
    assert {tuple(point) for point in band.get_paths()[0].vertices[:, :2]} >= {(10.0, 1.0), (10.0, 3.0)}


def test_a_score_that_is_in_no_registry_is_drawn_by_its_name():
    (axis,) = plots.draw_curves({"model": curve([])}, {"own": 0.1}).axes
    assert axis.get_title() == "own"


def test_there_is_a_picture_where_nothing_was_measured(tmp_path):
    for figure in (plots.draw_curves({"model": curve([{"step": 1}])}, {}), plots.draw_film({}, POINTS)):
        plots.save(figure, tmp_path / "empty.png")
        assert (tmp_path / "empty.png").read_bytes().startswith(b"\x89PNG")


def test_matplotlib_waits_for_the_first_picture():
    """Every mode of the command line would wait a second for its import."""
    code = "import sys, veegan_jax.cli.commands; print([name for name in sys.modules if name == 'matplotlib'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_samples_are_drawn_where_they_are():
    figure = plots.draw_samples(np.float32([[0.5, 0.5]]), np.float32([[0, 0], [1, 1]]), "one")
    _, samples = figure.axes[0].collections
    np.testing.assert_allclose(samples.get_offsets(), [[0.5, 0.5]])


def test_tiles_keep_every_image_in_its_place():
    images = np.full((4, 2, 2, 1), -1, np.float32)
    images[3] = 1
    (axis,) = plots.draw_pairs(images[:2], images[2:], "ali").axes
    assert axis.get_title() == "ali: x, and G(F(x)) below it"
    (image,) = axis.get_images()
    canvas = np.asarray(image.get_array())
    assert canvas.shape == (5, 5, 3)  # two by two tiles of two pixels, one apart
    np.testing.assert_array_equal(canvas[:2, :2], 0)
    np.testing.assert_array_equal(canvas[3:, 3:], 1)


def test_the_pixels_of_a_saved_figure_are_those_of_its_file(tmp_path):
    pixels = plots.save(plots.draw_samples(POINTS, POINTS, "x"), tmp_path / "samples.png")
    assert pixels.dtype == np.uint8
    with Image.open(tmp_path / "samples.png") as file:
        np.testing.assert_array_equal(np.asarray(file), pixels)
