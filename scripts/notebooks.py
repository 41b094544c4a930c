"""Runs the notebooks of docs/notebooks in place, and writes their pictures beside them."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
TIME = 900  # seconds that one cell may take


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a fresh run. What it records goes to a folder that is gone afterwards."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LOCALPROBE_DATA"] = folder
        NotebookClient(notebook, timeout=TIME, kernel_name="python3").execute()
    return notebook


def pictures(notebook: nbformat.NotebookNode) -> list[bytes]:
    """The PNG pictures of a notebook's outputs, in order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode(picture) for picture in shown]


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = run(path)
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of day, which would change with every run
        nbformat.write(notebook, path)
        for number, picture in enumerate(pictures(notebook), 1):
            (FOLDER / f"{path.stem}-{number}.png").write_bytes(picture)
        print(f"{path}: {len(pictures(notebook))} pictures")


if __name__ == "__main__":
    main()
