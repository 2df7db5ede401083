"""Texts by name: the built-in one, those of the Hub, and what can go wrong."""

from __future__ import annotations

import builtins
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from typer.testing import CliRunner

from quantkit.cli.main import app
from quantkit.errors import FormatError, QuantkitError
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens import hub_texts
from quantkit.tokens.hub_texts import text_path
from quantkit.tokens.texts import as_text

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = ("--ctx", "64", "--chunks", "2", "--json")


def cached(home: Path, name: str, file: str, data: bytes) -> Path:
    """A file of a dataset as the Hub's library has it in its cache."""
    folder = home / "hub" / f"datasets--{name.replace('/', '--')}"
    path = folder / "snapshots" / COMMIT / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return path


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def archive(member: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as into:
        into.writestr(member, data)
    return file.getvalue()


def flipped(zipped: bytes) -> bytes:
    """An archive whose compressed text is damaged at its start."""
    start = zipped.index(b"wiki.test.raw") + len("wiki.test.raw")
    return zipped[:start] + b"\xff" + zipped[start + 1 :]


def test_files_of_datasets(offline: Path) -> None:
    """By name, with and without a revision, as the library passes paths on."""
    path = cached(offline, "org/set", "data/eval.txt", b"No one would have believed")
    for name in (
        "hf://datasets/org/set/data/eval.txt",
        f"hf://datasets/org/set@{COMMIT}/data/eval.txt",
    ):
        assert as_text(Path(name)) == path


def test_wikitext2_is_unpacked_once(offline: Path) -> None:
    """A file of that name comes first."""
    zipped = archive("wikitext-2-raw/wiki.test.raw", b" = Robert Boulter = \n")
    path = cached(offline, "ggml-org/ci", "wikitext-2-raw-v1.zip", zipped)
    text = text_path(Path("wikitext2"))
    assert text == path.with_name("wiki.test.raw")
    assert text.read_bytes() == b" = Robert Boulter = \n"
    path.write_bytes(b"no archive")
    assert text_path(Path("wikitext2")) == text
    (offline / "wikitext2").write_text("mine")
    assert text_path(Path("wikitext2")) == Path("wikitext2")


@pytest.mark.parametrize(
    "damage", ["no archive", "other member", "too long", "flipped"]
)
def test_damaged_archives_are_refused(
    offline: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is left of them."""
    monkeypatch.setattr(hub_texts, "MAX_TEXT_BYTES", 100)
    zipped = {
        "no archive": b"PK",
        "other member": archive("wiki.test.raw", b"text"),
        "too long": archive("wikitext-2-raw/wiki.test.raw", bytes(101)),
        "flipped": flipped(archive("wikitext-2-raw/wiki.test.raw", b"text")),
    }[damage]
    path = cached(offline, "ggml-org/ci", "wikitext-2-raw-v1.zip", zipped)
    with pytest.raises(FormatError, match="is not WikiText-2"):
        text_path(Path("wikitext2"))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_cannot_be_downloaded_is_one_line(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a connection, with an error of the library, and without the library."""
    name = Path("hf://datasets/org/set/eval.txt")
    with pytest.raises(QuantkitError, match="cannot be downloaded and is not in"):
        text_path(name)

    def fails(*arguments: Any, **options: Any) -> str:
        raise OSError("no route\nto host") from ConnectionError("refused")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    with pytest.raises(
        QuantkitError, match=r"\(ConnectionError: refused\); give a file"
    ):
        text_path(Path("wikitext2"))
    real = builtins.__import__

    def without_hub(module: str, *rest: Any) -> Any:
        if module == "huggingface_hub":
            raise ImportError(module)
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without_hub)
    with pytest.raises(QuantkitError, match=r"pip install 'quantkit\[hub\]'"):
        text_path(name)


def test_other_names_of_the_hub_are_no_texts() -> None:
    """A model's name, or a dataset without a file."""
    for name in ("hf://org/name", "hf://datasets/org/name"):
        with pytest.raises(QuantkitError, match="hf://datasets/org/name/file"):
            text_path(Path(name))


def test_ppl_has_a_built_in_text() -> None:
    """And says so on stderr, unless it is to be quiet."""
    runner = CliRunner()
    command = ["ppl", str(DEMO_MODEL), *SMALL]
    plain, quiet = runner.invoke(app, command), runner.invoke(app, [*command, "-q"])
    assert plain.stderr.startswith("quantkit: measuring on a built-in text")
    assert quiet.stderr == ""
    named = runner.invoke(app, [*command, "--text", str(DEMO_TEXT)])
    own, given = (json.loads(each.stdout) for each in (plain, named))
    assert own["text"] == "eval.txt"
    assert own["base"]["ppl"] == given["base"]["ppl"]
    chat = runner.invoke(app, [*command, "--chat"])
    assert (chat.exit_code, "--chat needs --text" in chat.stderr) == (2, True)
