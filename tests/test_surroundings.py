"""What a run takes from its surroundings: streams, signals, threads, paths, and the settings of JAX and its libraries.

docs/surroundings.md is the list. Rows of tests/test_bad_input.py show what the program says of what it refuses.
"""

import asyncio
import logging
import os
import pwd
import re
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import jax
import matplotlib
import ml_dtypes
import numpy as np
import pytest

from tests.helpers import tiny
from tests.test_main import environment
from veegan_jax import main
from veegan_jax.cli.streams import Stream
from veegan_jax.config.build import build
from veegan_jax.config.check import check_jax
from veegan_jax.config.convert import effective
from veegan_jax.data.examples import as_examples
from veegan_jax.errors import UserError
from veegan_jax.evaluation import plots
from veegan_jax.evaluation.trained import load
from veegan_jax.experiments import run
from veegan_jax.experiments.hooks import banner
from veegan_jax.experiments.run import train
from veegan_jax.parallel.stop_signals import NOTICES, STOPPING, handled
from veegan_jax.paths import local_path, path_of_variable
from veegan_jax.storage.caches import user_cache
from veegan_jax.storage.checkpoint import Checkpoints, Restored
from veegan_jax.storage.folder import locked
from veegan_jax.storage.versions import changed_settings, unusual_settings, versions
from veegan_jax.train.compile import abstract_state, initial_state
from veegan_jax.train.signals import StopSignals

# Streams.


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", b"0.1 +- 0.2 >= |z| chi2, W2 ... ? \xff a\n"),
        ("cp1252", "0.1 ± 0.2 >= |z| chi², W2 … ? ÿ ä\n".encode("cp1252")),
        ("utf-8", "0.1 ± 0.2 ≥ ‖z‖ χ², W₂ … 漢 ".encode() + b"\xff" + " ä\n".encode()),
    ],
)
def test_letters_that_a_stream_cannot_show_are_replaced_by_the_nearest_ones(tmp_path, encoding, shown):
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    print("0.1 ± 0.2 ≥ ‖z‖ χ², W₂ … 漢 \udcff ä", file=Stream(fd, encoding))
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == shown


def broken_pipe():
    """Returns the end for writing of a pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_a_stream_without_a_reader_drops_what_is_written():
    stream = Stream(broken_pipe())
    for _ in range(3):
        print("x" * 100_000, file=stream, flush=True)
    assert stream.failure is None


def test_a_stream_to_a_full_disk_remembers_it_and_the_program_says_so(monkeypatch, capfd):
    full = Stream(os.open("/dev/full", os.O_WRONLY))
    print("x", file=full)
    print("y", file=full, flush=True)
    assert full.failure.strerror == "No space left on device"
    monkeypatch.setattr(main, "open_streams", lambda: monkeypatch.setattr(sys, "stdout", full))
    monkeypatch.setattr(sys, "argv", ["veegan-jax", "--version"])
    with pytest.raises(SystemExit) as ended:
        main.run()
    assert ended.value.code == 2
    assert capfd.readouterr().err == "error: what was printed could not be written: No space left on device\n"


def test_closed_streams_are_opened_so_that_no_file_of_a_run_takes_their_place(tmp_path):
    script = """
import os, sys
for fd in range(3):
    os.close(fd)
sys.stdout = sys.stderr = None
from veegan_jax.cli.streams import open_streams
open_streams()
with open("file", "w") as file:
    print("lost")
    print("lost", file=sys.stderr, flush=True)
    os.write(2, b"native code")
    file.write(f"{file.fileno() > 2} {sys.stderr.isatty()}")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == "True False"


# Signals.


@pytest.fixture
def _signals():
    """Restores the handlers and the mask that a test changes; until then, nothing is ignored, not even by `nohup`."""
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    for number in NOTICES:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


@pytest.mark.usefixtures("_signals")
def test_blocked_signals_are_let_through_and_nohup_is_respected():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    assert handled() == list(STOPPING)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert handled() == [number for number in STOPPING if number != signal.SIGHUP]


