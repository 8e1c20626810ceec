"""The writers of a run: what a spreadsheet, TensorBoard and Weights & Biases read, also after a stop and a kill."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2

from tests.helpers import ROOT, tiny
from tests.test_writers import read_events
from veegan_jax.config import plugins
from veegan_jax.config.convert import from_effective
from veegan_jax.errors import UserError
from veegan_jax.experiments.compare import compare
from veegan_jax.experiments.run import train
from veegan_jax.storage.logs import RunLog, read_rows
from veegan_jax.storage.writers import WRITERS, Latents, Start, chosen_writers


def from_json(path):
    return json.loads(path.read_text())


def events(workdir):
    """Returns the events of a run, file by file."""
    found = []
    for path in sorted((workdir / "tensorboard").glob("events.*")):
        data, position = path.read_bytes(), 0
        while position < len(data):
            (length,) = struct.unpack("<Q", data[position : position + 8])
            found.append(event_pb2.Event.FromString(data[position + 12 : position + 12 + length]))
            position += 16 + length
    return found


def read_csv(workdir):
    """Returns the lines as `[{column: text}]`; a reader in a spreadsheet asks for as many cells in each line."""
    with (workdir / "metrics.csv").open(newline="") as file:
        heading, *body = list(csv.reader(file))
    return [dict(zip(heading, line, strict=True)) for line in body]


def assert_same_as_rows(workdir):
    rows, lines = read_rows(workdir), read_csv(workdir)
    known = [{name: str(value) for name, value in row.items() if value is not None} for row in rows]
    assert [{name: text for name, text in line.items() if text} for line in lines] == known


# CSV.


def test_columns_that_appear_later_leave_a_whole_file(tmp_path):
    log = RunLog(tmp_path, 0, 100, writers="csv")
    log.write(10, {"loss/gen": 1.5})
    log.write(20, {"loss/gen": 1.25, "kl": 0.1, "jsd": float("nan")})
    log.write(30, {"loss/gen": 1.0})
    log.close()
    assert_same_as_rows(tmp_path)
    first, second, _ = read_csv(tmp_path)
    assert list(first) == ["step", "steps_per_second", "loss/gen", "kl", "jsd"]
    assert (first["loss/gen"], first["kl"]) == ("1.5", "")
    assert (second["step"], second["kl"], second["jsd"]) == ("20", "0.1", "")


@pytest.mark.parametrize("tail", ["", "40,1", "garbage,,,,,,,\n\n"])
def test_a_resumed_run_loses_and_repeats_no_line(tmp_path, tail):
    log = RunLog(tmp_path, 0, 100, writers="csv")
    for step in (10, 20, 30):
        log.write(step, {"loss/gen": float(step), **({"kl": 1.0} if step == 20 else {})})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write(tail)  # as a kill leaves it
    log = RunLog(tmp_path, 20, 100, writers="csv")
    assert [line["step"] for line in read_csv(tmp_path)] == ["10", "20"]
    log.write(30, {"loss/gen": 3.0})
    log.write(40, {"loss/gen": 4.0, "kl": 2.0})
    assert [line["step"] for line in read_csv(tmp_path)] == ["10", "20", "30", "40"]
    assert_same_as_rows(tmp_path)


def test_a_run_that_begins_without_csv_has_all_lines_once_it_is_asked_for(tmp_path):
    short, full = tiny(num_steps=4, writers=""), tiny(num_steps=8, writers="csv")
    train(short, tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    train(full, tmp_path)
    assert [line["step"] for line in read_csv(tmp_path)] == ["2", "4", "6", "8"]
    assert_same_as_rows(tmp_path)
    assert not (tmp_path / "tensorboard").exists()


# TensorBoard.


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Whole runs by data and method: one is resumed."""
    folder = tmp_path_factory.mktemp("runs")
    train(tiny(num_steps=4), folder / "ring")
    train(tiny(num_steps=8), folder / "ring")
    train(tiny("gan", data="stacked_digits", num_steps=4), folder / "digits")
    return folder


def test_scalars_are_in_groups_and_each_step_is_there_once(runs):
    found, rows = read_events(runs / "ring" / "tensorboard"), read_rows(runs / "ring")
    assert {tag.partition("/")[0] for tag in found} == {"losses", "scores", "speed", "samples", "config"}
    names = {"losses/gen": "loss/gen", "scores/kl": "kl", "speed/steps_per_second": "steps_per_second"}
    for name, plain in names.items():
        assert found[name] == pytest.approx({r["step"]: r[plain] for r in rows if r.get(plain) is not None}), name


