"""metrics.jsonl: one whole row per step, whatever happened to the process that wrote it before."""

import json
import math

from veegan_jax.writers import ROWS, Rows, Writer, read_rows


def test_rows_after_the_resumed_step_and_torn_ones_go(tmp_path):
    whole = "".join(json.dumps({"step": step, "kl": 1.0}) + "\n" for step in (10, 20, 30))
    (tmp_path / ROWS).write_text(whole + '{"step": 40, "k')
    assert [row["step"] for row in read_rows(tmp_path)] == [10, 20, 30]
    rows = Rows(tmp_path, 20)
    rows.write({"step": 30, "kl": 2.0})
    assert read_rows(tmp_path) == [{"step": 10, "kl": 1.0}, {"step": 20, "kl": 1.0}, {"step": 30, "kl": 2.0}]


def test_fresh_run_and_not_a_number(tmp_path):
    rows = Rows(tmp_path, 0)
    rows.write({"step": 1, "kl": math.nan})
    assert (tmp_path / ROWS).read_text() == '{"step": 1, "kl": null}\n'


def test_line_shows_step_speed_time_left_losses_and_the_last_scores(tmp_path, capsys):
    writer = Writer(tmp_path, 0, 100)
    writer.write(10, {"loss/gen": 2.0}, {"kl": 0.5})
    writer.write(20, {"loss/gen": 1.0}, {})
    writer.close()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("step 10/100  ")
    assert first.endswith("left  loss/gen 2  kl 0.5")
    assert second.endswith("left  loss/gen 1  kl 0.5")  # the last scores stay in sight
    assert "kl" not in read_rows(tmp_path)[1]  # but are not logged as if measured again