@pytest.mark.usefixtures("_signals")
def test_a_terminal_that_is_closed_stops_the_run_which_is_saved(tmp_path, monkeypatch):
    """The terminal sends SIGHUP, perhaps twice, and nobody reads what is printed any more: this is `| head` too."""
    monkeypatch.setattr(sys, "stdout", Stream(broken_pipe()))
    monkeypatch.setattr(sys, "stderr", Stream(broken_pipe()))
    log = run.log

    def close_terminal(*arguments):
        log(*arguments)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)

    monkeypatch.setattr(run, "log", close_terminal)
    outcome = train(tiny("gan", num_steps=40), tmp_path)
    assert outcome.stopped_by == "SIGHUP"
    assert (tmp_path / "checkpoints" / str(outcome.step)).is_dir()
    assert outcome.step < 40


def test_a_thread_of_a_notebook_or_a_service_handles_no_signals():
    found = []

    def train_here():
        with StopSignals(1) as stop:
            found.append((handled(), stop.asked()))

    worker = threading.Thread(target=train_here)
    worker.start()
    worker.join()
    assert found == [([], False)]


def test_a_notebook_that_runs_an_event_loop_reads_and_writes_checkpoints(tmp_path):
    async def cell():
        experiment = build(tiny("gan"))
        with closing(Checkpoints(tmp_path, best_metric=experiment.best_metric)) as checkpoints:
            checkpoints.save(1, initial_state(experiment), effective(experiment.config))
            checkpoints.wait()
            return checkpoints.restore(abstract_state(experiment))

    assert asyncio.run(cell()).step == 1


def test_a_style_of_the_user_does_not_end_a_run(tmp_path):
    points = np.random.default_rng(0).normal(size=(9, 2))
    with matplotlib.rc_context({"text.usetex": True, "figure.dpi": 1.0}):
        pixels = plots.save(plots.draw_samples(points, points, "title"), tmp_path / "a.png")
        assert matplotlib.rcParams["text.usetex"]
    assert pixels.shape == (600, 600, 3)


# Paths.


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("~/run", "/home/me/run"),
        ("~", "/home/me"),
        ("$SCRATCH/a b/", "/scratch/a b"),
        ("${SCRATCH}/run", "/scratch/run"),
        ("./~/run", "~/run"),
        ("runs/ring", "runs/ring"),
        ("C:/runs", "C:/runs"),
        (Path("é\n"), "é\n"),
    ],
)
def test_paths_mean_what_they_mean_in_a_shell(monkeypatch, given, meant):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    assert local_path(given, "--workdir") == Path(meant)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("gs://bucket/run", "--workdir is gs://bucket/run; it must be a path of this machine: mount the bucket"),
        ("S3://bucket/run", "mount the bucket"),
        ("hdfs:/run", "mount the bucket"),
        ("https://a.org/x.npz", "or copy its files"),
        ("file:///runs", "give the path alone"),
        ("", "--workdir is ''; it must be a path"),
        (" ", "--workdir is ' '; it must be a path"),
        ("~nobody.of.this.name/run", "no home folder of ~nobody.of.this.name is known"),
        ("$UNSET_NAME/run", "the variable $UNSET_NAME is not set"),
    ],
)
def test_what_is_no_path_of_this_machine_is_refused(given, says):
    with pytest.raises(UserError, match=re.escape(says)):
        local_path(given, "--workdir")


def test_a_path_that_exists_is_taken_as_it_is(tmp_path):
    (tmp_path / "$a").mkdir()
    assert local_path(tmp_path / "$a", "--workdir") == tmp_path / "$a"


