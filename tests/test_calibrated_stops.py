"""Calibrated files whose runs are killed or stopped, or whose folder has no space."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import quantkit as qk
from quantkit.calibrating import store
from quantkit.errors import OutputError
from quantkit.tasks.quantize import quantize_file
from quantkit.tokens.options import TextOptions

from .families.lettered import lettered_text
from .small_model import small_model

OPTIONS = TextOptions(ctx=16)
posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
not_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere"
)

KILLED = """
import os, signal, sys
from pathlib import Path
from quantkit.calibrating import parts
from quantkit.output.writing import GGUFWriter
from tests.test_calibrated_stops import quantized

owner, name, left = {
    "solving": (parts, "solve", [9]), "writing": (GGUFWriter, "write", [12]),
}[sys.argv[3]]
call = getattr(owner, name)

def call_or_die(*arguments, **more):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), getattr(signal, sys.argv[4]))
    return call(*arguments, **more)

setattr(owner, name, call_or_die)
signal.signal(signal.SIGINT, signal.default_int_handler)  # which jobs may ignore
try:
    quantized(Path(sys.argv[1]), Path(sys.argv[2]))
except KeyboardInterrupt as stopped:
    print(stopped)
"""


def quantized(folder: Path, out: Path, text: str | None = None, **given: Any) -> Any:
    """Quantize the model of a folder on the text beside it."""
    calibration = qk.Calibration([text or folder / "text.txt"], 64, options=OPTIONS)
    given = {"calibration": calibration, "threads": 1, **given}
    return quantize_file(folder / "model.gguf", out, "Q4_0", **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a model, a text, and the file that a run gives which is not stopped."""
    folder = tmp_path_factory.mktemp("model")
    small_model(folder / "model.gguf")
    lettered_text(folder / "text.txt", 2000)
    quantized(folder, folder / "whole.gguf")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stopped(folder: Path, out: Path, where: str, how: str) -> str:
    """What a run prints that gets a signal; other runs fail the test."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(out), where, how],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(["", *sys.path])},
        cwd=Path(__file__).parents[1],
    )
    expected = -signal.SIGKILL if how == "SIGKILL" else 0
    assert done.returncode == expected, done.stderr
    return done.stdout


@posix
@pytest.mark.parametrize(
    "where", ["solving", pytest.param("writing", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "how", ["SIGKILL", pytest.param("SIGINT", marks=pytest.mark.slow)]
)
def test_a_stopped_run_goes_on(
    where: str, how: str, folder: Path, tmp_path: Path
) -> None:
    """To the same bytes; finished layers are not solved again; nothing is left."""
    out, work = tmp_path / "out.gguf", tmp_path / ".out.gguf.calibration"
    said = stopped(folder, out, where, how)
    assert work.is_dir()
    assert not out.exists()
    if how == "SIGINT":
        assert said.startswith("repeat the command to ")
        assert said.count("delete") == 1
        assert said.endswith(f"{work}\n")
        assert (".out.gguf.journal, " in said) is (where == "writing")
    layers: list[int] = []
    notices: list[str] = []

    def see(stage: str, done: int, total: int) -> None:
        if stage == "calibrate":
            layers.append(done)

    quantized(folder, out, progress=see, notify=notices.append)
    n_done = 1 if where == "solving" else 3
    assert layers == list(range(n_done, 4))
    assert f"an earlier calibration was stopped; going on after {n_done} layers" in (
        notices
    )
    assert any("resuming at" in each for each in notices) is (where == "writing")
    assert out.read_bytes() == (folder / "whole.gguf").read_bytes()
    assert names(tmp_path) == ["out.gguf"]


@pytest.mark.parametrize(
    "changed",
    ["text", *(pytest.param(e, marks=pytest.mark.slow) for e in ("effort", "type"))],
)
def test_a_changed_run_starts_over_and_says_so(
    changed: str, folder: Path, tmp_path: Path
) -> None:
    """A text, an option or a type that is another one."""
    out = tmp_path / "out.gguf"

    def stop(stage: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="repeat the command to go on"):
        quantized(folder, out, progress=stop)
    text = (folder / "text.txt").read_text()
    changes: dict[str, dict[str, Any]] = {
        "text": {"text": text[1:]},
        "effort": {"calibration": qk.Calibration([text], 64, "best", OPTIONS)},
        "type": {"overrides": qk.Overrides(output_tensor_type=qk.QuantType.Q5_0)},
    }
    notices: list[str] = []
    quantized(folder, out, notify=notices.append, **changes[changed])
    start = "an earlier calibration was stopped; starting over because the "
    assert [each for each in notices if each.startswith(start + changed)]
    assert names(tmp_path) == ["out.gguf"]


def test_another_process_is_refused(folder: Path, tmp_path: Path) -> None:
    """While the first one calibrates; which goes on."""
    out = tmp_path / "out.gguf"
    refused: list[str] = []

    def again(stage: str, done: int, total: int) -> None:
        if stage == "calibrate" and done == 1:
            with pytest.raises(OutputError) as found:
                quantized(folder, out)
            refused.append(str(found.value))

    quantized(folder, out, progress=again)
    assert len(refused) == 1
    assert "another process" in refused[0]
    assert out.read_bytes() == (folder / "whole.gguf").read_bytes()
    assert names(tmp_path) == ["out.gguf"]


@pytest.mark.parametrize("where", ["_allocate", "replace_file"])
def test_a_full_disk_is_one_line(
    where: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For streams, which are mapped, and for results; nothing is left."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, where, full)
    with pytest.raises(
        (OutputError, OSError), match=os.strerror(errno.ENOSPC)
    ) as found:
        quantized(folder, tmp_path / "out.gguf")
    assert "\n" not in str(found.value)
    assert names(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs fallocate")
def test_the_space_of_mapped_files_is_allocated(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write to a map of a sparse file on a full disk would end the process."""
    sizes: list[int] = []
    allocate = os.posix_fallocate

    def seen(descriptor: int, start: int, n_bytes: int) -> None:
        sizes.append(n_bytes)
        allocate(descriptor, start, n_bytes)

    monkeypatch.setattr(os, "posix_fallocate", seen)
    quantized(folder, tmp_path / "out.gguf")
    assert sizes.count(4 * 16 * 4 * 256) == 2  # four chunks of 16 tokens, two slots


@posix
@not_root
def test_a_read_only_folder_is_one_line(folder: Path, tmp_path: Path) -> None:
    """Before any work."""
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="cannot write"):
            quantized(folder, tmp_path / "out.gguf")
    finally:
        tmp_path.chmod(0o755)
