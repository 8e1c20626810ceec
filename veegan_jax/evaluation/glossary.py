"""The glossary of scores, docs/metrics.md, from the columns: `python -m veegan_jax.evaluation.glossary`."""

from collections.abc import Iterable

from veegan_jax.metrics import COLUMNS, METRICS
from veegan_jax.metrics.base import ARROWS

HEAD = """# Scores

This page is made from the columns in `veegan_jax/metrics`; `python -m veegan_jax.evaluation.glossary > docs/metrics.md`
writes it again.

Every table has the row of **real data**: the same scores of as many held-out real examples, which is the best that can
be expected. An arrow shows which direction is better; a score without an arrow is best where real data's is. Logs,
JSON and TensorBoard use a score's name, tables and curves its heading. A score that fails, as precision of fewer than
four examples does, is left out with a warning, and the run continues.

## Each score
"""

MIDDLE = """
## Which data have which scores

A source of data names its metrics in `references`. Each metric gives these scores:
"""

FOOT = """
Every method with a reconstructor is also given `reconstruction` and `prior_gap`, and `--config.ivom_images=64` adds
`ivom_train` and `ivom_held_out` of images at the end of a run. `fid` and `kid` need `VEEGAN_INCEPTION`, a TorchScript
file such as `inception-2015-12-05.pt`, and PyTorch.
"""


def render() -> str:
    """Returns the glossary as Markdown: a table of the columns, and a table of the metrics that give them."""
    columns = _table(
        ("name", "heading", "unit", "better", "definition", "source"),
        (
            (f"`{c.name}`", c.heading, c.unit, f"{c.direction} {ARROWS[c.direction]}".strip(), c.definition, c.source)
            for c in COLUMNS.values()
        ),
    )
    metrics = _table(
        ("metric", "scores"),
        ((f"`{name}`", ", ".join(f"`{c.name}`" for c in metric.columns)) for name, metric in METRICS.items()),
    )
    return "\n".join((HEAD, columns, MIDDLE, metrics, FOOT))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a Markdown table, without padding, so that a change of one row shows as one line."""
    lines = (headings, ("---",) * len(headings), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    print(render(), end="")
