"""Which of a tokenizer's files decides, and what tokens without a row become."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from quantkit.errors import CheckpointError, UnsupportedModelError
from quantkit.tasks.demo import DEMO_MODEL
from quantkit.tokens.token_type import TokenType
from quantkit.tokens.tokenizer import Tokenizer
from quantkit.vocab import pre_choice, tokenizer_fields

from .tokenizer_files import byte_level, piece_merges, write

Json = dict[str, Any]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = TokenType
IM_START, IM_END = "<|im_start|>", "<|im_end|>"


class Written:
    """The fields of a folder, and the messages for the user."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.messages: list[str] = []
        self.fields = tokenizer_fields(
            folder, config, "llama", notify=self.messages.append
        )

    def __getitem__(self, key: str) -> Any:
        field = self.fields.get(f"tokenizer.{key}")
        return None if field is None else field.value

    @property
    def tokens(self) -> list[str]:
        return list(self["ggml.tokens"])

    def types(self, *texts: str) -> list[int]:
        return [int(self["ggml.token_type"][self.tokens.index(t)]) for t in texts]

    def ids(self, text: str) -> list[int]:
        """The ids of a rendered chat."""
        tokenizer = Tokenizer.from_metadata(self.fields)
        return tokenizer.encode(text, False, parse_special=True).tolist()


