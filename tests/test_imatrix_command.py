"""The command `imatrix` as a user types it: collecting, merging, showing, stopping."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from quantkit.cli import imatrix as imatrix_command
from quantkit.cli.main import app
from quantkit.collecting.collection import imatrix
from quantkit.errors import FormatError, OptionError, OutputError
from quantkit.files.locks import alone_on
from quantkit.importance import ImportanceMatrix
from quantkit.progress import Progress
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens.options import TextOptions

from .families.lettered import lettered_model, lettered_text

SMALL = ("--ctx", "64", "--chunks", "5", "--threads", "1")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "war.txt"
    path.write_text(DEMO_TEXT.read_text(encoding="utf-8")[:6000], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def known(text: Path) -> ImportanceMatrix:
    return imatrix(DEMO_MODEL, text, options=TextOptions(ctx=64, chunks=5), threads=1)


def run(*arguments: str | Path) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, ["imatrix", *map(str, arguments)])


def done(*arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", ["gguf", "dat"])
def test_collecting_writes_a_file(
    text: Path, known: ImportanceMatrix, tmp_path: Path, suffix: str
) -> None:
    """That of the Python call, and says what is in it."""
    out, expected = tmp_path / f"m.{suffix}", tmp_path / f"known.{suffix}"
    said = done(DEMO_MODEL, "--text", text, *SMALL, "-o", out)
    known.save(expected)
    assert out.read_bytes() == expected.read_bytes()
    assert names(tmp_path) == sorted([out.name, expected.name])
    first, second = said.splitlines()
    assert first == f"{out}: 28 tensors, 5 chunks of 64 tokens of {text}"
    ppl = known.perplexity
    assert ppl is not None
    assert second == f"PPL {ppl.ppl:.4f} ± {ppl.error:.4f}"


def test_json(text: Path, known: ImportanceMatrix, tmp_path: Path) -> None:
    """The same facts for machines."""
    command = (DEMO_MODEL, "--text", text, *SMALL, "-o", tmp_path / "m.gguf")
    data = json.loads(done(*command, "--json", "--show", "--process-output"))
    assert data["imatrix"] == str(tmp_path / "m.gguf")
    assert (data["version"], data["chunks"], data["chunk_size"]) == (1, 5, 64)
    assert (data["datasets"], data["tensors"]) == ([str(text)], 29)
    assert known.perplexity is not None
    assert data["ppl"] == known.perplexity.ppl
    assert data["ppl_error"] == known.perplexity.error
    assert len(data["statistics"]["tensors"]) == 29
    assert [layer["layer"] for layer in data["statistics"]["layers"]] == [0, 1, 2, 3]
    assert data["statistics"]["layers"][0]["gain"] is None
    assert "ppl" not in json.loads(done(*command, "--json", "--no-ppl"))


def test_showing_a_file(known: ImportanceMatrix, tmp_path: Path) -> None:
    """Its tensors and layers, in tables or as JSON; the file is only read."""
    known.save(tmp_path / "m.gguf")
    out = done("--show", tmp_path / "m.gguf")
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["layer", "tensor"]
    assert "sum E(x²)" in lines[0]
    assert len(lines) == 1 + 28 + 1 + 1 + 4 + 1 + 1
    found = known.statistics()
    row = next(line for line in lines if "blk.3.ffn_down.weight" in line)
    tensor = next(t for t in found.tensors if t.name == "blk.3.ffn_down.weight")
    assert row.split()[3] == f"{tensor.mean:.4f}"
    assert row.split()[-1] == f"{tensor.covariance:.4f}"
    data = json.loads(done(tmp_path / "m.gguf", "--show", "--json"))
    shown = data["statistics"]["tensors"][-1]
    assert shown["l2_dist"] == found.tensors[-1].l2_dist


def test_merging_and_converting(
    known: ImportanceMatrix, text: Path, tmp_path: Path
) -> None:
    """Files with files, files with what is collected, one format to the other."""
    known.save(tmp_path / "a.gguf")
    done("--merge", tmp_path / "a.gguf", "-o", tmp_path / "b.dat")
    known.save(tmp_path / "c.dat")
    assert (tmp_path / "b.dat").read_bytes() == (tmp_path / "c.dat").read_bytes()
    pair = ("--merge", tmp_path / "a.gguf", "--merge", tmp_path / "a.gguf")
    said = done(*pair, "-o", tmp_path / "d.gguf")
    assert said == (
        f"{tmp_path / 'd.gguf'}: 28 tensors, 10 chunks of 64 tokens of {text}, {text}\n"
    )
    out = tmp_path / "e.gguf"
    done(DEMO_MODEL, "--text", text, *SMALL, *pair[:2], "-o", out)
    assert out.read_bytes() == (tmp_path / "d.gguf").read_bytes()


def test_experts_without_tokens_are_told(tmp_path: Path) -> None:
    """In the summary, and in the table of those that are shown."""
    model = lettered_model("qwen3moe", tmp_path)
    text = tmp_path / "text.txt"
    text.write_text("a" * 80)
    command = (model, "--text", text, "--ctx", "32", "--threads", "1")
    out = done(*command, "-o", tmp_path / "m.gguf", "--show")
    assert "no token reached " in out
    assert "; a longer or more varied text may reach them" in out
    assert "ffn_gate_exps.weight (" in out


def test_stopped_runs_write_what_they_have_and_go_on(
    text: Path, known: ImportanceMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the third chunk; then the same command, which ends as if never so."""
    seen: list[int] = []

    @contextmanager
    def stopping(quiet: bool) -> Iterator[Progress]:
        def show(stage: str, done: int, total: int) -> None:
            seen.append(done)
            if stop and done == 3:
                raise KeyboardInterrupt

        yield show

    monkeypatch.setattr(imatrix_command, "progress_bar", stopping)
    out = tmp_path / "m.gguf"
    command = (DEMO_MODEL, "--text", text, *SMALL, "-o", out)
    stop = True
    result = run(*command)
    assert result.exit_code == 130
    assert "stopped; collected 3 of 5 chunks; repeat the command" in result.stderr
    assert names(tmp_path) == [".m.gguf.sums", "m.gguf"]
    assert ImportanceMatrix.load(out).chunk_count == 3
    stop, seen = False, []
    done(*command)
    assert seen == [4, 5]
    assert names(tmp_path) == ["m.gguf"]
    known.save(tmp_path / "known.gguf")
    assert out.read_bytes() == (tmp_path / "known.gguf").read_bytes()


