"""The fields of the configuration explained: `docs/config.md`, and what `--help_config` prints.

python -m veegan_jax.config.help > docs/config.md
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from veegan_jax.config.check import nearest
from veegan_jax.config.fields import GROUPS, KINDS, REGISTRIES, SHARED_SECTIONS, Field, all_fields, options, sections
from veegan_jax.errors import UserError

WIDTH = 100
# The headings of the sections, by the field that chooses among them; the sections that every run uses come first.
HEADINGS = {"objective": "Methods", "data": "Sources of data", "model": "Architectures"}
SHARED_HEADING = "Optimizers and penalties"

INTRODUCTION = """\
# Configuration

This page is rendered from the code: `python -m veegan_jax.config.help > docs/config.md`.

A config file changes some of these fields (`c.batch_size = 256`, `c.veegan.x_critic = 1.0`), and so does the command
line (`--config.batch_size=256`, `--config.veegan.x_critic=1.0`). `--help_config FIELD` prints what is here.
"""


def render_markdown() -> str:
    """Returns `docs/config.md`: a table for each group of fields, and for each section of options."""
    parts = [INTRODUCTION]
    for heading, fields in GROUPS.items():
        parts += [f"## {heading}", _table(fields)]
    for heading, entries in _sections_by_heading():
        parts.append(f"## {heading}")
        for entry in dict.fromkeys(entries.values()):
            names = ", ".join(f"`{name}`" for name, other in entries.items() if other is entry)
            parts += [f"### {names}", _summary(entry), _table(options(entry))]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def describe(name: str | None = None) -> str:
    """Returns the explanation of a field or a section as text; without a name, all of them in short.

    Raises:
        UserError: if the name is that of neither, with the names that are close.
    """
    if not name:
        return _overview()
    name = name.removeprefix("config.")
    fields = all_fields()
    if name in fields:
        return _explanation(name, fields[name])
    inside = {path: entry for path, entry in sections().items() if path == name or path.startswith(f"{name}.")}
    if not inside:
        raise UserError(f"config.{name} is no field; {nearest(name)}")
    paragraphs = []
    for section, entry in inside.items():
        paragraphs.append(f"config.{section}: {_summary(entry)}")
        paragraphs += [_explanation(f"{section}.{option}", field) for option, field in options(entry).items()]
    return "\n\n".join(paragraphs)


def _overview() -> str:
    """Returns one line for each field and one for each section."""
    lines = []
    for heading, fields in GROUPS.items():
        lines += ["", heading, *(_short(f"{name} = {field.default!r}: {field.doc}") for name, field in fields.items())]
    for heading, entries in _sections_by_heading():
        lines += ["", heading, *(_short(f"{section}: {_summary(entry)}") for section, entry in entries.items())]
    return "\n".join([*lines[1:], "", "--help_config=NAME explains one field, or all fields of a section."])


def _short(text: str) -> str:
    return "  " + textwrap.shorten(text, WIDTH - 2, placeholder=" …")


def _explanation(path: str, field: Field) -> str:
    """Returns the default, the values and the doc of a field, for a terminal."""
    first = f"config.{path} = {field.default!r}; {_values(field)}"
    return "\n".join([first, *textwrap.wrap(field.doc, WIDTH, initial_indent="    ", subsequent_indent="    ")])


def _sections_by_heading() -> Iterator[tuple[str, Mapping[str, Callable[..., Any]]]]:
    yield SHARED_HEADING, SHARED_SECTIONS
    for field, registry in REGISTRIES.items():
        yield HEADINGS[field], dict(sorted(registry.items()))


def _table(fields: Mapping[str, Field]) -> str:
    """Returns the fields as a Markdown table; empty where there are none."""
    rows = [(f"`{name}`", f"`{field.default!r}`", _values(field), field.doc) for name, field in fields.items()]
    lines = ["| field | default | values | what it does |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) if rows else ""


def _values(field: Field) -> str:
    """Returns what a field may be, in words."""
    if field.choices:
        return "one of " + ", ".join(map(str, field.choices))
    least = "" if field.minimum is None else f", at least {field.minimum}"
    return KINDS[type(field.default)] + least


def _summary(function: Callable[..., Any]) -> str:
    """Returns the first paragraph of a function's docstring, as one line."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())


if __name__ == "__main__":
    sys.stdout.write(render_markdown())
