"""The glossary of scores, docs/metrics.md, from the columns: `python -m veegan_jax.evaluation.glossary`."""

from collections.abc import Iterable, Mapping

from veegan_jax.evaluation.sanity import NUM, SITUATIONS, as_cells, sanity
from veegan_jax.metrics import COLUMNS, METRICS
from veegan_jax.metrics.base import ARROWS

HEAD = """# Scores

This page is made from the columns in `veegan_jax/metrics`; `python -m veegan_jax.evaluation.glossary > docs/metrics.md`
writes it again.

Every table has the row of **real data**: the same scores of as many held-out real examples, which is the best that can
be expected. An arrow shows which direction is better; a score with "≈ real" is best where real data's is. Logs, JSON
and TensorBoard use a score's name, tables and curves its heading. A score that needs more examples than there are is
named before training, with the number that it needs, and left out; one that fails is left out with a warning.

Trust them in this order: modes, high quality, reverse KL with its excess, (K+1)-bin KL; clipped density and clipped
coverage; Vendi score and RKE modes; AuthPct and FLD; precision, recall, density and coverage are for comparison with
older work. The best checkpoint (`--step best`) is that of the lowest `bin_kl` of a mixture, the lowest `kl` of stacked
digits and labelled images, or the highest `fidelity_diversity` of images without labels; `--config.best_metric` names
another score.

## Each score
"""

SANITY = f"""
## What each score gives

Scores of samples whose quality is known: held-out real data; exact copies of the training examples; real data without
one of its modes or classes; one real example, repeated; noise. The mixtures have {NUM:,} samples; "digits" are 8×8
digits, 1,437 to train on and 360 held out, and their pixels stand for the features of a network. A very large FLD, as
that of exact copies, means that all samples are memorised. `tests/test_metrics_sanity.py` holds these scores.
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


def known_scores() -> dict[str, tuple[str, ...]]:
    """Returns the rows of the table of known scores: `{column: (data, score in each situation, …)}`."""
    return {name: (data, *as_cells(row)) for name, (data, row) in sanity().items()}


def render(known: Mapping[str, tuple[str, ...]]) -> str:
    """Returns the glossary as Markdown: tables of the columns, of known scores, and of the metrics that give them.

    Args:
        known: the rows of `known_scores`.
    """
    columns = _table(
        ("name", "heading", "unit", "better", "definition", "source"),
        (
            (
                f"`{c.name}`",
                c.heading,
                c.unit,
                c.direction if c.direction == "as real" else f"{c.direction} {ARROWS[c.direction]}",
                c.definition,
                c.source,
            )
            for c in COLUMNS.values()
        ),
    )
    order = [name for name in COLUMNS if name in known]
    scores = _table(
        ("name", "data", *SITUATIONS),
        ((f"`{name}`", *known[name]) for name in order),
    )
    metrics = _table(
        ("metric", "scores"),
        ((f"`{name}`", ", ".join(f"`{c.name}`" for c in metric.columns)) for name, metric in METRICS.items()),
    )
    return "\n".join((HEAD, columns, SANITY, scores, MIDDLE, metrics, FOOT))


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a Markdown table, without padding, so that a change of one row shows as one line."""
    lines = (headings, ("---",) * len(headings), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    print(render(known_scores()), end="")
