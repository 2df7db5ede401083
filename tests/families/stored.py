"""The fixtures of the cases, their checkpoints, and quantkit's logits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantkit.inference.weights import load_encoder, load_model, load_weights
from quantkit.models import gives_embeddings
from quantkit.sources.checking import architecture
from quantkit.sources.checkpoint import CheckpointSource

from .case import Case, without
from .checkpoints import target_of, weights, write_checkpoint

__all__ = [
    "FIXTURES",
    "checkpoint",
    "fixture",
    "known_logits",
    "known_rows",
    "load",
    "logits_of",
    "source_of",
    "store",
    "text_of",
]

FIXTURES = Path(__file__).parent.parent / "fixtures" / "families"
TABLES = ("config", "shapes", "metadata")
LAYER = re.compile(r"\.layers\.(\d+)\.")


def fixture(case: Case) -> dict[str, Any]:
    """What transformers and llama.cpp's converter write for a case."""
    return load(FIXTURES / f"{case.name}.json")


def load(path: Path) -> dict[str, Any]:
    """The fixture that `store` wrote."""
    known = json.loads(path.read_text())
    kinds = [key for key in known if key.startswith("tensors.")]
    tensors = {key.removeprefix("tensors."): known.pop(key) for key in kinds}
    return {**known, "tensors": tensors} if kinds else known


def store(path: Path, fixture: dict[str, Any]) -> None:
    """Write a fixture, one entry of its tables in a line."""
    tables = {
        **{key: fixture[key] for key in TABLES if key in fixture},
        **{f"tensors.{kind}": each for kind, each in fixture["tensors"].items()},
    }
    blocks = []
    for table, entries in tables.items():
        lines = [f"{json.dumps(key)}: {json.dumps(v)}" for key, v in entries.items()]
        inside = ",\n".join(lines)
        blocks.append(f"{json.dumps(table)}: {{\n{inside}\n}}")
    whole = ",\n".join(blocks)
    path.write_text(f"{{\n{whole}\n}}\n")


def text_of(config: Any) -> Any:
    """The text model's part of a config, which may be the whole."""
    config = config.get("thinker_config", config)
    config = config.get("transformer_layer_config", config)
    return config.get("text_config", config)


def known_rows(case: Case, n: int) -> slice:
    """The positions whose logits a fixture has: every fourth of n, and the last.

    Of encoders, it has the hidden states of all positions, which are pooled.
    """
    return slice((n - 1) % 4, None, 4) if case.predicts_text else slice(None)


def known_logits(case: Case) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The tokens of a case, and the logits of transformers at `known_rows`."""
    with np.load(FIXTURES / f"{case.name}.npz") as known:
        return known["tokens"], known["logits"]


def checkpoint(case: Case, folder: Path, n_layers: int | None = None) -> Path:
    """The checkpoint of a case; `n_layers` repeats its last layer."""
    known = fixture(case)
    config, shapes = known["config"], known["shapes"]
    if n_layers is not None:
        config = without("layer_types")({**config, "num_hidden_layers": n_layers})
        shapes = _deepened(shapes, n_layers)
    arrays = case.rename(case.prepare(weights(shapes)))
    how = case.stored_as, case.files, case.config_at
    return write_checkpoint(folder / "model", config, arrays, *how)


def source_of(folder: Path, outtype: str = "f32") -> CheckpointSource:
    """The source of a case's checkpoint."""
    return CheckpointSource(folder, outtype, target_model=target_of(folder))


def _deepened(shapes: dict[str, Any], n_layers: int) -> dict[str, Any]:
    """The shapes of a model with more layers, copies of the last one."""
    numbers = [int(match[1]) for name in shapes if (match := LAYER.search(name))]
    last = f".layers.{max(numbers)}."
    more = range(max(numbers) + 1, n_layers)
    return shapes | {
        name.replace(last, f".layers.{number}."): shape
        for number in more
        for name, shape in shapes.items()
        if last in name
    }


def logits_of(folder: Path, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """The logits [n, vocabulary] of a checkpoint without a tokenizer, in f32.

    Of an encoder, the hidden states [n, width].
    """
    source = CheckpointSource(folder, "f32")
    parts = SimpleNamespace(metadata=source.model_fields, tensors=source.tensors)
    weights = load_weights(parts)
    if gives_embeddings(architecture(parts.metadata), parts.metadata):
        return load_encoder(parts, weights).hidden(tokens)
    model = load_model(parts, weights)
    return model.head.apply(model.hidden(tokens))
