"""Models of the Hugging Face Hub: names, the local cache, and what can go wrong."""

from __future__ import annotations

import builtins
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.errors as hub_errors
import pytest

import quantkit
from quantkit.checkpoint.folder import READ_BY_NAME, Checkpoint
from quantkit.checkpoint.hub import model_id, resolve
from quantkit.checkpoint.model_card import general_fields
from quantkit.errors import CheckpointError
from quantkit.sources.opening import open_source
from quantkit.tasks.demo import DEMO_MODEL

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(home: Path, name: str = "org/Tiny-1M", revision: str = "main") -> Path:
    """The demo model as the Hub's library has it in its cache."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    shutil.copytree(DEMO_MODEL, snapshot)
    (folder / "refs").mkdir()
    (folder / "refs" / revision).write_text(COMMIT)
    return snapshot


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failing(error: Exception) -> Callable[..., str]:
    """A download that fails, with an empty cache."""

    def snapshot_download(*args: Any, local_files_only: bool, **rest: Any) -> str:
        if local_files_only:
            raise hub_errors.LocalEntryNotFoundError("not in the cache")
        raise error

    return snapshot_download


def of_http(cls: type[Exception]) -> Exception:
    """An error of the Hub, without the answer that it comes with."""
    error = cls.__new__(cls)
    Exception.__init__(error, "401 Client Error")
    return error


@pytest.mark.parametrize("name", ["hf://org/Tiny-1M", "hf:/org/Tiny-1M", "org/Tiny-1M"])
def test_names_lead_to_the_cache(offline: Path, name: str) -> None:
    """Also where a Path took a slash away."""
    snapshot = cached(offline)
    assert resolve(name) == snapshot
    assert resolve(Path(name)) == snapshot


def test_revisions(offline: Path) -> None:
    """A branch, and a commit."""
    snapshot = cached(offline, revision="v2")
    assert resolve("hf://org/Tiny-1M@v2") == snapshot
    assert resolve(f"org/Tiny-1M@{COMMIT}") == snapshot
    with pytest.raises(CheckpointError, match="nor complete in the local cache"):
        resolve("hf://org/Tiny-1M")


def test_cached_model_is_opened_by_name(offline: Path) -> None:
    """By every function that takes a model; its name is the one on the Hub."""
    snapshot = cached(offline)
    with Checkpoint("org/Tiny-1M") as checkpoint:
        assert checkpoint.folder == snapshot
    source = open_source("hf://org/Tiny-1M")
    assert list(source.tensors) == list(open_source(DEMO_MODEL).tensors)
    fields = general_fields(snapshot, 1_000_000, "1M")
    assert fields["general.organization"].value == "Org"
    assert fields["general.basename"].value == "Tiny"


def test_environment_is_honoured(tmp_path: Path) -> None:
    """HF_HOME and HF_HUB_OFFLINE, as in transformers."""
    snapshot = cached(tmp_path)
    code = (
        "import sys; from quantkit.checkpoint.hub import resolve; "
        "print(resolve(sys.argv[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "org/Tiny-1M"],
        env={
            **{key: os.environ[key] for key in os.environ if not key.startswith("HF_")},
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(Path(quantkit.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == str(snapshot)


@pytest.mark.parametrize(
    "path",
    ["model.gguf", "org/model.gguf", "../org", "a/b/c", "/abs/x", "..", "x"],
)
def test_paths_stay_paths(path: str) -> None:
    """What does not look like a name on the Hub is left alone, existing or not."""
    assert resolve(path) == Path(path)
    assert resolve(Path(path)) == Path(path)


def test_a_dot_makes_a_path() -> None:
    """A leading "./" makes a path of what would be a Hub name."""
    assert resolve("./org/model") == Path("org/model")


def test_an_existing_path_wins(offline: Path) -> None:
    """A folder of that name is the model, unless hf:// says otherwise."""
    snapshot = cached(offline)
    (offline / "org" / "Tiny-1M").mkdir(parents=True)
    assert resolve("org/Tiny-1M") == Path("org/Tiny-1M")
    assert resolve("hf://org/Tiny-1M") == snapshot


