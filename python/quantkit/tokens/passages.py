"""Cut a text into passages, of which a model makes embeddings.

Each document is tokenized by itself, and cut into passages of at most `ctx` tokens,
from its start on; the last one may be shorter.  A passage has the tokens that the
vocabulary adds to a text, such as [CLS] and [SEP], which count.  So passages follow one
another without overlap, and none has tokens of two documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import OptionError, QuantkitError
from ..gguf.source import ModelSource
from .context import context_of
from .options import DEFAULT, TextOptions
from .texts import Tokens, documents_of
from .tokenizer import Tokenizer

__all__ = ["cut_passages"]

LEAST = 2
"""The least number of passages: of one, no neighbour can change."""


def cut_passages(
    source: ModelSource, text: str | Path, options: TextOptions = DEFAULT
) -> tuple[Tokens, ...]:
    """The passages of a text, each as the tokens that the model reads: int32 [n].

    Args:
        source: the model.
        text: the text itself, or the Path of a UTF-8 file; see `texts`.
        options: `ctx` is the maximum length of a passage, unless the model was trained
            on shorter texts; `chunks` the maximum number of passages.

    Raises:
        FormatError: the file cannot be read as a text.
        OptionError: the options have a stride or are for conversations.
        QuantkitError: the text has less than two passages.
    """
    if options.stride is not None:
        raise OptionError("`stride` is for perplexity; passages have no overlap")
    if options.chat:
        raise OptionError("`chat=True` is for perplexity; embeddings are of texts")
    found = tuple(islice(_passages(source, text, options.ctx), options.chunks))
    if len(found) < LEAST:
        which = text if isinstance(text, Path) else "the text"
        hint = "; to read a file, pass a pathlib.Path" if isinstance(text, str) else ""
        raise QuantkitError(
            f"{which} has {len(found)} passages of {options.ctx} tokens; embeddings "
            f"are compared on at least {LEAST}: use a longer text, shorter passages "
            f"(`ctx`), or more of them (`chunks`){hint}"
        )
    return found


def _passages(source: ModelSource, text: str | Path, ctx: int) -> Iterator[Tokens]:
    tokenizer = Tokenizer.from_metadata(source.metadata)
    is_first = tokenizer.add_bos and tokenizer.bos_id is not None
    is_last = tokenizer.add_eos and tokenizer.eos_id is not None
    first = [tokenizer.bos_id] if is_first else []
    last = [tokenizer.eos_id] if is_last else []
    n_own = min(ctx, context_of(source) or ctx) - len(first) - len(last)
    if n_own < 1:
        raise OptionError(
            f"`ctx` is {ctx}; a passage needs a token beside the {len(first + last)} "
            "that the vocabulary adds"
        )
    for document in documents_of(text):
        ids: list[int] = []
        for piece in tokenizer.pieces(document, add_special=False):
            ids += piece
            while len(ids) >= n_own:
                yield np.array([*first, *ids[:n_own], *last], np.int32)
                del ids[:n_own]
        if ids:
            yield np.array([*first, *ids, *last], np.int32)
