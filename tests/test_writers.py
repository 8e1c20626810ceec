"""What a run writes: one whole row and one value per step, whatever happened to the process that wrote before."""

import json
import math
import shutil
import struct
import time

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from veegan_jax.errors import UserError
from veegan_jax.metrics import COLUMNS
from veegan_jax.storage.files import array_writer
from veegan_jax.storage.logs import ROWS, Pace, Rows, RunLog, read_rows
from veegan_jax.storage.writers import Start
from veegan_jax.storage.writers.tensorboard import TensorBoard


def line(step, kl=1.0):
    return json.dumps({"step": step, "kl": kl}) + "\n"


def test_rows_after_the_resumed_step_and_torn_ones_go(tmp_path):
    (tmp_path / ROWS).write_text(line(10) + line(20) + line(30) + '{"step": 40, "k')
    assert [row["step"] for row in read_rows(tmp_path)] == [10, 20, 30]
    Rows(tmp_path, 20).write({"step": 30, "kl": 2.0})
    assert (tmp_path / ROWS).read_text() == line(10) + line(20) + line(30, 2.0)


@pytest.mark.parametrize("tail", [b"", b"\0" * 600, b"\xff\xfe\x00garbage\n\x80", b'null\n7\n["step"]\n{"kl": 1.0}\n'])
def test_a_last_row_torn_at_any_byte_is_absent_or_whole(tmp_path, tail):
    """As a kill leaves it; and with what a power cut may leave behind it."""
    for kept in range(len(line(30)) + 1):
        torn = line(30)[:kept].encode()
        (tmp_path / ROWS).write_bytes(line(10).encode() + line(20).encode() + torn + tail)
        Rows(tmp_path, 30).write({"step": 40, "kl": 1.0})
        whole = kept == len(line(30)) or (kept == len(line(30)) - 1 and not tail)
        assert (tmp_path / ROWS).read_text() == line(10) + line(20) + (line(30) if whole else "") + line(40), kept


def test_a_spoilt_row_takes_no_other_with_it(tmp_path):
    (tmp_path / ROWS).write_text(line(10) + '{"step": 2\0, "kl": 1.0}\n' + line(30))
    Rows(tmp_path, 30)
    assert (tmp_path / ROWS).read_text() == line(10) + line(30)


def test_fresh_run_and_not_a_number(tmp_path):
    Rows(tmp_path, 0).write({"step": 1, "kl": math.nan})
    assert (tmp_path / ROWS).read_text() == '{"step": 1, "kl": null}\n'


def start(workdir, step=0, num_steps=100):
    return Start(workdir, step, num_steps, {}, lambda: read_rows(workdir))


def read_events(folder):
    """`{tag: {step: value}}` as TensorBoard reads them.

    File by file in the order of their names, each up to where it is torn; a start of a session makes it forget what is
    of that step or later.
    """
    found = {}
    for path in sorted(folder.glob("*tfevents*")):
        data, position = path.read_bytes(), 0
        while position + 12 <= len(data):
            (length,) = struct.unpack("<Q", data[position : position + 8])
            record = data[position + 12 : position + 12 + length]
            if len(data) < position + 16 + length:
                break
            checksums = masked_crc32c(data[position : position + 8]), masked_crc32c(record)
            assert struct.pack("<I", checksums[0]) == data[position + 8 : position + 12]
            assert struct.pack("<I", checksums[1]) == data[position + 12 + length : position + 16 + length]
            event, position = Event.FromString(record), position + 16 + length
            if event.session_log.status == SessionLog.START:
                for values in found.values():
                    for step in [step for step in values if step >= event.step]:
                        del values[step]
            for value in event.summary.value:
                steps = found.setdefault(value.tag, {})
                assert event.step not in steps
                steps[event.step] = value.image.height or value.simple_value
    return found


def test_readers_of_events_see_one_value_a_step_over_resumes_and_clock_jumps(tmp_path, monkeypatch):
    real = time.time
    for resumed, (clock, value, steps) in {
        0: (0, 1.0, (10, 20, 30)),
        10: (-1e6, 2.0, (20, 30, 40)),
        30: (1e6, 3.0, (40, 50)),
        50: (1e6, 4.0, (60,)),
    }.items():
        monkeypatch.setattr(time, "time", lambda clock=clock: real() + clock)
        events = TensorBoard(start(tmp_path, resumed))
        events.text("config", "a | b")
        for step in steps:
            events.scalars(step, {"kl": value})
            events.picture(step, "samples", np.zeros((int(value), 5, 3), np.uint8))
        events.path.write_bytes(events.path.read_bytes()[:-3])  # killed while it wrote its last picture
    found = read_events(tmp_path / "tensorboard")
    assert found["scores/kl"] == {10: 1.0, 20: 2.0, 30: 2.0, 40: 3.0, 50: 3.0, 60: 4.0}
    assert found["samples"] == {10: 1, 20: 2, 30: 2, 40: 3}
    assert found["config/text_summary"].keys() == {1, 11, 31, 51}


