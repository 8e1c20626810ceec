"""The documentation holds: links, files, commands, flags and fields that it names exist, and its prose is plain."""

import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from benchmarks import questions
from tests.helpers import ROOT
from tests.test_architecture import UNUSUAL
from veegan_jax import main
from veegan_jax.cli import config_file, exit_codes, usage
from veegan_jax.cli.commands import USUAL_CELLS
from veegan_jax.config.fields import base_config, field_names
from veegan_jax.data import SOURCES
from veegan_jax.errors import UserError
from veegan_jax.evaluation.tables import mean_and_error
from veegan_jax.evaluation.trained import Run
from veegan_jax.experiments.reproduce import by_row, joint_table, read_cells, units
from veegan_jax.metrics import COLUMNS
from veegan_jax.models import MODELS
from veegan_jax.objectives import OBJECTIVES
from veegan_jax.version import __version__

README = ROOT / "README.md"
DOCS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EACH_DOC = pytest.mark.parametrize("doc", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
CONFIGS = sorted((ROOT / "configs").rglob("*.py"))
PROGRAMS = {"veegan-jax", "python -m veegan_jax", "python -m veegan_jax.main"}

LINK = re.compile(r"!?\[[^]]*\]\((?P<target>[^)\s]+)\)")
NAMED_FILE = re.compile(r"(?<![\w/.-])(?:veegan_jax|configs|launch|benchmarks|tests|docs)/[\w./-]*[\w/]")
PLACEHOLDER = re.compile(r"[A-Z_]+|…")  # FILE, CONFIG or N in a usage line
# What stands for a config, or for a run that exists, in commands.
EXAMPLES = {"CONFIG": "ring", "…": "ring", "runs/ring/config.json": "ring"}


def text(doc: Path) -> str:
    """Returns the Markdown of a page."""
    return doc.read_text("utf-8")


def code(markdown: str) -> Iterator[str]:
    """Yields the lines of code of a page: of fenced blocks, of indented blocks, and each inline code as a line."""
    fenced = False
    for line in re.sub(r"\\\n\s*", "", markdown).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.partition(" #")[0].strip()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL))


def commands(doc: Path) -> list[list[str]]:
    """Returns the commands of a page that start training or a mode, split into words, without the program's name."""
    found = []
    for line in code(text(doc)):
        for program in sorted(PROGRAMS, key=len, reverse=True):
            if line.startswith(f"{program} --"):
                found.append(shlex.split(line.removeprefix(program)))
                break
    return found


