"""Inputs that change while they are read, or that are no regular files."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit._native import Guard
from quantkit.errors import FormatError, QuantkitError
from quantkit.files import inputs
from quantkit.files.inputs import open_regular, read_regular, read_stream, stream_lines
from quantkit.files.mapped import mapped, refuse_changed
from quantkit.gguf import GGUFFile
from quantkit.importance.reading import read_contents
from quantkit.inference.model import Model
from quantkit.recipes.files import read_recipe
from quantkit.tasks.convert import convert
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.quantize import quantize_file
from quantkit.tasks.verify import verify_file
from quantkit.tokens.options import TextOptions
from quantkit.tokens.texts import encode

from .test_verify import write_imatrix

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")

TEXT = "All happy families are alike. " * 200
SMALL = TextOptions(32, 4)
CHANGED = "changed while it was"


@pytest.fixture
def model(demo_f16: Path, tmp_path: Path) -> Path:
    """A model that a test may change."""
    return Path(shutil.copy(demo_f16, tmp_path / "model.gguf"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that a test may change."""
    return Path(shutil.copytree(DEMO_MODEL, tmp_path / "checkpoint"))


def cut(path: Path) -> None:
    """Truncate a file to its first page."""
    os.truncate(path, 4096)


def overwrite(path: Path) -> None:
    """Replace the second half of a file by zeros, in place."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(size // 2))


def overwrite_by_nan(path: Path) -> None:
    """Replace the second half of a file by NaN in every type of numbers."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size - size // 2))


def overwrite_secretly(path: Path) -> None:
    """The same, and set the time of the change back."""
    before = path.stat()
    overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = pytest.mark.parametrize(
    "change", [cut, overwrite, overwrite_secretly, overwrite_by_nan]
)
Change = Callable[[Path], None]


def once(change: Change, path: Path, after: int = 2) -> Callable[..., None]:
    """Progress that changes a file after some calls."""
    n_calls = 0

    def progress(*_: object) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == after:
            change(path)

    return progress


# Changes of inputs


@posix
@CHANGES
@pytest.mark.parametrize("threads", [1, 3])
def test_a_model_changed_while_it_is_quantized(
    model: Path, tmp_path: Path, change: Change, threads: int
) -> None:
    """An error that names the file; nothing is written or left."""
    out = tmp_path / "out"
    out.mkdir()
    progress = once(change, model)
    with pytest.raises(FormatError, match=rf"model\.gguf {CHANGED} read"):
        quantize_file(model, out / "o.gguf", "Q4_0", threads=threads, progress=progress)
    assert list(out.iterdir()) == []


