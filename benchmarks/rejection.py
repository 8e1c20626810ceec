"""What rejection brings, and what it costs: python -m benchmarks.rejection --workdir runs/grid [--budgets 1.05 1.25 …]

For each budget K, samples of a run on a mixture of the plane are scored by their modes. A second classifier, of another
architecture and seed than the one that rejects, is trained to tell samples from data. Its area under the ROC curve
(AUC) on samples and data that it has not seen is 0.5 where nothing distinguishes the two (a classifier two-sample test;
Lopez-Paz and Oquab, ICLR 2017).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

import veegan_jax
from benchmarks.missing_modes import auc
from veegan_jax.evaluation.scores import Scorer
from veegan_jax.evaluation.trained import Run
from veegan_jax.inference.density_ratio import DensityRatio, Recipe, Sampled
from veegan_jax.inference.rejection import training_data
from veegan_jax.ops import draws

# The classifier that tests is narrower than the one that rejects, has other frequencies, and another seed.
TEST = Recipe("mlp", {"disc_hidden": (128, 128, 128), "activation": "relu"}, octaves=7, steps=2000, seed=1)
SHOWN = ("modes", "high_quality", "kl", "bin_kl", "auc")


def two_sample_auc(run: Run, x: np.ndarray) -> float:
    """Returns the AUC of a classifier that half of the samples `[N, …]` and fresh data train, on the other half."""
    half = len(x) // 2
    data = training_data(run.experiment)

    def read(arrays: jax.Array, keys: jax.Array) -> jax.Array:
        return arrays[jax.vmap(lambda key: draws.integers(key, 1, half)[0])(keys)]

    ratio = DensityRatio(run.experiment.spec, TEST)
    fitted = ratio.fit(data, Sampled(jnp.asarray(x[:half]), read))
    real = run.held_out(half, seed=8)
    log_ratio = jax.jit(ratio.log_ratio)
    scores = np.concatenate([log_ratio(fitted, part) for part in (x[half:], real)])
    return auc(scores, np.arange(len(scores)) >= len(x) - half)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes its numbers as JSON if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True, help="the run, on a mixture of the plane")
    parser.add_argument("--budgets", type=float, nargs="+", default=[1.05, 1.25, 2.0], help="K of each row")
    parser.add_argument("--num", type=int, default=20_000, help="the number of samples of a score")
    parser.add_argument("--tested", type=int, default=100_000, help="the number of samples of the two-sample test")
    parser.add_argument("--json", type=Path, help="the file for the numbers")
    given = parser.parse_args(argv)
    run = veegan_jax.load(given.workdir)
    source = run.experiment.source
    scorer = Scorer(source._replace(references={"mixture": source.references["mixture"]}), given.num)

    def row(x: np.ndarray) -> dict[str, float]:
        return {**scorer.score(x[: given.num]), "auc": two_sample_auc(run, x[given.num :])}

    drawn = given.num + given.tested
    rows = {"real data": row(run.held_out(drawn, seed=9)), "all samples": row(run.sample(drawn, seed=9))}
    for budget in given.budgets:
        rows[f"K = {budget:g}"] = row(run.sample(drawn, seed=9, rejection=budget))
    body = [[name, *(f"{scores[column]:.4g}" for column in SHOWN)] for name, scores in rows.items()]
    print(tabulate(body, ["samples", *SHOWN], tablefmt="github", disable_numparse=True))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
