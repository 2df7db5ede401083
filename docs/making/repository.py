"""A hook of MkDocs: files of the repository that are not in docs become pages.

The README is the first page, and the results of benchmarks are pages too.  Links to
them are written as GitHub reads them, relative to the file that has them; here they
become links to the pages.  A linked file of another kind is copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

__all__ = ["on_config", "on_files", "on_page_markdown"]

ROOT = Path(__file__).parents[2]
RESULTS = "benchmarks/results"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "python/quantkit/data/calibration/SOURCES.md": "calibration_text.md",
    RESULTS: "benchmarks.md",
    **{
        f"{RESULTS}/{path.name}": f"benchmarks/{path.name}"
        for path in sorted((ROOT / RESULTS).glob("*.md"))
    },
}
"""By path in the repository, the page's path."""
SOURCES = {page: path for path, page in PAGES.items() if (ROOT / path).is_file()}
LINK = re.compile(r"\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: Any) -> None:
    """List the results of benchmarks below their page."""
    results = [page for page in PAGES.values() if page.startswith("benchmarks/")]
    for section in config.nav:
        if "Benchmarks" in section:
            section["Benchmarks"].extend(
                {Path(page).stem.replace("_", " "): page} for page in results
            )


def on_files(files: Files, config: Any) -> None:
    """Add the pages, and the files that pages link to."""
    for page, path in SOURCES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    texts = [path for path in files.documentation_pages() if path.abs_src_path]
    linked = {path for file in texts for path in _linked(file)}
    for path in sorted(linked):
        uri = _page(path)
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at pages."""
    uri = page.file.src_uri
    here = _path(uri)

    def link(match: re.Match[str]) -> str:
        target = _existing(here, match["path"])
        if target is None:
            return match[0]  # MkDocs says so
        new = relpath(_page(target), dirname(uri) or ".")
        return f"]({new}{match['anchor'] or ''})"

    return LINK.sub(link, markdown)


def _linked(file: File) -> Iterator[str]:
    """The files of the repository that a page links to."""
    text = Path(str(file.abs_src_path)).read_text(encoding="utf-8")
    for match in LINK.finditer(text):
        path = _existing(_path(file.src_uri), match["path"])
        if path is not None:
            yield path


def _path(uri: str) -> str:
    """A page's path in the repository."""
    return SOURCES.get(uri, f"docs/{uri}")


def _page(path: str) -> str:
    """The path in the site of a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return PAGES.get(path, f"files/{path}")


def _existing(here: str, link: str) -> str | None:
    """The file that a link of the file `here` means, if there is one."""
    path = normpath(f"{dirname(here)}/{link}".lstrip("/"))
    return path if path in PAGES or (ROOT / path).is_file() else None
