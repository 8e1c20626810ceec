"""The configuration: what it refuses, what a run depends on, and how it is explained."""

import inspect
import json
import subprocess
import sys
from typing import Literal

import pytest

from configs import compare
from tests.data_files import tiny_options
from tests.helpers import ROOT, tiny
from veegan_jax.cli.config_file import known_configs
from veegan_jax.config.build import build
from veegan_jax.config.convert import comparison, differences, effective, from_effective, from_json
from veegan_jax.config.fields import REGISTRIES, Field, all_fields, base_config, field_names, options, sections
from veegan_jax.config.help import describe, render_markdown
from veegan_jax.errors import UserError, suggestion


def changed(path, value):
    config = tiny()
    config.update_from_flattened_dict({path: value})
    return config


WRONG = [
    ("objective", "vegan", r"config.objective is 'vegan'; did you mean 'veegan'\? valid: aae, ali, bigan, gan"),
    ("data", "rings", r"config.data is 'rings'; did you mean 'ring'\? valid: celeba, cifar10, grid"),
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
    ("best_metric", "fid", "config.best_metric is 'fid'; valid: bin_kl, clipped_coverage"),
    ("steps_per_call", 0, "config.steps_per_call is 0"),
    ("eval_every", 0, "config.eval_every is 0"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_wrong_values_are_refused_by_name(path, value, message):
    with pytest.raises(UserError, match=message):
        build(changed(path, value))


def test_every_number_in_no_section_has_a_minimum():
    """An option of a section has none, since the function that takes the option checks its range."""
    for path, field in all_fields().items():
        is_number = type(field.default) in (int, float)
        assert (field.minimum is not None) == (is_number and "." not in path), path


def test_every_default_is_among_the_choices_and_in_the_range():
    for path, field in all_fields().items():
        assert not field.choices or field.default in field.choices, path
        assert field.minimum is None or field.default >= field.minimum, path


def test_names_of_entries_are_unique_and_no_field():
    names = [name for registry in REGISTRIES.values() for name in registry]
    assert len(names) == len(set(names))
    for name, entry in sections().items():
        section = base_config()[name] if "." not in name else base_config().optim[name.split(".")[1]]
        assert section.to_dict() == {option: field.default for option, field in options(entry).items()}


def test_every_field_and_every_section_is_explained():
    assert [path for path, field in all_fields().items() if not field.doc] == []
    assert [name for name, entry in sections().items() if not (entry.__doc__ or "Args:").partition("Args:")[0]] == []
    assert set(all_fields()) | set(sections()) | {"optim"} == set(field_names(base_config()))


def example(  # noqa: D417
    *, rate: float = 1.0, steps: int = 3, unnamed: int = 2, kind: Literal["a", "b"] = "a", given: int
) -> None:
    """Does nothing. Args: are not here.

    Args:
        rate: The rate,
            on two lines: this is the second.
        steps: The number of steps.
        kind: Either.
        given: No option.

    Returns:
        steps: Nothing.
    """


def test_an_option_is_explained_by_the_docstring_and_its_choices_by_the_type():
    assert options(example) == {
        "rate": Field(1.0, "The rate, on two lines: this is the second."),
        "steps": Field(3, "The number of steps."),
        "unnamed": Field(2, ""),
        "kind": Field("a", "Either.", choices=("a", "b")),
    }


def test_the_page_of_the_configuration_is_current():
    stored = (ROOT / "docs" / "config.md").read_text("utf-8")
    assert stored == render_markdown(), "run: python -m veegan_jax.config.help > docs/config.md"


def test_help_explains_a_field_a_section_or_all():
    assert describe("batch_size") == (
        "config.batch_size = 128; an integer, at least 1\n    The number of examples in a step, over all devices."
    )
    assert "config.dtype = 'float32'; one of float32, bfloat16\n" in describe("config.dtype")
    assert "config.veegan.x_critic = 0.0; a finite number\n" in describe("veegan.x_critic")
    assert all(f"config.veegan.{name} = " in describe("veegan") for name in options(REGISTRIES["objective"]["veegan"]))
    assert all(f"config.optim.{player}.b1 = " in describe("optim") for player in ("gen", "disc"))
    assert describe("synthetic1200").startswith("config.synthetic1200: ")
    for name in [*sections(), *(path for path in all_fields() if "." not in path)]:
        assert f"  {name}" in describe(None), name
        assert describe(name)
    assert max(map(len, describe(None).splitlines())) <= 100


def test_help_of_an_unknown_name_says_what_is_near():
    with pytest.raises(UserError, match=r"config.batchsize is no field; did you mean 'batch_size'\? valid: "):
        describe("batchsize")
    with pytest.raises(UserError, match=r"config.veegan.std is no field; .*valid: veegan.adversarial_loss, "):
        describe("veegan.std")


def test_the_fields_need_no_package_that_is_slow_to_import():
    """JAX, Flax and Optax are needed, since an option's default is that of the function that takes the option."""
    slow = ["PIL", "grain", "matplotlib", "orbax", "scipy", "sklearn", "tensorboardX", "tensorflow_datasets", "torch"]
    program = f"import sys; import veegan_jax.config.help; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_effective_leaves_out_what_is_not_chosen_and_can_be_read_back():
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


def test_a_field_that_a_stored_config_lacks_has_its_default():
    """A run of an earlier version lacks the fields that came later, and is the same run where they have defaults."""
    stored = effective(tiny())
    del stored["whiten"], stored["mlp"]["activation"], stored["mlp"]["disc_hidden"]
    given = tiny(**{"mlp": {"disc_hidden": (128,)}})
    assert differences(effective(given), stored) == []
    given.whiten.floor = 0.5
    assert differences(effective(given), stored) == ["config.whiten.floor: 0.5, but the run has 0.0"]


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


@pytest.mark.parametrize("path", known_configs().values(), ids=lambda path: path.stem)
def test_every_config_builds_and_says_how_to_run_it(path):
    namespace = load(path)
    program = "python -m veegan_jax.main "
    name = f"--config {path.relative_to(ROOT)}"
    assert f"{program}{name}" in namespace["__doc__"] or f"{program}--mode reproduce {name}" in namespace["__doc__"]
    variants = namespace.get("DATA", compare.DATA) if inspect.signature(namespace["get_config"]).parameters else [None]
    for variant in variants:
        config = namespace["get_config"](*filter(None, [variant]))
        config[config.data].update(tiny_options(config.data))
        for row in comparison(config).values() if config.compare else [config]:
            build(row)
            assert row.eval_every % row.steps_per_call == 0  # otherwise a run compiles calls of several lengths


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_gradient_penalties_are_refused_with_batch_normalisation(norm):
    config = tiny("gan", "dcgan", "stacked_digits")
    config.penalty.r1, config.dcgan.disc_norm = 1.0, norm
    config.dcgan.smallest = 2  # D has two convolutions, and the second is normalised
    if norm == "none":
        build(config)
    else:
        with pytest.raises(
            UserError, match=r"config.penalty.r1 is 1.0 and r2 0.0, but .*config.dcgan.disc_norm='none'"
        ):
            build(config)
