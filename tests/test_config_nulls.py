"""A null in config.json is no value, or an error of quantkit's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import CheckpointError, QuantkitError

from .families.cases import CASES, Case
from .families.sampling import one_in_four
from .families.stored import checkpoint, source_of

BY_NAME = {case.name: case for case in CASES}


def changed(folder: Path, *place: str, remove: bool = False) -> None:
    """Set a value in a folder's config.json to null, or remove it."""
    path = folder / "config.json"
    config = inner = json.loads(path.read_text())
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = None
    if remove:
        del inner[place[-1]]
    path.write_text(json.dumps(config))


def made_of(folder: Path) -> dict[str, Any]:
    """The metadata of a folder, and the rows of its tensors."""
    source = source_of(folder)
    made: dict[str, Any] = {k: str(v) for k, v in source.model_fields.items()}
    for name, tensor in source.tensors.items():
        made[name] = (tensor.shape, tensor.read(0, tensor.n_rows).tobytes())
    return made


@pytest.mark.parametrize(
    ("case", "place"),
    [
        ("dflash2", ("has_embed_tokens",)),
        ("dflash2", ("rope_is_neox_style",)),
        ("plamo3-yarn", ("rope_scaling_factor",)),
        ("rwkv6-qwen2", ("lora_rank_tokenshift",)),
        ("rwkv6-qwen2", ("lora_rank_decay",)),
        ("bamba", ("rope_parameters", "partial_rotary_factor")),
        ("laguna", ("rope_parameters", "full_attention", "partial_rotary_factor")),
    ],
)
def test_null_is_no_value(case: str, place: tuple[str, ...], tmp_path: Path) -> None:
    """What is written is the same as without the key."""
    folders = [checkpoint(BY_NAME[case], tmp_path / name) for name in ("null", "none")]
    changed(folders[0], *place)
    changed(folders[1], *place, remove=True)
    with_null, without = map(made_of, folders)
    assert with_null == without


def test_null_where_a_value_is_needed(tmp_path: Path) -> None:
    """Each is named, if what it would be computed from is null, too."""
    folder = checkpoint(BY_NAME["hrm-text"], tmp_path)
    changed(folder, "embedding_scale")
    changed(folder, "initializer_range")
    with pytest.raises(CheckpointError, match="lacks 'initializer_range'"):
        made_of(folder)


def test_tensors_of_no_layer_are_refused(tmp_path: Path) -> None:
    """Those of an n-gram embedding, if the config does not say where it is."""
    folder = checkpoint(BY_NAME["qwen4exp"], tmp_path)
    changed(folder, "ple_layer_ids")
    with pytest.raises(CheckpointError, match="but ple_layer_ids"):
        made_of(folder)


def places(config: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The keys of a config, and those of the objects in it."""
    for key, value in config.items():
        yield (key,)
        yield from ((key, inner) for inner in value) if isinstance(value, dict) else ()


@pytest.mark.parametrize("case", one_in_four(CASES))
def test_null_in_any_place(case: Case, tmp_path: Path) -> None:
    """No other error than quantkit's."""
    folder = checkpoint(case, tmp_path)
    path = folder / "config.json"
    if not path.is_file():
        pytest.skip("this model has no config.json")
    config = path.read_text()
    for place in places(json.loads(config)):
        changed(folder, *place)
        with suppress(QuantkitError):
            source = source_of(folder)
            assert source.model_fields
            assert source.tensors
        path.write_text(config)
