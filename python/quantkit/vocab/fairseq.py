"""XLM-RoBERTa's sentencepiece.bpe.model, whose pieces have other ids in the model.

The ids are those of fairseq, which put its own tokens before the pieces.  Source:
XLMRobertaTokenizer of transformers, and the fields that llama.cpp's converter writes.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError, UnsupportedModelError
from ..gguf.keys import Field, boolean, uint32
from ..tokens.token_type import TokenType
from .added import padding
from .files import TokenizerFiles
from .pieces import PieceRules, rows_of
from .sentencepiece_file import ModelType, Piece, SentencePieceFile
from .special import special_fields
from .unigram import unigram_fields

__all__ = ["FAIRSEQ_MODEL", "fairseq_fields"]

FAIRSEQ_MODEL = "sentencepiece.bpe.model"
_FIRST = ("<s>", "<pad>", "</s>", "<unk>")
_SHIFT = 1
"""How much larger the ids of pieces are than in the file, from the fourth piece on."""
_ROLES = {"bos": 0, "padding": 1, "eos": 2, "seperator": 2, "unknown": 3}


def fairseq_fields(files: TokenizerFiles, *, has_mask: bool) -> dict[str, Field]:
    """The vocabulary of a folder with such a file.

    Where no file says so, a text starts with `<s>` and ends with `</s>`, as
    transformers' class does.

    Args:
        files: the tokenizer's files.
        has_mask: whether `<mask>` follows the pieces; else a placeholder does.

    Raises:
        CheckpointError: the model has fewer tokens than the file.
        UnsupportedModelError: the file is no unigram model.
    """
    path = files.folder / FAIRSEQ_MODEL
    model = SentencePieceFile.read(path)
    if model.type is not ModelType.UNIGRAM:
        raise UnsupportedModelError(
            f"{path} is a model of the kind {model.type.name}; quantkit reads such a "
            "file if it is a unigram model"
        )
    pieces = _shifted(model.pieces)
    size = files.vocab_size or len(model.pieces) + _SHIFT
    _check_size(path, size, len(model.pieces) + _SHIFT)
    n_tokens = files.filled(size, len(pieces))
    for i in range(len(pieces), n_tokens):
        pieces[i] = padding(i - _SHIFT), PieceRules.padding_score, TokenType.UNUSED
    mask = len(model.pieces) + _SHIFT
    if has_mask and mask < n_tokens:
        pieces[mask] = "<mask>", 0.0, TokenType.CONTROL
    rows = rows_of(pieces, n_tokens, PieceRules())
    fields = unigram_fields(
        rows, model.adds_space, model.merges_spaces, model.charsmap
    ) | special_fields(files, n_tokens)
    defaults = {f"tokenizer.ggml.{k}_token_id": uint32(i) for k, i in _ROLES.items()}
    for role in ("bos", "eos"):
        defaults[f"tokenizer.ggml.add_{role}_token"] = boolean(True)
    return fields | {key: value for key, value in defaults.items() if key not in fields}


def _shifted(stored: tuple[Piece, ...]) -> dict[int, Piece]:
    """The pieces by the ids of fairseq."""
    kinds = (*[TokenType.CONTROL] * 3, TokenType.UNKNOWN)
    first = zip(_FIRST, kinds, strict=True)
    pieces: dict[int, Piece] = {
        i: (text, 0.0, kind) for i, (text, kind) in enumerate(first)
    }
    return pieces | {
        i + _SHIFT: piece for i, piece in enumerate(stored) if i + _SHIFT >= len(_FIRST)
    }


def _check_size(path: Path, size: int, n_pieces: int) -> None:
    """Refuse a model that has no row for a piece.

    Raises:
        CheckpointError: it has fewer tokens than the file.
    """
    if size < n_pieces:
        raise CheckpointError(
            f"{path} has {n_pieces} tokens, but config.json says vocab_size {size}; "
            "they belong to different models: take both from the same one"
        )
