"""Files quantized on a device: the processor's bytes, or an error and no file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import quantkit as qk
from quantkit import _device
from quantkit._device import pipes
from quantkit._native import Plan, solve_rows
from quantkit.cli.main import app
from quantkit.quantizing import slabs
from quantkit.tasks import convert
from quantkit.tasks.demo import DEMO_MODEL

from .families.lettered import lettered_text
from .host_library import host_library as host_library
from .small_model import small_model
from .strict_card import StrictCard

IMPORTANCE = {"blk.0.attn_v.weight": np.geomspace(0.1, 9, 256).astype(np.float32)}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host_library: Path) -> Path:
    """A small model in slabs of a few rows; the host build is the CUDA library."""
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(host_library))
    monkeypatch.setattr(slabs, "SLAB_WEIGHTS", 4096)
    return small_model(tmp_path / "model.gguf")


def free_bytes() -> int:
    """Of the device."""
    own = _device.library()
    found = own.ffi.new("size_t *")
    assert own.lib.qkc_free_bytes(found) == 0
    return int(found[0])


def both(model: Path, *arguments: Any, **options: Any) -> qk.QuantizeReport:
    """Quantize on the processor and on the device; the files must be equal."""
    ours, theirs = model.with_name("cpu.gguf"), model.with_name("cuda.gguf")
    expected = qk.quantize_file(model, ours, *arguments, **options)
    before = free_bytes()
    found = qk.quantize_file(model, theirs, *arguments, device="cuda", **options)
    assert theirs.read_bytes() == ours.read_bytes()
    assert found.tensors == expected.tensors
    assert free_bytes() == before
    return found


def test_the_file_is_that_of_the_processor(model: Path) -> None:
    """With several threads; with importance, and with the errors of each tensor."""
    both(model, "Q4_K_M", threads=3)
    report = both(model, "Q4_0", importance=IMPORTANCE, measure=True)
    assert any(tensor.errors is not None for tensor in report.tensors)


def test_several_files_at_once(model: Path, tmp_path: Path) -> None:
    """Each is that of one run."""
    pattern = tmp_path / "{device}-{type}.gguf"
    made = {}
    for device in ("cpu", "cuda"):
        out = str(pattern).replace("{device}", device)
        reports = qk.quantize_files(model, ["Q8_0", "Q4_0"], out, device=device)
        made[device] = [report.path.read_bytes() for report in reports]
    assert made["cpu"] == made["cuda"]


def test_convert_quantizes_on_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is something to quantize."""

    def quantize(*_: object, device: str, **__: object) -> None:
        raise KeyError(device)

    monkeypatch.setattr(convert, "quantize_file", quantize)
    with pytest.raises(KeyError, match="cuda:1"):
        qk.convert(DEMO_MODEL, tmp_path / "out.gguf", "Q5_0", device="cuda:1")
    with pytest.raises(qk.OptionError, match="`device` has no effect with f16"):
        qk.convert(DEMO_MODEL, tmp_path / "f16.gguf", "f16", device="cuda")


