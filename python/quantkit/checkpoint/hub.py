"""Download models from the Hugging Face Hub: `hf://org/name[@revision]` or `org/name`.

The huggingface_hub library downloads them into the cache that it shares with
transformers (HF_HOME), and reads them from there without a connection.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ..errors import CheckpointError

__all__ = ["id_of", "model_id", "resolve"]

FILES = (
    "*.json",
    "*.safetensors",
    "*.jinja",
    "*.model",
    "*.model.v*",
    "*.tiktoken",
    "*.txt",
    "README.md",
)
"""The files of a checkpoint, including tokenizer and model card."""
LEFT_OUT = ("*/*", "consolidated*")
"""Skipped: subfolders with other formats of the model, and Mistral's second copy."""
INSIDE = (
    "[0-9]_Pooling/config.json",
    *("[0-9]_Dense/config.json", "[0-9]_Dense/model.safetensors"),
    *("audio_tokenizer/config.json", "audio_tokenizer/model.safetensors"),
    "encoder/config.json",
    "tokenizer/*.json",
)
"""The files in subfolders that belong to the model."""
ONLY_COPY = ("consolidated*.safetensors",)
"""The weights in Mistral's own format, for models without others."""

NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
REVISION = r"(?:@(?P<revision>[^@\s]+))?"
# Path() removes the second slash of hf://.
SCHEME = re.compile(rf"hf:/{{1,2}}(?P<id>{NAME}(?:/{NAME})?){REVISION}")
BARE = re.compile(rf"(?P<id>{NAME}/{NAME}){REVISION}")
FILE_ENDS = (".gguf", ".safetensors", ".json", ".bin", ".pt", ".pth")


def resolve(model: str | Path) -> Path:
    """The path of a model, downloaded first if it is on the Hub.

    Args:
        model: a path; `hf://org/name`, optionally with `@` and a branch, tag or commit;
            or `org/name` if there is no such path.

    Raises:
        CheckpointError: the model cannot be downloaded and is not in the cache.

    Example:
        >>> resolve("model.gguf")
        PosixPath('model.gguf')
        >>> resolve("hf://HuggingFaceTB/SmolLM2-135M")  # doctest: +SKIP
        PosixPath('/home/user/.cache/huggingface/hub/models--HuggingFaceTB--...')
    """
    text = Path(model).as_posix() if isinstance(model, Path) else model
    named = SCHEME.fullmatch(text)
    if named is None and not text.endswith(FILE_ENDS) and not Path(text).exists():
        named = BARE.fullmatch(text)
    if named is None:
        return Path(model)
    folder = _fetched(named["id"], named["revision"])
    if not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{named['id']} has no *.safetensors on the Hub; choose another model, or "
            "convert its pickled weights with transformers and use that folder"
        )
    return folder


def id_of(name: str) -> str | None:
    """The "org/name" in `hf://org/name@revision` or `org/name`; None: it is neither."""
    found = SCHEME.fullmatch(name) or BARE.fullmatch(name)
    return found and found["id"]


def model_id(folder: Path) -> str | None:
    """The "org/name" of a folder in the Hub's cache, or None for another folder."""
    match = re.search(r"models--([^/]+)/snapshots/[^/]+$", folder.absolute().as_posix())
    return match and match[1].replace("--", "/")


def _fetched(name: str, revision: str | None) -> Path:
    """The folder of a model in the cache, with all files that quantkit needs."""
    try:
        from huggingface_hub import errors as hub
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{name} is not a local path, and models from the Hugging Face Hub need "
            'huggingface_hub: pip install "quantkit[hub]"'
        ) from None

    def fetch(offline: bool) -> Path:
        get = partial(snapshot_download, name, local_files_only=offline)
        first = get(
            revision=revision,
            allow_patterns=list(FILES),
            ignore_patterns=list(LEFT_OUT),
        )
        folder = Path(first)  # its name is the commit's
        weights = () if any(folder.glob("*.safetensors")) else ONLY_COPY
        get(revision=folder.name, allow_patterns=[*INSIDE, *weights])
        return folder

    try:
        return fetch(offline=False)
    except hub.GatedRepoError:
        reason = (
            f"is gated: ask for access at https://huggingface.co/{name}, then run "
            "`hf auth login` or set HF_TOKEN"
        )
    except hub.RepositoryNotFoundError:
        reason = (
            "is neither a local path nor an accessible model on the Hub: check the "
            "name; for a private model run `hf auth login` or set HF_TOKEN"
        )
    except hub.RevisionNotFoundError:
        reason = f"has no branch, tag or commit {revision!r}"
    except Exception as error:  # from the HTTP library, which differs between versions
        try:
            return fetch(offline=True)
        except Exception:
            cause = error.__cause__ or error
            said = " ".join(str(cause).split())
            reason = (
                "is neither a local path nor complete in the local cache, and the Hub "
                f"cannot be reached ({type(cause).__name__}: {said}); download it with "
                "a connection, or use a local folder"
            )
    raise CheckpointError(f"{name} {reason}")
