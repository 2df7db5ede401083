"""The site of the documentation, built into build/site; a warning fails the build."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import quantkit
from quantkit.cli.commands import COMMANDS

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site() -> Path:
    """The built site; links that lead nowhere are warnings."""
    pytest.importorskip("mkdocs", reason="needs the docs extra")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "site"


class Loaded(HTMLParser):
    """What a browser loads by itself for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the addresses of styles, scripts, images and frames."""
        found = dict(attrs)
        name = "href" if tag == "link" else "src"
        if tag in ("link", "script", "img", "iframe", "source") and found.get(name):
            self.addresses.append(str(found[name]))


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No fonts, styles or scripts of other hosts, in pages and in styles."""
    for path in site.rglob("*.html"):
        page = Loaded()
        page.feed(path.read_text(encoding="utf-8"))
        assert page.addresses
        assert [a for a in page.addresses if urlsplit(a).netloc] == [], path
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", text) == [], path


def test_every_option_is_on_the_page_of_commands(site: Path) -> None:
    """With its command."""
    text = (site / "cli" / "index.html").read_text(encoding="utf-8")
    sections = re.split(r'<h2 id="([\w-]+)"', text)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(found) == list(COMMANDS)
    for name, entry in COMMANDS.items():
        for parameter in entry.load(name).params:
            if parameter.param_type_name == "option":
                for option in parameter.opts:
                    assert option in found[name], (name, option)


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    """Under a heading of its own."""
    text = (site / "reference" / "index.html").read_text(encoding="utf-8")
    for name in quantkit.__all__:
        assert f'id="quantkit.{name}"' in text, name


def test_every_result_of_benchmarks_is_linked(site: Path) -> None:
    """From the page that says which question it answers."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks" / "results").glob("*.md"):
        assert f"../benchmarks/results/{path.name})" in text, path.name
        assert (site / "benchmarks" / path.stem / "index.html").is_file()
