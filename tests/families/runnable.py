"""GGUF files that llama.cpp runs, and its logits.

Cases have no tokenizer, so the files say that there is no vocabulary, and how many
tokens the model has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantkit.gguf.keys import string, uint32
from quantkit.output.writing import write_model
from quantkit.sources.checkpoint import CheckpointSource
from quantkit.types import QuantType

__all__ = ["llamacpp_logits", "write_runnable"]


def write_runnable(folder: Path, n_tokens: int, out: Path) -> Path:
    """The f32 file of a checkpoint without a tokenizer.

    All in f32, since llama.cpp rounds activations to the precision of weights.
    """
    source = CheckpointSource(folder, "f32")
    arch = source.model_fields["general.architecture"].value
    metadata = {
        **source.model_fields,
        f"{arch}.vocab_size": uint32(n_tokens),
        "tokenizer.ggml.model": string("no_vocab"),
    }
    types = {
        name: tensor.type if tensor.type is QuantType.I32 else QuantType.F32
        for name, tensor in source.tensors.items()
    }
    write_model(source, types, out, metadata=metadata)
    return out


def llamacpp_logits(
    folder: Path, n_tokens: int, tokens: NDArray[np.int32], out: Path
) -> NDArray[np.float32]:
    """llama.cpp's logits [n, vocabulary] of a checkpoint, all in f32.

    Needs llama-cpp-python.

    Args:
        folder: the checkpoint.
        n_tokens: the size of its vocabulary.
        tokens: a text [n].
        out: a file to write.

    Raises:
        RuntimeError: llama.cpp does not run it; the message is its own.
    """
    from .run_llamacpp import logits_of, messages, open_model

    model = open_model(write_runnable(folder, n_tokens, out))
    logits = None if model is None else logits_of(model, tokens)
    if logits is None:
        raise RuntimeError("".join(messages))
    return logits