def test_wrong_usage(text: Path, known: ImportanceMatrix, tmp_path: Path) -> None:
    """Exit code 2, and what is missing."""
    matrix, out = tmp_path / "m.gguf", tmp_path / "out.gguf"
    known.save(matrix)
    cases = {
        (): "expected MODEL and --text",
        (matrix,): "expected MODEL and --text",
        ("--text", text, "-o", out): "needs a MODEL to run on it",
        (DEMO_MODEL, "--text", text): "-o FILE is missing",
        ("--merge", matrix): "-o FILE is missing",
        (matrix, matrix, "--show"): "expected one MODEL, and got 2",
        (matrix, "--show", "-o", out): "--merge",
    }
    for arguments, message in cases.items():
        result = run(*arguments)
        assert result.exit_code == 2, arguments
        assert message in " ".join(result.stderr.replace("│", " ").split()), arguments
    assert names(tmp_path) == ["m.gguf"]


def test_what_is_refused_before_any_work(
    text: Path, known: ImportanceMatrix, tmp_path: Path
) -> None:
    """Names and places that cannot be written, matrices of another model."""
    common = (DEMO_MODEL, "--text", text, *SMALL)
    result = run(*common, "-o", tmp_path / "m.bin")
    assert isinstance(result.exception, OptionError)
    assert "must end in .gguf" in str(result.exception)
    result = run(*common, "-o", tmp_path / "none" / "m.gguf")
    assert isinstance(result.exception, OutputError)
    model = lettered_model("llama", tmp_path)
    letters = lettered_text(tmp_path / "text.txt", 80)
    imatrix(model, letters, options=TextOptions(ctx=32), threads=1).save(
        tmp_path / "other.gguf"
    )
    merge = ("--merge", tmp_path / "other.gguf")
    result = run(*common, *merge, "-o", tmp_path / "m.gguf")
    assert isinstance(result.exception, FormatError)
    assert "other.gguf belongs to another model" in str(result.exception)
    known.save(tmp_path / "known.gguf")
    result = run(*merge, "--merge", tmp_path / "known.gguf", "-o", tmp_path / "m.gguf")
    assert "known.gguf does not fit the others" in str(result.exception)
    assert not (tmp_path / "m.gguf").exists()


def test_one_process_at_a_time_collects_into_a_file(text: Path, tmp_path: Path) -> None:
    """The other is told at once, and leaves everything as it is."""
    out = tmp_path / "m.gguf"
    command = (DEMO_MODEL, "--text", text, *SMALL, "-o", out)
    with alone_on(out):
        result = run(*command)
        assert "another process is working on it" in str(result.exception)
        assert names(tmp_path) == [".m.gguf.lock"]
    done(*command)
    assert names(tmp_path) == ["m.gguf"]