def test_a_line_shows_losses_and_another_the_scores_when_they_are_measured(tmp_path, capsys):
    writer = RunLog(tmp_path, 0, 100, [COLUMNS["kl"]])
    writer.write(10, {"loss/gen": 2.0, "kl": 0.5})
    writer.write(20, {"loss/gen": 1.0})
    writer.close()
    lines = ["step 10/100  gen 2", "step 10: reverse KL (nats) ↓ 0.5", "step 20/100  gen 1"]  # no speed is known yet
    assert capsys.readouterr().err.splitlines() == lines
    assert (tmp_path / "log.txt").read_text().splitlines() == lines
    assert read_rows(tmp_path)[0]["steps_per_second"] is None
    assert "kl" not in read_rows(tmp_path)[1]


def test_a_line_has_80_columns(tmp_path, capsys):
    writer = RunLog(tmp_path, 0, 100)
    writer.write(10, {f"loss/a_long_name_{i}": 1 / 3 for i in range(9)})
    writer.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) <= 80
    assert line.startswith("step 10/100  a_long_name_0 0.3333")


def test_scores_that_are_not_shown_are_written(tmp_path, capsys):
    writer = RunLog(tmp_path, 0, 100, [COLUMNS["kl"]])
    writer.write(10, {"kl": 0.5, "kl/se": 0.1, "jsd": 0.25, "jsd/se": 0.01})
    writer.close()
    assert capsys.readouterr().err.strip() == "step 10: reverse KL (nats) ↓ 0.5 ± 0.1"
    assert read_rows(tmp_path)[-1]["jsd"] == 0.25


class Clock:
    """A clock that passes only when it is asked to, in place of `time.monotonic`."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "time", lambda: -self.now)  # a clock that jumps does not matter

    def wait(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(("seconds", "shown"), [(0.5, "20.0 steps/s"), (25.0, "2.5 s/step")])
def test_speed_is_that_of_steps_without_compiling_and_measuring(tmp_path, monkeypatch, capsys, seconds, shown):
    """The time that is left counts measuring as it was until now."""
    clock, writer = Clock(monkeypatch), RunLog(tmp_path, 0, 1000)
    for step in (10, 20, 30):
        with writer.calling(10):
            clock.wait(40 if step == 10 else 0)  # compiles
        clock.wait(seconds)
        writer.advance(step)
        clock.wait(seconds)  # is measured
    writer.write(30, {"loss/gen": 0.5})
    writer.close()
    told, compiled, line = capsys.readouterr().err.splitlines()
    assert (told, compiled) == ("compiling a call of 10 steps", "compiled in 40.0 s")
    minutes, left = divmod(round(970 / 20 * 5 * seconds), 60)
    expected = f"{minutes // 60}:{minutes % 60:02}:{left:02}".removeprefix("0:")
    assert line == f"step 30/1000  {shown}  {expected} left  gen 0.5"
    assert read_rows(tmp_path)[0]["steps_per_second"] == 10 / seconds


def test_calls_that_overlap_count_once(monkeypatch):
    clock, pace = Clock(monkeypatch), Pace(0, 100)
    pace.begin(compiles=True)
    for step in range(10, 60, 10):
        pace.begin(compiles=False)  # before the call before has ended
        clock.wait(1.0)
        pace.end(step)
    assert pace.steps_per_second == 10.0


@pytest.mark.parametrize("name", [ROWS, "tensorboard/events.out.tfevents.0000000000"])
def test_full_disk_is_one_line_that_names_the_file(tmp_path, name):
    writer = RunLog(tmp_path, 0, 100)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/full")
    for write in (lambda: writer.write(10, {"loss/gen": 1.0}), writer.sync):
        with pytest.raises(UserError) as error:
            write()
        assert str(error.value).startswith(f"{tmp_path / name} could not be written: ")
        assert "\n" not in str(error.value)
    writer.close()


def test_a_folder_that_is_taken_away_is_not_made_again(tmp_path):
    (tmp_path / "run").mkdir()
    writer = RunLog(tmp_path / "run", 0, 100)
    writer.write(10, {"loss/gen": 1.0})
    shutil.rmtree(tmp_path / "run")
    for write in (lambda: writer.write(20, {}), writer.sync, lambda: RunLog(tmp_path / "run" / "deeper", 0, 100)):
        with pytest.raises(UserError, match="could not be written: No such file or directory"):
            write()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_an_array_written_in_pieces_is_read_whole(tmp_path, name):
    x = np.random.default_rng(0).standard_normal((7, 2, 3)).astype(np.float32)
    with array_writer(tmp_path / name, "samples", x.shape) as add:
        for piece in (x[:3], x[3:6], x[6:]):
            add(piece)
    found = np.load(tmp_path / name, allow_pickle=False)
    array = found["samples"] if name == "x.npz" else found
    np.testing.assert_array_equal(array, x)
    assert array.dtype == np.float32


def test_an_array_whose_pieces_end_early_leaves_no_file(tmp_path):
    def write():
        with array_writer(tmp_path / "x.npz", "samples", (7, 2)) as add:
            add(np.zeros((3, 2), np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []
