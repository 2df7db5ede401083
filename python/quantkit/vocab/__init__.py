"""A checkpoint's tokenizer files as `tokenizer.*` metadata.

Three kinds of vocabulary are written: a SentencePiece model; a tokenizer.json that
holds the merges of such a model; and a tokenizer.json with byte-level BPE.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..gguf.keys import Field, boolean, uint32
from .byte_level import byte_level_fields
from .files import TokenizerFiles
from .pieces import is_piece_merges, piece_merges_fields, sentencepiece_fields
from .special import special_fields

__all__ = ["tokenizer_fields"]

# Vocabulary sizes from which llama.cpp's converter tells whose model a llama is.
CODE_LLAMA_SIZE = 32016
CODE_LLAMA_END_OF_TURN = 32010
GRANITE_SIZE = 49152


def tokenizer_fields(
    folder: Path,
    config: Mapping[str, Any],
    arch: str,
    *,
    pre_tokenizer: str | None = None,
) -> dict[str, Field]:
    """The `tokenizer.*` metadata of a checkpoint folder, in the order llama.cpp writes.

    Args:
        folder: holds the tokenizer's files.
        config: config.json.
        arch: `general.architecture`; llama has a few keys of its own.
        pre_tokenizer: value of `tokenizer.ggml.pre` for byte-level BPE, instead of the
            one recognized.

    Raises:
        CheckpointError: the folder has no tokenizer, or not the model's.
        UnsupportedModelError: the tokenizer is of a kind that quantkit cannot write.
    """
    files = TokenizerFiles.read(folder, config)
    fields: dict[str, Field] = {}
    if arch == "llama":
        add_space = files.settings.get("add_prefix_space")
        if add_space is not None:
            fields["tokenizer.ggml.add_space_prefix"] = boolean(add_space)
    fields |= _vocabulary_fields(files, pre_tokenizer)
    if arch == "llama":
        if config.get("vocab_size") == CODE_LLAMA_SIZE:
            end = uint32(CODE_LLAMA_END_OF_TURN)
            fields["tokenizer.ggml.eot_token_id"] = end
        elif config.get("vocab_size") == GRANITE_SIZE:
            fields["tokenizer.ggml.add_bos_token"] = boolean(False)
    return fields


def _vocabulary_fields(
    files: TokenizerFiles, pre_tokenizer: str | None
) -> dict[str, Field]:
    if (files.folder / "tokenizer.model").is_file():
        fields = sentencepiece_fields(files)
    elif not files.tokenizer:
        raise CheckpointError(
            f"{files.folder} has neither tokenizer.model nor tokenizer.json; download "
            "them, or write them where transformers is installed: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    elif is_piece_merges(files.tokenizer):
        fields = piece_merges_fields(files)
    else:
        return byte_level_fields(files, pre_tokenizer) | special_fields(files)
    return fields | special_fields(files, len(fields["tokenizer.ggml.tokens"].value))
