"""The notebooks of the docs, run from the first cell to the last on the bundled model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"


@pytest.mark.real
@pytest.mark.timeout(1200)
def test_the_first_notebook_runs_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    notebook = nbformat.read(FOLDER / "first-probe.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    shown = [outputs(cell) for cell in notebook.cells if cell.cell_type == "code"]
    assert "The probe separates unseen pairs" in shown[0]["text/html"] or "Vocabulary" in shown[0]["text/html"]
    assert "<svg" in shown[0]["text/html"]
    assert "image/png" in shown[1] and "auroc_low" in shown[1]["text/html"]
    assert "mean score" in shown[2]["text/html"]
    assert "array([" in shown[3]["text/plain"]
    assert "30 of 30 answers" in shown[4]["text/plain"]
    assert "image/png" in shown[5] and "expresses" in shown[5]["text/html"]
    assert (
        "layer 10" in shown[6]["text/plain"]
        or "layer 14" in shown[6]["text/plain"]
        or "layer 18" in (shown[6]["text/plain"])
    )


def test_every_notebook_keeps_the_outputs_of_a_whole_run() -> None:
    for path in FOLDER.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert outputs(cell), f"{path.name}: run scripts/notebooks.py"
                assert not any(output.output_type == "error" for output in cell.outputs)


def outputs(cell: Any) -> dict[str, Any]:
    """Everything that a cell showed, by its type."""
    shown: dict[str, Any] = {}
    for output in cell.outputs:
        shown |= output.get("data", {"text": output.get("text", "")})
    return shown
