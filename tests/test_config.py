"""The configuration: what it refuses, and what of it a run depends on."""

import inspect
import json

import pytest

from configs import compare
from tests.data_files import tiny_options
from tests.helpers import ROOT, tiny
from veegan_jax.config.build import build
from veegan_jax.config.convert import comparison, differences, effective, from_effective, from_json
from veegan_jax.config.fields import CHOICES, MINIMA, REGISTRIES, base_config, options
from veegan_jax.errors import UserError, suggestion


def changed(path, value):
    config = tiny()
    *sections, name = path.split(".")
    target = config
    for section in sections:
        target = target[section]
    target[name] = value
    return config


WRONG = [
    ("objective", "vegan", r"config.objective is 'vegan'; did you mean 'veegan'\? valid: aae, ali, bigan, gan"),
    (
        "data",
        "rings",
        r"config.data is 'rings'; did you mean 'ring'\? valid: celeba, cifar10, grid",
    ),
    ("model", "resnets", r"config.model is 'resnets'; did you mean 'resnet'\? valid: dcgan, mlp, resnet"),
    (
        "model",
        "dcgan",
        r"config.dcgan.smallest is 4; the data must be images \[H, W, C\] of more pixels a side, and these are \[2\]",
    ),
    ("update_order", "together", "config.update_order is 'together'; valid: alternating, simultaneous"),
    ("disc_updates", 0, "config.disc_updates is 0; it must be at least 1"),
    ("gen_updates", 0, "config.gen_updates is 0"),
    ("unroll", -1, "config.unroll is -1"),
    ("veegan.x_critic", -1.0, "config.veegan.x_critic is -1.0; it is a weight"),
    ("dtype", "float16", r"config.dtype is 'float16'; did you mean 'bfloat16'\? valid: bfloat16, float32"),
    ("parallel", "pjit", "config.parallel is 'pjit'"),
    ("seed", -1, "config.seed is -1; it must be at least 0"),
    ("seed", 2**32, "seeds must lie in 0 to 4294967295"),
    ("num_seeds", 0, "config.num_seeds is 0; it must be at least 1"),
    ("num_steps", 0, "config.num_steps is 0"),
    ("latent_dim", 0, "config.latent_dim is 0"),
    ("batch_size", 0, "config.batch_size is 0"),
    ("packing", 3, "config.batch_size is 16; it must divide by config.packing, 3"),
    ("mlp.activation", "gelu", r"config.mlp.activation is 'gelu'; did you mean 'elu'\?"),
    ("mlp.init", "zeros", "config.mlp.init is 'zeros'; valid: glorot_normal"),
    ("mlp.gen_hidden", (8, 0), r"config.mlp.gen_hidden is \(8, 0\); it must be a tuple of positive integers"),
    ("veegan.adversarial_loss", "wgan", "config.veegan.adversarial_loss is 'wgan'"),
    ("veegan.reconstructor_std", -1.0, "config.veegan.reconstructor_std is -1.0; it is a standard deviation"),
    ("veegan.reconstruction_weight", -1.0, "config.veegan.reconstruction_weight is -1.0"),
    ("ring.std", 0.0, "config.ring.std is 0.0"),
    ("ring.modes", 0, "config.ring.modes is 0"),
    ("optim.gen.learning_rate", 0.0, "config.optim.gen.learning_rate is 0.0; it must be more than 0"),
    ("optim.disc.b1", 1.0, "config.optim.disc.b1 is 1.0"),
    ("optim.gen.schedule", "step", r"config.optim.gen.schedule is 'step'; valid: constant, cosine, linear"),
    ("best_metric", "fid", "config.best_metric is 'fid'; valid: high_quality, jsd, kl, mmd, modes"),
    ("steps_per_call", 0, "config.steps_per_call is 0"),
    ("eval_every", 0, "config.eval_every is 0"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_wrong_values_are_refused_by_name(path, value, message):
    with pytest.raises(UserError, match=message):
        build(changed(path, value))


def test_every_numeric_field_has_a_bound_and_every_bound_and_choice_a_field():
    plain = base_config().to_dict()
    numbers = {name for name, value in plain.items() if isinstance(value, int | float) and value is not False}
    assert numbers == set(MINIMA)
    assert set(CHOICES) <= set(plain)


def test_names_of_entries_are_unique_and_no_field():
    names = [name for registry in REGISTRIES.values() for name in registry]
    assert len(names) == len(set(names))
    for registry in REGISTRIES.values():
        for name, entry in registry.items():
            assert dict(base_config()[name]) == options(entry)


def test_effective_leaves_out_what_is_not_chosen_and_comes_back():
    config = tiny("veegan", data="grid")
    plain = effective(config)
    assert "veegan" in plain
    assert not {"gan", "ring", "stacked_digits"} & set(plain)
    back = from_effective(json.loads(json.dumps(plain)))
    assert effective(back) == plain
    assert back.mlp.gen_hidden == (8, 8)  # a tuple again
    assert differences(effective(back), plain) == []


def test_differences_name_both_values():
    lines = differences(effective(tiny(batch_size=32)), effective(tiny()))
    assert lines == ["config.batch_size: 32, but the run has 16"]
    lines = differences(effective(tiny("gan")), effective(tiny("veegan")))
    assert any(line.startswith("config.objective: 'gan'") for line in lines)


def test_stored_config_of_another_version_is_refused():
    with pytest.raises(UserError, match=r"config.batchsize is no field of this version; did you mean 'batch_size'"):
        from_effective({"batchsize": 3})
    with pytest.raises(UserError, match="config.batch_size is 'many'"):
        from_effective({"batch_size": "many"})


def test_a_json_config_has_some_fields_or_all(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(
        '{"data": "grid", "mlp": {"gen_hidden": [8, 8]}, "ema_half_life": 3, "compare": {"a": {"seed": 1}}}'
    )
    config = from_json(file)
    assert (config.data, config.mlp.gen_hidden, config.ema_half_life) == ("grid", (8, 8), 3.0)
    assert config.mlp.disc_hidden == base_config().mlp.disc_hidden
    assert comparison(config)["a"].seed == 1
    file.write_text(json.dumps(effective(tiny())))
    assert differences(effective(from_json(file)), effective(tiny())) == []


def test_suggestion():
    assert suggestion("rng", ["ring", "grid"]) == "did you mean 'ring'? valid: grid, ring"
    assert suggestion("qqq", ["ring"]) == "valid: ring"


def load(path):
    namespace: dict = {"__name__": path.stem}
    exec(compile(path.read_text(), path, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda path: path.stem)
def test_every_config_builds_and_says_how_to_run_it(path):
    namespace = load(path)
    assert f"python -m veegan_jax.main --config configs/{path.name}" in namespace["__doc__"]
    variants = compare.DATA if inspect.signature(namespace["get_config"]).parameters else [None]
    for variant in variants:
        config = namespace["get_config"](*filter(None, [variant]))
        config[config.data].update(tiny_options(config.data))
        for row in comparison(config).values() if config.compare else [config]:
            build(row)
            assert row.eval_every % row.steps_per_call == 0  # else a run compiles several lengths of call


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradient_penalties_want_no_batch_norm(norm):
    config = tiny("gan", "dcgan", "stacked_digits")
    config.penalty.r1, config.dcgan.disc_norm = 1.0, norm
    config.dcgan.smallest = 2  # two convolutions, of which the second is normalised
    if norm == "none":
        build(config)
    else:
        with pytest.raises(
            UserError, match=r"config.penalty.r1 is 1.0 and r2 0.0, but .*config.dcgan.disc_norm='none'"
        ):
            build(config)
