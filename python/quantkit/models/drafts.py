"""What the families of draft models share: keys of GGUF, and of their configs."""

from __future__ import annotations

from collections.abc import Iterator

from ..checkpoint.lazy import LazyTensor
from ..checkpoint.lazy_functions import token_numbers
from ..errors import CheckpointError
from ..forward.base import Config
from ..gguf.keys import Field, ValueType, array
from ..settings import shown
from .config_required import required

__all__ = [
    "DRAFTS",
    "DRAFT_TOKENS",
    "NUMBERS",
    "SIZE",
    "TARGET",
    "layers_field",
    "numbered",
]

TARGET = "target_model_config"
"""Where a draft model's config has that of its target."""

SIZE = "draft_vocab_size"
NUMBERS = "d2t"
"""The tensor with the target's number of each token of the draft model."""
DRAFT_TOKENS = (NUMBERS, "t2d")
DRAFTS = "they draft tokens for another model, from its hidden states"


def layers_field(layers: list[int]) -> Field:
    """The numbers of the target's layers whose outputs a draft model gets."""
    return array(ValueType.INT32, layers)


def numbered(
    config: Config, tensor: LazyTensor | None
) -> Iterator[tuple[str, LazyTensor]]:
    """The target's numbers of the draft model's tokens, if it has a smaller vocabulary.

    The checkpoint stores how far each is from the token's own number.

    Raises:
        CheckpointError: there are more or fewer than draft tokens.
    """
    n_tokens, n_drafts = required(config, "vocab_size"), config.get(SIZE)
    if tensor is None:
        return
    if tensor.shape != (n_drafts or n_tokens,):
        raise CheckpointError(
            f"{NUMBERS!r} has the shape {list(tensor.shape)}, but config.json has "
            f"{SIZE}: {shown(n_drafts)} and vocab_size: {shown(n_tokens)}; config.json "
            "does not belong to these weights"
        )
    yield NUMBERS, token_numbers(tensor, n_tokens)
