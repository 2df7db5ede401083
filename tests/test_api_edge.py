"""One-liners as users write them: paths of every kind, texts, models, importance."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import quantkit as qk
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT

TEXT = DEMO_TEXT.read_text(encoding="utf-8")[:1000]
SMALL: dict[str, Any] = {"options": qk.TextOptions(ctx=64, chunks=2), "threads": 1}


class Elsewhere(os.PathLike):  # type: ignore[type-arg]
    """A path object of another library."""

    def __init__(self, path: object) -> None:
        self._path = str(path)

    def __fspath__(self) -> str:
        return self._path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in F16, a text, an importance matrix, and what JSON replaces."""
    made = tmp_path_factory.mktemp("edge")
    qk.convert(DEMO_MODEL, made / "f16.gguf", "f16")
    (made / "text.txt").write_text(TEXT, encoding="utf-8")
    (made / "general.json").write_text('{"general.name": "Mine"}')
    found = qk.imatrix(made / "f16.gguf", TEXT, **SMALL)
    found.save(made / "imatrix.gguf")
    return made


Kind = Callable[[Path], Any]


@pytest.mark.parametrize("kind", [str, Path, Elsewhere])
def test_paths_may_be_of_any_kind(folder: Path, tmp_path: Path, kind: Kind) -> None:
    """Of models, texts (which a str is itself), matrices, and what is written."""
    model, out = kind(folder / "f16.gguf"), kind(tmp_path / "out.gguf")
    matrix = kind(folder / "imatrix.gguf")
    text = TEXT if kind is str else kind(folder / "text.txt")
    general = kind(folder / "general.json")
    qk.convert(kind(DEMO_MODEL), out, "f16", metadata_file=general)
    assert qk.info(out).name == "Mine"
    report = qk.quantize_file(model, out, "Q4_0", importance=matrix, provenance=True)
    report.write_json(kind(tmp_path / "report.json"))
    assert qk.verify_file(out, model, importance=matrix).is_equal
    expected = qk.perplexity(out, TEXT, **SMALL)
    found = qk.perplexity(model, text, recipe="Q4_0", importance=matrix, **SMALL)
    assert found == expected
    save = kind(tmp_path / "scores")
    recipe = tmp_path / "mine.toml"
    recipe.write_text('base = "Q4_0"')
    qk.compare(
        model, [kind(recipe)], text=[text], importance=matrix, save=save, **SMALL
    )
    qk.imatrix(model, text, save=kind(tmp_path / "sums"), **SMALL).save(out)
    assert qk.read_imatrix(out).keys() == qk.ImportanceMatrix.load(out).sums.keys()
    assert qk.ImportanceMatrix.load_merged(out) == qk.ImportanceMatrix.load(out)
    assert qk.Model.open(model, importance=matrix, recipe="Q4_0").logits([1]).any()
    assert (tmp_path / "scores").exists()
    assert (tmp_path / "sums").exists()
    with qk.GGUFFile(model) as file:
        assert file.path == folder / "f16.gguf"


@pytest.mark.parametrize("path", [None, 3, b"model.gguf", ["model.gguf"], "a\0b"])
def test_what_is_no_path(path: Any, tmp_path: Path) -> None:
    """The message names the parameter."""
    out = tmp_path / "out.gguf"
    calls: dict[str, Callable[[], object]] = {
        "path": lambda: qk.info(path),
        "out": lambda: qk.quantize_file(DEMO_MODEL, path, "Q4_0"),
        "model_dir": lambda: qk.convert(path, out),
        "adapter": lambda: qk.convert_lora(path, DEMO_MODEL, out),
    }
    if path != "a\0b":  # a name that no model has
        calls["model"] = lambda: qk.perplexity(path, TEXT)
        calls["source"] = lambda: qk.verify_file(tmp_path / "q8.gguf", path)
        qk.quantize_file(DEMO_MODEL, tmp_path / "q8.gguf", "Q8_0")
    for parameter, call in calls.items():
        with pytest.raises(qk.OptionError, match=f"`{parameter}` is "):
            call()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "`text` is of type NoneType; expected a str, which is the text itself"),
        (TEXT.encode(), "`text` is of type bytes"),
        (["a", 3], "`text` is of type int"),
        ([], "`text` is empty"),
        ("Half of a pair: \ud83d" + TEXT, r"half of a character .* at 16"),
    ],
)
def test_what_is_no_text(text: Any, words: str) -> None:
    """Nor several."""
    with pytest.raises(qk.OptionError, match=words):
        qk.compare(DEMO_MODEL, text=text, **SMALL)
    with pytest.raises(qk.OptionError, match=words):
        qk.imatrix(DEMO_MODEL, text, **SMALL)
    if not isinstance(text, list):
        with pytest.raises(qk.OptionError, match=words):
            qk.perplexity(DEMO_MODEL, text, **SMALL)


def test_a_str_that_names_a_file_is_most_likely_meant_as_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A str is the text itself, so the message says what to pass."""
    monkeypatch.chdir(folder)
    with pytest.raises(qk.OptionError, match=r"to read the file, pass Path\('text.txt"):
        qk.perplexity("f16.gguf", "text.txt", **SMALL)
    with pytest.raises(qk.QuantkitError, match=r"the text has .* tokens.*Path"):
        qk.perplexity("f16.gguf", "no-such-file.txt", **SMALL)


def test_tokenizers_refuse_what_is_no_text() -> None:
    """A lone surrogate has no UTF-8 bytes."""
    tokenizer = qk.Model.open(DEMO_MODEL).tokenizer
    with pytest.raises(qk.OptionError, match="at 1, which no UTF-8 file can hold"):
        tokenizer.encode("a\ud800")
    with pytest.raises(qk.OptionError, match="`text` is of type bytes; expected"):
        tokenizer.encode(b"a")  # type: ignore[arg-type]


def test_results_say_which_activations_they_are_of() -> None:
    """So that figures of different precision are not taken for each other's."""
    assert qk.perplexity(DEMO_MODEL, TEXT, **SMALL).activations == "i16"
    eight = qk.perplexity(DEMO_MODEL, TEXT, activations="q8", recipe="Q8_0", **SMALL)
    assert eight.activations == "q8"
    found = qk.imatrix(DEMO_MODEL, TEXT, activations="f32", **SMALL).perplexity
    assert found is not None
    assert found.activations == "f32"
    model = qk.Model.open(str(DEMO_MODEL), recipe="q4_0", activations="q8")
    assert model.activations == "q8"
    assert repr(model) == f"<Model {DEMO_MODEL} as Q4_0, activations='q8'>"
