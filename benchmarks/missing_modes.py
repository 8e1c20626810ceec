"""How well missing modes are found (VEEGAN's question RQ1): python -m benchmarks.missing_modes [--only ring …]

Modes are held back from a sampler, wholly or in part, and held-out examples of all modes are ranked by how surely they
are missed. The area under the ROC curve (AUC) says how well the ranking tells the modes that were held back from the
others: 1 is perfect, 0.5 is chance. The first table takes real training examples as the sampler, so that nothing but
the held-back modes is wrong with it. The second one trains generators for seconds on a ring with modes held back, and a
GAN that collapses by itself on the whole ring; it compares this ranking with those by inversion and reconstruction.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from tabulate import tabulate

from configs import ring as ring_config
from veegan_jax.config.build import Experiment, build
from veegan_jax.data import SOURCES
from veegan_jax.data.base import Source
from veegan_jax.evaluation.local_two_sample import Neighbours
from veegan_jax.evaluation.missing import COMPARED, MOST_COMPARED, Reconstruction, judge, missing
from veegan_jax.evaluation.regions import MISSED, RARE, coverage, verdict
from veegan_jax.evaluation.spaces import Space, space
from veegan_jax.inference.model import Sampler
from veegan_jax.objectives.base import Params
from veegan_jax.parallel.devices import replicate
from veegan_jax.storage.checkpoint import to_host
from veegan_jax.train.compile import fused_step, initial_state, select_devices

KEPT = {"missing": 0.0, "a tenth": 0.1, "half": 0.5}  # the share of a mode's samples that is kept
# Many examples are judged here, so that a mode of 2 % has enough of them; few are inverted, since that takes long.
JUDGED, INVERTED = 5000, 256
Draw = Callable[[int, bool, int], tuple[np.ndarray, np.ndarray]]


class Case(NamedTuple):
    """Data of which some modes are held back.

    Attributes:
        name: the data and what is held back.
        source: the data.
        draw: `draw(n, held_out, seed)` returns at most n examples and whether each is of a held-back mode.
    """

    name: str
    source: Source
    draw: Draw


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Returns the probability that a positive has a higher score than a negative; ties count as half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))


def ranking(found: Neighbours) -> np.ndarray:
    """Returns a score that is higher for examples that are missed more surely, `[N]`."""
    score = np.empty(len(found.worst))
    score[found.worst] = -np.arange(len(score))
    return score


def measure(case: Case, measured: Space, num: int) -> Iterator[dict[str, Any]]:
    """Judges held-out examples by real examples from which modes are held back, for each share that is kept of them.

    Args:
        case: the data.
        measured: the coordinates of the data.
        num: the number of samples, and of reference examples.
    """
    x, held_back = case.draw(JUDGED, True, 0)
    train_x, train_held_back = case.draw(4 * num, False, 1)
    near, modes = measured.coordinates(train_x), measured.modes(x)
    quarter = len(near) // 4
    rest, rest_held_back = near[2 * quarter :], train_held_back[2 * quarter :]
    for kept, share in KEPT.items():
        stays = ~rest_held_back | (np.random.default_rng(2).random(len(rest)) < share)
        generated = rest[stays][:quarter]
        found = coverage(measured.coordinates(x), near[:quarter], near[quarter : 2 * quarter], generated, modes)
        missed = found.neighbours.missed
        yield {
            "data": case.name,
            "share (%)": 100 * float(held_back.mean()),
            "kept": kept,
            "samples": len(generated),
            "AUC": auc(ranking(found.neighbours), held_back),
            "found (%)": 100 * float(missed[held_back].mean()),
            "false (%)": 100 * float(missed[~held_back].mean()),
            "real data (%)": 100 * float(found.real.missed.mean()),
            "regions": sum(region.status in (MISSED, RARE) for region in found.regions),
        }


def mixture_case(name: str, share: float) -> Case:
    """Returns a mixture whose first mode has a given share of the data and is held back."""
    source = SOURCES[name]()
    mixture = source.references["mixture"]
    others = (1 - share) / (len(mixture.means) - 1)
    weights = np.array([share, *[others] * (len(mixture.means) - 1)])

    def draw(n: int, held_out: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        mode = rng.choice(len(weights), n, p=weights)
        noise = mixture.std * rng.standard_normal((n, 2))
        return (mixture.means[mode] + noise).astype(np.float32), mode == 0

    return Case(f"{name}: 1 of {len(weights)} modes", source, draw)


def digits_case(source: Source, name: str, held: np.ndarray) -> Case:
    """Returns stacks of digits of which some combinations are held back, bool `[10, 10, 10]`."""
    digits = source.references["stacked_modes"]

    def draw(n: int, held_out: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
        part = "test" if held_out else "train"
        images, labels = getattr(digits, f"{part}_images"), getattr(digits, f"{part}_labels")
        chosen = np.random.default_rng(seed).integers(len(images), size=(n, 3))
        x = np.moveaxis(images[chosen], 1, -1).astype(np.float32) / 8 - 1
        return x, held[tuple(labels[chosen].T)]

    return Case(f"stacked digits: {name}", source, draw)


def digit_cases() -> list[Case]:
    """Returns the cases of stacked digits: a digit, pairs of digits, and combinations at random."""
    source = SOURCES["stacked_digits"]()
    first, second, _ = np.indices((10, 10, 10))
    scattered = np.random.default_rng(0).permutation(1000).reshape(10, 10, 10) < 20
    return [
        digits_case(source, "a digit of the first channel", first == 3),
        digits_case(source, "4 pairs of digits", (first == 3) & (second >= 4) & (second < 8)),
        digits_case(source, "2 pairs of digits", (first == 3) & (second >= 4) & (second < 6)),
        digits_case(source, "20 of 1000 combinations", scattered),
    ]


def mnist_case(source: Source, digit: int, share: float) -> Case:
    """Returns MNIST with one class at a given share of the data, held back; 0 for the share that it has."""
    data = source.references["labelled_images"]

    def draw(n: int, held_out: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
        part = "test" if held_out else "train"
        images, labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        rng = np.random.default_rng(seed)
        own = labels == digit
        odds = share * np.mean(~own) / ((1 - share) * np.mean(own)) if share else 1.0
        weights = np.where(own, odds, 1.0) / max(odds, 1.0)
        chosen = rng.permutation(np.flatnonzero(rng.random(len(labels)) < weights))[:n]
        return images[chosen].astype(np.float32) / np.float32(127.5) - 1, own[chosen]

    return Case(f"MNIST: class {digit}", source, draw)


def held_back(only: list[str]) -> list[dict[str, Any]]:
    """Measures every case with real examples as the sampler."""
    cases: dict[str, Callable[[], list[Case]]] = {
        "ring": lambda: [mixture_case("ring", share) for share in (0.02, 0.04, 0.125)],
        "grid": lambda: [mixture_case("grid", share) for share in (0.02, 0.04, 0.125)],
        "stacked_digits": digit_cases,
        "mnist": lambda: [
            mnist_case(source, digit, share)
            for source in [SOURCES["mnist"]()]
            for share in (0.02, 0.04, 0.0)
            for digit in (1, 4, 8)
        ],
    }
    rows: list[dict[str, Any]] = []
    for name in [name for name in cases if name in only or not only]:
        made = cases[name]()
        measured, num = space(made[0].source), MOST_COMPARED if name == "stacked_digits" else COMPARED
        for case in made:
            for row in measure(case, measured, num):
                print(row, flush=True)
                rows.append(row)
    return rows


def trained(objective: str, means: np.ndarray, steps: int, **fields: Any) -> tuple[Experiment, Sampler, Params]:
    """Trains a method on a mixture of some modes of the ring.

    Args:
        objective: the method.
        means: the means of the modes to train on, float32 `[M, 2]`.
        steps: the number of updates, a multiple of 100.
        fields: other fields of the config.
    """
    config = ring_config.get_config()
    config.update({"objective": objective, "num_steps": steps, "ema_half_life": 0.0, "devices": 1, **fields})
    experiment, devices = build(config), select_devices(config)
    call = fused_step(experiment, devices, 100)
    arrays = replicate(jnp.asarray(means), devices)
    state: Any = replicate(initial_state(experiment), devices)
    for _ in range(steps // 100):
        state, _ = call(state, arrays)
    sampler = Sampler(experiment)
    return experiment, sampler, sampler.trained(to_host(state), 0)


def compare(name: str, experiment: Experiment, sampler: Sampler, params: Params, held: np.ndarray) -> dict[str, Any]:
    """Compares the rankings of held-out examples by the test, by inversion and by the reconstructor.

    Args:
        name: the name of the row.
        experiment: what was trained.
        sampler: the compiled functions.
        params: the parameters.
        held: the modes that the generator lacks, int `[H]`.
    """
    x = sampler.real(INVERTED, 0)
    judged = judge(sampler, experiment, params, x, 0)
    modes = judged.coverage.modes
    assert modes is not None
    positive = np.isin(modes.attributes[:, 0], held)
    z = sampler.invert(params, x, 0)[0]
    nearest, encoded = Reconstruction(z, sampler.decode(params, z, 0)), None
    if experiment.objective.encode:
        z = sampler.encode(params, x)
        encoded = Reconstruction(z, sampler.decode(params, z, 0))
    old = missing(x, nearest, encoded)
    scores = {
        "this test": ranking(judged.coverage.neighbours),
        "inverted distance": old.nearest,
        "inverted z, prior": old.nearest_prior,
        "G(F(x)) distance": old.reconstruction,
        "F(x), prior": old.reconstruction_prior,
    }
    aucs = {key: auc(score, positive) if score is not None else None for key, score in scores.items()}
    print(f"{name}: {verdict(judged.coverage)}", flush=True)
    return {"sampler": name, "lacks (%)": 100 * float(positive.mean()), **aucs}


def generators() -> list[dict[str, Any]]:
    """Compares the rankings on generators that lack modes of the ring, held back or lost by themselves."""
    means = SOURCES["ring"]().references["mixture"].means
    rows = []
    for lacking in ([0], [0, 2, 4, 6]):
        kept = np.delete(means, lacking, axis=0)
        parts = trained("veegan", kept, 6000)
        rows.append(compare(f"VEEGAN, trained without {len(lacking)} of 8 modes", *parts, np.array(lacking)))
    experiment, sampler, params = trained("gan", means, 1000, packing=1)
    samples = sampler.generate(params, COMPARED, 9)[1]
    landed = np.argmin(np.linalg.norm(samples[:, None] - means, axis=-1), axis=1)
    counts = np.bincount(landed, minlength=8) / len(samples)
    lost = np.flatnonzero(counts < 0.1 / 8)
    name = f"GAN, all modes, {len(lost)} of 8 lost"
    if 0 < len(lost) < 8:
        rows.append(compare(name, experiment, sampler, params, lost))
    return rows


def main() -> None:
    """Prints both tables, and writes the numbers as JSON where a file is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    tables = {"held_back": held_back(arguments.only)}
    if not arguments.only or "generators" in arguments.only:
        tables["generators"] = generators()
    for rows in tables.values():
        print("\n" + tabulate(rows, headers="keys", tablefmt="github", floatfmt=".3g", missingval="–"))
    if arguments.json:
        arguments.json.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
