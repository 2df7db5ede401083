"""Model cards: what they say of files, and that foreign text is only text in them."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub as hub
import pytest
from typer.testing import CliRunner

import quantkit as qk
from quantkit.cli.main import app
from quantkit.errors import OptionError, OutputError, UnsupportedModelError
from quantkit.files.identity import hash_files
from quantkit.gguf import Field, GGUFWriter, ValueType
from quantkit.gguf.keys import FileType, array, string, uint32
from quantkit.publishing.advice import FIRST, advice
from quantkit.publishing.making import fenced
from quantkit.publishing.plot import PLOT
from quantkit.tasks.demo import DEMO_TEXT

NASTY = "a | b](http://x) <script>alert(1)</script>\n---\n`${x}` *y* @z"
SHORT: dict[str, Any] = {"text": DEMO_TEXT, "options": qk.TextOptions(ctx=64, chunks=4)}


def small(path: Path, **fields: Field) -> Path:
    """A file of metadata, without tensors."""
    named = {key.replace("__", "."): field for key, field in fields.items()}
    with GGUFWriter(path, {"general.architecture": string("llama"), **named}, []):
        pass
    return path


def parsed(card: qk.ModelCard) -> dict[str, Any]:
    """The front matter as the Hub's own library reads it."""
    data: Any = hub.ModelCard(card.text).data
    found: dict[str, Any] = data.to_dict()
    assert found == dict(card.front_matter)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, demo_f16: Path) -> list[Path]:
    """Two types of the demo model, with what they were made from."""
    folder = tmp_path_factory.mktemp("card")
    pattern = folder / "{name}-{type}.gguf"
    types = ["Q8_0", "Q2_K"]
    made = qk.quantize_files(demo_f16, types, pattern, provenance=True)
    return [report.path for report in made]


def test_measured_files(files: list[Path], demo_f16: Path, tmp_path: Path) -> None:
    """Figures, advice, a figure, commands and checksums; `ppl`'s scores are reused."""
    out, told = tmp_path / "README.md", list[str]()
    save = tmp_path / "scores"
    shared = {**SHORT, "save": save}
    result = qk.compare([demo_f16, *reversed(files)], **shared)
    n_bytes = save.stat().st_size
    card = qk.model_card(
        *(files, out),
        base=demo_f16,
        **shared,
        base_model="org/demo",
        quantized_by="me",
        repo="me/demo-GGUF",
        notify=told.append,
    )
    assert save.stat().st_size == n_bytes
    assert told == list(card.notes) == []
    assert out.read_text(encoding="utf-8") == card.text
    assert f"]({PLOT})" in card.text
    assert (tmp_path / PLOT).read_text().startswith("<?xml")
    by_name = {row.name: row for row in result.results}
    for file, path in zip(card.files, files, strict=True):
        assert file.measurement == by_name[path.name.removesuffix(".gguf")]
        assert f"{hash_files([path])}  {path.name}\n" in card.text
    assert [file.advice for file in card.files] == [
        FIRST,
        "if Q8_0 (4.56 MB) does not fit",
    ]
    assert parsed(card) == {
        "base_model": "org/demo",
        "base_model_relation": "quantized",
        "quantized_by": "me",
        "library_name": "gguf",
        "tags": ["gguf"],
    }
    name = files[0].name
    assert f"quantkit quantize hf://org/demo {name} Q8_0 --provenance\n" in card.text
    assert "llama-server -hf me/demo-GGUF:Q8_0\n" in card.text
    assert "ollama run hf.co/me/demo-GGUF:Q8_0\n" in card.text


def test_a_type_that_does_not_tell_the_file_is_not_its_name(tmp_path: Path) -> None:
    """Programs find a file on the Hub by the type in its name; others by the name."""
    named = uint32(FileType.Q4_K_M)
    one, other = (
        small(tmp_path / f"{name}.gguf", general__file_type=named)
        for name in ("m-Q4_K_M", "mix")
    )
    assert "-hf me/x:Q4_K_M\n" in qk.model_card(one, repo="me/x").text
    card = qk.model_card(other, repo="me/x").text
    assert "llama-server -hf me/x -hff mix.gguf\n" in card
    assert "ollama run hf.co/me/x:mix.gguf\n" in card
    assert " -hff " in qk.model_card([one, other], repo="me/x").text


