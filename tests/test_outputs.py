"""Outputs: links, devices and FIFOs as targets; planted files; permissions; faults."""

from __future__ import annotations

import errno
import json
import mmap
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.collecting.collection import imatrix
from quantkit.errors import FormatError, OutputError
from quantkit.evaluate.saved import SavedScores, scores_beside
from quantkit.files.locks import alone_on, open_alone
from quantkit.files.mapped import mapped
from quantkit.files.target import beside, target_of
from quantkit.files.whole_file import refuse_unwritable, replace_file, write_whole
from quantkit.gguf import GGUFFile, GGUFWriter, TensorSpec, keys, reader
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tasks.quantize import quantize_file
from quantkit.tokens.options import TextOptions
from quantkit.types import QuantType

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")

SPEC = TensorSpec("a", (2, 4), QuantType.F32)
VALUES = np.arange(32, dtype=np.uint8)
SPLIT: dict[str, Any] = {"split_max_bytes": 10**6}


def write_gguf(path: Path) -> None:
    """Write a small GGUF file."""
    with GGUFWriter(path, {}, [SPEC]) as writer:
        writer.write("a", VALUES)


def write_text(path: Path) -> None:
    """Write a small text file."""
    write_whole(path, "text\n")


WRITERS = pytest.mark.parametrize("write", [write_gguf, write_text])
Write = Callable[[Path], None]


def names(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(os.listdir(folder))


@WRITERS
def test_a_link_is_followed_and_stays(tmp_path: Path, write: Write) -> None:
    """The file that it leads to is replaced, through a second link too."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "real.gguf").write_text("old")
    (tmp_path / "one").symlink_to("disk/real.gguf")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    write(tmp_path / "two")
    assert (tmp_path / "two").is_symlink()
    assert (tmp_path / "one").is_symlink()
    assert (disk / "real.gguf").read_bytes() != b"old"
    assert (names(disk), names(tmp_path)) == (["real.gguf"], ["disk", "one", "two"])


@posix
@WRITERS
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.symlink_to(path.name), "symbolic links form a loop"),
        (lambda path: path.symlink_to("none/file"), "there is no folder .*none"),
        (lambda path: path.symlink_to("folder"), "it is a folder"),
        (lambda path: path.mkdir(), "it is a folder"),
    ],
)
def test_no_place_for_a_file(
    tmp_path: Path, write: Write, make: Callable[[Path], None], words: str
) -> None:
    """One error that says why, before any work; nothing is left or changed."""
    (tmp_path / "folder").mkdir()
    make(tmp_path / "out")
    for refuse in (write, refuse_unwritable, target_of):
        with pytest.raises(OutputError, match=words):
            refuse(tmp_path / "out")
    assert names(tmp_path) == ["folder", "out"]
    assert names(tmp_path / "folder") == []


def test_a_dry_run_refuses_what_the_run_would(demo_f16: Path, tmp_path: Path) -> None:
    """Before it plans anything."""
    (tmp_path / "out").symlink_to("out")
    with pytest.raises(OutputError, match="form a loop"):
        quantize_file(demo_f16, tmp_path / "out", "Q4_0", dry_run=True)


@posix
@WRITERS
def test_a_folder_without_permission(tmp_path: Path, write: Write) -> None:
    """Which root ignores, so the question is answered for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)
        with pytest.raises(OutputError, match="no permission to write"):
            write(tmp_path / "out")
    assert names(tmp_path) == []


@posix
def test_text_is_written_to_a_fifo_with_a_reader(tmp_path: Path) -> None:
    """It stays a FIFO; checking it first does not end the reader."""
    fifo, got = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    reader.start()
    write = os.open(fifo, os.O_WRONLY)  # until the reader is there
    refuse_unwritable(fifo)
    write_whole(fifo, "x" * 200_000)
    os.close(write)
    reader.join()
    assert got == ["x" * 200_000]
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    assert names(tmp_path) == ["fifo"]


