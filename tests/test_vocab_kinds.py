"""Each vocabulary type: written from its files, with the ids of its library."""

# ruff: noqa: RUF001 (letters that look like others are what is normalized)

from __future__ import annotations

import hashlib
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from quantkit.errors import CheckpointError, FormatError, UnsupportedModelError
from quantkit.gguf.keys import Field, string
from quantkit.tokens.charsmap import CharacterMap
from quantkit.tokens.pre_table import PRE_TOKENIZERS, PreTokenizer
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.tokens.viterbi import UnigramSplitter
from quantkit.vocab import tokenizer_fields
from quantkit.vocab.byte_letters import to_letters
from quantkit.vocab.files import TokenizerFiles
from quantkit.vocab.library import library_tokenizer, name_by_hash
from quantkit.vocab.pre_hashes import CHECK_TEXT, PRE_TOKENIZER_HASHES
from quantkit.vocab.pretokenizers import recognize
from quantkit.vocab.sentencepiece_file import ModelType, SentencePieceFile
from quantkit.vocab.tiktoken import read_ranks

from .conftest import FIXTURES
from .tokenizer_files import byte_level, piece_merges, write

Json = dict[str, Any]

VOCABULARIES = FIXTURES / "vocabularies"
TEXTS = [
    "The quick brown fox, and the dog.",
    "def add(a, b):\n    return a + b\n",
    "Über naïve façades: déjà vu, señor! Straße",
    "机器学习模型需要很多数据。 こんにちは",
    "  leading and   inner  runs, and trailing  ",
    "\tTabs\tand \u00a0 hard spaces",
    "ＡＢ ﬁne é — mapped, and 🚀 unknown ☃☃ ones",
    "I've WE'LL 3.14159 10 000 €",
    "",
    " ",
]


def fields_of(folder: Path, hf_class: str = "Any", **options: Any) -> dict[str, Field]:
    """The fields of a folder, or of a fixture, for a class of transformers."""
    return tokenizer_fields(folder, {"architectures": [hf_class]}, "any", **options)


def value(fields: dict[str, Field], key: str) -> Any:
    return fields[f"tokenizer.ggml.{key}"].value


def ids_of(fields: dict[str, Field], text: str) -> list[int]:
    return Tokenizer.from_metadata(fields).encode(text, add_special=False).tolist()


def library(folder: Path) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))


# Unigram


@pytest.mark.parametrize("text", TEXTS)
def test_unigram_model_as_sentencepiece_splits(text: str) -> None:
    """Normalized by the model's own rules, and split by its scores."""
    folder = VOCABULARIES / "spm_unigram"
    model = SentencePieceProcessor()
    model.LoadFromFile(str(folder / "tokenizer.model"))
    assert ids_of(fields_of(folder), text) == model.EncodeAsIds(text)


def test_unigram_model_says_what_readers_would_assume() -> None:
    """A reader's defaults are T5's, so ids and flags are all written."""
    fields = fields_of(VOCABULARIES / "spm_unigram", "LlamaForCausalLM")
    assert value(fields, "model") == "t5"
    assert len(value(fields, "precompiled_charsmap")) > 8
    keys = ("unknown_token_id", "bos_token_id", "eos_token_id")
    assert [value(fields, key) for key in keys] == [0, 1, 2]
    tokenizer = Tokenizer.from_metadata(fields)
    assert tokenizer.encode("the").tolist()[0] == 1
    assert tokenizer.encode("the").tolist()[-1] != 2


@pytest.mark.parametrize("text", [t for t in TEXTS if "\n" not in t])
def test_unigram_json_as_tokenizers_splits(text: str) -> None:
    """The scores of a tokenizer.json split text as they do in the library."""
    folder = VOCABULARIES / "unigram"
    wanted = library(folder).encode(text.strip(" "), add_special_tokens=False).ids
    assert ids_of(fields_of(folder), text) == wanted


