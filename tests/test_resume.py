"""Stopped runs resume or start over, and give the file of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from typer.testing import CliRunner

from quantkit.cli.main import app
from quantkit.errors import NonFiniteError, OutputError
from quantkit.files.locks import open_alone
from quantkit.gguf import GGUFFile, GGUFWriter
from quantkit.quantizing.slabs import Slab
from quantkit.recipes.overrides import Overrides, TensorType
from quantkit.sources.edits import Edits, parse_field
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.quantize import quantize_file
from quantkit.types import QuantType

from .test_verify import write_imatrix

SCRIPT = Path(__file__).with_name("killed_runs.py")
PLAIN: dict[str, Any] = {}
SPLIT: dict[str, Any] = {"split_max_bytes": 10**6}
REPORT: dict[str, Any] = {"measure": True, "provenance": True}


@pytest.fixture
def model(demo_f16: Path, tmp_path: Path) -> Path:
    """A model that a test may change."""
    path = tmp_path / "model.gguf"
    shutil.copy(demo_f16, path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a test writes, with nothing else beside it."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.gguf"


def files(path: Path) -> dict[str, bytes]:
    """All files beside a path, by name."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir()}


def stop_after(n: int) -> Callable[[str, int, int], None]:
    """Stops a run, as Ctrl-C does, after so many slabs."""
    left = iter(range(n))

    def progress(stage: str, done: int, total: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return progress


def stop(model: Path, out: Path, recipe: str = "Q4_0", n: int = 20, **more: Any) -> str:
    """Stop a run; what it says."""
    with pytest.raises(KeyboardInterrupt) as stopped:
        quantize_file(model, out, recipe, progress=stop_after(n), **more)
    return str(stopped.value)


def go_on(model: Path, out: Path, recipe: str = "Q4_0", **more: Any) -> list[str]:
    """Complete a run; what it says of the one before.

    The file is what a run without interruption makes, and nothing else is left.
    """
    said: list[str] = []
    quantize_file(model, out, recipe, notify=said.append, **more)
    whole = out.parent / "whole" / out.name
    whole.parent.mkdir()
    quantize_file(model, whole, recipe, **more)
    expected = files(whole)
    shutil.rmtree(whole.parent)
    assert files(out) == expected
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and kill -9")
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 20))]
)
@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("Q4_K_M", PLAIN),
        ("Q3_K_S", REPORT),
        ("Q8_0", SPLIT),
        ("IQ4_XS", SPLIT | REPORT),
    ],
)
def test_killed_at_random_moments(
    demo_f16: Path, out: Path, recipe: str, options: dict[str, Any], seed: int
) -> None:
    """As often as it takes; the files and the report are those of one run."""
    quantize_file(demo_f16, out, recipe, **options).write_json(out.with_suffix(".json"))
    expected = files(out)
    for path in out.parent.iterdir():
        path.unlink()
    arguments = [str(demo_f16), str(out), recipe, str(seed), json.dumps(options)]
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["killed"] > 0
    if found["has_rows"]:  # otherwise nothing was lost
        assert "an earlier run was stopped" in found["notices"]
    assert files(out) == expected


@pytest.mark.parametrize("options", [PLAIN, REPORT, SPLIT])
@pytest.mark.parametrize("source", ["file", "checkpoint"])
def test_what_is_there_is_not_made_again(
    demo_f16: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    options: dict[str, Any],
) -> None:
    """Only the tensors that are left are written; the report has the others' errors."""
    path = demo_f16 if source == "file" else DEMO_MODEL
    whole = quantize_file(path, out, "Q4_0", **options)
    for each in whole.paths:
        each.unlink()
    stop(path, out, **options)
    n_there = len(files(out)[".out.gguf.journal"].splitlines()) - 1
    written: list[str] = []
    write = GGUFWriter.write

    def note(writer: GGUFWriter, name: str, data: Any) -> None:
        written.append(name)
        write(writer, name, data)

    monkeypatch.setattr(GGUFWriter, "write", note)
    assert quantize_file(path, out, "Q4_0", **options).tensors == whole.tensors
    assert n_there > 10
    assert written == [tensor.name for tensor in whole.tensors[n_there:]]
    assert not [name for name in files(out) if name.startswith(".")]


def test_a_stopped_run_says_how_to_go_on(demo_f16: Path, out: Path) -> None:
    """And what to delete; with several files too."""
    said = stop(demo_f16, out, **SPLIT)
    assert said.startswith("repeat the command to resume; to abandon the run, delete ")
    assert sorted(files(out)) == [
        *(f".out-0000{i}-of-00003.gguf.part" for i in (1, 2, 3)),
        ".out.gguf.journal",
    ]
    assert all(str(path) in said for path in out.parent.iterdir())


