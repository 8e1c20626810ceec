"""The latents of a trained model with what is known of each, to be looked at in a projector."""

from veegan_jax.evaluation.regions import Modes
from veegan_jax.evaluation.scores import MODEL_SEED, REAL_SEED, Evaluation
from veegan_jax.evaluation.spaces import space
from veegan_jax.objectives.base import Params
from veegan_jax.storage.writers import Latents

# A projector lays out at most this number of latents.
MOST = 1_000


def labelled_latents(evaluation: Evaluation, params: Params) -> Latents:
    """Returns F(x) of held-out examples, or without a reconstructor the z of samples, each with the mode of its x.

    Args:
        evaluation: the data and the networks.
        params: the parameters of one replica.
    """
    sampler, source = evaluation.sampler, evaluation.source
    if evaluation.experiment.objective.encode:
        x, name = sampler.real(MOST, REAL_SEED), "F(x)"
        z, files = sampler.encode(params, x), source.held_out_names
        positions = sampler.real_positions(len(x), REAL_SEED)
        examples = [files[i] if files else str(i) for i in positions]
    else:
        z, x = sampler.generate(params, MOST, MODEL_SEED)
        name, examples = "z", [str(i) for i in range(MOST)]
    modes = space(source).modes(x)
    labels = {**(_mode_labels(modes) if modes else {}), "example": examples}
    return Latents(name, z, labels, x if len(source.shape) == 3 else None)


def _mode_labels(modes: Modes) -> dict[str, list[str]]:
    """Returns the name of each example's mode and, where a mode has several attributes, each of these."""
    labels = {modes.noun[0]: [modes.name(one) for one in modes.attributes.tolist()]}
    number = modes.attributes.shape[1]
    parts = range(number) if number > 1 else ()
    return labels | {f"part {i + 1}": [str(value) for value in modes.attributes[:, i]] for i in parts}