def best_sums(word: str, scores: dict[str, float], unknown: float) -> list[float]:
    """The sum of the best split of each prefix, by definition."""
    best = [0.0]
    for stop in range(1, len(word) + 1):
        best.append(
            max(
                best[start] + scores.get(word[start:stop], unknown)
                for start in range(stop)
                if word[start:stop] in scores or stop - start == 1
            )
        )
    return best


@given(
    st.text("abc", min_size=1, max_size=12),
    st.dictionaries(
        st.text("abc", min_size=1, max_size=4),
        st.integers(-9, -1).map(float),
        min_size=1,
    ),
)
def test_unigram_split_is_the_best(word: str, scores: dict[str, float]) -> None:
    """No other split into tokens, or unknown characters, has a higher sum."""
    texts = ["<unk>", *scores]
    ids = {text: i for i, text in enumerate(texts) if i}
    lowest = min(scores.values())
    splitter = UnigramSplitter(
        {i: scores[text] for text, i in ids.items()}, ids, lowest, unknown=0
    )
    found = splitter._split(word)
    total = sum(scores[texts[i]] if i else lowest - 10 for i in found)
    assert total == best_sums(word, scores, lowest - 10)[-1]


def test_damaged_unigram_vocabulary(tmp_path: Path) -> None:
    """A vocabulary without scores is refused."""
    write(tmp_path, tokenizer={"model": {"type": "Unigram", "vocab": ["a", "b"]}})
    with pytest.raises(
        FormatError, match=r"model\.vocab\[0\] is 'a'; expected a text with its score"
    ):
        fields_of(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"\1\0\0\0", b"\4\0\0\0\0\0\0\0"])
def test_damaged_character_map(damage: bytes) -> None:
    """A map that ends before its texts begin is refused."""
    with pytest.raises(FormatError, match="charsmap is damaged"):
        CharacterMap(damage)


def test_character_map_in_a_circle() -> None:
    """A trie with a cycle is refused."""
    units = [1 << 10, ord("a") ^ 1] + [0] * 254
    place = 1 ^ ord("a")
    units[place] = ord("a") | (place ^ 1) << 10  # its children are the root's
    raw = b"".join(unit.to_bytes(4, "little") for unit in units)
    with pytest.raises(FormatError, match="charsmap is damaged"):
        CharacterMap(len(raw).to_bytes(4, "little") + raw + b"x\0")


@given(place=st.integers(0, 2000), value=st.integers(0, 255), text=st.text(max_size=8))
def test_damage_of_a_character_map_is_survived(
    place: int, value: int, text: str
) -> None:
    """Any other byte gives another map, or an error for the user."""
    path = VOCABULARIES / "spm_unigram" / "tokenizer.model"
    compiled = bytearray(SentencePieceFile.read(path).charsmap)
    compiled[place % len(compiled)] = value
    try:
        normalized = CharacterMap(bytes(compiled)).normalize(text)
    except FormatError:
        return
    assert isinstance(normalized, str)


def test_character_map_takes_the_longest_sequence() -> None:
    """The map of the fixture: characters that become one, two, and two that do."""
    model = SentencePieceFile.read(VOCABULARIES / "spm_unigram" / "tokenizer.model")
    assert model.type is ModelType.UNIGRAM
    characters = CharacterMap(model.charsmap)
    assert characters.normalize("ＡxＢ ﬁ\té") == "AxB fi e\u0301"
    assert characters.normalize("n\u0303\u0303n n\u0301ﬁ") == "ñ\u0303n n\u0301fi"


# WordPiece


@pytest.mark.parametrize("text", TEXTS)
def test_word_pieces_as_tokenizers_splits(text: str) -> None:
    """Lowered, without accents, the longest piece first."""
    folder = VOCABULARIES / "words"
    wanted = library(folder).encode(text, add_special_tokens=False).ids
    assert ids_of(fields_of(folder), text) == wanted