def test_commands_make_the_files_again(
    demo_f16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what they record: types of tensors, importance, calibration."""
    monkeypatch.chdir(tmp_path)
    short = qk.TextOptions(ctx=64, chunks=1)
    qk.imatrix(demo_f16, DEMO_TEXT, options=short).save("i.gguf")
    some: Any = ["ffn_down=Q6_K", "blk.0=Q5_0"]
    own = qk.Overrides(some, output_tensor_type=qk.QuantType.Q8_0)
    weighed: dict[str, Any] = {"overrides": own, "importance": "i.gguf"}
    qk.quantize_file(demo_f16, "a.gguf", "Q4_0", **weighed, provenance=True)
    qk.quantize_file(demo_f16, "b.gguf", "Q4_0", provenance=True)
    more: Any = [*(f"blk.{i}.ffn=Q5_0" for i in range(4)), "attn=Q8_0"]
    many = qk.Overrides(more)
    qk.quantize_file(demo_f16, "c.gguf", "Q4_0", overrides=many, provenance=True)
    with qk.GGUFFile("a.gguf") as file:
        mixed = qk.Overrides(types={n: t.type for n, t in file.tensors.items()})
    qk.quantize_file(demo_f16, "d.gguf", "Q4_0", overrides=mixed, provenance=True)
    card = qk.model_card(["a.gguf", "b.gguf", "c.gguf", "d.gguf"])
    kinds = {file.name: file.type for file in card.files}
    assert kinds == {
        "a.gguf": "Q4_0",
        "b.gguf": "Q4_0",
        "c.gguf": "Q4_0",
        "d.gguf": "mix",
    }
    lines = card.text.splitlines()
    commands = [shlex.split(line) for line in lines if "quantize MODEL" in line]
    assert sorted(words[3] for words in commands) == sorted(kinds)
    for words in commands:
        again = f"again-{words[3]}"
        options = [str(demo_f16), again, *words[4:]]
        assert CliRunner().invoke(app, ["quantize", *options]).exit_code == 0
        if "--recipe-from" not in words:
            assert Path(again).read_bytes() == Path(words[3]).read_bytes()
        with qk.GGUFFile(again) as made, qk.GGUFFile(words[3]) as file:
            types = [{n: t.type for n, t in f.tensors.items()} for f in (made, file)]
            assert types[0] == types[1]
    Path("b.gguf").rename("-b.gguf")
    assert "quantize MODEL ./-b.gguf Q4_0" in qk.model_card("-b.gguf").text


def test_what_the_source_says(tmp_path: Path) -> None:
    """The card of a checkpoint counts before the metadata of the files."""
    path = small(
        tmp_path / "a.gguf",
        general__name=string("A model"),
        general__license=string("mit,apache-2.0"),
        general__languages=array(ValueType.STRING, ["en", "de"]),
        general__tags=array(ValueType.STRING, ["chat", "text-generation"]),
        general__source__repo_url=string("https://huggingface.co/org/a-model"),
        quantize__imatrix__file=string("/home/me/secret/i.gguf"),
        quantize__imatrix__chunks_count=uint32(128),
    )
    card = qk.model_card(path)
    assert parsed(card) == {
        "base_model": "org/a-model",
        "base_model_relation": "quantized",
        "license": ["mit", "apache-2.0"],
        "language": ["en", "de"],
        "pipeline_tag": "text-generation",
        "library_name": "gguf",
        "tags": ["chat", "gguf", "imatrix"],
    }
    assert "Importance matrix: i.gguf, 128 chunks." in card.text
    assert "secret" not in card.text
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text(
        "---\nlicense: other\nlicense_name: own\nlanguage: fr\n---\n"
    )
    more = parsed(qk.model_card(path, base=base))
    assert (more["license"], more["license_name"]) == ("other", "own")
    assert (more["language"], more["tags"]) == ("fr", ["chat", "gguf", "imatrix"])


def test_foreign_text_is_text(tmp_path: Path) -> None:
    """In the front matter, in the table, in sentences and in blocks of code."""
    path = small(
        tmp_path / "a`b|c](x)<i>.gguf",
        general__name=string(NASTY),
        general__license=string(NASTY),
        general__tags=array(ValueType.STRING, [NASTY, "x: {y}"]),
        quantize__imatrix__file=string(f"```\n# {NASTY}"),
        quantize__imatrix__dataset=string(NASTY),
    )
    card = qk.model_card(path, quantized_by=NASTY)
    data = parsed(card)
    one_line = NASTY.replace("\n", "\\n")
    assert data["license"] == one_line
    assert data["tags"][:2] == [one_line, "x: {y}"]
    assert data["quantized_by"] == one_line
    body = card.text.split("\n---\n", 1)[1]
    assert "<script>" not in body.replace("\\<", "")
    assert "](http" not in body.replace("\\](", "")
    (row,) = [line for line in body.splitlines() if line.startswith("| a")]
    assert row.replace("\\|", "").count("|") == 5
    hidden = small(tmp_path / "-h.gguf")
    assert "-m ./-h.gguf" in qk.model_card(hidden).text
    imatrix = {f"quantize__imatrix__{key}": string("x/") for key in ("file", "dataset")}
    text = qk.model_card(small(tmp_path / "b.gguf", **imatrix)).text
    assert "- Importance matrix: imatrix.gguf.\n" in text
    assert fenced(["```", "\n# x"]) == ["````sh", "```", "\\n# x", "````"]


def test_advice_follows_what_was_measured() -> None:
    """The first choice, what is smaller and larger, and what is beaten."""

    @cache
    def row(name: str, size: int, kld: float) -> Any:
        return SimpleNamespace(name=name, size_bytes=size, kld_mean=kld)

    base = row("F16", 1000, 0.0)
    rows = [row("big", 900, 0.001), row("mid", 500, 0.009), row("odd", 520, 0.02)]
    rows += [row("twin", 510, 0.0091), row("tiny", 200, 0.3)]
    p_values = {"odd": 0.001, "twin": 0.4}
    result: Any = SimpleNamespace(
        base=base,
        results=rows,
        rows=[base, *rows],
        pareto=lambda: ["big", "mid", "tiny"],
        versus=lambda one, _: SimpleNamespace(kld_p_value=p_values[one]),
    )
    shown = {each.name: each.name.upper() for each in (base, *rows)}
    assert advice(result, shown) == {
        "tiny": "if MID (500 bytes) does not fit",
        "mid": FIRST,
        "twin": "no better than MID, which is no larger",
        "odd": "no: MID is no larger and loses less",
        "big": "loses less than MID",
    }
    result.results = rows[:1]
    result.rows = [base, *rows[:1]]
    rows[0].kld_mean = 0.5
    assert advice(result, shown) == {"big": "loses least of these files"}


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    """Each by its name, before anything is measured or written."""
    one = small(tmp_path / "a.gguf", general__name=string("A"))
    other = small(tmp_path / "b.gguf", general__name=string("B"))
    adapter = small(tmp_path / "c.gguf", general__type=string("adapter"))
    projector = small(tmp_path / "mmproj.gguf", general__type=string("mmproj"))
    out = tmp_path / "README.md"
    with pytest.raises(OptionError, match=r"general\.name is 'A' in .*'B' in"):
        qk.model_card([one, other], out)
    with pytest.raises(UnsupportedModelError, match=r"general\.type is 'adapter'"):
        qk.model_card([one, adapter], out)
    with pytest.raises(OptionError, match=r"two of the `files` are called 'a\.gguf'"):
        qk.model_card([one, one], out)
    with pytest.raises(OptionError, match="has no model"):
        qk.model_card(projector, out)
    with pytest.raises(OptionError, match="is a folder"):
        qk.model_card(tmp_path, out)
    for options, words in (
        ({"text": DEMO_TEXT}, "`text` needs `base`"),
        ({"save": "scores"}, "`save` needs `text`"),
        ({"activations": "q8"}, "`activations` needs `text`"),
        ({"repo": "no repo"}, "`repo` is 'no repo'; expected org/name"),
        ({"base_model": "me"}, "`base_model` is 'me'; expected org/name"),
        ({"quantized_by": 3}, "`quantized_by` is 3; expected a name"),
    ):
        with pytest.raises(OptionError, match=words):
            qk.model_card(one, out, **options)
    with pytest.raises(OutputError, match="is the same file as"):
        qk.model_card(one, one)
    with pytest.raises(OptionError, match="`base` is of type int"):
        qk.model_card(one, base=3)  # type: ignore[arg-type]
    assert not out.exists()
    card = qk.model_card([projector, one])
    assert [file.type for file in card.files][1:] == ["mmproj"]
    assert "--mmproj mmproj.gguf" in card.text


def test_the_command(files: list[Path], demo_f16: Path, tmp_path: Path) -> None:
    """It prints or writes, and says what is missing in terms of options."""
    names = [str(path) for path in files]
    run = CliRunner().invoke(app, ["card", *names])
    assert run.exit_code == 0
    assert run.stdout == qk.model_card(files).text
    assert "give --base-model, such as org/name" in run.stderr
    assert "(--base) and a text (--text)" in run.stderr
    out, save = tmp_path / "README.md", tmp_path / "r.json"
    measured = ["--base", str(demo_f16), "--chunks", "2", "--ctx", "64"]
    wanted = ["card", *names, "-o", str(out), "--save", str(save), *measured, "-q"]
    run = CliRunner().invoke(app, wanted)
    assert run.exit_code == 0, run.stderr
    assert run.stdout == f"{out}: the card of 2 files\n"
    assert json.loads(save.read_text())["results"][0]["chunks"] == 2
    run = CliRunner().invoke(app, ["card", *names, "--json", "-q"])
    assert json.loads(run.stdout)["files"][0]["type"] == "Q8_0"
    for option, value in (("--save", str(save)), ("--ctx", "64"), ("--chunks", "2")):
        run = CliRunner().invoke(app, ["card", *names, option, value])
        assert run.exit_code == 2
        assert f"{option} needs --base" in run.stderr


def test_what_is_read_is_not_replaced(tmp_path: Path) -> None:
    """The card, its figure and the scores are files of their own."""
    one, base = small(tmp_path / "a.gguf"), small(tmp_path / "base.gguf")
    text, card = tmp_path / PLOT, tmp_path / "README.md"
    text.write_text("text")
    given: dict[str, Any] = {"base": base, "text": text}
    for out, same in ((one, "`files`"), (base, "`base`"), (text, "`text`")):
        before = out.read_bytes()
        with pytest.raises(OutputError, match=f"`out` .* is the same file as {same}"):
            qk.model_card(one, out, **given)
        assert out.read_bytes() == before
    with pytest.raises(OutputError, match=r"the figure .* is the same file as `text`"):
        qk.model_card(one, card, **given)
    with pytest.raises(OutputError, match=r"`out` .* is the same file as `save`"):
        qk.model_card(one, card, save=card, **given)
    words = ["card", str(one), "--base", str(base), "--save"]
    for save, out in ((card, card), (tmp_path / PLOT, card), (one, card)):
        run = CliRunner().invoke(app, [*words, str(save), "-o", str(out)])
        assert "is the same file as" in str(run.exception)
    assert not card.exists()


def test_unknown_values_are_none_in_json(files: list[Path], demo_f16: Path) -> None:
    """One chunk has no errors."""
    options = qk.TextOptions(ctx=64, chunks=1)
    card = qk.model_card(files[:1], base=demo_f16, text=DEMO_TEXT, options=options)
    data = json.loads(json.dumps(card.to_dict(), allow_nan=False))
    assert " 1 chunk of 64 tokens;" in card.text
    assert data["files"][0]["measurement"]["kld_mean_error"] is None


def test_a_file_can_be_the_base(files: list[Path], demo_f16: Path) -> None:
    """It has a row, like the others, and no divergence from itself."""
    card = qk.model_card([files[0], demo_f16], base=demo_f16, **SHORT)
    assert card.comparison is not None
    assert card.files[0].measurement == card.comparison.base
    assert card.files[0].advice == ""
    assert "(unquantized model)" not in card.text
    other = replace(card.files[0], advice="x")
    assert other != card.files[0]
