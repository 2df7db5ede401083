"""Several files in one pass: their bytes, their names, checksums and stops."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import quantkit as qk
from quantkit.cli.main import app
from quantkit.errors import OptionError, QuantkitError, UnsupportedTypeError
from quantkit.output import writing
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.quantize_many import model_name, quantize_files
from quantkit.tasks.verify import verify_file

from .small_model import small_model

TYPES = ["Q8_0", "Q4_K_M", "IQ4_XS"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path / "small-f32.gguf")


def said(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["quantize", *map(str, arguments)])


@pytest.mark.parametrize("kind", ["checkpoint", "file"])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_file_is_that_of_one_quantization(
    kind: str, threads: int, model: Path, tmp_path: Path
) -> None:
    """And so are the reports."""
    source = DEMO_MODEL if kind == "checkpoint" else model
    out = tmp_path / "many-{type}.gguf"
    done: list[tuple[int, int]] = []
    reports = quantize_files(
        *(source, TYPES, out),
        threads=threads,
        progress=lambda stage, n, total: done.append((n, total)),
    )
    assert done[-1][0] == done[-1][1]
    assert [report.recipe for report in reports] == TYPES
    for report in reports:
        one = tmp_path / "one.gguf"
        expected = qk.quantize_file(source, one, report.recipe)
        assert report.path == tmp_path / f"many-{report.recipe}.gguf"
        assert report.path.read_bytes() == one.read_bytes()
        assert report.tensors == expected.tensors


def test_checksums_stand_beside_the_files(model: Path, tmp_path: Path) -> None:
    """Those of earlier files stay, and those of files that are replaced do not."""
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  other.gguf\n{'1' * 64}  small-Q8_0.gguf\n")
    reports = quantize_files(model, TYPES, tmp_path / "{name}-{type}.gguf")
    lines = [f"{'0' * 64}  other.gguf"]
    for report in reports:
        digest = hashlib.sha256(report.path.read_bytes()).hexdigest()
        lines.append(f"{digest}  {report.path.name}")
    assert sorted(sums.read_text().splitlines()) == sorted(lines)
    (tmp_path / "a").mkdir()
    quantize_files(model, "Q8_0", tmp_path / "a" / "{type}", checksums=False)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["Q8_0"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_checksums_of_names_with_line_breaks(model: Path, tmp_path: Path) -> None:
    """They are escaped, as by sha256sum, and found again."""
    folder = tmp_path / "sums"
    folder.mkdir()
    for _ in range(2):
        quantize_files(model, ["Q8_0", "Q4_0"], folder / "a\n\\b-{type}")
    (one, other) = (folder / "SHA256SUMS").read_text().splitlines()
    assert one.startswith("\\")
    assert one.endswith(r"  a\n\\b-Q4_0")
    assert other.endswith(r"  a\n\\b-Q8_0")
    if shutil.which("sha256sum"):
        check = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
        subprocess.run(check, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def test_recipe_files_are_named_by_their_files(model: Path, tmp_path: Path) -> None:
    """In reports and in the table of the command, not by their base."""
    recipe = tmp_path / "own.toml"
    recipe.write_text('base = "Q4_0"\noutput_tensor_type = "Q8_0"\n')
    pattern = str(tmp_path / "{type}.gguf")
    shown = said(model, "--types", f"Q4_0,{recipe}", "-o", pattern, "--dry-run").stdout
    assert [line.split()[0] for line in shown.splitlines()[1:3]] == ["Q4_0", "own"]


def test_a_dry_run_checks_threads(model: Path, tmp_path: Path) -> None:
    """As the real one would."""
    out: Any = tmp_path / "{type}.gguf"
    wrong: Any = "x"
    with pytest.raises(OptionError, match="`threads` is 'x'"):
        quantize_files(model, "Q8_0", out, dry_run=True, threads=wrong)


def test_the_parts_of_names_are_known(model: Path, tmp_path: Path) -> None:
    """Folders may have braces, and so may the model's name."""
    with pytest.raises(OptionError, match=r"\{typ\} is not known; known are \{name\}"):
        quantize_files(model, "Q8_0", tmp_path / "{typ}-{type}.gguf", dry_run=True)
    folder = tmp_path / "{x}"
    folder.mkdir()
    other = model.rename(tmp_path / "{type}.gguf")
    (made,) = quantize_files(other, "Q8_0", folder / "{name}-{type}.gguf", dry_run=True)
    assert made.path == folder / "{type}-Q8_0.gguf"