def test_ctrl_c_ends_the_command_with_130(
    demo_f16: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line on stderr; the same command then goes on, and says so, or is quiet."""
    command = ["quantize", str(demo_f16), str(out), "Q4_0", "--threads", "1"]
    convert = Slab.convert
    left = iter(range(30))

    def stopping(slab: Slab) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return convert(slab)

    monkeypatch.setattr(Slab, "convert", stopping)
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, done.stdout) == (130, "")
    assert done.stderr.startswith("quantkit: stopped; repeat the command to resume")
    monkeypatch.undo()
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert "quantkit: an earlier run was stopped; resuming at " in done.stderr
    stop(demo_f16, out)
    done = CliRunner().invoke(app, [*command, "--quiet"])
    assert (done.exit_code, done.stderr) == (0, "")


def change_content(model: Path) -> None:
    """Change a weight, and put the times back."""
    before = model.stat()
    data = bytearray(model.read_bytes())
    data[-1000] ^= 1
    model.write_bytes(data)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [change_content, lambda model: os.utime(model)])
def test_a_changed_model_starts_anew(
    model: Path, out: Path, change: Callable[[Path], None]
) -> None:
    """Even if its size and times are as they were."""
    stop(model, out)
    change(model)
    (said,) = go_on(model, out)
    assert said == (
        "an earlier run was stopped; starting over because the model changed"
    )


def test_a_changed_configuration_of_a_checkpoint_starts_anew(
    out: Path, tmp_path: Path
) -> None:
    """It is read when the tensors are."""
    folder = shutil.copytree(DEMO_MODEL, tmp_path / "checkpoint")
    stop(folder, out)
    os.utime(folder / "config.json")
    (said,) = go_on(folder, out)
    assert said.endswith("because the model changed")


@pytest.mark.parametrize(
    ("recipe", "options", "what"),
    [
        ("Q4_1", PLAIN, "the types"),
        ("Q4_0", {"overrides": Overrides((TensorType("k", QuantType.Q8_0),))}, "types"),
        ("Q4_0", {"edits": Edits(dict([parse_field("a=int:1")]))}, "the metadata"),
        ("Q4_0", {"split_max_bytes": 2 * 10**6}, "the number of files"),
        ("Q4_0", {"importance": {"token_embd.weight": np.ones(256, "f")}}, "matrix"),
        ("Q4_0", {"measure": True}, "measuring of errors"),
    ],
)
def test_a_changed_option_starts_anew(
    demo_f16: Path, out: Path, recipe: str, options: dict[str, Any], what: str
) -> None:
    """The message says which; parts that are not needed any more are gone."""
    stop(demo_f16, out, **SPLIT)
    (said,) = go_on(demo_f16, out, recipe, **(SPLIT | options))
    assert "starting over because " in said
    assert what in said


def test_other_layers_of_the_same_shape_start_anew(demo_f16: Path, out: Path) -> None:
    """Nothing in the file's header tells them apart."""
    stop(demo_f16, out, edits=Edits(prune_layers=frozenset([0])))
    (said,) = go_on(demo_f16, out, edits=Edits(prune_layers=frozenset([2])))
    assert said.endswith("because the pruned layers changed")


def test_a_changed_importance_matrix_starts_anew(
    demo_f16: Path, out: Path, tmp_path: Path
) -> None:
    """By its content: the same numbers written again are as good."""
    imatrix = tmp_path / "imatrix.gguf"
    stop(demo_f16, out, importance=write_imatrix(demo_f16, imatrix))
    stop(demo_f16, out, importance=write_imatrix(demo_f16, imatrix), n=25)
    (said,) = go_on(demo_f16, out, importance=write_imatrix(demo_f16, imatrix, seed=1))
    assert said.endswith("because the importance matrix changed")


def test_another_version_starts_anew(
    demo_f16: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version may write other bytes."""
    stop(demo_f16, out)
    monkeypatch.setattr("quantkit.output.resume.__version__", "99")
    (said,) = go_on(demo_f16, out)
    assert said.endswith("because the version of quantkit changed")


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_byte_is_found_and_made_again(
    demo_f16: Path, out: Path, seed: int
) -> None:
    """Wherever it is: in the header, a tensor or the padding."""
    stop(demo_f16, out)
    part = out.with_name(".out.gguf.part")
    data = bytearray(part.read_bytes())
    data[random.Random(seed).randrange(len(data))] ^= 0x40
    part.write_bytes(data)
    assert len(go_on(demo_f16, out)) == 1


def test_how_much_can_be_used_is_said(demo_f16: Path, out: Path) -> None:
    """The rest is made again."""
    stop(demo_f16, out, n=30)
    part = out.with_name(".out.gguf.part")
    data = bytearray(part.read_bytes())
    data[-40] ^= 1
    part.write_bytes(data)
    (said,) = go_on(demo_f16, out)
    assert said.endswith("% of its output can be reused")


@pytest.mark.parametrize("change", [Path.unlink, partial(os.truncate, length=5000)])
def test_a_part_that_is_gone_or_cut_off(
    demo_f16: Path, out: Path, change: Callable[[Path], None]
) -> None:
    """The bytes that a journal records need not exist."""
    stop(demo_f16, out)
    change(out.with_name(".out.gguf.part"))
    assert len(go_on(demo_f16, out)) == 1


def test_a_part_that_is_too_long(demo_f16: Path, out: Path) -> None:
    """From another, larger file, and without a journal."""
    out.with_name(".out.gguf.part").write_bytes(bytes(10**7))
    assert go_on(demo_f16, out) == []


@pytest.mark.parametrize("seed", range(12))
def test_a_journal_that_ends_anywhere(demo_f16: Path, out: Path, seed: int) -> None:
    """Its last line may be half a line; what it tells of is used."""
    stop(demo_f16, out, measure=bool(seed % 2))
    journal = out.with_name(".out.gguf.journal")
    cut = random.Random(seed).randrange(journal.stat().st_size)
    os.truncate(journal, cut)
    go_on(demo_f16, out, measure=bool(seed % 2))


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"of": 1, "parts": 2}', "[1, [2]]"])
@pytest.mark.parametrize("line", [0, 5])
def test_a_journal_of_something_else(
    demo_f16: Path, out: Path, body: str, line: int
) -> None:
    """Lines that are no records end it; they have a right checksum here."""
    stop(demo_f16, out)
    journal = out.with_name(".out.gguf.journal")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[line] = b"%08x %s\n" % (crc32(body.encode()), body.encode())
    journal.write_bytes(b"".join(lines))
    go_on(demo_f16, out)


def test_a_journal_names_no_files_elsewhere(demo_f16: Path, out: Path) -> None:
    """Only parts beside it are removed, whatever it says."""
    victim = out.parent.parent / ".victim.part"
    victim.touch()
    body = json.dumps({"of": {"x": "y"}, "parts": ["../.victim.part", "out.gguf"]})
    line = b"%08x %s\n" % (crc32(body.encode()), body.encode())
    out.with_name(".out.gguf.journal").write_bytes(line)
    go_on(demo_f16, out)
    assert victim.exists()


@pytest.mark.parametrize("name", [".out.gguf.journal", ".out.gguf.part"])
def test_a_second_process_is_refused(demo_f16: Path, out: Path, name: str) -> None:
    """And touches nothing that the first one writes."""
    stop(demo_f16, out)
    before = files(out)
    held = open_alone(out.with_name(name))
    assert held is not None
    with held, pytest.raises(OutputError, match="another process is writing it"):
        quantize_file(demo_f16, out, "Q4_1")
    assert files(out)[name] == before[name]
    assert files(out)[".out.gguf.part"] == before[".out.gguf.part"]


def test_a_lock_is_not_of_a_file_that_was_renamed(tmp_path: Path) -> None:
    """A process that opened a part before the rename does not write to the result."""
    path = tmp_path / "part"
    first = open_alone(path)
    assert first is not None
    with first:
        assert open_alone(path) is None
        path.replace(tmp_path / "whole")
        second = open_alone(path)
        assert second is not None
        with second:
            second.write(b"other")
    assert (tmp_path / "whole").read_bytes() == b""


def test_what_is_there_needs_no_more_space(
    demo_f16: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for the rest is enough; with less, what is there stays as it is."""
    size = quantize_file(demo_f16, out, "Q4_0", dry_run=True).size_bytes
    stop(demo_f16, out)
    before = files(out)
    rest = size - len(before[".out.gguf.part"])
    usage = shutil.disk_usage(out.parent)
    for free in (rest - 1, rest):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _, free=free: usage._replace(free=free)
        )
        if free < rest:
            with pytest.raises(OutputError, match=f"needs {rest:,} bytes"):
                quantize_file(demo_f16, out, "Q4_0")
            assert files(out) == before
    monkeypatch.undo()
    assert len(go_on(demo_f16, out)) == 1


def test_an_error_leaves_nothing_to_go_on_with(model: Path, out: Path) -> None:
    """It would come again, and the model has to be changed."""
    with GGUFFile(model) as file:
        at = file.locations["blk.3.ffn_up.weight"].offset
    data = bytearray(model.read_bytes())
    data[at : at + 2] = np.float16(np.nan).tobytes()
    model.write_bytes(data)
    with pytest.raises(NonFiniteError):
        quantize_file(model, out, "Q4_0")
    assert files(out) == {}
