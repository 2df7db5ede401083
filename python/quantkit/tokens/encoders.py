"""How each vocabulary type encodes text, and the tokens that start and end a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..errors import FormatError, UnsupportedModelError
from ..gguf.keys import ValueType
from ..settings import FLAG, TEXT
from .bpe import (
    Encoder,
    byte_level_encoder,
    plain_merge_encoder,
    spaced_merge_encoder,
)
from .charsmap import CharacterMap
from .longest_match import LongestMatch
from .merging import PieceMerger
from .metadata import Vocabulary
from .plamo import PlamoSplitter
from .pre_table import PreTokenizer, pre_tokenizer_named
from .token_type import TokenType
from .viterbi import UnigramSplitter
from .word_splitting import WordSplitter

__all__ = ["Encoder", "Ends", "encoder_of"]


@dataclass(frozen=True)
class Ends:
    """The tokens that start and end a text.

    Attributes:
        bos_id: the token that starts a text, if there is one.
        eos_id: the token that ends a text, if there is one.
        add_bos: whether every text starts with `bos_id`.
        add_eos: whether every text ends with `eos_id`.
    """

    bos_id: int | None
    eos_id: int | None
    add_bos: bool
    add_eos: bool


def encoder_of(vocabulary: Vocabulary) -> tuple[Encoder, Ends]:
    """The encoder for a vocabulary.

    Raises:
        FormatError: a key is missing or damaged.
        UnsupportedModelError: the vocabulary type or the pre-tokenizer is unknown.
    """
    encoder, ends = _encoder_and_ends(vocabulary)
    missing = "BOS" if ends.add_bos and ends.bos_id is None else ""
    missing = "EOS" if ends.add_eos and ends.eos_id is None else missing
    if missing:
        key = f"tokenizer.ggml.{missing.lower()}_token_id"
        raise FormatError(
            f"the metadata says that each text gets {missing}, but the vocabulary has "
            f"no such token ({key}); set that key, or "
            f"tokenizer.ggml.add_{missing.lower()}_token to false"
        )
    return encoder, ends


def _encoder_and_ends(vocabulary: Vocabulary) -> tuple[Encoder, Ends]:
    kind = vocabulary.get("model", TEXT)
    match kind:
        case "llama":
            ends = _ends(vocabulary, bos=1, eos=2, add_bos=True)
            return _piece_encoder(vocabulary), ends
        case "gpt2":
            pre = pre_tokenizer_named(vocabulary.get("pre", TEXT, "default"))
            bos = 11 if pre.has_bos else None
            ends = _ends(vocabulary, bos=bos, eos=11, add_bos=pre.add_bos)
            return _merge_encoder(vocabulary, pre, ends)
        case "gemma4":
            pre = pre_tokenizer_named(kind)
            return _merge_encoder(vocabulary, pre, _ends(vocabulary))
        case "whitespace":
            lowercase = vocabulary.get("normalizer.lowercase", FLAG, False)
            encoder = spaced_merge_encoder(vocabulary, lowercase=lowercase)
            return encoder, _ends(vocabulary, bos=11, eos=11)
        case "t5":
            return _unigram_encoder(vocabulary), _ends(vocabulary, eos=1, add_eos=True)
        case "bert":
            first = vocabulary.special("bos", 101)
            last = vocabulary.special("seperator", 102)
            return _word_encoder(vocabulary), Ends(first, last, True, True)
        case "rwkv":
            ends = _ends(vocabulary)
            unknown = vocabulary.special("unknown", None)
            return _plain_encoder(LongestMatch(vocabulary.texts, unknown).encode), ends
        case "plamo2":
            of_bytes = vocabulary.of_types(TokenType.BYTE)
            splitter = PlamoSplitter(vocabulary.texts, vocabulary.scores(), of_bytes)
            return _plain_encoder(splitter.encode), _ends(vocabulary, bos=1, eos=2)
    raise UnsupportedModelError(
        f"the vocabulary has the type {kind!r}; quantkit reads 'llama' "
        "(SentencePiece), 'gpt2', 'gemma4' and 'whitespace' (BPE), 't5' (unigram), "
        "'bert' (WordPiece), 'rwkv' and 'plamo2'"
    )


def _ends(
    vocabulary: Vocabulary,
    bos: int | None = None,
    eos: int | None = None,
    add_bos: bool = False,
    add_eos: bool = False,
) -> Ends:
    """The metadata's values; the arguments are the defaults."""
    return Ends(
        bos_id=vocabulary.special("bos", bos),
        eos_id=vocabulary.special("eos", eos),
        add_bos=vocabulary.get("add_bos_token", FLAG, add_bos),
        add_eos=vocabulary.get("add_eos_token", FLAG, add_eos),
    )