@posix
def test_a_fifo_without_a_reader_is_an_error(tmp_path: Path) -> None:
    """Instead of waiting for ever."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError, match="nothing reads from it"):
        write_whole(tmp_path / "fifo", "x")
    with pytest.raises(OutputError, match=r"is a FIFO \(named pipe\), not a regular"):
        write_gguf(tmp_path / "fifo")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_device_is_written_to() -> None:
    """And nothing is written beside it."""
    write_whole(Path(os.devnull), "x")
    with pytest.raises(OutputError, match="cannot write /dev/full: No space left"):
        write_whole(Path("/dev/full"), "x")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert scores_beside(Path(os.devnull)) is None
    assert beside(Path(os.devnull), ".{}.sums") is None


@posix
def test_a_device_node_is_not_replaced(tmp_path: Path) -> None:
    """Not even by root, who can remove it."""
    node = tmp_path / "null"
    try:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.stat(os.devnull).st_rdev)
        node.write_text("x")
    except OSError:
        pytest.skip("needs root, who may make device nodes")
    write_whole(node, "x")
    with pytest.raises(OutputError, match="is a device"):
        write_gguf(node)
    assert stat.S_ISCHR(node.lstat().st_mode)
    assert names(tmp_path) == ["null"]


@posix
@pytest.mark.parametrize("command", ["cat", "file"])
def test_standard_output_as_a_file(tmp_path: Path, command: str) -> None:
    """/dev/stdout is written to where the process stands, and not replaced."""
    code = (
        "from pathlib import Path; from quantkit.files.whole_file import write_whole\n"
        "print('before', flush=True); write_whole(Path('/dev/stdout'), 'text\\n')\n"
        "print('after', flush=True)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    path = tmp_path / "out"
    with path.open("ab") as file:
        out = file if command == "file" else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", code], stdout=out, env=env)
    said = path.read_bytes() if command == "file" else done.stdout
    assert (done.returncode, said) == (0, b"before\ntext\nafter\n")
    assert names(tmp_path) == ["out"]


def a_link(path: Path, victim: Path) -> None:
    """A symbolic link to another file."""
    path.symlink_to(victim)


def a_hard_link(path: Path, victim: Path) -> None:
    """Another name of another file."""
    path.hardlink_to(victim)


def a_fifo(path: Path, victim: Path) -> None:
    """A FIFO that nothing writes to."""
    os.mkfifo(path)


def a_folder(path: Path, victim: Path) -> None:
    """A folder."""
    path.mkdir()


@posix
@pytest.mark.parametrize("plant", [a_link, a_hard_link, a_fifo, a_folder])
@pytest.mark.parametrize("name", [".o.gguf.part", ".o.gguf.journal"])
def test_what_others_put_at_a_known_name_is_refused(
    demo_f16: Path,
    tmp_path: Path,
    plant: Callable[[Path, Path], None],
    name: str,
) -> None:
    """It is neither followed nor changed; the message names it."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    plant(folder / name, victim)
    with pytest.raises(OutputError, match=rf"{name} is .*remove it"):
        quantize_file(demo_f16, folder / "o.gguf", "Q4_0")
    assert victim.read_text() == "precious"
    assert names(folder) == [name]


@posix
def test_planted_scores_sums_and_locks(tmp_path: Path) -> None:
    """The same for the files of other commands."""
    victim = tmp_path / "victim"
    victim.touch()
    for name in ("r.json.scores", ".i.gguf.lock"):
        (tmp_path / name).symlink_to(victim)
    scores = scores_beside(tmp_path / "r.json")
    assert scores is not None
    with pytest.raises(OutputError, match="a symbolic link"):
        SavedScores(scores)
    with (
        pytest.raises(OutputError, match="a symbolic link"),
        alone_on(tmp_path / "i.gguf"),
    ):
        pass
    (tmp_path / ".i.gguf.sums").symlink_to(victim)
    replace_file(tmp_path / ".i.gguf.sums", b"sums")
    assert not (tmp_path / ".i.gguf.sums").is_symlink()
    assert victim.read_bytes() == b""


@posix
def test_a_file_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could change it while it is written; the folder's owner may do so anyway."""
    path = tmp_path / "part"
    path.touch()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    held = open_alone(path)  # the folder's owner is the file's
    assert held is not None
    held.close()
    found = path.lstat()
    other = os.stat_result((*found[:4], own + 2, *found[5:]))
    monkeypatch.setattr(Path, "lstat", lambda self: other)
    with pytest.raises(OutputError, match="the file of another user"):
        open_alone(path)


