"""Token ids from a GGUF file's vocabulary, equal to llama.cpp's."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from quantkit.errors import FormatError, UnsupportedModelError
from quantkit.gguf import GGUFFile
from quantkit.gguf.keys import Field, ValueType, array, boolean, string, uint32
from quantkit.tasks.demo import DEMO_MODEL, DEMO_TEXT
from quantkit.tokens import bpe
from quantkit.tokens.merging import PieceMerger
from quantkit.tokens.pre_table import PRE_TOKENIZERS
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import tokenizer_fields

from .tokenizer_files import byte_letters, byte_level, piece_merges, write

NORMAL, CONTROL, USER_DEFINED, BYTE = 1, 3, 4, 6
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def metadata(kind: str, tokens: list[str], **others: Any) -> dict[str, Field]:
    """The `tokenizer.*` metadata of a few tokens."""
    fields = {
        "model": string(kind),
        "tokens": array(ValueType.STRING, tokens),
        **others,
    }
    return {f"tokenizer.ggml.{key}": field for key, field in fields.items()}


def types(tokens: list[str], marked: Mapping[str, int]) -> Field:
    """Token types: those of `marked`, and bytes."""
    kinds = [marked.get(t, BYTE if t in BYTES else NORMAL) for t in tokens]
    return array(ValueType.INT32, kinds)


def scores(tokens: list[str], **scored: float) -> Field:
    return array(ValueType.FLOAT32, [scored.get(token, 0.0) for token in tokens])


def texts_of(tokenizer: Tokenizer, tokens: list[str], text: str) -> list[str]:
    return [tokens[i] for i in tokenizer.encode(text, add_special=False)]


# SentencePiece


def test_demo_text_as_sentencepiece_tokenizes_it() -> None:
    """On ordinary text the sentencepiece library finds the same tokens."""
    config = json.loads((DEMO_MODEL / "config.json").read_text())
    tokenizer = Tokenizer.from_metadata(tokenizer_fields(DEMO_MODEL, config, "llama"))
    model = SentencePieceProcessor()
    model.LoadFromFile(str(DEMO_MODEL / "tokenizer.model"))
    text = DEMO_TEXT.read_text(encoding="utf-8")
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == [1, *model.EncodeAsIds(text)]
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)
    assert (tokenizer.add_bos, tokenizer.add_eos) == (True, False)
    assert tokenizer.vocab_size == 4096


def merged_one_by_one(
    word: str, ids: Mapping[str, int], score: list[float]
) -> list[str]:
    """The definition: merge the leftmost of the best pairs until there is none."""
    pieces = list(word)
    while True:
        pairs = [
            (-score[ids[left + right]], i)
            for i, (left, right) in enumerate(pairwise(pieces))
            if left + right in ids
        ]
        if not pairs:
            return pieces
        _, i = min(pairs)
        pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]


@given(
    tokens=st.lists(
        st.text("abc▁", min_size=2, max_size=4), unique=True, min_size=1, max_size=12
    ),
    ranks=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    text=st.text("abc▁", max_size=24),
)
def test_merging_follows_its_definition(
    tokens: list[str], ranks: list[int], text: str
) -> None:
    """Cutting the text, the heap and stale pairs change nothing; ties go left."""
    ids = {token: i for i, token in enumerate([*"abc▁", *tokens])}
    score = [0.0] * 4 + [float(rank) for rank in ranks]
    merger = PieceMerger(ids, score)
    wanted = merged_one_by_one(text, ids, score)
    found = [i for part in merger.encode(text) for i in part]
    assert found == [ids[piece] for piece in wanted]


def test_unknown_characters_become_bytes() -> None:
    """A character that is no token is spelled in UTF-8 bytes."""
    tokens = [*BYTES, "▁", "a"]
    tokenizer = Tokenizer.from_metadata(metadata("llama", tokens))
    assert texts_of(tokenizer, tokens, "aé\n") == [
        "▁",
        "a",
        "<0xC3>",
        "<0xA9>",
        "<0x0A>",
    ]


def test_vocabulary_without_bytes_names_the_character() -> None:
    """Where a character cannot be spelled, the error says which."""
    tokenizer = Tokenizer.from_metadata(metadata("llama", ["▁", "a"]))
    with pytest.raises(FormatError, match="no token for 'é', and no byte token <0xC3>"):
        tokenizer.encode("aé")


@pytest.mark.parametrize(("adds", "first"), [(True, "▁a"), (False, "a")])
def test_space_before_a_text(adds: bool, first: str) -> None:
    """A space goes before a text, unless the metadata says no."""
    tokens = ["a", "▁", "▁a"]
    fields = metadata("llama", tokens, add_space_prefix=boolean(adds))
    assert texts_of(Tokenizer.from_metadata(fields), tokens, "a a") == [first, "▁a"]


def test_space_after_a_user_defined_token() -> None:
    """The text after such a token is a text of its own, with a space before it."""
    tokens = ["a", "▁", "▁a", "<x>", "<", "x", ">"]
    fields = metadata("llama", tokens, token_type=types(tokens, {"<x>": USER_DEFINED}))
    found = texts_of(Tokenizer.from_metadata(fields), tokens, "a<x>a a<x>")
    assert found == ["▁a", "<x>", "▁a", "▁a", "<x>"]


def test_scores_decide_between_merges() -> None:
    """The union that scores higher is made first."""
    tokens = ["a", "b", "c", "ab", "bc"]
    no_space = boolean(False)
    for better, wanted in (("ab", ["ab", "c"]), ("bc", ["a", "bc"])):
        fields = metadata(
            "llama",
            tokens,
            scores=scores(tokens, **{better: 1.0}),
            add_space_prefix=no_space,
        )
        assert texts_of(Tokenizer.from_metadata(fields), tokens, "abc") == wanted


def test_merges_of_a_tokenizer_json_as_tokenizers_makes_them(tmp_path: Path) -> None:
    """Scores by rank give the tokens that the tokenizers library gives."""
    merges = [("t", "h"), ("▁", "th"), ("h", "e"), ("▁th", "e"), ("▁", "t"), ("e", "▁")]
    tokenizer_json = piece_merges("▁theab", *merges)
    write(tmp_path, tokenizer=tokenizer_json)
    tokenizer = Tokenizer.from_metadata(tokenizer_fields(tmp_path, {}, "llama"))
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("the theta", "hethe the  eat", "tthhee thé", "ba the e "):
        wanted = library.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text, add_special=False).tolist() == wanted


# Special tokens


def test_the_longest_user_defined_token_is_found_first() -> None:
    """Even where a shorter one begins earlier."""
    tokens = ["a", "b", "c", "ab", "bc+"]
    marked = {"ab": USER_DEFINED, "bc+": USER_DEFINED}
    fields = metadata(
        "llama",
        [*tokens, *BYTES],
        token_type=types([*tokens, *BYTES], marked),
        add_space_prefix=boolean(False),
    )
    tokenizer = Tokenizer.from_metadata(fields)
    assert texts_of(tokenizer, tokens, "abc+ab") == ["a", "bc+", "ab"]


@pytest.mark.parametrize(
    ("token", "kind", "is_token"),
    [
        ("<tool>", USER_DEFINED, True),
        ("<tool>", CONTROL, False),
        ("<tool>", NORMAL, False),
        ("<|im_end|>", USER_DEFINED, False),
        ("<fim_prefix>", USER_DEFINED, False),
        ("<\uff5cfim▁hole\uff5c>", USER_DEFINED, False),
        ("<|channel|>", CONTROL, True),
    ],
)
def test_which_tokens_are_found_in_a_text(
    token: str, kind: int, is_token: bool
) -> None:
    """User-defined ones, less those that llama.cpp takes for control tokens."""
    tokens = [*byte_letters(), token]
    fields = metadata(
        "gpt2",
        tokens,
        merges=array(ValueType.STRING, []),
        token_type=types(tokens, {token: kind}),
        pre=string("gpt-2"),
    )
    ids = Tokenizer.from_metadata(fields).encode(f"x{token}y", add_special=False)
    assert (256 in ids) == is_token


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({}, [0, 2]),
        ({"add_bos_token": False}, [2]),
        ({"add_eos_token": True}, [0, 2, 1]),
    ],
)
def test_what_starts_and_ends_a_text(flags: dict[str, bool], wanted: list[int]) -> None:
    """By default a text of a `llama` vocabulary starts with BOS; nothing ends it."""
    fields = metadata(
        "llama",
        ["<s>", "</s>", "a"],
        bos_token_id=uint32(0),
        eos_token_id=uint32(1),
        add_space_prefix=boolean(False),
        **{key: boolean(flag) for key, flag in flags.items()},
    )
    tokenizer = Tokenizer.from_metadata(fields)
    assert tokenizer.encode("a").tolist() == wanted
    assert tokenizer.encode("a", add_special=False).tolist() == [2]


def test_empty_text() -> None:
    """No text is no token but BOS, not even a space."""
    tokenizer = Tokenizer.from_metadata(metadata("llama", ["<unk>", "<s>", "▁"]))
    assert tokenizer.encode("").tolist() == [1]
    assert tokenizer.encode("", add_special=False).tolist() == []


def test_special_ids_that_name_no_token() -> None:
    """By default there is no EOS if the vocabulary is too small; -1 is no token."""
    fields = metadata(
        "llama",
        ["▁", "a"],
        bos_token_id=uint32(2**32 - 1),
        add_bos_token=boolean(False),
    )
    tokenizer = Tokenizer.from_metadata(fields)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (None, None)
    assert tokenizer.encode("a").tolist() == [0, 1]


# Byte-level BPE


def byte_metadata(*merges: tuple[str, str], pre: str = "smollm") -> dict[str, Field]:
    return metadata(
        "gpt2",
        byte_letters() + ["".join(pair) for pair in merges],
        merges=array(ValueType.STRING, [" ".join(pair) for pair in merges]),
        pre=string(pre),
    )


@pytest.mark.parametrize(
    "pre",
    [known.names[0] for known in PRE_TOKENIZERS if known.letters],
    ids=lambda name: name,
)
@settings(max_examples=30)
@given(text=st.text(max_size=40))
def test_every_way_of_cutting_loses_nothing(pre: str, text: str) -> None:
    """Without merges the tokens are the text's bytes, however it is cut."""
    tokenizer = Tokenizer.from_metadata(byte_metadata(pre=pre))
    assert bytes(tokenizer.encode(text, add_special=False).tolist()) == text.encode()


