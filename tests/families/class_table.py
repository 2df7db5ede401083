"""The tables of docs/convert.md: what quantkit does with each class of llama.cpp's.

    python -m tests.families.class_table

writes them anew, each between its two marks.
"""

from __future__ import annotations

from pathlib import Path

from quantkit.models import family_for_class
from quantkit.models.llamacpp_classes import ARCHITECTURES, BY_TEXT_MODEL, REFUSED
from quantkit.projectors import BY_CLASS
from quantkit.projectors.audio import AudioEncoder, Pair
from quantkit.projectors.encoder import Encoder
from quantkit.projectors.llamacpp_classes import REFUSED as REFUSED_ENCODERS

__all__ = ["PAGE", "page_with_tables", "status_of"]

PAGE = Path(__file__).parents[2] / "docs" / "convert.md"
RUNS, EMBEDS = "runs", "runs: embeddings"
COMMAND = "python -m tests.families.class_table"
CLASSES, ENCODERS = (f"<!-- {what}: {COMMAND} -->" for what in ("classes", "encoders"))
END = "<!-- end -->"


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


def class_table() -> str:
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


def encoder_table() -> str:
    """A sentence with the counts, and a row for each class with encoders."""
    rows = [
        *(
            (name, _kind(one), one.projector, "converts")
            for name, one in BY_CLASS.items()
        ),
        *((name, "", "", f"refused: {why}") for name, why in REFUSED_ENCODERS.items()),
    ]
    rows.sort(key=lambda row: row[0].lower())
    lines = [
        f"Of {len(rows)} classes with encoders, quantkit converts those of "
        f"{len(BY_CLASS)}:",
        "",
        "| class | encoders of | GGUF projector | quantkit |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines)


def _kind(encoder: Encoder) -> str:
    """What an encoder is of."""
    if isinstance(encoder, AudioEncoder):
        return "sounds"
    return "images, sounds" if isinstance(encoder, Pair) else "images"


def page_with_tables(page: str) -> str:
    """The page with the tables as they are now."""
    for start, table in ((CLASSES, class_table()), (ENCODERS, encoder_table())):
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(END)
        page = f"{before}{start}\n\n{table}\n\n{END}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text()))
