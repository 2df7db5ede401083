"""Check what a tokenizer's JSON files say, before anything else reads it.

Each error names the file and the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import FormatError
from ..settings import (
    COUNT,
    FLAG,
    LIST,
    OBJECT,
    SIZE,
    Kind,
    checked,
    either,
    integer,
    list_of,
    number,
    table_of,
)
from .kinds import UNICODE, check_each, check_keys, nullable, pair, record
from .steps import check_section

__all__ = [
    "SPECIAL_KINDS",
    "TEMPLATES",
    "Json",
    "check_config",
    "check_generation",
    "check_ids",
    "check_settings",
    "check_special_tokens",
    "check_tokenizer",
]

Json = Mapping[str, Any]

SPECIAL_KINDS: tuple[str, ...] = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""The special roles that tokenizer_config.json may assign."""

_TOKEN = either(
    UNICODE, record("an object with the text as `content`", content=UNICODE)
)
_TOKENS = either(list_of(_TOKEN), table_of(_TOKEN))
_ID = integer(-(2**31))  # some files say -1 for none
_IDS = nullable(either(_ID, list_of(_ID)))
_FLAGS = dict.fromkeys(
    ("single_word", "lstrip", "rstrip", "normalized", "special"), nullable(FLAG)
)
_ENTRY = record("an object: content (a text), flags", content=UNICODE, **_FLAGS)
_ADDED = record(
    "an object: id (an integer), content (a text), flags",
    id=COUNT,
    content=UNICODE,
    **_FLAGS,
)
_TEMPLATE = record("an object: name, template", name=UNICODE, template=UNICODE)
TEMPLATES = nullable(either(UNICODE, list_of(_TEMPLATE), table_of(UNICODE)))
"""Chat templates: one, or several with names."""
_TEXTS = pair("two texts", UNICODE, UNICODE)
_MERGE = Kind(
    "two texts: a list, or one text with a space between them",
    lambda value: (
        (isinstance(value, str) and " " in value and UNICODE.accepts(value))
        or _TEXTS.accepts(value)
    ),
)
_SCORE = number(-3e38, 3e38)  # in the range of a float32
_SCORED = pair("a text with its score", UNICODE, _SCORE)
_MODEL = {
    "type": nullable(UNICODE),
    "unk_token": nullable(UNICODE),
    "unk_id": nullable(COUNT),
    "byte_fallback": nullable(FLAG),
    "ignore_merges": nullable(FLAG),
    "continuing_subword_prefix": nullable(UNICODE),
    "merges": nullable(LIST),
}
_NAMED = {
    **{f"{kind}_token": nullable(_TOKEN) for kind in SPECIAL_KINDS},
    "additional_special_tokens": nullable(_TOKENS),
    "extra_special_tokens": nullable(_TOKENS),
}
_SETTINGS = {
    **_NAMED,
    **{f"add_{kind}_token": nullable(FLAG) for kind in SPECIAL_KINDS},
    "added_tokens_decoder": nullable(OBJECT),
    "tokenizer_class": nullable(UNICODE),
    "add_prefix_space": nullable(FLAG),
    "chat_template": TEMPLATES,
}
_CONFIG = {
    "architectures": nullable(list_of(UNICODE)),
    "model_type": nullable(UNICODE),
    "tokenizer_class": nullable(UNICODE),
    "vocab_size": nullable(SIZE),
    "padded_vocab_size": nullable(SIZE),
    "text_config": nullable(OBJECT),
    **{f"{kind}_token_id": _IDS for kind in (*SPECIAL_KINDS, "eot", "eom", "eod")},
}


