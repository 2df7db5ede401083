"""The tiny model of a case as a file, with a vocabulary of letters and text for it."""

from __future__ import annotations

import random
import string as letters
from pathlib import Path

from quantkit.gguf import Field, ValueType
from quantkit.gguf.keys import array, boolean, string, uint32
from quantkit.output.writing import write_model
from quantkit.sources.checkpoint import CheckpointSource

from .cases import CASES
from .stored import checkpoint

__all__ = ["lettered_model", "lettered_text"]


def lettered_model(
    name: str, folder: Path, depth: int | None = None, pooling: int | None = None
) -> Path:
    """The model of the case called `name`, in f32, with so many layers.

    With `pooling`, its metadata says how it makes embeddings.
    """
    case = next(case for case in CASES if case.name == name)
    source = CheckpointSource(checkpoint(case, folder, depth), "f32")
    n_tokens = source.tensors["token_embd.weight"].n_rows
    types = {name: tensor.type for name, tensor in source.tensors.items()}
    metadata = {**source.model_fields, **vocabulary(n_tokens)}
    if not case.predicts_text:
        kinds = source.tensors.get("token_types.weight")
        n_kinds = 1 if kinds is None else kinds.n_rows
        metadata["tokenizer.ggml.token_type_count"] = uint32(n_kinds)
    if pooling is not None:
        arch = metadata["general.architecture"].value
        metadata[f"{arch}.pooling_type"] = uint32(pooling)
    write_model(source, types, folder / f"{name}.gguf", metadata=metadata)
    return folder / f"{name}.gguf"


def lettered_text(path: Path, n_letters: int, seed: int = 0) -> Path:
    """A file of random words, with a token for each letter."""
    rng = random.Random(seed)
    path.write_text("".join(rng.choices(letters.ascii_letters + "   ", k=n_letters)))
    return path


def vocabulary(n_tokens: int) -> dict[str, Field]:
    """A SentencePiece vocabulary of single letters."""
    known = [*"▁", *letters.ascii_letters, *letters.digits]
    n_unused = n_tokens - 3 - len(known)
    names = ["<unk>", "<s>", "</s>", *known, *(f"<{i}>" for i in range(n_unused))]
    kinds = [2, 3, 3, *[1] * len(known), *[5] * n_unused]
    return {
        "tokenizer.ggml.model": string("llama"),
        "tokenizer.ggml.pre": string("default"),
        "tokenizer.ggml.tokens": array(ValueType.STRING, names),
        "tokenizer.ggml.scores": array(ValueType.FLOAT32, [0.0] * n_tokens),
        "tokenizer.ggml.token_type": array(ValueType.INT32, kinds),
        "tokenizer.ggml.bos_token_id": uint32(1),
        "tokenizer.ggml.eos_token_id": uint32(2),
        "tokenizer.ggml.unknown_token_id": uint32(0),
        "tokenizer.ggml.add_bos_token": boolean(True),
    }