def test_real_data_are_lines_of_a_run_of_their_own(runs):
    found = read_events(runs / "ring" / "tensorboard" / "real_data")
    real = from_json(runs / "ring" / "results.json")["real"]
    assert {tag.removeprefix("scores/") for tag in found} == set(real)
    assert {tag: set(steps) for tag, steps in found.items()} == dict.fromkeys(found, {0, 8})
    assert found["scores/modes"] == {0: 8.0, 8: 8.0}


def test_the_config_is_a_text_with_what_differs_from_the_defaults_first(runs):
    values = [(event.step, value) for event in events(runs / "ring") for value in event.summary.value]
    texts = {step: v.tensor.string_val[0].decode() for step, v in values if v.tag == "config/text_summary"}
    assert list(texts) == [1, 5]  # One process began the run, another resumed it.
    differing, others = texts[5].split("The others:")
    assert "| `latent_dim`" in differing
    assert "| `optim.gen.b1`" in others
    assert "`dcgan" not in texts[5]


def test_the_projector_has_latents_with_modes_and_pictures(runs):
    points = np.loadtxt(runs / "ring" / "tensorboard" / "latents.tsv", delimiter="\t")
    lines = (runs / "ring" / "tensorboard" / "latents_labels.tsv").read_text().splitlines()
    assert points.shape == (1000, 3)
    assert lines[0].split("\t") == ["mode", "example"]
    assert len(lines) == 1001
    assert {line.split("\t")[0].split(" at ")[0] for line in lines[1:]} == {f"mode {i}" for i in range(8)}
    config = (runs / "ring" / "tensorboard" / "projector_config.pbtxt").read_text()
    assert 'tensor_name: "F(x)"' in config
    assert "sprite" not in config
    digits = runs / "digits" / "tensorboard"
    assert 'tensor_name: "z"' in (digits / "projector_config.pbtxt").read_text()  # A GAN has no F.
    assert "single_image_dim: 8 single_image_dim: 8" in (digits / "projector_config.pbtxt").read_text()
    with Image.open(digits / "latents.png") as sheet:
        assert sheet.size == (256, 256)
    assert (digits / "latents_labels.tsv").read_text().startswith("mode\tpart 1\tpart 2\tpart 3\texample\ndigits ")


def test_pictures_of_latents_are_square_small_and_where_their_latents_are(tmp_path):
    images = np.full((5, 130, 100, 1), -1.0, np.float32)
    images[3] = 1.0
    log = RunLog(tmp_path, 0, 100)
    log.latents(lambda: Latents("z", np.zeros((5, 2), np.float32), {"mode": list("abc\td")[:5]}, images))
    with Image.open(tmp_path / "tensorboard" / "latents.png") as picture:
        sheet = np.asarray(picture)
    side = 44  # every third pixel of 130
    assert sheet.shape == (3 * side, 3 * side, 3)
    white = np.argwhere(sheet[..., 0] == 255)
    assert (white.min(axis=0).tolist(), white.max(axis=0).tolist()) == ([side, 0], [2 * side - 1, 33])
    assert (tmp_path / "tensorboard" / "latents_labels.tsv").read_text() == "a\nb\nc\n\nd\n"  # one column, no heading


def test_latents_that_cannot_be_computed_cost_no_run(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("veegan_jax.experiments.hooks.labelled_latents", lambda *_: 1 / 0)
    with caplog.at_level("WARNING", "veegan_jax"):
        assert train(tiny(num_steps=2), tmp_path).step == 2
    assert caplog.messages == ["latents cannot be shown, and are left out: division by zero"]
    assert (tmp_path / "README.md").exists()


# Which writers.


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("tensorbord", "config.writers is 'tensorbord'; did you mean 'tensorboard'? valid: csv, tensorboard, wandb"),
        ("csv;tensorboard", "config.writers is 'csv;tensorboard'"),
    ],
)
def test_a_wrong_writer_is_one_line_before_anything_is_made(tmp_path, names, says):
    with pytest.raises(UserError, match="config.writers is ") as error:
        train(tiny(writers=names), tmp_path / "run")
    assert str(error.value).startswith(says)
    assert not (tmp_path / "run").exists()


def test_a_comparison_checks_the_writers_of_all_rows_first(tmp_path):
    config = tiny(num_steps=2)
    config.compare = {"gan": {"objective": "gan"}, "veegan": {"writers": "cvs"}}
    with pytest.raises(UserError, match="config.writers is 'cvs'; did you mean 'csv'"):
        compare(config, tmp_path / "run")
    assert not (tmp_path / "run" / "gan" / "results.json").exists()


def test_each_writer_is_there_once_and_spaces_do_not_matter():
    assert chosen_writers("csv, tensorboard,csv,") == [WRITERS["csv"], WRITERS["tensorboard"]]
    assert chosen_writers("") == []


