"""Special token ids, and whether they are added to a text.

Source: how llama.cpp's gguf-py (`SpecialVocab`) reads tokenizer.json,
tokenizer_config.json and config.json.  It does not read generation_config.json, by
which transformers ends a text; where that names another token, it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..gguf.keys import Field, boolean, uint32
from .added import token_text
from .chat_templates import chat_template_fields
from .files import TokenizerFiles
from .schema import SPECIAL_KINDS, Json
from .special_ids import ids_of_config
from .steps import flat_steps

__all__ = ["special_fields"]

_ID_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "sep": "tokenizer.ggml.seperator_token_id",  # the format's own spelling
    "pad": "tokenizer.ggml.padding_token_id",
    "mask": "tokenizer.ggml.mask_token_id",
    "eot": "tokenizer.ggml.eot_token_id",
    "eom": "tokenizer.ggml.eom_token_id",
}
_FLAG_KEYS = {
    kind: f"tokenizer.ggml.add_{kind}_token" for kind in ("bos", "eos", "sep")
}


def special_fields(
    files: TokenizerFiles,
    n_tokens: int,
    kinds: Iterable[str] = SPECIAL_KINDS,
    defaults: Callable[[Mapping[str, int]], Mapping[str, int]] | None = None,
) -> dict[str, Field]:
    """The fields of special tokens, in llama.cpp's order.

    Args:
        files: the tokenizer's files.
        n_tokens: the number of tokens; ids from here on are left out.
        kinds: the roles to look for.
        defaults: called with the ids that the files name; returns ids for other roles.
    """
    roles = _Roles(dict(files.settings), kinds=list(kinds))
    if files.tokenizer:
        roles.read_post_processor(files.tokenizer.get("post_processor"))
    ids = roles.read_ids(files, n_tokens)
    if defaults is not None:
        others = defaults(ids).items()
        ids = ids | {k: i for k, i in others if k not in ids and i < n_tokens}
    fields = {_ID_KEYS[kind]: uint32(i) for kind, i in ids.items() if kind in _ID_KEYS}
    fields |= {
        _FLAG_KEYS[kind]: boolean(flag)
        for kind, flag in roles.flags.items()
        if kind in _FLAG_KEYS
    }
    return fields | chat_template_fields(files) | _normalizer_fields(files)


@dataclass
class _Roles:
    """Special roles and their tokens, collected from several files.

    Attributes:
        settings: tokenizer_config.json, plus roles found in other files.
        flags: role -> whether that token is added to every text.
        kinds: the roles to look for.
    """

    settings: dict[str, Any]
    flags: dict[str, bool] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=lambda: list(SPECIAL_KINDS))

    def read_post_processor(self, section: Json | None) -> None:
        """Learn which tokens tokenizer.json adds before and after a text."""
        settings = self.settings
        for role, stand_in in (("bos_token", "cls_token"), ("eos_token", "sep_token")):
            if not settings.get(role) and settings.get(stand_in):
                settings[role] = settings[stand_in]
        for processor in flat_steps(section):
            if processor.get("type") == "ByteLevel":
                self.flags.setdefault("bos", False)
                self.flags.setdefault("eos", False)
            elif processor.get("type") == "RobertaProcessing":
                self.flags |= {"bos": True, "eos": True, "sep": True}
                self._name_roberta("cls", processor, settings.get("bos_token"))
                self._name_roberta("sep", processor, settings.get("eos_token"))
            elif processor.get("type") == "TemplateProcessing":
                self._read_template(
                    processor.get("single") or [], processor.get("pair") or []
                )

    def _name_roberta(self, kind: str, processor: Json, stand_in: object) -> None:
        """Set a role's token from RobertaProcessing, which gives a text and an id."""
        key = f"{kind}_token"
        self.settings[key] = (
            self.settings.get(key) or processor.get(kind, [stand_in])[0]
        )

    def _read_template(self, single: list[Json], pair: list[Json]) -> None:
        first = _special_id(single[0]) if len(single) > 1 else None
        last = _special_id(single[-1]) if len(single) > 1 else None
        if first:
            self._start_with(first)
        if last:
            self._end_with(last)
        start = int(bool(first and pair and _special_id(pair[0]) == first))
        stop = len(pair) - int(bool(last and pair and _special_id(pair[-1]) == last))
        self._read_pair(pair[start:stop], ends=bool(last))

    def _start_with(self, text: str) -> None:
        roles = ("bos_token", "cls_token")
        if text not in map(self.settings.get, roles):
            for role in roles:
                self.settings[role] = self.settings.get(role) or text
        self.flags["bos"] = text in map(self.settings.get, roles)

    def _end_with(self, text: str) -> None:
        """Make `text` the EOS token; the former EOS becomes EOT or EOM."""
        named = bool(self.settings)
        displaced = self.settings.get("eos_token")
        self.flags["eos"] = True
        if displaced == text or not named:
            return
        self.settings["eos_token"] = text
        for kind in ("eot", "eom"):
            if kind not in self.kinds:
                self.kinds.append(kind)
                self.settings[f"{kind}_token"] = displaced
                return

    def _read_pair(self, template: list[Json], ends: bool) -> None:
        """Learn from the template for text pairs whether a token separates them."""
        if len(template) < 3 or _sequence_ids(template) != ("A", "B"):
            return
        between = [_special_id(part) for part in template[1:-1]]
        eos, sep = self.settings.get("eos_token"), self.settings.get("sep_token")
        counted = (
            between[int(ends) :] if len(between) == 2 else between[: int(not ends)]
        )
        self.flags["sep"] = any(text and text in (sep, eos) for text in counted)
        if self.flags["sep"] and not sep:
            self.settings["sep_token"] = eos

    def read_ids(self, files: TokenizerFiles, n_tokens: int) -> dict[str, int]:
        """The id of each role, by tokenizer_config.json, else by config.json."""
        by_text: dict[str, int] = {}
        for token in files.added_in_tokenizer():
            by_text.setdefault(token.content, token.id)
        ids: dict[str, int] = {}
        for kind in self.kinds if files.settings else ():
            flag = self.settings.get(f"add_{kind}_token")
            if isinstance(flag, bool) and self.flags.setdefault(kind, flag) != flag:
                files.notify(
                    f"{files.folder}: add_{kind}_token is {flag} in "
                    "tokenizer_config.json, but not by the post-processor in "
                    "tokenizer.json, which is followed"
                )
            text = token_text(self.settings.get(f"{kind}_token"))
            if text in by_text and by_text[text] < n_tokens:
                ids[kind] = by_text[text]
        return ids_of_config(files, self.kinds, ids, n_tokens)


def _special_id(part: Json) -> str | None:
    """The text of the special token in a part of a template, if it is one."""
    text = part.get("SpecialToken", {}).get("id")
    return text if isinstance(text, str) else None


def _sequence_ids(template: list[Json]) -> tuple[str | None, str | None]:
    """The first and last text ("A" or "B") of a template."""
    first, last = (template[i].get("Sequence", {}).get("id") for i in (0, -1))
    return first, last


def _normalizer_fields(files: TokenizerFiles) -> dict[str, Field]:
    """Whether tokenizer.json's normalizer lowercases text and strips accents."""
    flags: dict[str, bool] = {}
    for step in flat_steps(files.tokenizer.get("normalizer")):
        match step:
            case {"type": "Lowercase"}:
                flags["lowercase"] = True
            case {"type": "StripAccents"}:
                flags["strip_accents"] = True
            case {"type": "BertNormalizer"}:
                flags |= {
                    flag: step[flag]
                    for flag in ("lowercase", "strip_accents")
                    if isinstance(step.get(flag), bool)
                }
    return {
        f"tokenizer.ggml.normalizer.{flag}": boolean(flags[flag])
        for flag in ("lowercase", "strip_accents")
        if flag in flags
    }