def test_word_pieces_keep_case_if_told(tmp_path: Path) -> None:
    """The normalizer's flags are written, and read."""
    definition = json.loads((VOCABULARIES / "words" / "tokenizer.json").read_text())
    definition["normalizer"] |= {"lowercase": False, "strip_accents": False}
    write(tmp_path, tokenizer=definition)
    fields = fields_of(tmp_path)
    assert value(fields, "normalizer.lowercase") is False
    assert value(fields, "normalizer.strip_accents") is False
    wanted = library(tmp_path).encode("The THE Über thé", add_special_tokens=False).ids
    assert ids_of(fields, "The THE Über thé") == wanted


def test_word_pieces_are_framed() -> None:
    """Every text starts with [CLS] and ends with [SEP], whatever flags say."""
    fields = fields_of(VOCABULARIES / "words")
    ids = Tokenizer.from_metadata(fields).encode("the dog").tolist()
    assert (ids[0], ids[-1]) == (2, 3)


# BPE


def test_ranks_give_the_ids_of_the_merges_they_came_from() -> None:
    """qwen.tiktoken has the tokens of bpe/tokenizer.json in the order of its merges."""
    fields = fields_of(VOCABULARIES / "ranks", "QWenLMHeadModel")
    assert value(fields, "pre") == "qwen2"
    definition = json.loads((VOCABULARIES / "bpe" / "tokenizer.json").read_text())
    assert value(fields, "merges") == [
        " ".join(m) for m in definition["model"]["merges"]
    ]
    made = library(VOCABULARIES / "bpe")
    for text in TEXTS[:6]:
        wanted = made.encode(text.replace("   ", " "), add_special_tokens=False).ids
        assert ids_of(fields, text.replace("   ", " ")) == wanted


def test_ranks_of_glm4(tmp_path: Path) -> None:
    """GLM-4's tokenizer.model is such a file; its added tokens are in the settings."""
    ranks = VOCABULARIES / "ranks" / "qwen.tiktoken"
    shutil.copy(ranks, tmp_path / "tokenizer.model")
    n = len(read_ranks(ranks))
    names = ("<|endoftext|>", "[gMASK]", "<|user|>", "<|plain|>")
    decoder = {
        str(n + i): {"content": text, "special": text != "<|plain|>"}
        for i, text in enumerate(names)
    }
    write(tmp_path, tokenizer_config={"added_tokens_decoder": decoder})
    fields = fields_of(tmp_path, "ChatGLMModel")
    assert value(fields, "pre") == "chatglm-bpe"
    assert value(fields, "add_bos_token") is False
    assert value(fields, "tokens")[n:] == list(names)
    assert list(value(fields, "token_type")[n:]) == [3, 3, 3, 4]
    keys = ("eos_token_id", "eot_token_id", "unknown_token_id")
    assert [value(fields, key) - n for key in keys] == [0, 2, 0]
    assert "tokenizer.ggml.bos_token_id" not in fields


@pytest.mark.parametrize("line", [b"YQ==", b"YQ== x", b"Y 1", b"YQ== 0 1"])
def test_damaged_ranks(tmp_path: Path, line: bytes) -> None:
    """The line that cannot be read is shown."""
    path = tmp_path / "qwen.tiktoken"
    path.write_bytes(b"IQ== 0\n\n" + line)
    with pytest.raises(FormatError, match=r"qwen\.tiktoken, line 3"):
        read_ranks(path)