def test_each_disk_needs_room_for_its_own_files(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files on other disks do not count."""
    for name in TYPES:
        (tmp_path / name).mkdir()
    out = tmp_path / "{type}" / "model.gguf"
    planned = quantize_files(model, TYPES, out, dry_run=True)
    free = max(report.size_bytes for report in planned)
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(QuantkitError, match="cannot write 3 files: together they"):
        quantize_files(model, TYPES, out)
    assert not list(tmp_path.glob("*/model.gguf"))
    monkeypatch.setattr(writing, "_disk_of", lambda path: TYPES.index(path.parent.name))
    quantize_files(model, TYPES, out)
    assert len(list(tmp_path.glob("*/model.gguf"))) == len(TYPES)


def test_a_mistyped_type_is_no_file(model: Path) -> None:
    """The type that is meant is suggested; other names are outputs without a type."""
    for wrong, right in {"Q4_KM": "Q4_K_M", "iq4xs": "IQ4_XS", "q8": "Q8_0"}.items():
        refused = said(model, wrong)
        assert (refused.exit_code, right in refused.stderr) == (2, True), wrong
    assert "Missing argument 'TYPE'" in said(model, "q4.gguf").stderr


def test_a_stopped_run_goes_on(model: Path, tmp_path: Path) -> None:
    """No file is there before all are; the same call ends with the same files."""
    expected = tmp_path / "expected"
    expected.mkdir()
    quantize_files(model, TYPES, expected / "{type}.gguf")
    places: list[int] = []

    def stop(stage: str, done: int, total: int) -> None:
        places.append(done)
        if stop_at is not None and done >= stop_at * total:
            raise KeyboardInterrupt

    stop_at: float | None = 0.5
    options: dict[str, Any] = {"threads": 1, "progress": stop}
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(KeyboardInterrupt, match="resume") as stopped:
        quantize_files(model, TYPES, out / "{type}.gguf", **options)
    assert not list(out.glob("[!.]*"))
    named = str(stopped.value).partition(" delete ")[2].split(", ")
    assert sorted(named) == sorted(str(left) for left in out.iterdir())
    told: list[str] = []
    n_first, stop_at = len(places), None
    places.clear()
    quantize_files(*(model, TYPES, out / "{type}.gguf"), **options, notify=told.append)
    assert [each for each in told if "resuming" in each]
    assert n_first > 1
    for path in expected.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert len(list(out.iterdir())) == len(TYPES) + 1


def test_files_record_their_origin(model: Path, tmp_path: Path) -> None:
    """Each its own recipe, all the hash of the model."""
    out = tmp_path / "{type}.gguf"
    for report in quantize_files(model, TYPES, out, provenance=True):
        assert verify_file(report.path, model).is_equal


def test_all_types_are_those_that_can_be_made(model: Path, tmp_path: Path) -> None:
    """Without importance; a type that is named must be possible."""
    out = tmp_path / "{type}.gguf"
    made = [report.recipe for report in quantize_files(model, "all", out, dry_run=True)]
    assert {"Q4_K_M", "TQ2_0"} <= set(made)
    assert "IQ2_XXS" not in made
    assert [path.name for path in tmp_path.iterdir()] == [model.name]
    with pytest.raises(UnsupportedTypeError, match="IQ2_XXS"):
        quantize_files(model, ["IQ2_XXS", "Q4_0"], out)


def test_patterns_that_name_one_file_are_refused(model: Path, tmp_path: Path) -> None:
    """And one that would write over the model."""
    with pytest.raises(OptionError, match="one file for all types"):
        quantize_files(model, TYPES, tmp_path / "{name}.gguf")
    same = model.with_name("small-Q8_0.gguf")
    shutil.copy(model, same)
    with pytest.raises(QuantkitError, match="part of the model"):
        quantize_files(same, TYPES, tmp_path / "small-{type}.gguf")


def test_names_of_models() -> None:
    """Without the type, the number of a shard, and the revision."""
    named = {
        "a/Tiny-1B-f16.gguf": "Tiny-1B",
        "Tiny.BF16-00001-of-00002.gguf": "Tiny",
        "Tiny-Q8_0.gguf": "Tiny-Q8_0",
        "hf://org/Tiny-1B@main": "Tiny-1B",
        "models/Tiny/": "Tiny",
        "f16.gguf": "f16",
    }
    assert {each: model_name(each) for each in named} == named
    assert model_name(Path()) == Path.cwd().name


def test_the_command_writes_many(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a file by default; a row each; JSON of all."""
    monkeypatch.chdir(model.parent)
    result = said(model.name, "--types", "Q8_0,q4_k_m")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[-1] for row in rows[1:3]] == ["small-Q8_0.gguf", "small-Q4_K_M.gguf"]
    assert "Q4_K_M: 1 tensors Q6_K -> Q8_0: rows are not a multiple" in result.stdout
    assert rows[-1] == ["checksums:", "SHA256SUMS"]
    more = ("--types", "Q8_0,Q4_0", "-o", "{type}.bin", "--dry-run", "--json")
    data = json.loads(said(model.name, *more).stdout)
    assert [each["files"] for each in data["files"]] == [["Q8_0.bin"], ["Q4_0.bin"]]
    assert not Path("Q8_0.bin").exists()
    for wrong in (("out.gguf",), ("--pure",), ("--report", "r.json"), ("--chat",)):
        refused = said(model.name, *wrong, "--types", "Q8_0")
        assert (refused.exit_code, "--types" in refused.stderr) == (2, True)


def test_a_file_without_a_name_is_called_as_by_llama_quantize(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ggml-model-TYPE.gguf beside the model; of a checkpoint, its name here."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert said(model, "q4_0").exit_code == 0
    assert (model.parent / "ggml-model-Q4_0.gguf").is_file()
    assert said(DEMO_MODEL, "Q8_0").exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["model-Q8_0.gguf"]
    assert said(model, "Q4_0", "-o", "named.gguf").exit_code == 0
    assert (folder / "named.gguf").is_file()
