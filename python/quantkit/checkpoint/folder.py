"""Read a Hugging Face checkpoint folder: config, shards and tensors, lazily.

Sources: the safetensors format (huggingface.co/docs/safetensors); the layout of
transformers' `save_pretrained`: config.json with model.safetensors, or with the shards
that model.safetensors.index.json lists.

The safetensors library checks each header.  It cannot read bfloat16 as NumPy arrays, so
this module maps the data itself.  Only pages that are read use memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, FormatError
from ..files.inputs import refuse_irregular
from ..files.json_file import read_json
from ..files.mapped import mapped, path_of
from ..files.open_files import OpenFiles, WatchedFiles
from ..settings import Kind, checked
from ..types import QuantType
from .hub import resolve
from .prequantized import meant_tensors
from .stored import CheckpointTensor, StoredTensor

__all__ = ["Checkpoint", "CheckpointTensor", "half_type", "read_config", "read_shard"]

INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth")
HALVES = ("F16", "BF16")
SECTION = Kind("an object or null", lambda value: isinstance(value, dict | None))
QUANTIZATION_FILES = {
    "quantize_config.json": "gptq",
    "quant_config.json": "awq",
    "hf_quant_config.json": "modelopt",
}
"""Files of quantization tools -> the method, for settings that config.json may lack."""

READ_BY_NAME = (
    INDEX,
    *QUANTIZATION_FILES,
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
"""Files besides the shards that determine the GGUF file."""

_INCOMPLETE = "the download is incomplete; download it again"


class Checkpoint:
    """A checkpoint folder, checked for completeness when it is opened.

    Args:
        folder: the path of the folder, or a Hub model, see `hub`.
        needs_config: whether to refuse a folder without config.json.
        symmetric_q4_0: convert symmetric 4-bit weights to Q4_0 without loss.

    Attributes:
        folder: the path, in the Hub's cache for a Hub model.
        files: the shards, and the config and tokenizer files; they must not change.
        config: config.json, with the keys of a nested `text_config` at the top level.
        quantization: the quantization config, empty if the weights are not quantized.
        paths: the shards, sorted.
        tensors: by name, in the order of `paths`, sorted within a shard; quantized
            tensors are replaced by their dequantized weights, see `prequantized`.
        half_type: the type of the first stored 16-bit tensor with two or more axes, or
            None.

    Raises:
        CheckpointError: a file, shard or tensor is missing or duplicated.
        FormatError: a file is damaged.
        UnsupportedModelError: quantkit does not support this quantization.
        UnsupportedTypeError: `symmetric_q4_0` would lose precision.

    Example:
        >>> with Checkpoint("SmolLM2-135M") as checkpoint:  # doctest: +SKIP
        ...     checkpoint.tensors["model.norm.weight"].shape
        (576,)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        needs_config: bool = True,
        symmetric_q4_0: bool = False,
    ) -> None:
        self.folder = resolve(folder)
        if not self.folder.is_dir():
            raise CheckpointError(
                f"{self.folder} is not a folder; expected a Hugging Face checkpoint: "
                "config.json, *.safetensors and the tokenizer's files"
            )
        watched = WatchedFiles(self.folder / name for name in READ_BY_NAME)
        config = read_config(self.folder)
        if config is None and needs_config:
            raise CheckpointError(
                f"{self.folder} has no config.json; download the complete folder"
            )
        self.config: dict[str, Any] = config or {}
        self.quantization = _quantization(self.folder, self.config)
        self.paths, stored = _read_shards(self.folder)
        self.files = OpenFiles(one_view_each(stored.values()), watched)
        self.half_type = half_type(stored.values())
        meant = meant_tensors(self.quantization, stored, symmetric_q4_0=symmetric_q4_0)
        self._tensors = {tensor.name: tensor for tensor in meant}
        self.tensors: Mapping[str, StoredTensor] = MappingProxyType(self._tensors)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the shards; a file stays mapped while arrays refer to it."""
        self._tensors.clear()
        self.files.close()


def read_config(folder: Path) -> dict[str, Any] | None:
    """config.json with the keys of a nested `text_config` at the top level, or None.

    Raises:
        FormatError: the file is damaged.
    """
    path = folder / "config.json"
    config = read_json(path)
    if config is None:
        return None
    inner = checked(config.get("text_config"), SECTION, f"{path}: text_config")
    return {**config, **(inner or {})}


def half_type(tensors: Iterable[CheckpointTensor]) -> QuantType | None:
    """The type of the first 16-bit tensor with two or more axes, or None."""
    halves = (t.type for t in tensors if len(t.shape) > 1 and t.dtype in HALVES)
    return next(halves, None)


def _quantization(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The quantization config in config.json, or in the file of a quantization tool."""
    stated = config.get("quantization_config") or {}
    if not isinstance(stated, dict):
        raise FormatError(
            f"{folder / 'config.json'}: quantization_config is {stated!r}, not an "
            "object; download it again"
        )
    for file, method in QUANTIZATION_FILES.items():
        said = stated.get("quant_method")
        is_asked = said is None or said == method == "modelopt"  # tells of layers there
        own = read_json(folder / file) if is_asked else None
        if own is not None:
            stated = {"quant_method": method, **stated, **own.get("quantization", own)}
    return stated


