"""The notebook of the documents runs from its first cell to its last, with what is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.documents import ROOT

NOTEBOOK = ROOT / "docs" / "first_run.ipynb"


def test_it_says_nothing_of_the_machine_it_ran_on() -> None:
    text = NOTEBOOK.read_text()
    assert str(ROOT) not in text and "/tmp" not in text and str(Path.home()) not in text
    cells = json.loads(text)["cells"]
    assert [cell["cell_type"] for cell in cells].count("code") >= 5
    assert not [output for cell in cells for output in cell.get("outputs", []) if output["output_type"] == "error"]


@pytest.mark.slow
# Jupyter's own warnings: of sockets that its kernels leave, and of how it talks to them.
@pytest.mark.filterwarnings("ignore")
def test_it_runs(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    book = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources=place).execute()
    kinds = [output["output_type"] for cell in book.cells for output in cell.get("outputs", [])]
    assert "display_data" in kinds and (tmp_path / "runs" / "first" / "report.html").is_file()
