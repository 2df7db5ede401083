"""Find the files of a checkpoint's weights, and read their tensors.

Source: transformers 5 (modeling_utils.py).  It reads the file that config.json names as
`transformers_weights`, else model.safetensors, else the shards that
model.safetensors.index.json lists.  Here, folders that lack all of them are read, too.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, FormatError
from ..files.json_file import read_json
from ..settings import NULL, TEXT, checked, either, shown, table_of
from .shard import read_shard
from .stored import CheckpointTensor

__all__ = ["read_parts", "read_weights"]

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth")
LONGEST_NAME = 255
"""Bytes of the longest name that file systems support."""

_log = logging.getLogger(__name__)


def read_parts(folder: Path, parts: Sequence[str]) -> list[CheckpointTensor]:
    """The tensors of folders inside a checkpoint that have a model.safetensors.

    Raises:
        FormatError: a file is damaged.
    """
    return [
        replace(tensor, name=f"{part}/{tensor.name}")
        for part in parts
        if (folder / part / WHOLE).is_file()
        for tensor in sorted(read_shard(folder / part / WHOLE), key=lambda t: t.name)
    ]


def read_weights(
    folder: Path, config: Mapping[str, Any]
) -> tuple[tuple[Path, ...], dict[str, CheckpointTensor]]:
    """The files and their tensors, checked against the index if it decides.

    Raises:
        CheckpointError: a file or tensor is missing or duplicated.
        FormatError: a file is damaged.
    """
    key = f"{folder / 'config.json'}: transformers_weights"
    named = checked(config.get("transformers_weights"), either(NULL, TEXT), key)
    if named and not (_is_name(named) and (folder / named).is_file()):
        raise CheckpointError(f"{key} is {shown(named)}; there is no such file")
    file = named or (WHOLE if (folder / WHOLE).exists() else INDEX)
    index = read_json(folder / file) if file.endswith(".json") else None
    if file == WHOLE:
        _warn_of_index(folder)
    if index is not None:
        weight_map = _weight_map(folder / file, index)
        paths, shard_of, tensors = _read(folder, set(weight_map.values()))
        _compare_with_index(file, weight_map, shard_of)
        return paths, tensors
    paths, _, tensors = _read(folder, _find_shards(folder) if file == INDEX else {file})
    return paths, tensors


def _is_name(name: str) -> bool:
    """Whether a path is a file's name, so that it stays in its folder."""
    is_short = len(name.encode("utf-8", "surrogatepass")) <= LONGEST_NAME
    return is_short and Path(name).name == name and name != ".."


def _warn_of_index(folder: Path) -> None:
    """Say that model.safetensors is read, if an index lists other files."""
    try:
        index = read_json(folder / INDEX)
        shards = set() if index is None else set(index["weight_map"].values())
    except (FormatError, AttributeError, KeyError, TypeError):
        shards = {"other files"}
    if shards - {WHOLE}:
        _log.warning(
            "%s has both %s and %s, which lists %s; %s is read, as transformers does; "
            "remove the one that is not part of the model",
            *(folder, WHOLE, INDEX, shown(min(map(str, shards - {WHOLE}))), WHOLE),
        )


def _read(
    folder: Path, names: set[str]
) -> tuple[tuple[Path, ...], dict[str, str], dict[str, CheckpointTensor]]:
    """The files, the file's name of each tensor, and the tensors."""
    paths = tuple(folder / name for name in sorted(names))
    tensors: dict[str, CheckpointTensor] = {}
    shard_of: dict[str, str] = {}
    for path in paths:
        for tensor in read_shard(path):
            if tensor.name in tensors:
                raise CheckpointError(
                    f"tensor {tensor.name!r} is in both {shard_of[tensor.name]} and "
                    f"{path.name}; remove the file that is not part of the model, or, "
                    "if they are pieces for several devices, as of Grok 2's experts, "
                    "join the pieces: quantkit reads whole tensors"
                )
            tensors[tensor.name] = tensor
            shard_of[tensor.name] = path.name
    return paths, shard_of, tensors


def _weight_map(path: Path, index: dict[str, Any]) -> dict[str, str]:
    """Tensor name -> shard, by an index whose shards are all in its folder."""
    kind = table_of(TEXT)
    weight_map: dict[str, str]
    weight_map = checked(index.get("weight_map"), kind, f"{path}: weight_map")
    if not weight_map:
        raise FormatError(f"{path} has an empty weight_map; download it again")
    for shard, n_tensors in Counter(weight_map.values()).items():
        if not _is_name(shard):
            raise FormatError(
                f"{path} names the shard {shown(shard)}; expected a file in its own "
                "folder"
            )
        if not (path.parent / shard).exists():
            raise CheckpointError(
                f"{shard!r} is missing: {path.name} lists {n_tensors} tensors in it; "
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
        if missing := _missing_beside(name, shards):
            raise CheckpointError(f"{missing} is missing beside {name}; download it")
    return shards


def _missing_beside(name: str, shards: set[str]) -> str | None:
    """The first shard that a name such as "model-00001-of-00003.safetensors" implies
    and that is not among `shards`; None if all are."""
    match = re.fullmatch(r"(.*-)\d+(-of-([0-9]+)\.safetensors)", name)
    if match is None:
        return None
    head, tail, total = match.groups()
    for number in count(1):  # ends at the first of them that is missing
        if number > int(total):
            break
        wanted = f"{head}{number:0{len(total)}}{tail}"
        if wanted not in shards:
            return wanted
    return None


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


def _compare_with_index(
    index: str, weight_map: dict[str, str], shard_of: dict[str, str]
) -> None:
    for name, shard in weight_map.items():
        if shard_of.get(name) != shard:
            where = shard_of.get(name)
            raise CheckpointError(
                f"{index} lists tensor {name!r} in {shard}, "
                + (f"but it is in {where}" if where else "but no shard has it")
                + "; the index and the shards are from different downloads"
            )
    for name, shard in shard_of.items():
        if name not in weight_map:
            raise CheckpointError(
                f"{shard} has tensor {name!r}, which {index} does not list; "
                "the index and the shards are from different downloads"
            )