@pytest.mark.parametrize(
    "pre",
    [known.names[0] for known in PRE_TOKENIZERS if known.letters],
    ids=lambda name: name,
)
def test_long_texts_are_encoded_in_blocks(
    pre: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a block ends changes nothing; here any two or four letters merge."""
    alphabet, letters = " \n\rab1'.é中", byte_letters()
    spelled = [letters[b] for b in sorted(set(alphabet.encode()))]
    pairs = [(a, b) for a in spelled for b in spelled]
    fours = [("".join(one), "".join(two)) for one in pairs for two in pairs[::5]]
    tokenizer = Tokenizer.from_metadata(byte_metadata(*pairs, *fours, pre=pre))
    rng = random.Random(0)
    text = "".join(c * rng.randint(1, 3) for c in rng.choices(alphabet, k=3000))
    whole = tokenizer.encode(text)
    assert len(whole) < 0.8 * len(text.encode())
    monkeypatch.setattr(bpe, "BLOCK", 150)
    monkeypatch.setattr(bpe, "MARGIN", 50)
    assert np.array_equal(tokenizer.encode(text), whole)
    pieces = tokenizer.pieces(text, add_special=False)
    assert len(next(pieces)) < 300


def test_a_word_longer_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block grows until something else follows."""
    monkeypatch.setattr(bpe, "BLOCK", 50)
    monkeypatch.setattr(bpe, "MARGIN", 10)
    tokenizer = Tokenizer.from_metadata(byte_metadata(("a", "a")))
    for text in ("a" * 333 + " b", "a" * 333, "b " + "a" * 333 + " a" * 99):
        ids = tokenizer.encode(text)
        assert (ids == 256).sum() == 166
        assert len(ids) == len(text) - 166


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", ["x", "1234", " y", "'s", "  ", " 5", "é", "\n"]),
        ("smollm", ["x", "1", "2", "3", "4", " y", "'s", "   ", "5", "é", "\n"]),
        ("llama-bpe", ["x", "123", "4", " y", "'s", "  ", " ", "5", "é", "\n"]),
        ("qwen2", ["x", "1", "2", "3", "4", " y", "'s", "  ", " ", "5", "é", "\n"]),
        ("falcon", ["x", "123", "4", " y", "'", "s", "  ", " 5", "é", "\n"]),
    ],
)
def test_words_are_cut_as_the_name_says(pre: str, words: list[str]) -> None:
    """Where all neighbours merge, the tokens are the words."""
    text = "x1234 y's   5é\n"
    assert "".join(words) == text
    letters = byte_letters()
    spelled = ["".join(letters[b] for b in word.encode()) for word in words]
    whole = "".join(spelled)
    spans = [(i, j) for i in range(len(whole)) for j in range(i + 2, len(whole) + 1)]
    merges = [f"{whole[i:k]} {whole[k:j]}" for i, j in spans for k in range(i + 1, j)]
    tokens = list(dict.fromkeys([*letters, *(whole[i:j] for i, j in spans)]))
    fields = metadata(
        "gpt2",
        tokens,
        merges=array(ValueType.STRING, sorted(set(merges), key=len)),
        pre=string(pre),
    )
    assert texts_of(Tokenizer.from_metadata(fields), tokens, text) == spelled


