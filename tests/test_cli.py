"""The command line as a user types it: output, JSON, exit codes, one clear line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quantkit.cli.main import app
from quantkit.gguf import GGUFFile
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT, DEMO_TYPES
from quantkit.types import QuantType

from .commands import alone, run


def failed(*arguments: str | Path, **environment: str) -> str:
    """The one line that a command which fails (exit 1) says on stderr."""
    done = (alone if environment else run)(*arguments, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_convert_quantize_info_and_ppl(tmp_path: Path) -> None:
    """The main job, step by step."""
    f16, q4 = tmp_path / "model-f16.gguf", tmp_path / "model-q4_k_m.gguf"
    convert = alone("convert", DEMO_MODEL, "-o", f16, "--outtype", "f16")
    assert convert.returncode == 0, convert.stderr
    quantize = alone("quantize", f16, q4, "q4_k_m")
    assert quantize.returncode == 0, quantize.stderr
    assert "Q6_K" in quantize.stdout
    with GGUFFile(q4) as file:
        assert file.tensors["blk.1.ffn_up.weight"].type is QuantType.Q4_K
    info = run("info", q4, "--json")
    assert json.loads(info.stdout)["file_type"] == "Q4_K_M"
    assert "ffn_up" in run("info", q4, "--tensors").stdout
    options = ("--types", "Q8_0,q4_0", "--chunks", "2", "--threads", "1", "--json")
    ppl = alone("ppl", f16, "--text", DEMO_TEXT, *options)
    measured = json.loads(ppl.stdout)
    assert [r["name"] for r in measured["results"]] == ["Q8_0", "Q4_0"]
    assert measured["results"][0]["kld_mean"] < measured["results"][1]["kld_mean"]
    assert 60 < measured["base"]["ppl"] < 140


def test_quantize_reads_a_checkpoint_folder(tmp_path: Path) -> None:
    """No file between."""
    out = tmp_path / "q8.gguf"
    assert run("quantize", DEMO_MODEL, out, "Q8_0").returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["q8.gguf"]


def test_demo_prints_every_type() -> None:
    """README command 1, on one chunk; a verdict comes last."""
    done = alone("demo", "--chunks", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    table, end = done.stdout.split("\n\n")
    rows = [line.split()[0] for line in table.splitlines()[1:9]]
    assert rows == ["F16", *DEMO_TYPES]
    assert end.startswith("verdict: Q4_K_M is the smallest with a KLD below 0.01: ")
    assert "next smaller, Q4_0: " in end


def test_quiet_says_nothing_on_stderr(tmp_path: Path) -> None:
    """Progress can be turned off."""
    done = run("quantize", DEMO_MODEL, tmp_path / "q.gguf", "Q4_0", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("quantize", "a.gguf", "b.gguf", "Q4_K_X"), "did you mean Q4_K_"),
        (("ppl", "a.gguf", "--text", "t", "--types", "Q8_0,Q9"), "unknown"),
        (("convert", "dir", "-o", "x.gguf", "--outtype", "q4_k_x"), "Q4_K_"),
        (("quantize", "a.gguf"), "Missing argument"),
        (("ppl", "a.gguf", "--text", "t", "--ctx", "none"), "ctx"),
        (("nothing",), "No such command"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], words: str) -> None:
    """A wrong name suggests the nearest; nothing is read or written."""
    done = run(*arguments, COLUMNS="300")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_text_file_named_gguf_is_refused(tmp_path: Path) -> None:
    """One line that names the file."""
    path = tmp_path / "notes.gguf"
    path.write_text("These are notes, not a model.\n" * 100)
    for command in (("info", path), ("quantize", path, tmp_path / "o.gguf", "Q4_0")):
        assert "notes.gguf" in failed(*command)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.gguf"]


def test_a_truncated_gguf_is_refused(demo_f16: Path, tmp_path: Path) -> None:
    """One line that says that it is incomplete."""
    path = tmp_path / "cut.gguf"
    path.write_bytes(demo_f16.read_bytes()[:-1000])
    assert "cut.gguf" in failed("quantize", path, tmp_path / "o.gguf", "Q4_0")
    assert not (tmp_path / "o.gguf").exists()


@pytest.mark.parametrize("command", ["info", "quantize", "ppl", "convert"])
def test_a_missing_model_is_one_line(command: str, tmp_path: Path) -> None:
    """No traceback for a path that does not exist."""
    rest = {
        "info": (),
        "quantize": (tmp_path / "o.gguf", "Q4_0"),
        "ppl": ("--text", DEMO_TEXT),
        "convert": ("-o", tmp_path / "o.gguf"),
    }[command]
    assert "absent" in failed(command, tmp_path / "absent", *rest)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """The index of a checkpoint names a file that is not there."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in DEMO_MODEL.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    shard = "model-00001-of-00001.safetensors"
    index = {"weight_map": {"model.norm.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert shard in failed("convert", folder, "-o", tmp_path / "o.gguf")


def test_a_short_text_is_refused(demo_f16: Path, tmp_path: Path) -> None:
    """The message has the numbers and the way out."""
    text = tmp_path / "short.txt"
    text.write_text("Far too short.")
    assert "--ctx" in failed("ppl", demo_f16, "--text", text)


def test_an_unwritable_place_is_one_line(demo_f16: Path, tmp_path: Path) -> None:
    """A folder that does not exist cannot take the file."""
    target = tmp_path / "absent" / "o.gguf"
    assert "absent" in failed("quantize", demo_f16, target, "Q4_0")


def test_an_unknown_backend_is_one_line(demo_f16: Path, tmp_path: Path) -> None:
    """A forced backend never falls back."""
    arguments = ("quantize", demo_f16, tmp_path / "o.gguf", "Q4_0")
    assert "mmx" in failed(*arguments, QUANTKIT_BACKEND="mmx")
    assert list(tmp_path.iterdir()) == []


def test_version_and_backends() -> None:
    """Short questions, short answers."""
    assert alone("--version").stdout.startswith("quantkit 0.")
    assert "scalar" in run("backends").stdout


def test_quantize_options_reach_the_file(demo_f16: Path, tmp_path: Path) -> None:
    """Types, metadata, layers, report and provenance; `verify` makes the file again."""
    out, figures = tmp_path / "out.gguf", tmp_path / "errors.json"
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('base = "Q4_0"\ntoken_embedding_type = "Q8_0"\n')
    done = run(
        *("quantize", demo_f16, out, "--recipe", recipe, "--report", figures),
        *("--tensor-type", "attn_[qk]=Q5_1", "--tensor-type", "attn=Q8_0"),
        *("--override-kv", "general.name=str:Mine", "--override-kv", "a.b=int:3"),
        *("--prune-layers", "1,2", "--provenance"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "SNR dB" in done.stdout
    with GGUFFile(out) as file:
        types = {name: tensor.type.name for name, tensor in file.tensors.items()}
        assert file.metadata["general.name"].value == "Mine"
        assert file.metadata["a.b"].value == 3
    assert types["token_embd.weight"] == types["blk.1.attn_v.weight"] == "Q8_0"
    assert types["blk.0.attn_q.weight"] == "Q5_1"
    assert types["blk.0.ffn_up.weight"] == "Q4_0"
    assert "blk.2.ffn_up.weight" not in types
    assert len(json.loads(figures.read_text())["tensors"]) == len(types)
    equal = run("verify", out, "--source", demo_f16)
    assert (equal.returncode, equal.stderr) == (0, "")
    data = bytearray(out.read_bytes())
    data[-1] ^= 1
    out.write_bytes(data)
    different = run("verify", out, "--source", demo_f16, "--json")
    assert different.returncode == 1
    assert len(json.loads(different.stdout)["tensors"]) == 1


def test_a_dry_run_prints_every_tensor(demo_f16: Path, tmp_path: Path) -> None:
    """Its type before and after, its bytes and why; with other types' names too."""
    command = ("quantize", demo_f16, tmp_path / "out.gguf", "--recipe-from", demo_f16)
    options = ("--output-tensor-type", "Q6_K", "--tensor-type", "ffn_up=q8_0")
    done = run(*command, *options, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("blk.0.ffn_up")]
    assert line.split() == [
        *("blk.0.ffn_up.weight", "768", "x", "256", "F16", "Q8_0", "208,896"),
        *("pattern", "ffn_up"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_split_options_write_several_files(demo_f16: Path, tmp_path: Path) -> None:
    """By size first, and the same parts from those."""
    sized = ("--split-max-size", "2M", "--leave-output-tensor", "--json")
    done = run("quantize", demo_f16, tmp_path / "a.gguf", "Q8_0", "--pure", *sized)
    files = json.loads(done.stdout)["files"]
    kept = run("quantize", files[0], tmp_path / "b.gguf", "Q8_0", "--keep-split")
    assert kept.returncode == 0, kept.stderr
    for file in files:
        other = Path(str(file).replace("a-0000", "b-0000"))
        assert other.read_bytes() == Path(file).read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("Q4_0", "--tensor-type", "ffn"), "REGEX=TYPE"),
        (("Q4_0", "--tensor-type", "ffn=Q4_9"), "did you mean Q4_"),
        (("Q4_0", "--output-tensor-type", "Q8"), "did you mean Q8_"),
        (("Q4_0", "--token-embedding-type", "Q8"), "did you mean Q8_"),
        (("Q4_0", "--override-kv", "a=b"), "KEY=TYPE:VALUE"),
        (("Q4_0", "--prune-layers", "one"), "such as 1,2"),
        (("Q4_0", "--split-max-size", "4"), "such as 4G"),
        ((), "Missing argument 'TYPE'"),
    ],
)
def test_wrong_options_of_quantize_exit_with_2(
    options: tuple[str, ...], words: str
) -> None:
    """Each says what it expects, before anything is read."""
    done = CliRunner().invoke(
        app, ["quantize", "a.gguf", "b.gguf", *options], env={"COLUMNS": "300"}
    )
    assert done.exit_code == 2
    assert words in done.output


@pytest.mark.parametrize(
    ("report", "words", "dry_run"),
    [
        ("none/errors.json", "there is no folder", ()),
        ("none/errors.json", "there is no folder", ("--dry-run",)),
        ("folder", "is a folder", ()),
        ("model.gguf", "is the same file as MODEL", ("--dry-run",)),
        ("folder/../out.gguf", "is the same file as OUTPUT", ()),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_work(
    demo_f16: Path, tmp_path: Path, report: str, words: str, dry_run: tuple[str, ...]
) -> None:
    """Not once the model is complete; and nothing is left behind."""
    model, out = tmp_path / "model.gguf", tmp_path / "out.gguf"
    model.symlink_to(demo_f16)
    (tmp_path / "folder").mkdir()
    command = ("quantize", model, out, "Q4_0", "--report", tmp_path / report)
    assert words in failed(*command, *dry_run)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "model.gguf"]


def test_tensors_that_lack_importance_are_listed(
    demo_f16: Path, tmp_path: Path
) -> None:
    """Refused by default; named in the summary when they fall back; verified."""
    out = tmp_path / "out.gguf"
    command = ("quantize", demo_f16, out, "Q2_K_S")
    assert "these tensors (--missing-imatrix fallback)" in failed(*command)
    assert "these tensors (--missing-imatrix fallback)" in failed(*command, "--dry-run")
    done = run(*command, "--missing-imatrix", "fallback", "--provenance")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = [x for x in done.stdout.splitlines() if "no importance" in x]
    change, _, names = line.rpartition(": ")
    assert change == "28 tensors Q2_K -> Q3_K: no importance"
    assert len(set(names.split(", "))) == 28
    assert run("verify", out, "--source", demo_f16).returncode == 0


def test_nothing_is_written_over_what_is_read(demo_f16: Path, tmp_path: Path) -> None:
    """The model, the text, the matrix; by another name too, and in a folder."""
    model, text, matrix, link = (
        tmp_path / name for name in ("m.gguf", "t.dat", "i.gguf", "link.gguf")
    )
    model.write_bytes(demo_f16.read_bytes())
    text.write_text(DEMO_TEXT.read_text(encoding="utf-8")[:4000], encoding="utf-8")
    link.symlink_to(model)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('base = "Q4_0"\n', encoding="utf-8")
    small = ("--ctx", "64", "--chunks", "2")
    assert not run(
        "imatrix", model, "--text", text, *small, "-o", matrix, "-q"
    ).returncode
    folder = tmp_path / "folder"
    shutil.copytree(DEMO_MODEL, folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    ppl = ("ppl", model, "--text", text, *small, "--imatrix", matrix, "--types", "Q4_0")
    collect = ("imatrix", model, "--text", text, *small, "-o")
    for command, name in (
        ((*collect, model), "MODEL"),
        ((*collect, link), "MODEL"),
        ((*collect, text), "--text"),
        ((*ppl, "--save", model), "MODEL"),
        ((*ppl, "--save", text), "--text"),
        ((*ppl, "--save", matrix), "--imatrix"),
        (("ppl", folder, *ppl[2:], "--save", folder / "config.json"), "MODEL"),
        (("quantize", model, matrix, "Q4_0", "--imatrix", matrix), "the importance"),
        (("quantize", model, recipe, "--recipe", recipe), "--recipe"),
        (("quantize", model, link, "Q4_0", "--recipe-from", link), "--recipe-from"),
    ):
        said = failed(*command)
        assert f"is the same file as {name}" in said or f"is a file in {name}" in said
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_output_that_cannot_show_every_character() -> None:
    """A sign that the encoding lacks is a question mark."""
    done = alone("demo", "--chunks", "2", "-q", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "? " in done.stdout