def check_tokenizer(tokenizer: Json, what: str) -> None:
    """Check a tokenizer.json.

    Raises:
        FormatError: it is damaged; the message names `what` and the key.
    """
    model = tokenizer.get("model")
    if not isinstance(model, Mapping):
        raise FormatError(f"{what} has no 'model'; download it again")
    check_keys(model, _MODEL, f"{what}: model.")
    vocab = model.get("vocab")
    if not vocab or not isinstance(vocab, Mapping | list):
        raise FormatError(f"{what} has no tokens; download it again")
    is_list = not isinstance(vocab, Mapping)
    if is_list != (model.get("type") == "Unigram"):
        raise FormatError(
            f"{what}: model.vocab is {'a list' if is_list else 'an object'}, unlike "
            f"that of model.type {model.get('type')!r:.80}; download it again"
        )
    if not isinstance(vocab, Mapping):
        check_each(enumerate(vocab), _SCORED, f"{what}: model.vocab")
    else:
        check_ids(vocab, f"{what}: model.vocab")
    check_each(enumerate(model.get("merges") or ()), _MERGE, f"{what}: model.merges")
    _check_added(tokenizer.get("added_tokens"), f"{what}: added_tokens")
    for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        check_section(tokenizer.get(key), f"{what}: {key}")


def _check_added(added: Any, what: str) -> None:
    checked(added, nullable(list_of(OBJECT)), what)
    check_each(enumerate(added or ()), _ADDED, what)
    check_ids_differ(((token["content"], token["id"]) for token in added or ()), what)


def check_ids(ids: Json, what: str) -> None:
    """Check an object of token ids by text: each id stands for one text.

    Raises:
        FormatError: a text or an id is damaged, or an id stands for two texts.
    """
    check_each(ids.items(), COUNT, what)
    check_each(enumerate(ids), UNICODE, f"{what}: texts")
    if len(set(ids.values())) < len(ids):
        check_ids_differ(ids.items(), what)


def check_ids_differ(tokens: Any, what: str) -> None:
    """Check pairs of text and id: no id stands for two texts, no text has two ids.

    Raises:
        FormatError: one does.
    """
    texts: dict[int, str] = {}
    ids: dict[str, int] = {}
    for text, i in tokens:
        if texts.setdefault(i, text) != text:
            raise FormatError(
                f"{what}: {texts[i]!r:.80} and {text!r:.80} have the same id, {i}; "
                "download the file again"
            )
        if ids.setdefault(text, i) != i:
            raise FormatError(
                f"{what}: {text!r:.80} has two ids, {ids[text]} and {i}; download the "
                "file again"
            )


def check_settings(settings: Json, what: str) -> None:
    """Check a tokenizer_config.json.

    Raises:
        FormatError: a setting that is read has a wrong type.
    """
    check_keys(settings, _SETTINGS, f"{what}: ")
    _check_named(settings, what)
    added = settings.get("added_tokens_decoder") or {}
    check_each(added.items(), _ENTRY, f"{what}: added_tokens_decoder")
    for key in added:
        is_number = key.isascii() and key.isdigit() and len(key) <= 10
        if not (is_number and COUNT.accepts(int(key))):
            raise FormatError(
                f"{what}: added_tokens_decoder has the key {key!r:.80}; expected "
                f"{COUNT.description}"
            )


def check_special_tokens(tokens: Json, what: str) -> None:
    """Check a special_tokens_map.json.

    Raises:
        FormatError: a token is neither a text nor an object with one.
    """
    check_keys(tokens, _NAMED, f"{what}: ")
    _check_named(tokens, what)


def _check_named(tokens: Json, what: str) -> None:
    """The texts of tokens that a model's own class names, such as `image_token`."""
    for key, entry in tokens.items():
        text = entry.get("content") if isinstance(entry, Mapping) else entry
        if key.endswith("_token") and isinstance(text, str):
            checked(text, UNICODE, f"{what}: {key!r:.80}")


def check_generation(generation: Json, what: str) -> None:
    """Check the token ids in a generation_config.json.

    Raises:
        FormatError: one is neither an integer nor a list of integers.
    """
    ids = {f"{kind}_token_id": _IDS for kind in ("bos", "eos", "pad")}
    check_keys(generation, ids, f"{what}: ")


def check_config(config: Json, what: str) -> None:
    """Check the keys of config.json that describe the tokenizer.

    Raises:
        FormatError: one has a wrong type.
    """
    check_keys(config, _CONFIG, f"{what}: ")
    check_keys(config.get("text_config") or {}, _CONFIG, f"{what}: text_config.")