@pytest.mark.parametrize(
    ("pre", "wanted"), [("llama-bpe", ["abc"]), ("dbrx", ["a", "bc"])]
)
def test_words_in_the_vocabulary_need_no_merges(pre: str, wanted: list[str]) -> None:
    """With llama-bpe a word that is a token is that token."""
    tokens = [*byte_letters(), "bc", "abc"]
    merges = array(ValueType.STRING, ["b c"])
    fields = metadata("gpt2", tokens, merges=merges, pre=string(pre))
    assert texts_of(Tokenizer.from_metadata(fields), tokens, "abc") == wanted


def test_byte_level_as_tokenizers_does_it(tmp_path: Path) -> None:
    """The metadata of a tokenizer.json gives the ids that the tokenizer.json gives."""
    merges = (("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("1", "2"), ("Ċ", "Ċ"), ("Ã", "©"))
    write(tmp_path, tokenizer=byte_level(*merges, added=({"content": "<x>"},)))
    tokenizer = Tokenizer.from_metadata(tokenizer_fields(tmp_path, {}, "llama"))
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("the the 12.12 thé<x> the", "\n\n\n the\n\nhe", "don't 日本語 🚀"):
        wanted = library.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text, add_special=False).tolist() == wanted


def test_merges_that_no_token_stands_for_are_ignored() -> None:
    """A merge whose result is no token cannot be made."""
    fields = byte_metadata(("a", "b"))
    fields["tokenizer.ggml.merges"] = array(ValueType.STRING, ["a c", "a b", "zz q"])
    ids = Tokenizer.from_metadata(fields).encode("abac", add_special=False)
    assert ids.tolist() == [256, ord("a"), ord("c")]


# Refusals


def test_missing_key_is_named() -> None:
    """A file without a vocabulary cannot tokenize, and says which key it lacks."""
    with pytest.raises(FormatError, match=r"lacks tokenizer\.ggml\.tokens"):
        Tokenizer.from_metadata({})


def test_unknown_kind_of_vocabulary() -> None:
    """The kind is named, and those that would do."""
    with pytest.raises(
        UnsupportedModelError, match="has the type 'runes'; quantkit reads 'llama'"
    ):
        Tokenizer.from_metadata(metadata("runes", ["a"]))


def test_file_without_a_vocabulary() -> None:
    """A model converted without its tokenizer cannot read text, and says so."""
    with pytest.raises(UnsupportedModelError, match="written without a vocabulary"):
        Tokenizer.from_metadata({"tokenizer.ggml.model": string("none")})


def test_unknown_pre_tokenizer() -> None:
    """A name that is not in the table is refused."""
    with pytest.raises(UnsupportedModelError, match="unknown pre-tokenizer 'runic'"):
        Tokenizer.from_metadata(byte_metadata(pre="runic"))


# llama.cpp's own vocabularies and expectations

VOCABS = os.environ.get("QUANTKIT_LLAMACPP_VOCABS", "")


@pytest.mark.interop
@pytest.mark.parametrize(
    "name",
    [
        "bert-bge",
        "command-r",
        "deepseek-coder",
        "deepseek-llm",
        "falcon",
        "gemma-4",
        "gpt-2",
        "llama-bpe",
        "llama-spm",
        "mpt",
        "phi-3",
        "qwen2",
        "qwen35",
        "refact",
        "starcoder",
    ],
)
def test_expectations_of_llamacpp(name: str) -> None:
    """Every test text gives the ids that llama.cpp's own tests expect, and back."""
    path = Path(VOCABS, f"ggml-vocab-{name}.gguf")
    if not VOCABS or not path.is_file():
        pytest.skip("set QUANTKIT_LLAMACPP_VOCABS to llama.cpp's folder `models`")
    tokenizer = Tokenizer.from_metadata(GGUFFile(path).metadata)
    separator = "\n__ggml_vocab_test__\n"
    texts = Path(f"{path}.inp").read_bytes().decode().split(separator)
    expected = Path(f"{path}.out").read_text().splitlines()
    assert len(expected) > 40
    for text, ids in zip(texts, expected, strict=False):
        found = tokenizer.encode(text, add_special=False).tolist()
        assert found == [int(i) for i in ids.split()], text
        assert tokenizer.decode(found) == text or name.startswith("bert")