def test_a_package_that_is_not_installed_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="^config.writers has 'wandb', which is not installed: pip install wandb, or"):
        train(tiny(writers="wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_plugin_adds_a_writer(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from veegan_jax.storage.writers import Writer\n"
        "class Mine(Writer):\n"
        "    def __init__(self, start): self.path = start.workdir / 'mine.txt'\n"
        "    def scalars(self, step, row):\n"
        "        with open(self.path, 'a') as file: file.write(f'{step} ')\n"
        "WRITERS = {'mine': Mine}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = from_effective({"plugins": "mine", "writers": "mine"})
    try:
        tiny_one = tiny(num_steps=4, plugins=config.plugins, writers=config.writers)
        train(tiny_one, tmp_path / "run")
        assert (tmp_path / "run" / "mine.txt").read_text() == "2 4 "
        monkeypatch.setitem(plugins.WRITERS, "csv", WRITERS["csv"])
        with pytest.raises(UserError, match="a plugin defines the writer 'csv', which is there already"):
            chosen_writers("csv")
    finally:
        plugins.WRITERS.pop("mine", None)
        sys.modules.pop("mine", None)


# Weights & Biases, as its package writes what it would send. It is tested where it is installed.

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from veegan_jax.storage.logs import RunLog

start, last, kill = map(int, sys.argv[2:])
log = RunLog(Path(sys.argv[1]), start, 100, writers="wandb", config={"batch_size": 16})
log.real({"kl": 0.25})
for step in range(start + 10, last + 1, 10):
    log.picture(step, "samples", np.zeros((4, 4, 3), np.uint8))
    log.write(step, {"loss/gen": step / 10, "kl": float(step)})
if kill:
    os.kill(os.getpid(), signal.SIGKILL)
log.close()
"""


def sent(workdir):
    """Returns the id and the history of each part of a run: `[(id, [{name: JSON}])]`."""
    from wandb.proto.wandb_internal_pb2 import Record

    parts = []
    for path in sorted(workdir.glob("wandb/offline-run-*/*.wandb")):
        data, position, record, ids, history = path.read_bytes(), 7, b"", set(), []
        while position + 7 <= len(data):
            if (left := 32768 - position % 32768) < 7:  # The format is LevelDB's log, in blocks of 32 KiB.
                position += left
                continue
            _, length, kind = struct.unpack("<IHB", data[position : position + 7])
            record += data[position + 7 : position + 7 + length]
            position += 7 + length
            if kind in (1, 4):
                one, record = Record.FromString(record), b""
                if one.WhichOneof("record_type") == "run":
                    ids.add(one.run.run_id)
                if one.WhichOneof("record_type") == "history":
                    items = one.history.item
                    history.append({"/".join(i.nested_key) or i.key: i.value_json for i in items})
        parts.append((ids, history))
    return parts


def test_a_run_of_weights_and_biases_continues_under_its_id_and_sends_each_step_once(tmp_path):
    pytest.importorskip("wandb")
    environment = {**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = tmp_path / "run"
    run.mkdir()
    for start, last, kill in ((0, 30, 1), (20, 50, 0), (50, 70, 0), (60, 90, 0)):
        command = [sys.executable, "-c", KILLED, str(run), *map(str, (start, last, kill))]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == (-signal.SIGKILL if kill else 0), done.stderr
    whole = [(ids, history) for ids, history in sent(run) if history]
    (name,) = {name for ids, _ in whole for name in ids}
    assert from_json(run / "wandb.json") == {"id": name, "step": 90}
    steps = [int(row["_step"]) for _, history in whole[-3:] for row in history]
    assert steps == list(range(10, 100, 10))
    assert whole[-1][1][-1]["losses/gen"] == "9"
    assert whole[-1][1][-1]["scores/kl"] == "90"
    assert "samples/path" in whole[-1][1][-1]


@pytest.mark.parametrize("call", ["log", "finish"])
def test_what_weights_and_biases_do_not_take_is_one_line(tmp_path, monkeypatch, call):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    writer = WRITERS["wandb"](Start(tmp_path, 0, 10, {}, list))

    def refuses(*_, **__):
        raise wandb.errors.CommError("the service\nis not there")

    def use():
        writer.scalars(5, {"kl": 0.5})
        writer.close()

    finish = writer._run.finish
    setattr(writer._run, call, refuses)
    with pytest.raises(UserError, match=r"^config.writers has 'wandb', which does not take .*the service.*offline"):
        use()
    finish()
    # A resumed run sends again what was not taken.
    assert from_json(tmp_path / "wandb.json")["step"] == (0 if call == "log" else 5)
