"""Run the notebooks in examples/, and write their outputs into them.

    python -m tests.notebooks

needs the docs extra.  A test compares the outputs with those of running it again.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quantkit._native import backends

__all__ = ["NOTEBOOKS", "made_by", "run", "texts"]

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
TIMES = re.compile(r"[\d.,]+ (?:tokens/s|s\b)")
TAG = re.compile(r"<[^>]*>")


def run(path: Path) -> Any:
    """The notebook with the outputs of running it now, in a folder of its own.

    Its metadata names the forward pass that figures are from.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory(prefix="notebook-") as folder:
        client = nbclient.NotebookClient(notebook, kernel_name="python3")
        client.execute(cwd=folder)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if not _is_empty(each)]
    passes = [backend.ops for backend in backends() if backend.usable]
    notebook.metadata["quantkit"] = {"forward_pass": passes[0]}
    return notebook


def made_by(notebook: Any) -> str:
    """The forward pass that the figures of a notebook are from."""
    return str(notebook.metadata["quantkit"]["forward_pass"])


def _is_empty(output: Any) -> bool:
    """Whether it shows nothing: a bar that has come to its end."""
    is_shown = output["output_type"] == "display_data"
    return is_shown and output["data"].get("text/html") == ""


def texts(notebook: Any) -> list[list[str]]:
    """By cell of code, the texts that it shows, without tags and times."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return [[_text(output) for output in cell.outputs] for cell in cells]


def _text(output: Any) -> str:
    if "text" in output:
        text = output["text"]
    else:
        data = output["data"]
        text = data["text/plain"] + "\n" + TAG.sub(" ", data.get("text/html", ""))
    return TIMES.sub("", text)


if __name__ == "__main__":
    import nbformat

    for path in NOTEBOOKS:
        nbformat.write(run(path), path)
