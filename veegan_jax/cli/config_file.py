"""The experiment that `--config` and `--config.FIELD` describe: a file that is found, read and overridden."""

import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from veegan_jax.cli import explain
from veegan_jax.errors import UserError, suggestion
from veegan_jax.paths import local_path

_PACKAGE = Path(__file__).resolve().parent.parent
# The project's own configs: a wheel has them within the package, a checkout beside it.
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"


def known_configs() -> dict[str, Path]:
    """Returns the project's own configs, also those in folders as `configs/recipes`, by name, as `ring`."""
    return {file.stem: file for file in sorted(CONFIGS.rglob("*.py")) if file.stem != "__init__"}


def find(given: str) -> str:
    """Returns FILE or FILE:VARIANT for the value of `--config`, which may also be NAME or NAME:VARIANT.

    Raises:
        UserError: if there is no such file, and no such name.
    """
    if given:
        given = str(local_path(given, "--config"))
    name, colon, variant = given.partition(":")
    kind = Path(name).suffix.lower()
    if kind == ".py" and not Path(name).is_file():
        stem = Path(name).stem
        own = f"{stem}{colon}{variant}" if stem in known_configs() else "ring"
        raise UserError(f"--config {name}: there is no such file; the project's own configs have names, as {own}")
    if kind == ".json" and colon:
        raise UserError(f"--config {given}: a JSON config has no variants, as {variant!r}; give {name}")
    if kind in (".py", ".json"):
        return given
    if name in (known := known_configs()):
        return f"{known[name]}{colon}{variant}"
    if re.fullmatch(r"[\w-]+", name) and not Path(name).exists():
        raise UserError(f"--config {name}: it is neither a file nor the name of a config; {suggestion(name, known)}")
    raise UserError(
        f"--config {name or repr(name)}: it must be a file .py, as configs/ring.py, or .json, or a name, as ring"
    )


def usual_workdir(given: str) -> Path:
    """Returns the folder of a run whose config is FILE or FILE:VARIANT: `runs/NAME` or `runs/NAME-VARIANT`.

    NAME is the file's, or for a run's `config.json` the name of its folder.
    """
    file, _, variant = given.partition(":")
    path = Path(file).resolve()
    name = path.parent.name if path.name == "config.json" else path.stem
    return Path("runs") / "-".join(filter(None, (name, variant)))


def read(given: str, overrides: Sequence[str], argv: Sequence[str]) -> ConfigDict:
    """Returns the config of a file, locked, with some fields overridden.

    Args:
        given: FILE or FILE:VARIANT, as `find` returns it. A Python file is run; a JSON file can run nothing.
        overrides: the arguments `--config.FIELD=VALUE`.
        argv: the whole command line, in which the overrides must come after `--config`.

    Raises:
        UserError: naming the line of the file that raises, or the field that is unknown or has a wrong value.
    """
    config = _load(given)
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", values, sys_argv=list(argv))
    values["config"].parser = _Loaded(config)
    try:
        _, *stray = values(["", f"--config={given}", *overrides])
    except Exception as error:
        raise UserError(explain.wrong_field(error, argv)) from error
    if stray:
        raise UserError(explain.stray_argument(stray[0]))
    return config


class _Loaded(flags.ArgumentParser[ConfigDict]):
    """The parser of a flag whose value is loaded already."""

    def __init__(self, config: ConfigDict):
        self._config = config

    def parse(self, argument: str) -> ConfigDict:
        return self._config


def _load(given: str) -> ConfigDict:
    name, colon, variant = given.partition(":")
    try:
        if Path(name).suffix.lower() == ".json":
            return _load_json(Path(name))
        config = _run(Path(name), [variant] if colon else [])
    except UserError:
        raise
    except Exception as error:
        raise UserError(explain.wrong_config(error, given)) from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config {given}: get_config() returned {type(config).__name__}, not a ConfigDict")
    return config.lock()


def _load_json(file: Path) -> ConfigDict:
    from veegan_jax.config.convert import from_json

    try:
        return from_json(file).lock()
    except UserError as error:
        raise UserError(f"--config {error}") from error


def _run(file: Path, arguments: Sequence[str]) -> object:
    """Runs a Python file and returns what its `get_config` returns."""
    _let_import_configs(file.resolve().parent)
    name = "config_config"
    loader = importlib.machinery.SourceFileLoader(name, str(file))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module.get_config(*arguments)


def _let_import_configs(folder: Path) -> None:
    """Lets the configs of a folder import one another as `from configs import NAME`, whatever else is called configs.

    The folder may lie within one that is called configs. In a folder of any other name that import finds the project's
    own configs, unless something else is called configs.
    """
    within = [parent for parent in (folder, *folder.parents) if parent.name == "configs"]
    if not within:
        sys.path.append(str(folder.parent))
        if importlib.util.find_spec("configs"):
            return
    folder = within[0] if within else CONFIGS
    for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:
        del sys.modules[name]
    spec = importlib.machinery.PathFinder.find_spec("configs", [str(folder.parent)])
    assert spec is not None
    module = sys.modules["configs"] = importlib.util.module_from_spec(spec)
    if spec.origin:  # a folder with __init__.py
        assert spec.loader is not None
        spec.loader.exec_module(module)
    else:
        module.__path__ = [str(folder)]  # a list stays as it is; Python's own path of such a folder follows sys.path