@posix
@CHANGES
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.model"])
@pytest.mark.parametrize("task", ["convert", "quantize"])
def test_a_checkpoint_changed_while_it_is_read(
    folder: Path, tmp_path: Path, change: Change, name: str, task: str
) -> None:
    """Its weights and its small files."""
    progress = once(change, folder / name)
    makers: dict[str, Callable[..., object]] = {
        "convert": partial(convert, outtype="f16"),
        "quantize": partial(quantize_file, recipe="Q8_0"),
    }
    make = makers[task]
    with pytest.raises(FormatError, match=f"{name} {CHANGED}"):
        make(folder, out=tmp_path / "o.gguf", threads=1, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_config_that_is_replaced_or_removed(folder: Path, tmp_path: Path) -> None:
    """It is read by name, so another file of this name counts as a change."""

    def replaced(path: Path) -> None:
        shutil.copy(path, tmp_path / "other")
        (tmp_path / "other").replace(path)

    for change in (replaced, Path.unlink):
        progress = once(change, folder / "config.json")
        with pytest.raises(FormatError, match=rf"config\.json {CHANGED} in use"):
            convert(folder, tmp_path / "o.gguf", "f16", progress=progress)


def test_an_importance_matrix_changed_while_it_is_used(
    demo_f16: Path, tmp_path: Path
) -> None:
    """The hash and the name of the file would be of another one."""
    imatrix = write_imatrix(demo_f16, tmp_path / "i.gguf")
    progress = once(overwrite, imatrix)
    with pytest.raises(FormatError, match=rf"i\.gguf {CHANGED}"):
        quantize_file(
            demo_f16, tmp_path / "o", "Q4_K_M", importance=imatrix, progress=progress
        )
    assert [path.name for path in tmp_path.iterdir()] == ["i.gguf"]


def test_a_model_that_is_replaced_is_read_on(
    demo_f16: Path, model: Path, tmp_path: Path
) -> None:
    """The result is of the file that was opened; also if it is linked or moved."""

    def replaced(path: Path) -> None:
        (tmp_path / "other").write_bytes(bytes(10_000))
        (tmp_path / "other").replace(path)

    def linked(path: Path) -> None:
        (tmp_path / "link").hardlink_to(path)

    def moved(path: Path) -> None:
        path.rename(tmp_path / "moved")

    quantize_file(demo_f16, tmp_path / "expected.gguf", "Q4_0")
    expected = (tmp_path / "expected.gguf").read_bytes()
    for change in (linked, replaced, Path.unlink, moved):
        shutil.copy(demo_f16, model)
        progress = once(change, model)
        quantize_file(model, tmp_path / "o.gguf", "Q4_0", progress=progress)
        assert (tmp_path / "o.gguf").read_bytes() == expected


def test_a_run_on_a_replaced_model_is_not_resumed(model: Path, tmp_path: Path) -> None:
    """What was written is of the old file, so the next run starts over."""

    def stop(*_: object) -> None:
        shutil.copy(model, tmp_path / "other")
        overwrite(tmp_path / "other")
        (tmp_path / "other").replace(model)
        raise KeyboardInterrupt

    out = tmp_path / "out.gguf"
    with pytest.raises(KeyboardInterrupt):
        quantize_file(model, out, "Q4_0", progress=stop)
    said: list[str] = []
    quantize_file(model, out, "Q4_0", notify=said.append)
    assert said == [
        "an earlier run was stopped; starting over because the model changed"
    ]
    quantize_file(model, tmp_path / "whole.gguf", "Q4_0")
    assert out.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_a_recorded_hash_is_of_the_file_that_is_read(
    model: Path, tmp_path: Path
) -> None:
    """A file that was replaced before it was hashed is refused."""

    def replaced(stage: str, done: int, total: int) -> None:
        if stage.startswith("hashing") and done == total:
            (tmp_path / "other").write_bytes(model.read_bytes())
            (tmp_path / "other").replace(model)

    with pytest.raises(FormatError, match=rf"model\.gguf {CHANGED} in use"):
        quantize_file(
            *(model, tmp_path / "o.gguf", "Q4_0"), provenance=True, progress=replaced
        )


@posix
@CHANGES
@pytest.mark.parametrize("recipe", [None, "Q8_0"])
def test_a_model_changed_while_it_is_measured(
    model: Path, tmp_path: Path, change: Change, recipe: str | None
) -> None:
    """Its pages are zeros then, instead of the end of the process."""
    progress = once(change, model)
    options: dict[str, Any] = {"options": SMALL, "threads": 1, "progress": progress}
    with pytest.raises(FormatError, match=rf"model\.gguf {CHANGED}"):
        qk.perplexity(model, TEXT, recipe=recipe, **options)


@posix
@CHANGES
def test_a_model_changed_during_a_comparison(
    model: Path, tmp_path: Path, change: Change
) -> None:
    """No scores are kept of what was computed after the change."""
    saved = tmp_path / "scores"
    options: dict[str, Any] = {"text": TEXT, "options": SMALL, "save": saved}
    changing = once(change, model)

    def measured(stage: str, done: int, total: int) -> None:
        if stage.endswith("perplexity"):
            changing(stage, done, total)

    with pytest.raises(FormatError, match=rf"model\.gguf {CHANGED}"):
        qk.compare(model, ["Q8_0"], threads=1, progress=measured, **options)
    assert len(saved.read_bytes().splitlines()) == 3  # before the change


@posix
@CHANGES
def test_a_model_changed_while_importance_is_collected(
    model: Path, tmp_path: Path, change: Change
) -> None:
    """The sums of the chunks before are kept."""
    progress = once(change, model)
    with pytest.raises(FormatError, match=rf"model\.gguf {CHANGED}"):
        qk.imatrix(model, TEXT, options=SMALL, threads=1, progress=progress)


@posix
@CHANGES
@pytest.mark.parametrize("which", ["source", "made"])
def test_a_file_changed_while_it_is_verified(
    model: Path, tmp_path: Path, change: Change, which: str
) -> None:
    """Neither equal nor different, but an error."""
    made = tmp_path / "made.gguf"
    quantize_file(model, made, "Q4_0")
    path = {"source": model, "made": made}[which]
    with pytest.raises(FormatError, match=f"{path.name} {CHANGED}"):
        verify_file(made, model, threads=1, progress=once(change, path))


@posix
@CHANGES
def test_a_model_in_memory_whose_file_changes(model: Path, change: Change) -> None:
    """Its logits are refused from then on."""
    loaded = Model.open(model)
    before = loaded.logits([1, 2, 3])
    assert np.array_equal(loaded.logits([1, 2, 3]), before)
    change(model)
    for compute in (loaded.logits, loaded.hidden):
        with pytest.raises(FormatError, match=rf"model\.gguf {CHANGED}"):
            compute([1, 2, 3])


@posix
def test_zeros_take_the_place_of_lost_pages(tmp_path: Path) -> None:
    """In every thread; what is left of the file is as it was."""
    path = tmp_path / "data"
    path.write_bytes(b"x" * 1_000_000)
    view = np.frombuffer(mapped(path), np.uint8)
    cut(path)
    sums: list[int] = []
    threads = [
        threading.Thread(target=lambda: sums.append(int(view.sum()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sums == [4096 * ord("x")] * 4
    with pytest.raises(FormatError, match=f"data {CHANGED}"):
        refuse_changed(view)


@posix
def test_a_disk_that_fails_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages may be lost although the file has not changed."""
    path = tmp_path / "data"
    path.write_bytes(b"x" * 10_000)
    view = np.frombuffer(mapped(path), np.uint8)
    refuse_changed(view)
    monkeypatch.setattr(Guard, "n_faults", 1)
    with pytest.raises(FormatError, match="data cannot be read; the disk"):
        refuse_changed(view)


FOREIGN = """
import faulthandler, mmap, os, sys
import numpy as np
if sys.argv[2] == "before": faulthandler.enable()
from quantkit.files.mapped import mapped
path = sys.argv[1]
ours = np.frombuffer(mapped(path), np.uint8)
if sys.argv[2] == "after": faulthandler.enable()
other = np.frombuffer(mapped(path), np.uint8)
with open(path, "rb") as file:
    foreign = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
os.truncate(path, 4096)
assert ours.sum() == other.sum() == 4096
print("ours", flush=True)
{}
"""


@posix
@pytest.mark.parametrize("handler", ["none", "before", "after"])
@pytest.mark.parametrize(
    "fault",
    ["foreign[5000]", "os.kill(os.getpid(), 7 if sys.platform == 'linux' else 10)"],
)
def test_faults_elsewhere_end_the_process_as_before(
    tmp_path: Path, handler: str, fault: str
) -> None:
    """With Python's report of the place, if it is asked for."""
    path = tmp_path / "data"
    path.write_bytes(b"\1" * 100_000)
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN.format(fault), path, handler],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    assert done.stdout == b"ours\n"
    assert done.returncode == -signal.SIGBUS
    assert (b"Bus error" in done.stderr) is (handler != "none")


# Inputs that are no regular files


def a_fifo(path: Path) -> None:
    """A FIFO that nothing writes to."""
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    """A socket that nothing listens at."""
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(".", os.O_RDONLY)
        os.chdir(path.parent)  # the name of a socket is short
        made.bind(path.name)
        os.fchdir(here)
        os.close(here)


def a_device(path: Path) -> None:
    """A device without an end."""
    path.symlink_to("/dev/zero")


NO_FILES = pytest.mark.parametrize("make", [a_fifo, a_socket, a_device])
READERS: dict[str, Callable[[Path], Any]] = {
    "model": GGUFFile,
    "importance": read_contents,
    "source": partial(quantize_file, out="o.gguf", recipe="Q4_0"),
    "bytes": read_regular,
    "open": open_regular,
}


@posix
@NO_FILES
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused(
    tmp_path: Path, make: Callable[[Path], None], reader: str
) -> None:
    """At once; the message says what it is."""
    path = tmp_path / "in.gguf"
    make(path)
    with pytest.raises((QuantkitError, OSError), match=r"in\.gguf"):
        READERS[reader](path)


@posix
@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.model", "index"]
)
def test_a_fifo_in_a_checkpoint_is_refused(folder: Path, name: str) -> None:
    """Of whatever kind of file."""
    if name == "index":
        name = "model.safetensors.index.json"
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(QuantkitError):
        convert(folder, folder / "o.gguf")


@posix
def test_a_part_of_a_split_model_that_is_a_fifo(demo_f16: Path, tmp_path: Path) -> None:
    """Refused when any part is opened."""
    quantize_file(demo_f16, tmp_path / "m.gguf", "Q4_0", split_max_bytes=10**6)
    first, second, *_ = sorted(tmp_path.iterdir())
    second.unlink()
    os.mkfifo(second)
    with pytest.raises(FormatError, match=r"00002-of-00003\.gguf is a FIFO"):
        GGUFFile(first)


def piped(content: bytes) -> Path:
    """The path of a pipe that a thread writes to, as a shell's `<(...)`."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb") as file:
            file.write(content)

    threading.Thread(target=write).start()
    return Path(f"/dev/fd/{reading}")


@posix
@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")
def test_texts_and_recipes_come_from_pipes(demo_f16: Path, tmp_path: Path) -> None:
    """Longer than a pipe holds, empty, and from a named one."""
    long = b"0123456789" * 100_000
    assert read_stream(piped(long)) == long
    assert read_stream(piped(b"")) == b""
    assert list(stream_lines(piped(b"a\nb"))) == [b"a\n", b"b"]
    with GGUFFile(demo_f16) as source:
        tokens = encode(source, piped(TEXT.encode()))
        assert np.array_equal(tokens, encode(source, TEXT))
    base, _ = read_recipe(piped(b'base = "Q4_0"'))
    assert base is not None
    assert base.name == "Q4_0"
    named = tmp_path / "fifo"
    os.mkfifo(named)
    threading.Thread(target=partial(named.write_bytes, long)).start()
    assert read_stream(named) == long


@posix
def test_a_pipe_without_a_writer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some seconds, which are none here."""
    monkeypatch.setattr(inputs, "WRITER_SECONDS", -1)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FormatError, match="a FIFO that nothing writes to"):
        read_stream(tmp_path / "fifo")


@posix
def test_a_device_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not read until memory is full."""
    monkeypatch.setattr(inputs, "MAX_STREAM_BYTES", 10**7)
    with pytest.raises(FormatError, match="/dev/zero has more than 10,000,000 bytes"):
        read_stream(Path("/dev/zero"))


def test_a_text_that_grows_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of one and half of another is neither."""
    path = tmp_path / "text"
    path.write_text("old")
    whole = FileIO.readall

    class Growing(FileIO):
        def readall(self) -> bytes:
            content = whole(self)
            path.write_text("old and new")
            return content

    monkeypatch.setattr(inputs, "FileIO", Growing)
    with pytest.raises(FormatError, match=f"text {CHANGED} read"):
        read_regular(path)
