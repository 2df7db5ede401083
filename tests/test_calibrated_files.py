"""Calibrated files beside plain ones: `quantize_file`, `convert` and `verify`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit._native import active_backend
from quantkit.cli import main
from quantkit.errors import FormatError, OptionError, QuantkitError
from quantkit.gguf import GGUFFile
from quantkit.gguf.keys import string
from quantkit.recipes import RECIPES
from quantkit.recipes.overrides import Overrides, TensorType
from quantkit.sources.edits import Edits
from quantkit.tasks import quantize_run
from quantkit.tasks.calibration import CalibrationCheck
from quantkit.tasks.calibration_record import CALIBRATION, CalibrationRecord
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.quantize import quantize_file
from quantkit.tasks.verify import verify_file
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

from .families.lettered import lettered_text
from .small_model import small_model
from .test_verify import write_imatrix

OPTIONS = TextOptions(ctx=16)
PLAIN = ("F32", "F16", "BF16")
"""Recipes without a type that calibration solves."""
NARROW = Overrides((TensorType("attn_output|ffn_down", QuantType.Q8_0),))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "model.gguf")


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("model") / "one.gguf", 1)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lettered_text(tmp_path_factory.mktemp("text") / "text.txt", 2000)


@pytest.fixture(scope="module")
def calibration(text: Path) -> qk.Calibration:
    return qk.Calibration([text], 64, options=OPTIONS)


KINDS = ("Q4_0", "Q4_K_M", "IQ2_XXS", "IQ4_XS", "TQ2_0", "F16")
"""Recipes of each kind; the others are slow tests."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    exit_code: Any
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in this process, as the program does."""

    def called(*arguments: object) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["quantkit", *map(str, arguments), "-q"])
        with pytest.raises(SystemExit) as ended:
            main.run()
        return Done(ended.value.code or 0, *capsys.readouterr())

    return called


def outline(path: Path) -> tuple[Any, ...]:
    """Everything about a file but the bytes of its tensors."""
    with GGUFFile(path) as file:
        tensors = [(n, t.shape, t.type) for n, t in file.tensors.items()]
        metadata = {k: (f.type, str(f.value)) for k, f in file.metadata.items()}
        return tensors, metadata, path.stat().st_size


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(name, marks=[] if name in KINDS else [pytest.mark.slow])
        for name in RECIPES
    ],
)
def test_types_sizes_and_metadata_are_those_of_the_plain_file(
    recipe: str, one_layer: Path, calibration: qk.Calibration, tmp_path: Path
) -> None:
    """Every recipe; types that need importance have that of the text."""
    plain, out = tmp_path / "plain.gguf", tmp_path / "out.gguf"
    own = NARROW if recipe == "Q1_0" else None  # which has no fallback
    importance = {
        name: np.ones(tensor.shape[-1], np.float32)
        for name, tensor in GGUFFile(one_layer).tensors.items()
        if name.startswith("blk.") and len(tensor.shape) > 1
    }
    quantize_file(one_layer, plain, recipe, overrides=own, importance=importance)
    done = quantize_file(
        one_layer, out, recipe, overrides=own, calibration=calibration, threads=1
    )
    assert outline(out) == outline(plain)
    assert names(tmp_path) == ["out.gguf", "plain.gguf"]
    assert bool(done.gains) is (recipe not in PLAIN)
    if not all(gain.kept_plain for gain in done.gains):
        assert out.read_bytes() != plain.read_bytes()


def test_other_options_work_as_before(
    model: Path, calibration: qk.Calibration, tmp_path: Path
) -> None:
    """Overrides, pruning, split files and an importance matrix beside."""
    own = Overrides((TensorType("ffn_up", QuantType.Q5_0),))
    edits = Edits(prune_layers=frozenset([0]))
    imatrix = write_imatrix(model, tmp_path / "imatrix.gguf")
    given: dict[str, Any] = {
        "overrides": own,
        "edits": edits,
        "importance": imatrix,
        "split_max_bytes": 30000,
    }
    plain = quantize_file(model, tmp_path / "plain.gguf", "Q4_K_S", **given)
    done = quantize_file(
        *(model, tmp_path / "out.gguf", "Q4_K_S"),
        **given,
        calibration=calibration,
        provenance=True,
    )
    assert len(done.paths) == len(plain.paths) > 1
    assert [(t.name, t.type, t.n_bytes) for t in done.tensors] == [
        (t.name, t.type, t.n_bytes) for t in plain.tensors
    ]
    assert {gain.type for gain in done.gains} >= {QuantType.Q4_K, QuantType.Q5_0}
    assert {gain.tensor for gain in done.gains if "blk." in gain.tensor} == {
        t.name for t in done.tensors if "blk.0" in t.name and len(t.shape) > 1
    }
    again = verify_file(
        done.paths[1],
        model,
        importance=imatrix,
        calibration_texts=calibration.texts,
    )
    assert again.is_equal
    kept = quantize_file(
        *(plain.path, tmp_path / "kept.gguf", "Q8_0"),
        keep_split=True,
        allow_requantize=True,
        calibration=calibration,
    )
    assert len(kept.paths) == len(plain.paths)


def test_bytes_do_not_depend_on_threads(
    model: Path, calibration: qk.Calibration, tmp_path: Path
) -> None:
    """One or two."""
    found = []
    for n in (1, 2):
        path = tmp_path / f"{n}.gguf"
        quantize_file(model, path, "Q4_K_M", calibration=calibration, threads=n)
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_what_is_written_over_is_not_the_text(
    model: Path, text: Path, tmp_path: Path, command: Command
) -> None:
    """The output, and that of a report."""
    own = tmp_path / "own.txt"
    own.write_bytes(text.read_bytes())
    given = qk.Calibration([own], 64, options=OPTIONS)
    with pytest.raises(QuantkitError, match="same file as the calibration text"):
        quantize_file(model, own, "Q4_0", calibration=given)
    done = command(
        "quantize",
        model,
        tmp_path / "o.gguf",
        "Q4_0",
        "--calibrate",
        own,
        "--report",
        own,
    )
    assert (done.exit_code, own.read_bytes()) == (1, text.read_bytes())


def test_a_dry_run_writes_nothing_and_does_not_calibrate(
    model: Path,
    calibration: qk.Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But it fails if the text is not there."""
    monkeypatch.setattr(quantize_run, "roundings_of", None)
    out = tmp_path / "out.gguf"
    report = quantize_file(model, out, "IQ2_XXS", calibration=calibration, dry_run=True)
    assert report.is_dry_run
    missing = qk.Calibration([tmp_path / "none.txt"], 64, options=OPTIONS)
    with pytest.raises((QuantkitError, OSError), match=r"none\.txt"):
        quantize_file(model, out, "Q4_0", calibration=missing, dry_run=True)
    assert names(tmp_path) == []


