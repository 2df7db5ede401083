"""The table of docs/convert.md: what quantkit does with each class of llama.cpp's.

    python -m tests.families.class_table

writes it anew between its two marks.
"""

from __future__ import annotations

from pathlib import Path

from quantkit.models import family_for_class
from quantkit.models.llamacpp_classes import ARCHITECTURES, BY_TEXT_MODEL, REFUSED

__all__ = ["PAGE", "page_with_table", "status_of"]

PAGE = Path(__file__).parents[2] / "docs" / "convert.md"
RUNS, EMBEDS = "runs", "runs: embeddings"
START, END = "<!-- classes: python -m tests.families.class_table -->", "<!-- end -->"


def status_of(hf_class: str) -> str:
    """What quantkit does with a class, as the table says it."""
    if hf_class in BY_TEXT_MODEL:
        return RUNS
    family = family_for_class(hf_class)
    if family is None:
        return f"refused: {REFUSED.get(hf_class, 'not done yet')}"
    if family.not_run:
        return f"converts; not run: {family.not_run}"
    return RUNS if family.predicts_text else EMBEDS


def table() -> str:
    """A sentence with the counts, and a row for each class."""
    rows = [
        (name, architecture, status_of(name))
        for architecture, names in ARCHITECTURES.items()
        for name in names
    ]
    rows.sort(key=lambda row: row[0].lower())
    n_run = sum(status in (RUNS, EMBEDS) for *_, status in rows)
    n_converted = n_run + sum(status.startswith("converts") for *_, status in rows)
    lines = [
        f"Of the {len(rows)} text classes that llama.cpp's converter (build 11434) "
        f"registers, quantkit converts and",
        f"quantizes {n_converted}, and runs {n_run} of them:",
        "",
        "| class | GGUF architecture | quantkit |",
        "|---|---|---|",
        *(f"| {name} | {arch} | {status} |" for name, arch, status in rows),
    ]
    return "\n".join(lines)


def page_with_table(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with_table(PAGE.read_text()))
