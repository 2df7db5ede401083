"""The fixtures of vision encoders, and their checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from ..families import stored
from ..families.checkpoints import weights, write_checkpoint
from .cases import ProjectorCase

__all__ = [
    "OUTTYPES",
    "checkpoint",
    "checkpoint_of",
    "fixture",
    "shortened",
    "store",
]

FIXTURES = Path(__file__).parent.parent / "fixtures" / "projectors"
LATER = re.compile(r"blk\.[1-9]")
HASHED = "all others"
OUTTYPES = ("f32", "f16", "q8_0")


def fixture(case: ProjectorCase) -> dict[str, Any]:
    """What transformers and llama.cpp's converter write for a case."""
    return described(case) | stored.load(FIXTURES / f"{case.name}.json")


def store(case: ProjectorCase, made: dict[str, Any]) -> None:
    """Write the fixture of a case."""
    FIXTURES.mkdir(parents=True, exist_ok=True)
    own = {key: what for key, what in made.items() if key not in described(case)}
    stored.store(FIXTURES / f"{case.name}.json", own)


def described(case: ProjectorCase) -> dict[str, Any]:
    """What a case itself says, if no class of transformers makes its checkpoint."""
    if case.hf_class is not None:
        return {}
    shapes = {name: list(shape) for name, shape in case.shapes.items()}
    return {"config": case.config, "shapes": shapes}


def shortened(
    case: ProjectorCase, outtype: str, tensors: Mapping[str, Any]
) -> dict[str, Any]:
    """The described tensors of a file, in brief fixtures with one hash for many.

    That is for all layers but the first one, and for all tensors of 16 and 8 bits.
    """
    kept = {
        case.corrected_name(name): what
        for name, what in tensors.items()
        if not any(part in name for part in case.nearest)
    }
    if not case.is_brief:
        return kept
    hashed = {
        name: what
        for name, what in kept.items()
        if outtype != "f32" or LATER.search(name)
    }
    text = json.dumps(list(hashed.items()))
    shown = {name: what for name, what in kept.items() if name not in hashed}
    return {**shown, HASHED: hashlib.sha256(text.encode()).hexdigest()[:16]}


def checkpoint(case: ProjectorCase, folder: Path) -> Path:
    """The checkpoint of a case."""
    known = fixture(case)
    return checkpoint_of(case, known["config"], known["shapes"], folder)


def checkpoint_of(
    case: ProjectorCase,
    config: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    folder: Path,
) -> Path:
    """A checkpoint with the settings of an image processor."""
    arrays = case.rename(weights(shapes))
    path = write_checkpoint(
        *(folder / "model", config),
        {name: array for name, array in arrays.items() if "/" not in name},
        files=case.files,
        config_at=case.config_at,
    )
    for part in {name.partition("/")[0] for name in arrays if "/" in name}:
        start = f"{part}/"
        own = {n[len(start) :]: a for n, a in arrays.items() if n.startswith(start)}
        save_file(own, path / part / "model.safetensors")
    files = {
        "preprocessor_config.json": case.images,
        "tokenizer_config.json": case.tokenizer,
    }
    for name, content in files.items():
        (path / name).write_text(json.dumps(content))
    return path