def test_a_recorded_calibration_is_repeated(
    model: Path, text: Path, calibration: qk.Calibration, tmp_path: Path
) -> None:
    """On the same texts in any order, and on no others."""
    out, other = tmp_path / "out.gguf", "other words " * 20
    two = qk.Calibration([text, other], 96, "best", OPTIONS)
    quantize_file(model, out, "Q4_0", calibration=two, provenance=True)
    assert verify_file(out, model, calibration_texts=[other, text]).is_equal
    assert verify_file(out, model, calibration=two).is_equal
    tried: list[tuple[list[Any], str]] = [
        ([], "not given"),
        ([text], "not given"),
        ([text, other, "more"], "was not calibrated on text"),
    ]
    for texts, message in tried:
        with pytest.raises(OptionError, match=message):
            verify_file(out, model, calibration_texts=texts)
    with pytest.raises(OptionError, match="`tokens` 96"):
        verify_file(out, model, calibration=calibration)
    with pytest.raises(OptionError, match="cannot be combined"):
        verify_file(out, model, calibration=two, calibration_texts=[text])


def test_without_a_record_the_calibration_is_given(
    model: Path, text: Path, calibration: qk.Calibration, tmp_path: Path
) -> None:
    """Texts alone stand for the default settings; a changed byte is found."""
    out = tmp_path / "out.gguf"
    quantize_file(model, out, "Q4_0", calibration=calibration)
    found = verify_file(out, model, calibration_texts=[text])
    assert not found.is_equal
    assert "repeated with effort fast and 131072 tokens" in found.advice
    assert found.to_dict()["advice"] == found.advice
    found = verify_file(out, model, calibration=calibration)
    assert (found.is_equal, found.advice) == (True, "")
    with GGUFFile(out) as file:
        at = file.locations["blk.1.attn_q.weight"].offset
    data = bytearray(out.read_bytes())
    data[at] ^= 1
    out.write_bytes(data)
    found = verify_file(out, model, calibration=calibration)
    assert [each.name for each in found.tensors] == ["blk.1.attn_q.weight"]
    found = verify_file(out, model)
    assert not found.is_equal
    assert "if it was calibrated, give the texts" in found.advice