def _plain_encoder(encode: Callable[[str], Iterator[list[int]]]) -> Encoder:
    """One for which it makes no difference what precedes a text."""
    return lambda text, after_token: encode(text)


def _piece_encoder(vocabulary: Vocabulary) -> Encoder:
    """SentencePiece's BPE; a space is prepended at the start and after each token."""
    merger = PieceMerger(vocabulary.ids, vocabulary.scores())
    prefix = " " if vocabulary.get("add_space_prefix", FLAG, True) else ""

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        text = prefix + text if after_token else text
        return merger.encode(text.replace(" ", "▁"))

    return encode


def _merge_encoder(
    vocabulary: Vocabulary, pre: PreTokenizer, ends: Ends
) -> tuple[Encoder, Ends]:
    """BPE on words, byte-level or plain as the pre-tokenizer says."""
    if pre.always_bos:
        ends = replace(ends, add_bos=True)
    if pre.letters:
        return byte_level_encoder(vocabulary, pre), ends
    return plain_merge_encoder(vocabulary, pre), ends


def _unigram_encoder(vocabulary: Vocabulary) -> Encoder:
    """Unigram on text that is normalized by SentencePiece's rules."""
    scores = vocabulary.scores()
    normal = vocabulary.of_types(TokenType.NORMAL)
    user_defined = vocabulary.of_types(TokenType.USER_DEFINED)
    usable = {*normal, *user_defined, *vocabulary.of_types(TokenType.UNUSED)}
    splitter = UnigramSplitter(
        {i: scores[i] for i in usable} | dict.fromkeys(user_defined, 0.0),
        {text: i for text, i in vocabulary.ids.items() if i in usable},
        min((scores[i] for i in normal), default=0.0),
        vocabulary.special("unknown", 2) or 0,
    )
    bytes_ = ValueType.UINT8, ValueType.INT8
    compiled = np.asarray(
        vocabulary.array("precompiled_charsmap", *bytes_, default=[])
    ).astype(np.uint8)
    characters = CharacterMap(compiled.tobytes()) if compiled.size else None
    adds_space = vocabulary.get("add_space_prefix", FLAG, False)
    merges_spaces = vocabulary.get("remove_extra_whitespaces", FLAG, False)

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        if characters is not None:
            text = characters.normalize(text)
        if merges_spaces:
            text = "".join(" " + word for word in text.split(" ") if word)
        elif adds_space and text.strip(" "):
            text = " " + text
        return splitter.encode(text.replace(" ", "▁"))

    return encode


def _word_encoder(vocabulary: Vocabulary) -> Encoder:
    """WordPiece."""
    lowercase = vocabulary.get("normalizer.lowercase", FLAG, True)
    splitter = WordSplitter(
        vocabulary.ids,
        vocabulary.special("unknown", 100) or 0,
        lowercase,
        vocabulary.get("normalizer.strip_accents", FLAG, lowercase),
    )

    def encode(text: str, after_token: bool) -> Iterator[list[int]]:
        return splitter.encode(text)

    return encode