def added(i: int, content: str, special: bool = True) -> Json:
    """An entry of `added_tokens`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": i, "content": content, "special": special, **flags}


# Types of tokens


def test_special_tokens_inside_the_vocabulary(tmp_path: Path) -> None:
    """transformers 5 marks them in tokenizer.json only; both kinds of vocabulary."""
    settings = {"tokenizer_class": "TokenizersBackend", "eos_token": "</s>"}
    pieces = piece_merges("ab▁", ("a", "b"))
    pieces["added_tokens"] += [added(3 + 65, "<0x41>"), added(261, "b", special=False)]
    pieces["added_tokens"].append(added(259, "ab"))
    write(tmp_path, tokenizer=pieces, tokenizer_config=settings)
    written = Written(tmp_path)
    assert written.types("<s>", "ab", "b", "<0x41>", "a") == [
        *(CONTROL, CONTROL, USER_DEFINED, BYTE, NORMAL)
    ]
    letters = byte_level(("a", "b"))
    letters["added_tokens"] = [added(256, "ab")]
    write(tmp_path, tokenizer=letters, tokenizer_config=settings)
    assert Written(tmp_path).types("ab", "a") == [CONTROL, NORMAL]


@pytest.mark.parametrize(
    "named",
    [
        {"extra_special_tokens": [IM_START, {"content": IM_END}]},
        {"extra_special_tokens": {"start_token": IM_START, "end_token": IM_END}},
        {"additional_special_tokens": [IM_START, IM_END]},
        {"image_token": IM_START, "eos_token": IM_END},
    ],
)
@pytest.mark.parametrize("kind", ["letters", "pieces", "sentencepiece"])
def test_special_tokens_by_name(tmp_path: Path, kind: str, named: Json) -> None:
    """Every way in which tokenizer_config.json names them makes control tokens."""
    size = 258
    if kind == "letters":
        tokenizer = byte_level(("a", "b"))
        tokenizer["model"]["vocab"] |= {IM_START: 257, IM_END: 258}
        write(tmp_path, tokenizer=tokenizer)
    elif kind == "pieces":
        tokenizer = piece_merges("ab▁", ("a", "b"))
        tokenizer["model"]["vocab"] |= {IM_START: 263, IM_END: 264}
        write(tmp_path, tokenizer=tokenizer)
    else:  # they are not in tokenizer.model: transformers adds them after it
        shutil.copy(DEMO_MODEL / "tokenizer.model", tmp_path)
        size = 4098
    write(tmp_path, tokenizer_config=named)
    config = {"vocab_size": size} if kind == "sentencepiece" else {}
    written = Written(tmp_path, **config)
    assert written.types(IM_START, IM_END) == [CONTROL, CONTROL]
    ids = written.ids(f"{IM_START}a{IM_END}")
    assert [written.tokens[i] for i in (ids[0], ids[-1])] == [IM_START, IM_END]


def test_special_tokens_map_names_tokens(tmp_path: Path) -> None:
    """It is read where transformers reads it: without `added_tokens_decoder`."""
    tokenizer = byte_level(("a", "b"))
    tokenizer["added_tokens"] = [added(257, "<x>"), added(258, "<y>")]
    write(
        tmp_path,
        tokenizer=tokenizer,
        tokenizer_config={"eos_token": "<x>"},
        special_tokens_map={"eos_token": "<y>", "pad_token": "!"},
    )
    written = Written(tmp_path)
    assert written["ggml.eos_token_id"] == 258
    assert written.types("!") == [CONTROL]
    assert any("'<y>' in special_tokens_map.json" in m for m in written.messages)
    settings = {"eos_token": "<x>", "added_tokens_decoder": {}}
    write(tmp_path, tokenizer_config=settings)
    written = Written(tmp_path)
    assert (written["ggml.eos_token_id"], written.messages) == (257, [])
    assert written.types("!") == [NORMAL]


def test_tokenizer_json_beside_tokenizer_model(tmp_path: Path) -> None:
    """transformers 5 keeps added tokens nowhere else; a piece keeps its score."""
    shutil.copy(DEMO_MODEL / "tokenizer.model", tmp_path)
    plain = Written(tmp_path, vocab_size=4099)
    tokenizer = piece_merges("ab▁", ("a", "b"))
    tokenizer["added_tokens"] += [
        *(added(4096, IM_START), added(4097, "<tool>", special=False)),
        added(300, plain.tokens[300]),
    ]
    write(tmp_path, tokenizer=tokenizer)
    written = Written(tmp_path, vocab_size=4099)
    assert written.tokens[4096:] == [IM_START, "<tool>", "[PAD4098]"]
    types = written["ggml.token_type"]
    assert types[4096:].tolist() == [CONTROL, USER_DEFINED, UNUSED]
    assert types[:3].tolist() == [UNKNOWN, CONTROL, CONTROL]
    assert types[300] == CONTROL
    assert written["ggml.scores"][:4096].tolist() == (
        plain["ggml.scores"][:4096].tolist()
    )


@pytest.mark.parametrize("kind", ["letters", "pieces"])
def test_every_token_is_at_its_own_id(tmp_path: Path, kind: str) -> None:
    """With a gap between added tokens, roles and tokens have the same ids."""
    letters, n_base = (byte_level(("a", "b")), 257)
    if kind == "pieces":
        letters, n_base = (piece_merges("ab▁", ("a", "b")), 263)
    first, last = n_base + 3, n_base + 7
    letters["added_tokens"] += [added(first, "<x>"), added(last, "<y>", special=False)]
    write(tmp_path, tokenizer=letters, tokenizer_config={"eos_token": "<x>"})
    written = Written(tmp_path)
    assert written["ggml.eos_token_id"] == first
    assert [written.tokens[i] for i in (first, last)] == ["<x>", "<y>"]
    assert len(written.tokens) == last + 1
    assert written.tokens[n_base] == f"[PAD{n_base}]"
    assert written.types("<x>", "<y>") == [CONTROL, USER_DEFINED]
    assert written.ids("<x><y>") == [first, last]


def test_ids_without_a_gap_need_no_message(tmp_path: Path) -> None:
    """The usual case."""
    write(tmp_path, tokenizer=byte_level(("a", "b"), added=({"content": "<x>"},)))
    assert Written(tmp_path).messages == []


# Tokens without a row in the embedding


@pytest.mark.parametrize("kind", ["letters", "pieces", "sentencepiece"])
def test_added_tokens_beyond_the_embedding_are_left_out(
    tmp_path: Path, kind: str
) -> None:
    """Gemma 3's 1B tokenizer has one token more than the model has rows."""
    if kind == "sentencepiece":
        shutil.copy(DEMO_MODEL / "tokenizer.model", tmp_path)
        write(tmp_path, added_tokens={"<image_soft_token>": 4096})
        size = 4096
    else:
        made = byte_level() if kind == "letters" else piece_merges("ab▁", ("a", "b"))
        size = len(made["model"]["vocab"])
        made["added_tokens"].append(added(size, "<image_soft_token>"))
        write(tmp_path, tokenizer=made, tokenizer_config={"pad_token": "<none>"})
    written = Written(tmp_path, vocab_size=size)
    assert len(written.tokens) == size
    assert "<image_soft_token>" not in written.tokens
    assert f"from id {size} ('<image_soft_token>')" in written.messages[0]