def _read_shards(
    folder: Path,
) -> tuple[tuple[Path, ...], dict[str, CheckpointTensor]]:
    """The shards and their tensors, checked against the index if there is one."""
    index = read_json(folder / INDEX)
    weight_map = None if index is None else _weight_map(folder / INDEX, index)
    names = _find_shards(folder) if weight_map is None else set(weight_map.values())
    paths = tuple(folder / name for name in sorted(names))
    tensors: dict[str, CheckpointTensor] = {}
    shard_of: dict[str, str] = {}
    for path in paths:
        for tensor in read_shard(path):
            if tensor.name in tensors:
                raise CheckpointError(
                    f"tensor {tensor.name!r} is in both {shard_of[tensor.name]} and "
                    f"{path.name}; remove the file that is not part of the model"
                )
            tensors[tensor.name] = tensor
            shard_of[tensor.name] = path.name
    if weight_map is not None:
        _compare_with_index(weight_map, shard_of)
    return paths, tensors


def _weight_map(path: Path, index: dict[str, Any]) -> dict[str, str]:
    """Tensor name -> shard, by an index whose shards are all in its folder."""
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{path} has no 'weight_map'; download it again")
    for shard, count in Counter(weight_map.values()).items():
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise FormatError(
                f"{path} names the shard {shard!r}; expected a file in its own folder"
            )
        if not (path.parent / shard).is_file():
            raise CheckpointError(
                f"{shard} is missing: {path.name} lists {count} tensors in it; "
                "download the missing shard"
            )
    return weight_map


def _find_shards(folder: Path) -> set[str]:
    """The names of the safetensors files, if there is no index."""
    names = {path.name for path in folder.glob("*.safetensors")}
    if not names:
        _refuse_without_safetensors(folder)
    # Some folders also contain the weights in the authors' own layout.
    shards = {name for name in names if name.startswith("model")} or names
    for name in shards:
        for wanted in _companions(name):
            if wanted not in shards:
                raise CheckpointError(f"{wanted} is missing beside {name}; download it")
    return shards


def _companions(name: str) -> list[str]:
    """All shards implied by a name such as "model-00001-of-00003.safetensors"."""
    match = re.fullmatch(r"(.*-)\d+(-of-(\d+)\.safetensors)", name)
    if match is None:
        return []
    head, tail, total = match.groups()
    return [f"{head}{n:0{len(total)}}{tail}" for n in range(1, int(total) + 1)]


def _refuse_without_safetensors(folder: Path) -> None:
    pickled = sorted(path.name for end in PICKLED for path in folder.glob(end))
    if not pickled:
        raise CheckpointError(f"{folder} has no *.safetensors; download the weights")
    raise CheckpointError(
        f"{folder} has only pickled weights ({pickled[0]}), which can execute any code "
        "when opened; convert them where torch and transformers are installed: "
        'AutoModelForCausalLM.from_pretrained(FOLDER, dtype="auto")'
        ".save_pretrained(NEW_FOLDER, safe_serialization=True)"
    )


def one_view_each(tensors: Iterable[CheckpointTensor]) -> list[NDArray[np.uint8]]:
    """A view of each mapped shard that tensors are in."""
    return list({path_of(each.data): each.data for each in tensors}.values())


def read_shard(path: Path) -> list[CheckpointTensor]:
    """The tensors of one file, sorted by name."""
    refuse_irregular(path)
    try:
        with safe_open(path, framework="numpy"):
            pass  # opening checks sizes, types and offsets against the file
    except SafetensorError as error:
        raise FormatError(
            f"{path} is not a complete safetensors file ({error}); {_INCOMPLETE}"
        ) from error
    data = np.frombuffer(mapped(path), np.uint8)
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    header.pop("__metadata__", None)
    return [
        CheckpointTensor(
            name,
            tuple(entry["shape"]),
            entry["dtype"],
            data[start:][slice(*entry["data_offsets"])],
        )
        for name, entry in sorted(header.items())
    ]


def _compare_with_index(weight_map: dict[str, str], shard_of: dict[str, str]) -> None:
    for name, shard in weight_map.items():
        if shard_of.get(name) != shard:
            where = shard_of.get(name)
            raise CheckpointError(
                f"{INDEX} lists tensor {name!r} in {shard}, "
                + (f"but it is in {where}" if where else "but no shard has it")
                + "; the index and the shards are from different downloads"
            )
    for name, shard in shard_of.items():
        if name not in weight_map:
            raise CheckpointError(
                f"{shard} has tensor {name!r}, which {INDEX} does not list; "
                "the index and the shards are from different downloads"
            )