def test_a_run_that_was_stopped_goes_on_elsewhere(model: Path, tmp_path: Path) -> None:
    """The bytes are the same, so what the processor wrote is kept."""
    out, said = tmp_path / "out.gguf", list[str]()

    def stop(stage: str, done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        qk.quantize_file(model, out, "Q4_0", progress=stop)
    qk.quantize_file(model, out, "Q4_0", device="cuda", notify=said.append)
    assert any("resuming at" in each for each in said)
    whole = tmp_path / "whole.gguf"
    qk.quantize_file(model, whole, "Q4_0")
    assert out.read_bytes() == whole.read_bytes()


def test_little_memory_is_enough(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slabs are halved until they fit."""
    monkeypatch.setattr(slabs, "SLAB_WEIGHTS", 1 << 20)
    monkeypatch.setenv("QKC_HOST_MEMORY", "20000")
    both(model, "Q4_0", threads=1)


def files(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()}


def test_too_little_memory_leaves_no_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for a row: the call, and what to do."""
    monkeypatch.setenv("QKC_HOST_MEMORY", "500")
    message = r"qkc_quantize_host .Q6_K rows of 256 .* out of memory; free memory of"
    with pytest.raises(qk.BackendError, match=message):
        qk.quantize_file(model, tmp_path / "out.gguf", "Q4_0", device="cuda")
    assert files(tmp_path) == {model.name}
    assert free_bytes() == 500


def test_a_device_that_fails_meanwhile_leaves_no_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no memory; the error is the first one's."""

    def fail(stage: str, done: int, total: int) -> None:
        if done > total // 2:
            monkeypatch.setenv("QKC_HOST_BROKEN", "1")

    before = free_bytes()
    with pytest.raises(qk.BackendError, match=r"cudaErrorLaunchFailure: .*start it"):
        qk.quantize_file(
            *(model, tmp_path / "out.gguf", "Q4_0"),
            device="cuda",
            progress=fail,
            threads=2,
        )
    assert files(tmp_path) == {model.name}
    assert free_bytes() == before
    assert not any(kept.idle for kept in pipes._kept.values())


def test_weights_that_are_not_finite_are_named(model: Path, tmp_path: Path) -> None:
    """The tensor and the row, as on the processor."""
    with qk.GGUFFile(model) as file:
        where = file.locations["blk.1.ffn_up.weight"]
    data = bytearray(where.path.read_bytes())
    at = where.offset + 4 * (40 * 256 + 3)
    data[at : at + 4] = np.float32(np.nan).tobytes()
    model.write_bytes(data)
    for device in ("cpu", "cuda"):
        message = r"tensor blk\.1\.ffn_up\.weight: the weight at row 40, column 3"
        with pytest.raises(qk.NonFiniteError, match=message):
            qk.quantize_file(model, tmp_path / "out.gguf", "Q4_0", device=device)
    assert files(tmp_path) == {model.name}


def test_verify_compares_with_the_device(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives the same bytes; and it is really asked."""
    out = tmp_path / "out.gguf"
    qk.quantize_file(model, out, "Q4_0")
    assert qk.verify_file(out, model, device="cuda").is_equal
    monkeypatch.setenv("QKC_HOST_MEMORY", "500")
    with pytest.raises(qk.BackendError, match="cudaErrorMemoryAllocation"):
        qk.verify_file(out, model, device="cuda")


@pytest.fixture
def calibration(tmp_path: Path) -> qk.Calibration:
    text = lettered_text(tmp_path / "text.txt", 2000)
    return qk.Calibration([text], 64, options=qk.TextOptions(ctx=16))


def test_calibrated_rounding(
    model: Path,
    calibration: qk.Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The device runs the model; the record says so, and only it gives them again."""
    card = StrictCard()
    monkeypatch.setattr("quantkit._device.cupy_card.cupy_card", lambda number: card)
    out = tmp_path / "out.gguf"
    how: dict[str, Any] = {"calibration": calibration, "device": "cuda"}
    found = qk.quantize_file(model, out, "Q4_0", provenance=True, **how)
    gains = {each.name: each.gain for each in found.tensors if each.gain is not None}
    assert "blk.0.attn_q.weight" in gains
    assert card.products
    texts: dict[str, Any] = {"calibration_texts": calibration.texts}
    assert qk.verify_file(out, model, device="cuda", **texts).is_equal
    with pytest.raises(
        qk.OptionError, match=r"pass of 'device of the host, NumPy', and this"
    ):
        qk.verify_file(out, model, **texts)


def test_rows_are_solved_on_the_device(
    model: Path,
    calibration: qk.Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the bytes that the processor makes of them."""
    monkeypatch.setattr("quantkit._device.cupy_card.cupy_card", lambda _: StrictCard())
    how: dict[str, Any] = {"calibration": calibration, "device": "cuda"}
    small_model(model, 1)
    before, rows = free_bytes(), list[int]()
    qk.quantize_file(model, tmp_path / "device.gguf", "Q4_0", **how)
    assert free_bytes() == before

    def by_processor(plan: Plan, x: np.ndarray, device: int) -> Any:
        assert device == 0
        rows.append(len(x))
        return solve_rows(plan, x)

    monkeypatch.setattr("quantkit.calibrating.solving.solve_host_rows", by_processor)
    qk.quantize_file(model, tmp_path / "processor.gguf", "Q4_0", **how)
    made = [tmp_path / f"{name}.gguf" for name in ("device", "processor")]
    assert made[0].read_bytes() == made[1].read_bytes()
    assert sum(rows) > 112


def test_calibrated_rounding_needs_cupy(
    model: Path,
    calibration: qk.Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is read."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    out = tmp_path / "out.gguf"
    before = files(tmp_path)
    with pytest.raises(qk.BackendError, match=r"needs CuPy: pip install"):
        qk.quantize_file(model, out, "Q4_0", device="cuda", calibration=calibration)
    assert files(tmp_path) == before


def said(*arguments: object) -> tuple[int, str]:
    """The exit code of the command, and its words as one line."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    text = str(done.exception) if done.exit_code == 1 else done.output
    return done.exit_code, " ".join(text.replace("│", " ").split())


def test_the_command_takes_a_device(model: Path, tmp_path: Path) -> None:
    """For one file and for several."""
    out = tmp_path / "out.gguf"
    assert said("quantize", model, out, "Q4_0", "--device", "cuda", "-q")[0] == 0
    many = tmp_path / "{name}-{type}.gguf"
    options = ("--device", "CUDA:0", "-q", "-o", many)
    assert said("quantize", model, "--types", "Q4_0", *options)[0] == 0
    made = tmp_path / "model-Q4_0.gguf"
    assert made.read_bytes() == out.read_bytes()
    source = ("--source", model, "--device", "cuda", "-q")
    assert said("verify", out, *source)[0] == 0


def test_the_command_names_its_options(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong usage is exit code 2; what is missing here is 1."""
    out = tmp_path / "out.gguf"
    code, text = said("quantize", model, out, "Q4_0", "--device", "gpu")
    assert code == 2
    assert 'expected "cpu", "cuda" or "cuda:1"' in text
    code, text = said("convert", DEMO_MODEL, "-o", out, "--device", "cuda")
    assert code == 1
    assert "--device has no effect with auto" in text
    monkeypatch.setenv(_device.LIBRARY_VARIABLE, str(tmp_path / "none"))
    code, text = said("quantize", model, out, "Q4_0", "--device", "cuda")
    assert code == 1
    assert "which is no file" in text
    assert not out.exists()
