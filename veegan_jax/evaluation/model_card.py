"""The README of an exported model: what it is, how good, what its limits are, and how it is loaded."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from veegan_jax.config.convert import read_json
from veegan_jax.errors import UserError
from veegan_jax.evaluation.tables import beside_real
from veegan_jax.objectives.base import Params
from veegan_jax.version import __version__

# What Hugging Face Hub reads of a model's README.
HEADER = """---
license: unknown
library_name: jax
pipeline_tag: {task}
tags: [gan, {objective}, mode-collapse, stablehlo]
---
"""
CARD = """
# {objective} on {data}

A generator G(z, ε){rec} that veegan_jax {version} trained: step {step:,}, seed {seed}{kept}. Examples have the shape
{shape}{scale}; G has {latent_dim} latents and {num_params:,} parameters.

## How to load it

```sh
pip install jax numpy flatbuffers
```

```python
from load import Model  # load.py of this folder

model = Model(".")
x = model.sample(1000, seed=0)  # numpy, float32 [1000, …]
z, eps = model.latents(10, seed=0)
x = model.decode(z, eps){encode}
```

The programs are StableHLO, lowered for CPUs, NVIDIA GPUs and TPUs at once, for batches of any size; the parameters are
in `model.safetensors`. Reading them runs no code. `load.py` is code: read it, or use a copy that you trust.

## Scores

{scores}

## Limits

- The model knows nothing but its training data. What they lack, or hold few examples of, it does not make.
- {missing}
- Scores are those of the raw generator{rejection}.

## Licence

The person who publishes this model chooses its licence, and names it in the header of this file; the data have one of
their own. `load.py` is under Apache 2.0.

`config.json` has the whole configuration of the run, and the versions that made it.
"""


def model_card(config: Any, step: int, replica: int, params: Params, shape: tuple[int, ...], **more: Any) -> str:
    """Returns the README of an exported model, as Markdown.

    Args:
        config: the run's configuration.
        step: the step of the checkpoint.
        replica: the number of the seed, from 0.
        params: the generator's parameters.
        shape: the shape of an example.
        **more: `bounded`, whether examples lie in [−1, 1]; `encodes`, whether there is a reconstructor; `rejection`, K
            or None; and `folder`, that of the run, or None.
    """
    folder: Path | None = more["folder"]
    results = _results(folder, step)
    budget = more["rejection"]
    text = CARD.format(
        objective=config.objective,
        data=config.data,
        rec=" and a reconstructor F(x)" if more["encodes"] else "",
        version=__version__,
        step=step,
        seed=config.seed + replica,
        kept=f", with rejection by the density ratio (one of {budget:g} samples is kept)" if budget else "",
        shape=list(shape),
        scale=", and lie in [−1, 1]" if more["bounded"] else "",
        latent_dim=config.latent_dim,
        num_params=sum(np.size(leaf) for leaf in jax.tree.leaves(params)),
        encode="\nz = model.encode(x)" if more["encodes"] else "",
        scores=_scores(results, replica),
        missing=_missing(folder, step, replica),
        rejection=", without rejection" if budget else "",
    )
    task = "unconditional-image-generation" if len(shape) == 3 else "other"
    return HEADER.format(task=task, objective=config.objective) + text


def _results(folder: Path | None, step: int) -> Mapping[str, Any]:
    """Returns the scores that the run has of this step, as `save_results` wrote them; empty if there are none."""
    for name in ("results.json", f"evaluation_step{step}.json"):
        try:
            found: Mapping[str, Any] = read_json(folder / name) if folder and (folder / name).exists() else {}
        except UserError:
            continue  # A damaged file says nothing of the model.
        if found.get("step") == step:
            return found
    return {}


def _scores(results: Mapping[str, Any], replica: int) -> str:
    """Returns the table of one replica's scores beside those of real data, or that there are none."""
    if not results:
        return "This checkpoint was not measured; `--mode evaluate` does so."
    table = beside_real([results["replicas"][replica]], results["real"], results["samples"])
    return f"{table}\n\nReal data: as many held-out examples. {'; '.join(results['notes'])}."


def _missing(folder: Path | None, step: int, replica: int) -> str:
    """Returns what the model misses, if that was asked of the run, or how to find out."""
    own = re.compile(rf"missing_step{step}_seed\d+{f'_replica{replica}' if replica else ''}\.json")
    for path in sorted(folder.glob("missing_*.json")) if folder else ():
        if not own.fullmatch(path.name):
            continue
        verdict: str = json.loads(path.read_text("utf-8"))["verdict"]
        return f"What it misses: {verdict}."
    return "What it misses was not measured; `--mode missing` does so."