NEEDED = (
    "README.md",
    "chat_template.jinja",
    "config.json",
    "merges.txt",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "tekken.json",
    "tokenizer.json",
    "tokenizer.model",
    "1_Dense/model.safetensors",
    "audio_tokenizer/model.safetensors",
    *(name for name in READ_BY_NAME if "/" in name),
)
SECOND_COPY = "consolidated.safetensors"
OTHERS = (
    "1_Pooling/pytorch_model.bin",
    "model.gguf",
    "onnx/config.json",
    "onnx/model.onnx",
    "original/consolidated.00.pth",
    "original/params.json",
    "pytorch_model.bin",
    "training_args.bin",
)


@pytest.mark.parametrize("has_weights", [True, False])
def test_only_what_is_needed_is_fetched(
    has_weights: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pickles, no other formats, and Mistral's copy only where it is the only one.

    The files in subfolders are those of the same commit.
    """
    from huggingface_hub.utils import filter_repo_objects

    snapshot = tmp_path / COMMIT
    snapshot.mkdir()
    if has_weights:
        (snapshot / "model.safetensors").touch()
    asked: list[str | None] = []
    fetched: set[str] = set()

    def snapshot_download(
        name: str,
        revision: str | None,
        allow_patterns: list[str],
        ignore_patterns: list[str] | None = None,
        **_: Any,
    ) -> str:
        assert name == "org/name"
        asked.append(revision)
        fetched.update(
            filter_repo_objects(
                (*NEEDED, SECOND_COPY, *OTHERS),
                allow_patterns=allow_patterns,
                ignore_patterns=ignore_patterns,
            )
        )
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    if has_weights:
        resolve("hf://org/name@dev")
        assert fetched == set(NEEDED)
    else:
        with pytest.raises(CheckpointError, match=r"has no \*\.safetensors"):
            resolve("hf://org/name@dev")
        assert fetched == {*NEEDED, SECOND_COPY}
    assert asked == ["dev", COMMIT]


def test_offline_and_not_in_the_cache(offline: Path) -> None:
    """The switch that keeps the library from the network is named."""
    message = r"org/none .*OFFLINE.* or use a local folder"
    with pytest.raises(CheckpointError, match=message):
        resolve("org/none")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ConnectionError("no route\nto host"),
            r"\(ConnectionError: no route to host\)",
        ),
        (OSError(), r"cannot be reached \(OSError: \)"),
        (
            of_http(hub_errors.GatedRepoError),
            "is gated: ask for access at https://hu",
        ),
        (of_http(hub_errors.RepositoryNotFoundError), "check the name; .* HF_TOKEN"),
        (of_http(hub_errors.RevisionNotFoundError), "no branch, tag or commit 'v9'"),
    ],
)
def test_failures_say_what_to_do(
    error: Exception, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that names the model."""
    monkeypatch.setattr(huggingface_hub, "snapshot_download", failing(error))
    with pytest.raises(CheckpointError, match=message) as raised:
        resolve("hf://org/name@v9")
    assert str(raised.value).startswith("org/name ")
    assert "\n" not in str(raised.value)


def test_connection_that_breaks_falls_back_on_the_cache(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached files are used after any network error."""
    snapshot = cached(offline)
    download = huggingface_hub.snapshot_download

    def broken(*args: Any, local_files_only: bool, **rest: Any) -> Any:
        if not local_files_only:
            raise OSError("proxy")
        return download(*args, local_files_only=True, **rest)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    assert resolve("org/Tiny-1M") == snapshot


def test_model_without_safetensors(offline: Path) -> None:
    """Only pickled weights, say: they are not fetched, and the remedy is given."""
    snapshot = cached(offline)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no \*\.safetensors on the Hub"):
        resolve("org/Tiny-1M")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    real = builtins.__import__

    def missing(name: str, *args: Any, **rest: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *args, **rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(CheckpointError, match=r'pip install "quantkit\[hub\]"'):
        resolve("hf://org/name")


def test_model_id_of_other_folders(tmp_path: Path) -> None:
    """Only folders in the cache have one."""
    assert model_id(tmp_path) is None
    assert model_id(tmp_path / "models--gpt2" / "snapshots" / COMMIT) == "gpt2"
    assert model_id(tmp_path / "models--gpt2" / "snapshots") is None