def test_vocab_json_and_merges_txt(tmp_path: Path) -> None:
    """The two files that came before tokenizer.json give the same vocabulary."""
    merges = (("Ġ", "t"), ("h", "e"), ("Ġt", "he"))
    definition = byte_level(*merges)
    definition["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    settings = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "!"}
    write(whole, tokenizer=definition, tokenizer_config=settings)
    write(parts, vocab=definition["model"]["vocab"], tokenizer_config=settings)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (parts / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    assert value(fields_of(parts), "pre") == "gpt-2"
    for key in ("tokens", "token_type", "merges", "pre"):
        assert list(value(fields_of(parts), key)) == list(value(fields_of(whole), key))


def plain_merges() -> Json:
    """A tokenizer.json as Gemma's: merges of plain text, "▁" for a space."""
    definition = piece_merges(
        "ab▁\nthe", ("t", "h"), ("th", "e"), ("▁", "a"), ("▁a", "b"), ("\n", "\n")
    )
    definition["normalizer"] = {
        "type": "Replace",
        "pattern": {"String": " "},
        "content": "▁",
    }
    definition["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    return definition


def test_merges_of_plain_text(tmp_path: Path) -> None:
    """Gemma 3 without tokenizer.model: its merges are written, and give its ids."""
    write(tmp_path, tokenizer=plain_merges())
    fields = fields_of(tmp_path, "Gemma3ForCausalLM")
    assert (value(fields, "model"), value(fields, "pre")) == ("gpt2", "gemma4")
    for text in ("the ab  a\n\n\nthe", "ab\n the é🚀\n", " ", "\n"):
        wanted = library(tmp_path).encode(text, add_special_tokens=False).ids
        assert ids_of(fields, text) == wanted
    assert Tokenizer.from_metadata(fields).add_bos
    assert value(fields_of(tmp_path, "LlamaForCausalLM"), "model") == "llama"


@pytest.mark.parametrize(
    ("pre", "words"), [("gemma4", ["▁a▁a", "\n\n"]), ("mmbert", ["▁a", "▁a", "\n\n"])]
)
def test_spaces_start_words_where_the_name_says_so(
    tmp_path: Path, pre: str, words: list[str]
) -> None:
    """Only within words are characters merged."""
    definition = plain_merges()
    vocab, merges = definition["model"]["vocab"], definition["model"]["merges"]
    vocab["▁a▁a"] = len(vocab)
    merges.append("▁a ▁a")
    write(tmp_path, tokenizer=definition)
    fields = fields_of(tmp_path, "Gemma3ForCausalLM", pre_tokenizer=pre)
    tokens = value(fields, "tokens")
    assert [tokens[i] for i in ids_of(fields, " a a\n\n")] == words


# Which files count


def test_vocab_type_chooses_the_files(tmp_path: Path) -> None:
    """One folder with two tokenizers."""
    shutil.copytree(VOCABULARIES / "spm_unigram", tmp_path, dirs_exist_ok=True)
    write(tmp_path, tokenizer=byte_level())
    kinds = {
        name: value(fields_of(tmp_path, "LlamaForCausalLM", vocab_type=name), "model")
        for name in ("auto", "spm", "bpe", "hf")
    }
    assert kinds == {"auto": "t5", "spm": "llama", "bpe": "gpt2", "hf": "gpt2"}
    assert value(fields_of(tmp_path, "GPT2LMHeadModel"), "model") == "gpt2"


def test_vocab_type_without_its_file(tmp_path: Path) -> None:
    """The file that is missing is named; a vocabulary of another kind too."""
    write(
        tmp_path,
        tokenizer=json.loads((VOCABULARIES / "unigram" / "tokenizer.json").read_text()),
    )
    with pytest.raises(CheckpointError, match=r"has no tokenizer\.model;"):
        fields_of(tmp_path, vocab_type="spm")
    with pytest.raises(UnsupportedModelError, match=r"'Unigram'; .* only BPE"):
        fields_of(tmp_path, vocab_type="bpe")
    assert value(fields_of(tmp_path, vocab_type="hf"), "model") == "t5"


# Pre-tokenizers


def section_of(known: PreTokenizer) -> Json:
    """A `pre_tokenizer` section with a pre-tokenizer's steps."""
    parts: list[Json] = [
        {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated"}
        for step in known.steps or known.patterns
    ]
    return {
        "type": "Sequence",
        "pretokenizers": [*parts, {"type": "ByteLevel", "use_regex": False}],
    }


@pytest.mark.parametrize(
    "known",
    [k for k in PRE_TOKENIZERS if k.letters and "(Contiguous)" not in str(k.steps)],
    ids=lambda known: known.names[0],
)
def test_every_known_structure_is_recognized(known: PreTokenizer) -> None:
    """By its steps alone: a fine-tune's added tokens change nothing."""
    clue = [{"content": known.clue}] if known.clue else []
    tokenizer = byte_level(added=(*clue, {"content": "<|fine-tuned|>"}))
    tokenizer["pre_tokenizer"] = section_of(known)
    tokenizer["model"]["ignore_merges"] = known.ignore_merges
    alike = {k.patterns for k in PRE_TOKENIZERS if k.names[0] == recognize(tokenizer)}
    assert alike == {known.patterns}


def test_a_known_hash_counts_before_the_structure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp's own name where it has one, even if the structure has another."""
    write(tmp_path, tokenizer=byte_level())
    files = TokenizerFiles.read(tmp_path, {})
    made = library_tokenizer(files, files.tokenizer)
    assert name_by_hash(files, made) is None
    assert value(fields_of(tmp_path), "pre") == "smollm"
    ids = str(made.encode(CHECK_TEXT).ids)
    digest = hashlib.sha256(ids.encode()).hexdigest()
    monkeypatch.setitem(PRE_TOKENIZER_HASHES, digest, "refact")
    assert value(fields_of(tmp_path), "pre") == "refact"
    assert value(fields_of(tmp_path, pre_tokenizer="starcoder"), "pre") == "starcoder"


def test_hash_of_classes_that_add_bos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LlamaTokenizer puts BOS before the check text, whatever tokenizer.json says."""
    settings = {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "!"}
    write(tmp_path, tokenizer=byte_level(), tokenizer_config=settings)
    files = TokenizerFiles.read(tmp_path, {})
    made = library_tokenizer(files, files.tokenizer)
    ids = str([ord("!"), *made.encode(CHECK_TEXT).ids])
    digest = hashlib.sha256(ids.encode()).hexdigest()
    monkeypatch.setitem(PRE_TOKENIZER_HASHES, digest, "refact")
    assert name_by_hash(files, made) == "refact"


def test_every_hash_stands_for_a_name_that_is_known() -> None:
    """Names of the BPE kind; the others are those of BERT's vocabularies."""
    names = {name for known in PRE_TOKENIZERS for name in known.names}
    others = {name for name in PRE_TOKENIZER_HASHES.values() if name not in names}
    assert others == {"bert-bge-large", "jina-v2-en"}


def test_pre_tokenizer_of_a_vocabulary_that_has_none() -> None:
    """The option is refused where it would change nothing."""
    with pytest.raises(CheckpointError, match=r"`pre_tokenizer=qwen2`: .* kind 't5'"):
        fields_of(VOCABULARIES / "unigram", pre_tokenizer="qwen2")


# Texts around tokens


def test_letters_of_bytes_are_all_different() -> None:
    """256 letters, and the space's is Ġ."""
    letters = to_letters(bytes(range(256)))
    assert len(set(letters)) == 256
    assert letters[ord(" ")] == "Ġ"
    assert all(a < b for a, b in pairwise(letters[:33]))


@pytest.mark.parametrize(
    ("name", "rest"), [("Phi-3 mini", ["a"]), ("Other", [" ", "a"])]
)
def test_phi3_drops_spaces_after_added_tokens(
    tmp_path: Path, name: str, rest: list[str]
) -> None:
    """Known by the model's name, as llama.cpp knows it."""
    write(tmp_path, tokenizer=byte_level(added=({"content": "<x>"},)))
    fields = fields_of(tmp_path) | {"general.name": string(name)}
    letters = value(fields, "tokens")
    assert [letters[i] for i in ids_of(fields, "<x> a")[1:]] == [
        to_letters(part.encode()) for part in rest
    ]


@pytest.mark.parametrize(
    ("others", "found"), [(("<|return|>", "<|call|>"), True), (("<|call|>",), False)]
)
def test_end_is_plain_text_in_harmony(
    tmp_path: Path, others: tuple[str, ...], found: bool
) -> None:
    """<|end|> is found in a text where <|return|> and <|call|> end turns."""
    added = ({"content": "<|end|>"}, *({"content": text} for text in others))
    write(tmp_path, tokenizer=byte_level(added=added))
    assert (256 in ids_of(fields_of(tmp_path), "a<|end|>b")) == found