def test_another_forward_pass_is_refused(
    model: Path, text: Path, calibration: qk.Calibration, tmp_path: Path
) -> None:
    """The message names both, and what to do."""
    out = tmp_path / "out.gguf"
    quantize_file(model, out, "Q4_0", calibration=calibration, provenance=True)
    with GGUFFile(out) as file:
        made = json.loads(file.metadata[CALIBRATION].value)
    made["forward_pass"] = "abacus"
    record = CalibrationRecord.of({CALIBRATION: string(json.dumps(made))}, "file")
    assert record is not None
    with pytest.raises(OptionError, match=r"'abacus'.*`quantkit backends`"):
        record.repeated([text], active_backend().ops)


@pytest.mark.parametrize("value", ["{", "[]", "{}", '{"builtin": 1}'])
def test_a_damaged_record_is_refused(value: str) -> None:
    """The message names the key."""
    with pytest.raises(FormatError, match=r"quantkit\.calibration"):
        CalibrationRecord.of({CALIBRATION: string(value)}, "file")


def test_built_in_texts_need_not_be_given(tmp_path: Path) -> None:
    """They are refused beside other texts, or if they are others now."""
    out = tmp_path / "out.gguf"
    built_in = qk.Calibration(tokens=32, options=OPTIONS)
    edits = Edits(prune_layers=frozenset([1, 2, 3]))
    quantize_file(
        *(DEMO_MODEL, out, "Q8_0"),
        edits=edits,
        calibration=built_in,
        provenance=True,
    )
    assert verify_file(out, DEMO_MODEL).is_equal
    with pytest.raises(OptionError, match="built-in texts"):
        verify_file(out, DEMO_MODEL, calibration_texts=["a text"])
    with GGUFFile(out) as file:
        made = json.loads(file.metadata[CALIBRATION].value)
    assert made["builtin"] == qk.__version__
    made["texts"][0] = "0"
    record = CalibrationRecord.of({CALIBRATION: string(json.dumps(made))}, "file")
    assert record is not None
    with pytest.raises(OptionError, match="use that version"):
        record.repeated([], active_backend().ops)


def test_convert_passes_it_through(calibration: qk.Calibration, tmp_path: Path) -> None:
    """To recipes; it has no effect with other types."""
    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    text = qk.Calibration(["Once upon a time " * 20], 32, options=OPTIONS)
    qk.convert(DEMO_MODEL, one, "Q4_0", calibration=text)
    quantize_file(DEMO_MODEL, two, "Q4_0", calibration=text)
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(OptionError, match="`calibration` has no effect with f16"):
        qk.convert(DEMO_MODEL, one, "f16", calibration=calibration)
    with pytest.raises(OptionError, match="tensors_only"):
        qk.convert(DEMO_MODEL, one, "Q4_0", calibration=text, tensors_only=True)