def slug(heading: str) -> str:
    """Returns the anchor that a heading gets: its letters and digits, in lower case, with hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(doc: Path) -> set[str]:
    """Returns the anchors of a page."""
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", text(doc), flags=re.MULTILINE)}


def check_command(words: list[str]) -> None:
    """Checks a command as the program itself does, with an example in the place of each placeholder.

    Raises:
        UserError: if a flag, a config, a field or a value is wrong.
    """
    for flag in main.FLAGS:
        main.FLAGS[flag].unparse()
    main.parse(["veegan-jax", *(EXAMPLES.get(word, word).replace(":DATA", ":grid") for word in words)])


def test_the_readme_is_short_and_begins_with_a_picture():
    assert len(text(README).split()) <= 900
    assert text(README).index("![") < text(README).index("\n## ")


@EACH_DOC
def test_links_lead_somewhere(doc):
    for match in LINK.finditer(text(doc)):
        target, _, anchor = match["target"].partition("#")
        if target.startswith(("https:", "http:")):
            continue
        page = (doc.parent / target).resolve() if target else doc
        assert page.exists(), f"{match[0]} leads nowhere"
        assert not anchor or anchor in anchors(page), f"{match[0]}: {page.name} has no such heading"


@EACH_DOC
def test_named_files_exist(doc):
    for name in NAMED_FILE.findall(text(doc)):
        if not re.search(r"\bNAME\b", name):
            assert (ROOT / name).exists(), f"{name} does not exist"


@EACH_DOC
def test_programs_exist(doc):
    for line in code(text(doc)):
        for module in re.findall(r"python -m ((?:veegan_jax|benchmarks|launch|tests)[\w.]*)", line):
            assert importlib.util.find_spec(module.rstrip(".")), f"python -m {module}: no such module"
        if line.startswith("make "):
            makefile = (ROOT / "Makefile").read_text()
            target = line.split()[1]
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}: no such target"


@EACH_DOC
def test_commands_name_existing_configs_flags_and_fields(doc, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in commands(doc):
        check_command(words)


@EACH_DOC
def test_fields_in_sentences_exist(doc):
    for line in code(text(doc)):
        match = re.fullmatch(r"(?:--)?config\.(?!json|md|py)(?P<field>[\w.]+)(?:=.*)?", line)
        if match and not PLACEHOLDER.search(match["field"]):
            assert match["field"] in field_names(base_config()), f"config.{match['field']} is no field"


def test_the_commands_of_the_readme_are_found():
    assert len(commands(README)) >= 7


@pytest.mark.parametrize(
    "command",
    [
        "--confg ring",
        "--config rings",
        "--config configs/compare.py:gird",
        "--config ring --config.batchsize=3",
        "--config ring --config.batch_size=many",
        "--mode fly",
        "ring",
    ],
)
def test_a_wrong_command_is_found(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError):
        check_command(shlex.split(command))


def test_the_command_line_page_has_every_flag_and_mode():
    page = text(ROOT / "docs" / "cli.md")
    assert [name for name in main.FLAGS if not re.search(rf"`--{name}\b", page)] == []
    assert [name for name in re.findall(r"`--(\w+)[ `=]", page) if name not in main.FLAGS and name != "config"] == []
    assert [mode for mode in main.FLAGS["mode"].parser.enum_values if f"`{mode}`" not in page] == []


def test_every_config_method_source_and_architecture_is_documented():
    known, compare, data = (text(ROOT / "docs" / f"{name}.md") for name in ("configs", "compare", "data"))
    configs = [path.relative_to(ROOT).as_posix() for path in CONFIGS if path.stem != "__init__"]
    assert [name for name in configs if f"`{name}" not in known] == []
    assert [name for name in [*OBJECTIVES, *MODELS] if f"`{name}`" not in compare] == []
    assert [name for name in SOURCES if f"`{name}`" not in data] == []


def test_the_pages_are_all_linked_from_the_readme():
    linked = {(ROOT / match["target"].partition("#")[0]).resolve() for match in LINK.finditer(text(README))}
    assert [str(doc) for doc in DOCS if doc != README and doc not in linked] == []


def test_the_demo_has_the_same_figures_everywhere():
    # What follows the name of the data: the other headings, a line of hyphens, and the rows.
    lines = text(ROOT / "docs" / "results" / "README.md").partition("| stacked_digits ")[2].partition("\n\n")[0]
    headings, _, *rows = [[cell.strip() for cell in line.strip(" |").split("|")] for line in lines.splitlines()]
    table = {name: dict(zip(headings, cells, strict=True)) for name, *cells in rows}
    assert list(table) == ["veegan, step 3,000", "real data"]
    modes, divergence = (COLUMNS[name].title for name in ("modes", "kl"))
    ours, real = table.values()
    assert f"{ours[modes]} modes, reverse KL {ours[divergence]} (real data: {real[divergence]})" in text(README)


def test_the_headings_of_score_tables_are_those_of_the_columns():
    titles = {column.title for column in COLUMNS.values()}
    for doc in (README, ROOT / "docs" / "results" / "README.md"):
        for head in re.findall(r"^\|[^|]*\| *modes.*\|$", text(doc), flags=re.MULTILINE):
            assert {cell.strip() for cell in head.strip("|").split("|")[1:]} <= titles


def test_every_picture_and_table_of_the_results_has_a_command():
    for section in text(ROOT / "docs" / "results" / "README.md").split("\n## ")[1:]:
        assert "    python -m " in section, section.splitlines()[0]


@EACH_DOC
def test_the_prose_is_plain(doc):
    prose = re.sub(r"```.*?```|`[^`\n]+`|\"[^\"\n]*\"", "", text(doc), flags=re.DOTALL)
    assert [line for line in prose.splitlines() if UNUSUAL.search(line)] == []


@pytest.mark.parametrize("table", usage.TABLES)
def test_the_tables_of_the_paper_are_those_of_the_cells(table, monkeypatch):
    """UPDATE_DOCS=1 writes them again."""
    monkeypatch.chdir(ROOT)
    path, begin = (
        ROOT / "docs" / "reproduction.md",
        f"    python -m veegan_jax.main --mode reproduce --table {table}\n\n",
    )
    files = [config_file.find(name) for name in usage.TABLES[table]]
    wanted = units({config_file.usual_workdir(file).name: config_file.read(file, [], []) for file in files})
    expected = joint_table(wanted, read_cells(wanted, USUAL_CELLS).found, 1)
    before, _, after = text(path).partition(begin)
    shown, heading, after = after.partition("\n\n## ")
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(f"{before}{begin}{expected}{heading}{after}")
    else:
        assert shown == expected


@pytest.mark.parametrize("name", questions.QUESTIONS)
def test_the_tables_of_the_questions_are_those_of_the_cells(name, monkeypatch):
    """UPDATE_DOCS=1 writes them again."""
    monkeypatch.chdir(ROOT)
    path, config = ROOT / "docs" / "questions.md", name.replace("-", ":")
    begin = f"    python -m veegan_jax.main --mode reproduce --config {config}\n\n"
    before, _, after = text(path).partition(begin)
    shown, gap, after = after.partition("\n\n")
    if os.environ.get("UPDATE_DOCS"):
        path.write_text(f"{before}{begin}{questions.table(name)}{gap}{after}")
    else:
        assert shown == questions.table(name)


@pytest.mark.parametrize("recipe", ["ring_best", "grid_best", "stacked_digits_best"])
def test_the_best_recipes_have_the_figures_of_the_cells(recipe):
    arguments = ["--config.num_seeds=5"]
    wanted = units({recipe: config_file.read(config_file.find(recipe), arguments, arguments)})
    replicas = [
        r for cell in by_row(wanted, read_cells(wanted, ROOT / USUAL_CELLS).found)["veegan"] for r in cell.replicas
    ]
    mean, error = mean_and_error(replicas)
    digits = {"high_quality": 2, "kl": 4, "bin_kl": 4}
    shown = [f"{mean[n]:.{k}f} ± {error[n]:.{k}f}" if n in mean else "–" for n, k in digits.items()]
    (row,) = re.findall(rf"^\| `{recipe}` \|.*$", text(ROOT / "docs" / "results" / "README.md"), flags=re.MULTILINE)
    assert len(replicas) == 5
    assert [column for column in shown if f"| {column} |" not in row] == []
    main_score = shown[0] if "high_quality" in mean else shown[1]
    assert main_score in text(README)


def test_exit_codes_are_documented():
    page = text(ROOT / "docs" / "troubleshooting.md")
    codes = [value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")]
    assert codes
    assert [code for code in codes if f"| {code} |" not in page] == []


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "The veegan_jax authors"}]
    (paper,) = citation["references"]
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Srivastava", "Valkov", "Russell", "Gutmann", "Sutton"]
    assert paper["identifiers"][0]["value"] == "arXiv:1705.07761"


def test_hooks_before_a_commit_are_local():
    content = (ROOT / ".pre-commit-config.yaml").read_text()
    (repository,) = yaml.safe_load(content)["repos"]
    assert "://" not in content
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    assert [hook["entry"].split()[0] for hook in repository["hooks"]] == ["ruff", "ruff", "mypy", "pytest"]


def test_the_methods_of_a_run_in_the_pages_exist():
    methods = {name for doc in DOCS for name in re.findall(r"\brun\.(\w+)\(", text(doc))}
    assert methods
    assert [name for name in methods if not hasattr(Run, name)] == []