def test_an_account_without_a_home_folder_keeps_no_classifier(monkeypatch, caplog):
    def unknown(user):
        raise KeyError(user)

    for name in ("HOME", "XDG_CACHE_HOME", "VEEGAN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with caplog.at_level(logging.WARNING, "veegan_jax"):
        assert user_cache("the classifier is") is None
    assert "there is no home folder; set HOME or VEEGAN_CACHE_DIR" in caplog.text
    with pytest.raises(UserError, match="no home folder of ~ is known"):
        local_path("~/run", "--workdir")
    monkeypatch.setenv("VEEGAN_CACHE_DIR", "/caches")
    assert user_cache("the classifier is") == Path("/caches")


def test_folders_that_variables_name_are_paths_too(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("VEEGAN_DATA_DIR", "~/data")
    assert path_of_variable("VEEGAN_DATA_DIR") == Path("/home/me/data")
    monkeypatch.setenv("VEEGAN_DATA_DIR", "")
    assert path_of_variable("VEEGAN_DATA_DIR") is None
    with pytest.raises(UserError, match="workdir is gs://bucket; it must be a path of this machine"):
        load("gs://bucket")


def test_files_of_the_current_folder_do_not_take_the_place_of_packages(monkeypatch):
    here = str(Path.cwd())
    for first in ("", here):
        monkeypatch.setattr(sys, "path", [first, "/packages"])
        main._prefer_packages()
        assert sys.path == ["/packages", first]
    monkeypatch.setattr(sys, "path", ["/packages", here])
    main._prefer_packages()
    assert sys.path == ["/packages", here]


def test_a_current_folder_that_is_deleted_and_a_path_that_is_no_text_are_refused_before_training(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="has letters that are none in the encoding of this locale"):
        train(tiny("gan"), tmp_path / "\udce9")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    main._prefer_packages()
    with pytest.raises(UserError, match="--workdir runs/ring cannot be written: No such file or directory"):
        train(tiny("gan"), Path("runs/ring"))
    with locked(tmp_path / "runs" / "ring"):
        pass


# Settings.


@pytest.fixture
def _usual(monkeypatch):
    """Removes the variables that the machine of the tests has."""
    for name in unusual_settings():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_usual")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_CPU_ENABLE_SOMETHING", "1"),
        ("JAX_EXEC_TIME_OPTIMIZATION_EFFORT", "-1.0"),
        ("FLAX_FIX_RNG_SEPARATOR", "1"),
        ("LIBTPU_INIT_ARGS", "--xla_tpu_x=1"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("TF_CUDNN_DETERMINISTIC", "1"),
        ("CUBLAS_WORKSPACE_CONFIG", ":16:8"),
        ("NCCL_ALGO", "Ring"),
        ("OMP_NUM_THREADS", "3"),
        ("PJRT_NPROC", "3"),
        ("NPY_DISABLE_CPU_FEATURES", "AVX2"),
    ],
)
def test_variables_that_libraries_read_are_recorded(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert unusual_settings() == {name: value}
    assert versions({})[name] == value


@pytest.mark.usefixtures("_usual")
@pytest.mark.parametrize(
    "name",
    [
        *("JAX_PLATFORMS", "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR", "JAX_LOGGING_LEVEL", "JAX_PROCESS_ID"),
        *("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "JAX_TRACEBACK_FILTERING", "JAX_NUMPY_DTYPE_PROMOTION"),
        *("XLA_PYTHON_CLIENT_MEM_FRACTION", "TF_CPP_MIN_LOG_LEVEL", "TF_VAR_region", "CUDA_VISIBLE_DEVICES"),
        *("NCCL_DEBUG", "NCCL_SOCKET_IFNAME", "KMP_INIT_AT_FORK", "CUDNN_LOGINFO_DBG"),
    ],
)
def test_variables_that_change_no_number_are_not_recorded(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert unusual_settings() == {}


@pytest.mark.usefixtures("_usual")
def test_settings_of_jax_are_recorded_however_they_came_about_and_a_usual_value_is_none(monkeypatch):
    monkeypatch.setenv("JAX_THREEFRY_PARTITIONABLE", "1")
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    assert unusual_settings() == {}
    with jax.threefry_partitionable(False), jax.default_matmul_precision("float32"):
        assert unusual_settings() == {
            "jax_threefry_partitionable": "False",
            "jax_default_matmul_precision": "float32",
        }


@pytest.mark.usefixtures("_usual")
def test_settings_are_said_at_the_start_and_changes_when_a_run_is_resumed():
    config = tiny()
    before = versions(effective(config))
    with jax.threefry_partitionable(False):
        assert "settings that change numbers: jax_threefry_partitionable False" in banner(config, 1, Path("w"), None)
        lines = list(banner(config, 1, Path("w"), Restored(4, None, {"versions": before}, None)))
    assert "bits may differ from an uninterrupted run: jax_threefry_partitionable None → False" in lines


@pytest.mark.usefixtures("_usual")
def test_settings_that_differ_from_those_of_a_run_are_found_among_its_versions(monkeypatch):
    made_by = {"jax": "0.1", "XLA_FLAGS": "--x", "OMP_NUM_THREADS": "4", "jax_random_seed_offset": "3"}
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert changed_settings(made_by) == "NVIDIA_TF32_OVERRIDE None → 1, jax_random_seed_offset 3 → None"


def test_checks_of_jax_that_would_end_a_run_are_set_back():
    script = "from veegan_jax import main; main._import_jax(); import jax; print(*map(jax.config._read, main.LENIENT))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment(), **{name.upper(): "disallow" for name in main.LENIENT if "guard" in name}}
        | {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == list(main.LENIENT.values()), done.stderr


def test_other_dtypes_and_keys_are_refused():
    check_jax()
    with jax.enable_x64(True), pytest.raises(UserError, match="jax_enable_x64 is True, and runs are made with False"):
        check_jax()
    with jax.disable_jit(), pytest.raises(UserError, match="jax_disable_jit is True"):
        check_jax()
    with jax.default_prng_impl("rbg"), pytest.raises(UserError, match="unset the variable JAX_DEFAULT_PRNG_IMPL, or "):
        train(tiny(), Path("never"))
    assert not Path("never").exists()


def test_threads_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 6})
    assert versions({})["threads"] == "3"


# Arrays that come in.

IMAGE = (4, 6, 3)
PIXELS = np.full((2, *IMAGE), 200, np.uint8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ">f4"])
def test_floats_of_every_kind_are_taken(dtype):
    x = np.linspace(-1, 1, 2 * 72).reshape(2, *IMAGE)
    given = as_examples(x.astype(dtype), IMAGE, True)
    assert (given.dtype, given.shape) == (np.dtype(np.float32), x.shape)
    np.testing.assert_allclose(given, x, atol=2**-7)
    np.testing.assert_array_equal(as_examples(jax.numpy.asarray(given), IMAGE, True), given)
    np.testing.assert_array_equal(as_examples(given.tolist(), IMAGE, True), given)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (
            PIXELS,
            "x is uint8; it must be floats in [−1, 1], as the data are scaled: for pixels of 0 to 255 give x / 127.5",
        ),
        (PIXELS > 3, "x is bool; it must be floats"),
        (PIXELS.astype(np.float32), "x lies in 200 to 200; it must lie in −1 to 1"),
        (PIXELS / 255 + 0.3, "x lies in 1.084 to 1.084; it must lie in −1 to 1"),
        (np.full((2, *IMAGE), np.nan), "x has 144 values that are not finite, of 144"),
        (np.full((2, *IMAGE), 1j), "x is complex128; it must be floats [n, 4, 6, 3]"),
        (np.full((2, *IMAGE), "a"), "x is <U1; it must be floats [n, 4, 6, 3]"),
        (np.full((2, *IMAGE), None), "x is object; it must be floats [n, 4, 6, 3]"),
        ([[1.0], [1.0, 2.0]], "x is no array: "),
        (np.float32(3), "x has shape (); it must be [n, 4, 6, 3] with n ≥ 1"),
        (np.zeros((0, *IMAGE)), "x has shape (0, 4, 6, 3); it must be [n, 4, 6, 3] with n ≥ 1"),
        (np.zeros(IMAGE), "; for one example give x[None]"),
        (np.zeros((2, 3, 4, 6)), "; channels come last: give np.moveaxis(x, 1, -1)"),
    ],
)
def test_arrays_that_would_give_garbage_are_refused_with_what_to_type(x, says):
    with pytest.raises(UserError, match=re.escape(says)) as refused:
        as_examples(x, IMAGE, True)
    assert "\n" not in str(refused.value)


def test_grey_images_without_an_axis_of_channels_are_refused_with_what_to_type():
    with pytest.raises(UserError, match=re.escape("; give x[..., None]")):
        as_examples(np.zeros((2, 4, 6)), (4, 6, 1), True)


def test_images_in_0_to_1_are_suspected(caplog):
    x = np.linspace(0, 1, 72).reshape(1, *IMAGE)
    with caplog.at_level(logging.WARNING, "veegan_jax"):
        as_examples(2 * x - 1, IMAGE, True)
        assert not caplog.records
        as_examples(x, IMAGE, True)
    assert "x lies in 0 to 1; if it is scaled to 0 to 1, give 2 * x - 1" in caplog.text


def test_points_may_lie_anywhere_and_be_integers():
    np.testing.assert_array_equal(as_examples([[300, -2]], (2,), False), np.asarray([[300, -2]], np.float32))