@pytest.mark.parametrize(
    "option",
    [["--calibration-tokens", 2048], ["--effort", "best"], ["--chat"], ["--check"]],
)
def test_options_without_calibrate_are_refused(
    option: list[object], model: Path, tmp_path: Path, command: Command
) -> None:
    """As wrong usage."""
    done = command("quantize", model, tmp_path / "o.gguf", "Q4_0", *option)
    assert done.exit_code == 2
    assert f"{option[0]} needs --calibrate" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.txt", None, "none.txt"),
        ("empty.txt", b"", "has 1 tokens"),
        ("short.txt", b"A short text", "needs at least 1024"),
        ("bytes.txt", b"\xff\xfe", "is not UTF-8"),
        ("folder", "", "folder"),
    ],
)
def test_errors_are_one_line(
    name: str,
    content: bytes | str | None,
    message: str,
    model: Path,
    tmp_path: Path,
    command: Command,
) -> None:
    """A text that is missing, empty, too short, no text or a folder."""
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.mkdir()
    before = names(tmp_path)
    done = command("quantize", model, tmp_path / "o.gguf", "Q4_0", "--calibrate", path)
    assert done.exit_code == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("kld", "ppl"), [(0.5, 10.5), (0.5, 11.1), (0.5, 11.5), (1.5, 11.5)]
)
def test_a_check_says_whether_it_was_worth_it(
    kld: float,
    ppl: float,
    model: Path,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Command,
) -> None:
    """The exit code is 3 if the file is worse; the report contains the check.

    A perplexity that is higher by two errors is told.
    """
    ratio = math.log(ppl / 11), 0.01
    found = CalibrationCheck(9, 10.0, 11.0, ppl, 1.0, kld, kld - 1.0, 0.1, *ratio)
    monkeypatch.setattr(quantize_run, "check_calibration", lambda *_, **__: found)
    report = tmp_path / "report.json"
    options = ["--calibration-tokens", 1024, "--check", "--report", report]
    done = command(
        "quantize", model, tmp_path / "o.gguf", "Q4_0", "--calibrate", text, *options
    )
    is_worse = kld > 1
    assert done.exit_code == (3 if is_worse else 0)
    assert "held-out text (9 chunks): KLD 1.00000 plain" in done.stdout
    change, error = 100 * (ppl / 11 - 1), ppl / 11
    shown = f"{change:+.2f} ± {error:.2f} %"
    assert f"{ppl:.4f} calibrated ({shown}), 10.0000 unquantized" in done.stdout
    assert ("worse than plain rounding" in done.stderr) is is_worse
    is_told = f"({shown}), though its KL divergence is lower" in done.stderr
    assert is_told is (ppl == 11.5 and not is_worse)
    written = json.loads(report.read_text())
    assert written["check"]["is_worse"] is is_worse
    assert written["check"]["is_ppl_worse"] is (ppl == 11.5)
    by_name = {each["name"]: each for each in written["tensors"]}
    assert by_name["blk.0.attn_q.weight"]["calibration"]["type"] == "Q4_0"


def test_a_check_measures(
    model: Path, calibration: qk.Calibration, tmp_path: Path
) -> None:
    """It changes no byte."""
    one, two = tmp_path / "one.gguf", tmp_path / "two.gguf"
    quantize_file(model, one, "Q4_0", calibration=calibration)
    report = quantize_file(model, two, "Q4_0", calibration=calibration, check=True)
    assert one.read_bytes() == two.read_bytes()
    assert report.check is not None
    assert report.check.chunks == 1
    difference = report.check.kld_calibrated - report.check.kld_plain
    assert report.check.kld_difference == pytest.approx(difference, abs=1e-12)
    ratio = report.check.ppl_calibrated / report.check.ppl_plain
    assert math.exp(report.check.ln_ppl_ratio) == pytest.approx(ratio)
    assert not report.check.is_ppl_worse  # one chunk has no error
    with pytest.raises(OptionError, match="`check` needs"):
        quantize_file(model, one, "Q4_0", check=True)


def test_the_commands_verify_and_convert(
    model: Path, text: Path, tmp_path: Path, command: Command
) -> None:
    """By the texts that were used; messages name options."""
    out = tmp_path / "o.gguf"
    tokens = ["--calibration-tokens", 1024]
    quantized = ["quantize", model, out, "Q4_0", "--calibrate", text]
    assert command(*quantized, *tokens, "--provenance").exit_code == 0
    given = ["verify", out, "--source", model]
    assert command(*given, "--calibrate", text).exit_code == 0
    done = command(*given)
    assert (done.exit_code, "(--calibrate)" in done.stderr) == (1, True)
    assert command(*quantized, *tokens).exit_code == 0
    assert command(*given, "--calibrate", text, *tokens).exit_code == 0
    done = command(*given)
    assert (done.exit_code, "give the texts" in done.stdout) == (1, True)
    done = command(*given, "--chat")
    assert (done.exit_code, "--chat needs --calibrate" in done.stderr) == (2, True)
    given = ["convert", DEMO_MODEL, "-o", out, "--outtype", "f16"]
    done = command(*given, "--calibrate", text)
    assert done == Done(1, "", "quantkit: --calibrate has no effect with f16\n")