@posix
@WRITERS
@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_permissions(tmp_path: Path, write: Write, umask: int) -> None:
    """Of a new file by the umask, else those of the file that is replaced."""
    before = os.umask(umask)
    try:
        write(tmp_path / "new")
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o640)
        write(tmp_path / "old")
        (tmp_path / "read-only").touch()
        (tmp_path / "read-only").chmod(0o444)
        write(tmp_path / "read-only")
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert found == {"new": 0o666 & ~umask, "old": 0o640, "read-only": 0o444}


@posix
@WRITERS
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("where", ["fsync", "rename", "fchmod", "folder"])
def test_a_fault_of_the_disk_is_one_clear_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Write,
    where: str,
    code: int,
) -> None:
    """The old file stays, unless the new one has its name; no other file is left."""
    path = tmp_path / "out"
    path.write_text("old")

    def broken(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    fsync = os.fsync

    def of_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            broken()
        fsync(descriptor)

    if where == "rename":
        monkeypatch.setattr(Path, "replace", broken)
    elif where == "folder":
        monkeypatch.setattr(os, "fsync", of_folders)
    else:
        monkeypatch.setattr(os, where, broken)
    with pytest.raises(OutputError, match=rf"cannot write .*{os.strerror(code)}"):
        write(path)
    assert names(tmp_path) == ["out"]
    assert (path.read_bytes() == b"old") is (where != "folder")


@posix
def test_folders_that_cannot_be_flushed_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no way to."""

    fsync = os.fsync

    def unable(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", unable)
    write_text(tmp_path / "out.json")
    write_gguf(tmp_path / "out.gguf")
    assert names(tmp_path) == ["out.gguf", "out.json"]


@pytest.fixture
def no_file_may_grow() -> Iterator[None]:
    """A limit of 0 bytes for every file that is written."""
    resource = pytest.importorskip("resource", reason="needs a limit on file sizes")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("no_file_may_grow")
def test_a_limit_of_no_bytes_leaves_nothing(demo_f16: Path, tmp_path: Path) -> None:
    """No journal, part, sums or scores."""
    with pytest.raises(OutputError, match="File too large"):
        quantize_file(demo_f16, tmp_path / "o.gguf", "Q4_0")
    with pytest.raises(OutputError, match="File too large"):
        write_text(tmp_path / "o.json")
    with pytest.raises(OutputError, match="File too large"):
        imatrix(
            *(DEMO_MODEL, "words " * 200),
            options=TextOptions(32, 2),
            save=tmp_path / "sums",
        ).save(tmp_path / "m.dat")
    with pytest.raises(OutputError), SavedScores(tmp_path / "s") as saved:
        saved.add("key", 1.0)
    assert names(tmp_path) == []


KILLED = """
import itertools, os, pathlib, sys
from quantkit.tasks.quantize import quantize_file
model, folder, n_moments = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
def killed_at(moment, function, seen=itertools.count()):
    def call(*arguments, **named):
        if next(seen) == moment:
            os._exit(9)
        return function(*arguments, **named)
    return call
for moment in range(n_moments):
    child = os.fork()
    if not child:
        pathlib.Path.replace = killed_at(moment, pathlib.Path.replace)
        pathlib.Path.unlink = killed_at(moment, pathlib.Path.unlink)
        os.fsync = killed_at(moment, os.fsync)
        quantize_file(model, folder / f"{moment}/m.gguf", "Q4_1", split_max_bytes=6000)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
N_MOMENTS = 12
"""Calls of fsync, unlink and rename: for 3 files, their folder and the journal."""


def write_set(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def split_set(folder: Path) -> dict[str, bytes]:
    """The files of a split model, without partial ones."""
    return {path.name: path.read_bytes() for path in folder.glob("m-*.gguf")}


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three small matrices."""
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    names = [f"blk.0.ffn_{name}.weight" for name in ("down", "gate", "up")]
    metadata = {
        "general.architecture": keys.string("llama"),
        "llama.block_count": keys.uint32(1),
    }
    values = np.random.default_rng(0).standard_normal((32, 256)).astype(np.float32)
    specs = [TensorSpec(name, values.shape, QuantType.F32) for name in names]
    with GGUFWriter(path, metadata, specs) as writer:
        for name in names:
            writer.write(name, values.view(np.uint8))
    return path


@pytest.fixture(scope="module")
def old_and_new(
    small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two split models of as many files, with the same tensors in other types."""
    folder = tmp_path_factory.mktemp("sets")
    found = []
    for recipe in ("Q4_0", "Q4_1"):
        quantize_file(small_model, folder / "m.gguf", recipe, split_max_bytes=6000)
        found.append(split_set(folder))
    old, new = found
    assert old.keys() == new.keys()
    assert len(old) == 3
    return old, new


@posix
def test_a_kill_never_mixes_two_split_models(
    small_model: Path,
    tmp_path: Path,
    old_and_new: tuple[dict[str, bytes], dict[str, bytes]],
) -> None:
    """There is the old set, the new one, or one that is refused; a new run repairs."""
    old, new = old_and_new
    folders = [tmp_path / str(moment) for moment in range(N_MOMENTS + 1)]
    for folder in folders:
        folder.mkdir()
        write_set(folder, old)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, small_model, tmp_path, str(len(folders))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.split() == [b"9"] * N_MOMENTS + [b"0"]
    states = []
    for folder in folders:
        found = split_set(folder)
        states.append("old" if found == old else "new" if found == new else "refused")
        if states[-1] == "refused":
            for name in found:
                with pytest.raises(FormatError, match=r"-00001-of-00003\.gguf is miss"):
                    GGUFFile(folder / name)
        quantize_file(small_model, folder / "m.gguf", "Q4_1", split_max_bytes=6000)
        assert split_set(folder) == new
        assert names(folder) == sorted(new)
    assert states == ["old"] * 4 + ["refused"] * 6 + ["new"] * 3


def test_a_split_model_that_is_replaced_while_it_is_opened(
    tmp_path: Path,
    old_and_new: tuple[dict[str, bytes], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reader that has opened an old file does not go on with the new ones."""
    old, new = old_and_new
    write_set(tmp_path, old)
    open_part = mapped

    def replacing(path: Path) -> mmap.mmap:
        found = open_part(path)
        if "00001" in path.name:
            for name, data in new.items():
                replace_file(tmp_path / name, data)
        return found

    monkeypatch.setattr(reader, "mapped", replacing)
    with pytest.raises(FormatError, match="changed while it was in use"):
        GGUFFile(tmp_path / min(old))
    monkeypatch.undo()
    with GGUFFile(tmp_path / min(old)) as file:
        assert {tensor.type for tensor in file.tensors.values()} == {QuantType.Q4_1}


def test_an_error_while_a_split_model_is_renamed(
    small_model: Path,
    tmp_path: Path,
    old_and_new: tuple[dict[str, bytes], dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No file of the new set is left."""
    old, _ = old_and_new
    write_set(tmp_path, old)
    replace = Path.replace

    def broken(path: Path, target: Path) -> Path:
        if "00002" in target.name:
            raise OSError(errno.EIO, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OutputError, match="Input/output error"):
        quantize_file(small_model, tmp_path / "m.gguf", "Q4_1", split_max_bytes=6000)
    assert split_set(tmp_path) == {
        name: data for name, data in old.items() if "00002" in name
    }
    assert names(tmp_path) == [name for name in sorted(old) if "00002" in name]


def test_the_scores_of_a_link_are_beside_the_file(tmp_path: Path) -> None:
    """As its part and its journal are."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "r.json").symlink_to("disk/real.json")
    assert scores_beside(tmp_path / "r.json") == tmp_path / "disk" / "real.json.scores"


def test_a_report_through_a_link(demo_f16: Path, tmp_path: Path) -> None:
    """The JSON is in the file that it leads to."""
    (tmp_path / "link").symlink_to("real.json")
    report = quantize_file(demo_f16, tmp_path / "o.gguf", "Q4_0", measure=True)
    report.write_json(tmp_path / "link")
    assert json.loads((tmp_path / "real.json").read_text()) == report.to_dict()
    assert (tmp_path / "link").is_symlink()
