"""Plug-ins: modules of other people that add methods, data, architectures, metrics and writers, without a fork."""

import importlib
import importlib.metadata
import re
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from veegan_jax.data import SOURCES
from veegan_jax.errors import PluginError, one_line
from veegan_jax.metrics import COLUMNS, METRICS
from veegan_jax.models import MODELS
from veegan_jax.objectives import OBJECTIVES

# The group of entry points by whose names an installed package offers plug-ins.
GROUP = "veegan_jax.plugins"
# The writers that plug-ins add. Those of the project are in `storage.writers`, which is in a higher room.
WRITERS: dict[str, Any] = {}
# What a plug-in may define: a dictionary of each name, whose entries are added to the registry.
REGISTRIES: dict[str, dict[str, Any]] = {
    "OBJECTIVES": OBJECTIVES,
    "SOURCES": SOURCES,
    "MODELS": MODELS,
    "METRICS": METRICS,
    "WRITERS": WRITERS,
}


def load_plugins(names: str) -> None:
    """Adds what some plug-ins define to the registries; a plug-in that is loaded already changes nothing.

    Args:
        names: names of modules, or of entry points of the group `veegan_jax.plugins`, joined by commas; or empty.

    Raises:
        PluginError: if a plug-in cannot be imported, defines nothing, or gives a name that another entry has.
    """
    for name in filter(None, names.split(",")):
        module = _import(name)
        found = {registry: getattr(module, registry) for registry in REGISTRIES if hasattr(module, registry)}
        if not found:
            raise PluginError(f"plugin {name!r} defines none of {', '.join(REGISTRIES)}, and so adds nothing")
        for registry, entries in found.items():
            _add(name, REGISTRIES[registry], entries)
        columns = {c.name: c for metric in found.get("METRICS", {}).values() for c in metric.columns}
        _add(name, COLUMNS, columns)


def joined(names: Iterable[str]) -> str:
    """Returns names as the field `plugins` has them, each once."""
    return ",".join(dict.fromkeys(part for name in names for part in name.split(",") if part))


def _add(name: str, registry: dict[str, Any], entries: dict[str, Any]) -> None:
    for key, entry in entries.items():
        if registry.get(key, entry) is not entry:
            raise PluginError(f"plugin {name!r} defines {key!r}, which is there already; give it another name")
        registry[key] = entry


def _import(name: str) -> ModuleType:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name.replace("-", "_")):
        raise PluginError(f"plugin is {name!r}; it must be the name of a module, as my_package.my_method")
    offered = {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}
    try:
        return importlib.import_module(offered.get(name, name))
    except ModuleNotFoundError as error:
        raise PluginError(
            f"plugin {name!r} cannot be imported: {one_line(error)}; install it, or add its folder to PYTHONPATH"
        ) from error
    except Exception as error:
        raise PluginError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {one_line(error)}") from error