def test_a_larger_vocabulary_is_another_models(tmp_path: Path) -> None:
    """Only added tokens are left out."""
    write(tmp_path, tokenizer=byte_level(("a", "b"), added=({"content": "<x>"},)))
    with pytest.raises(CheckpointError, match=r"up to 256, but .* vocab_size 200"):
        Written(tmp_path, vocab_size=200)


@pytest.mark.parametrize("kind", ["letters", "pieces", "sentencepiece"])
def test_placeholders_are_bounded(tmp_path: Path, kind: str) -> None:
    """A vocab_size of a billion is an error, not a billion placeholders."""
    if kind == "sentencepiece":
        shutil.copy(DEMO_MODEL / "tokenizer.model", tmp_path)
    else:
        made = byte_level() if kind == "letters" else piece_merges("ab▁", ("a", "b"))
        write(tmp_path, tokenizer=made)
    with pytest.raises(CheckpointError, match="there should be 1000000000 by config"):
        Written(tmp_path, vocab_size=10**9)


def test_ids_of_roles_beyond_the_vocabulary_are_left_out(tmp_path: Path) -> None:
    """Readers would refuse them, or read outside."""
    write(tmp_path, tokenizer=byte_level())
    written = Written(tmp_path, bos_token_id=2**31 - 1, eos_token_id=5)
    assert (written["ggml.bos_token_id"], written["ggml.eos_token_id"]) == (None, 5)
    assert "bos_token_id is 2147483647, but there are 256" in written.messages[0]


# Ids of special tokens


def test_outer_config_goes_before_the_inner(tmp_path: Path) -> None:
    """As in transformers; the caller's config has the inner keys at the top."""
    inner = {"eos_token_id": 8, "bos_token_id": 9}
    config = {"eos_token_id": 7, "text_config": inner}
    write(tmp_path, tokenizer=byte_level(), config=config)
    written = Written(tmp_path, **{**config, **inner})
    assert (written["ggml.eos_token_id"], written["ggml.bos_token_id"]) == (7, 9)
    assert "eos_token_id is 8 in config.json's text_config" in written.messages[0]


def test_generation_config_goes_before_config(tmp_path: Path) -> None:
    """By it, transformers ends a text; the tokenizer's own files go before both."""
    tokenizer = byte_level(added=({"content": "<x>", "special": True},))
    write(tmp_path, tokenizer=tokenizer, generation_config={"eos_token_id": 6})
    written = Written(tmp_path, eos_token_id=5)
    assert written["ggml.eos_token_id"] == 6
    assert "eos_token_id is 5 in config.json, but another" in written.messages[0]
    write(tmp_path, tokenizer_config={"eos_token": "<x>"})
    written = Written(tmp_path, eos_token_id=5)
    assert (written["ggml.eos_token_id"], len(written.messages)) == (256, 2)
    write(tmp_path, generation_config={"eos_token_id": [5, 256]})
    assert Written(tmp_path, eos_token_id=256).messages == []


# Chat templates


def templates(folder: Path) -> tuple[Json, list[str]]:
    written = Written(folder)
    found = {
        key.removeprefix("tokenizer."): field.value
        for key, field in written.fields.items()
        if "chat_template" in key
    }
    return found, written.messages


@pytest.mark.parametrize("old", ["old", None, [{"name": "default", "template": "old"}]])
def test_template_file_goes_before_the_settings(tmp_path: Path, old: object) -> None:
    """transformers takes the file; llama.cpp's converter would take the old one."""
    write(tmp_path, tokenizer=byte_level(), tokenizer_config={"chat_template": old})
    (tmp_path / "chat_template.jinja").write_text("new")
    found, messages = templates(tmp_path)
    assert found == {"chat_template": "new"}
    assert len(messages) == (old is not None)
    if old:
        assert "different chat templates" in messages[0]


