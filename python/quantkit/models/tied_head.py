"""Output heads that are the embedding, as a config with tied ones says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..checkpoint.lazy import LazyTensor
from ..errors import CheckpointError
from ..forward.base import Config

__all__ = ["HEAD", "check_tied_head", "with_head"]

HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"
N_COMPARED = 32


def check_tied_head(stored: Mapping[str, LazyTensor]) -> None:
    """Refuse a stored head that differs from the embedding and would be left out.

    transformers uses both tensors if they differ, whatever the config says.  Only some
    rows are compared, since other weights differ in every row.

    Args:
        stored: the checkpoint's tensors by name; they may lack the head.

    Raises:
        CheckpointError: the two differ.
    """
    tensors = (
        next((t for name, t in stored.items() if name.endswith(end)), None)
        for end in (HEAD, EMBEDDING)
    )
    head, embedding = tensors
    if head is not None and embedding is not None and not _alike(head, embedding):
        raise CheckpointError(
            f"config.json: tie_word_embeddings is True, but {HEAD!r} differs from the "
            "embedding, so transformers uses both; set tie_word_embeddings to false, "
            "or remove the tensor"
        )


def _alike(head: LazyTensor, embedding: LazyTensor) -> bool:
    """Whether some rows of two matrices are the same."""
    if head.shape != embedding.shape or head.type is not embedding.type:
        return False
    rows = np.linspace(0, head.shape[0] - 1, N_COMPARED).astype(np.intp)
    return bool(np.array_equal(head.pick(rows), embedding.pick(rows)))


def with_head(
    config: Config, stored: Mapping[str, LazyTensor], outer: Mapping[str, str]
) -> Mapping[str, LazyTensor]:
    """The checkpoint's tensors, with the embedding also as the head if they are tied.

    For architectures whose readers need a head.

    Args:
        config: a complete config.
        stored: the checkpoint's tensors by name.
        outer: module -> GGUF name, outside of layers.
    """
    if not config.get("tie_word_embeddings"):
        return stored
    heads, embeddings = (
        tuple(f"{module}.weight" for module, name in outer.items() if name == wanted)
        for wanted in ("output", "token_embd")
    )
    if not heads or any(name.endswith(heads) for name in stored):
        return stored
    found = (name for name in stored if name.endswith(embeddings))
    name = next(found, None)
    return stored if name is None else {**stored, heads[0]: stored[name]}
