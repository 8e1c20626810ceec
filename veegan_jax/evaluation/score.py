"""Scores of samples that any program made, by the protocol by which a trained model is scored."""

import os
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from veegan_jax.data.base import Source
from veegan_jax.data.given import Given, read_examples
from veegan_jax.errors import UserError
from veegan_jax.evaluation.published import PUBLISHED, Rows
from veegan_jax.evaluation.samples import read_reference
from veegan_jax.evaluation.scores import REFERENCE_SEED, Scorer, Scores
from veegan_jax.evaluation.tables import score_table
from veegan_jax.inference.real_examples import RealExamples

# The seeds of the rows that show what a score means, and of the order in which samples are taken.
SANITY_SEED, SHUFFLING_SEED = 6, 7


class Scored(NamedTuple):
    """The scores of samples, beside scores that tell what these mean.

    Attributes:
        num: the number of samples that are scored in every row.
        samples: the scores of the samples, by the names of their columns.
        real: the ceiling: the scores of held-out real examples.
        sanity: the scores of samples that are bad in a known way, by the name of the row.
        table: all of them as Markdown, with the published figures on these data, and the notes.
    """

    num: int
    samples: Scores
    real: Scores
    sanity: Mapping[str, Scores]
    table: str


def score(samples: Given, reference: Given | Source) -> Scored:
    """Scores samples that any program made against real data.

    Args:
        samples: an array, a file or a folder, of images or vectors; see `read_examples`.
        reference: real data: the name of a source such as 'ring' or 'mnist'; an array, a file or a folder, see
            `read_reference`; or a `Source`.

    Raises:
        UserError: if samples or reference cannot be read, or do not go together.
    """
    if isinstance(reference, Source):
        return score_against(reference, samples, "reference")
    name = "reference" if isinstance(reference, np.ndarray) else os.fspath(reference)
    try:
        source = read_reference(reference, samples)
    except ValueError as error:
        raise UserError(str(error)) from error
    return score_against(source, samples, name, PUBLISHED.get(name, {}))


def score_against(source: Source, given: Given, name: str, published: Rows | None = None, num: int = 0) -> Scored:
    """Scores samples against a source of real data.

    Args:
        source: the real data.
        given: the samples; see `read_examples`.
        name: what the table calls the data.
        published: the figures that others have published on these data.
        num: the largest number of samples to score; 0 for the published protocol's.

    Raises:
        UserError: if the samples cannot be read, or are not like the data.
    """
    x, _, found = read_examples(given, source.spec, "--samples")
    num = min(num or source.num_eval, len(x), source.num_held_out)
    # Some scores compare the first examples only, and files may be sorted by class.
    x = x[np.random.default_rng(SHUFFLING_SEED).permutation(len(x))]
    scorer = Scorer(source, num)
    samples, real = scorer.score(x[:num]), scorer.score_real()
    sanity = {row: scorer.score(bad) for row, bad in sanity_rows(scorer.examples, num).items()}
    rows = {"samples": [samples], "real data": [real], **{row: [scores] for row, scores in sanity.items()}}
    fewer = f"the published protocol scores {source.num_eval:,} samples, and scores depend on that number"
    notes = [*scorer.notes(), found, f"{num:,} of them, drawn at random, are scored" if num < len(x) else ""]
    notes.append(fewer if num < source.num_eval else "")
    table = score_table(name, scorer.columns, rows, notes, num, published or {})
    return Scored(num, samples, real, sanity, table)


def sanity_rows(examples: RealExamples, num: int) -> dict[str, np.ndarray]:
    """Returns samples that are bad in a known way, float32 `[N, …]`, N = `num` but for half of a small finite set.

    Copies of the examples that samples are compared with show what learning by heart scores. Half of the modes are
    missing among the half of the examples that is nearest to one of them. A collapsed sampler repeats one example.
    Where each coordinate comes from another example, every coordinate is right alone, and nothing is right together.
    """
    real = examples.held_out(2 * num, SANITY_SEED)  # Training examples would be copies of the reference.
    flat = real.reshape(len(real), -1)
    nearest = np.argsort(np.linalg.norm(flat - flat[0], axis=1), kind="stable")[: max(len(real) // 2, 1)]
    apart = np.random.default_rng(SANITY_SEED).permuted(flat[:num], axis=0)
    return {
        "copies of the reference": examples.training(num, REFERENCE_SEED),
        "half of the data": real[np.sort(nearest)],
        "one example, repeated": np.repeat(real[:1], num, axis=0),
        "coordinates apart": apart.reshape(-1, *real.shape[1:]),
    }
