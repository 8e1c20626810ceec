"""The notebook runs as it stands, and finds what it says that it finds."""

import nbclient
import nbformat
import pytest

from tests.helpers import ROOT
from tests.test_main import environment

NOTEBOOK = ROOT / "docs" / "notebooks" / "missing_modes.ipynb"


def text_of(cell):
    return "".join(out.get("text", "") or str(out.get("data", {}).get("text/plain", "")) for out in cell.outputs)


@pytest.mark.slow  # Two models are trained, in about a minute: only this shows that the notebook works as it stands.
def test_the_notebook_finds_missing_modes_of_a_gan_and_none_of_veegan(tmp_path, monkeypatch):
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    texts = [text_of(cell) for cell in notebook.cells if cell.cell_type == "code"]
    verdicts = [text for text in texts if "examples have" in text]
    assert len(verdicts) == 2
    assert "missed (region" in verdicts[0]
    assert verdicts[1].startswith("no region is missed: 0 %")


def test_the_notebook_shows_pictures_and_no_path_of_a_machine():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 3
    assert "/tmp" not in NOTEBOOK.read_text()