def test_template_files_without_settings_or_default(tmp_path: Path) -> None:
    """A null template is none, and a folder can have only named templates."""
    write(tmp_path, tokenizer=byte_level())
    write(tmp_path, chat_template={"chat_template": "json"})
    assert templates(tmp_path) == ({"chat_template": "json"}, [])
    write(tmp_path, tokenizer_config={"chat_template": None})
    assert templates(tmp_path) == ({"chat_template": "json"}, [])
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.v2.jinja").write_text("r")
    named = {"chat_template.rag_v2": "r", "chat_templates": ["rag_v2"]}
    assert templates(tmp_path) == (named, [])


# Pre-tokenizers


def hashed_as(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pre_choice, "name_by_hash", lambda *_: name)


def test_steps_decide_before_the_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SmolLM2's tokenizer without its step for digits still has SmolLM2's hash."""
    tokenizer = byte_level(("1", "2"))
    tokenizer["pre_tokenizer"] = tokenizer["pre_tokenizer"]["pretokenizers"][1]
    write(tmp_path, tokenizer=tokenizer)
    hashed_as("smollm", monkeypatch)
    written = Written(tmp_path)
    assert written["ggml.pre"] == "gpt-2"
    assert written.ids("12") == [256]
    assert "like 'gpt-2', but llama.cpp's converter" in written.messages[0]
    hashed_as("phi-2", monkeypatch)  # another name for the same steps
    written = Written(tmp_path)
    assert (written["ggml.pre"], written.messages) == ("phi-2", [])


def test_hash_of_unknown_steps_is_tried_on_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is believed if the library gives the same ids; else both are named."""
    tokenizer = byte_level(("1", "2"), ("x", "x"))
    first: Json = {"type": "Split", "pattern": {"Regex": "x(?!x)y{99}"}}
    first |= {"behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"]["pretokenizers"][0] = first
    write(tmp_path, tokenizer=tokenizer)
    hashed_as("gpt-2", monkeypatch)
    assert Written(tmp_path)["ggml.pre"] == "gpt-2"
    hashed_as("smollm", monkeypatch)
    with pytest.raises(UnsupportedModelError, match=r"for 'smollm', .*y\{99\}"):
        Written(tmp_path)
    hashed_as(None, monkeypatch)
    with pytest.raises(UnsupportedModelError, match="does not know how"):
        Written(tmp_path)


# Two files that disagree


@pytest.mark.parametrize("kind", ["letters", "pieces"])
@pytest.mark.parametrize("is_special", [True, False])
def test_settings_decide_whether_a_token_is_special(
    tmp_path: Path, kind: str, is_special: bool
) -> None:
    """transformers adds the tokens of tokenizer_config.json after tokenizer.json's."""
    made = byte_level(("a", "b")) if kind == "letters" else piece_merges("ab▁")
    i = len(made["model"]["vocab"])
    made["added_tokens"].append(added(i, "<x>", special=not is_special))
    entry = {"content": "<x>", "special": is_special, "normalized": False}
    settings = {"added_tokens_decoder": {str(i): entry}}
    write(tmp_path, tokenizer=made, tokenizer_config=settings)
    written = Written(tmp_path)
    assert written.types("<x>") == [CONTROL if is_special else USER_DEFINED]
    assert f"'<x>', have special={is_special} in tok" in written.messages[0]


def test_post_processor_decides_whether_bos_is_added(tmp_path: Path) -> None:
    """The settings are not read by transformers where there is a tokenizer.json."""
    made = byte_level() | {"post_processor": {"type": "ByteLevel"}}
    write(tmp_path, tokenizer=made, tokenizer_config={"add_bos_token": True})
    written = Written(tmp_path)
    assert written["ggml.add_bos_token"] is False
    assert "add_bos_token is True in tokenizer_config.json" in written.messages[0]


def test_two_tokens_with_one_text_are_refused(tmp_path: Path) -> None:
    """llama.cpp stops at such a file; empty texts it replaces."""
    shutil.copy(DEMO_MODEL / "tokenizer.model", tmp_path)
    text = Written(tmp_path, vocab_size=4096).tokens[300]
    write(tmp_path, added_tokens={text: 4096})
    with pytest.raises(CheckpointError, match="300 and 4096 have the same text"):
        Written(tmp_path, vocab_size=4097)
